//! Every approval and acceptance of a transcript is an ordinary SSH signature: `ssh-keygen -Y verify` says so itself,
//! over bytes put together here from the transcript alone.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::installation::{ENVIRONMENT, Installation, SERVICE, member, must, text};
use crate::support::process::{Said, run};

const RING: &str = "integrity";

/// `chancery/approve.v1@chancery/test`
fn namespace(purpose: &str) -> String {
    format!("chancery/{purpose}.v1@{SERVICE}/{ENVIRONMENT}")
}

/// DSSE v1 pre-authentication encoding.
fn pae(payload_type: &str, body: &str) -> String {
    let (kind, length) = (payload_type.len(), body.len());
    format!("DSSEv1 {kind} {payload_type} {length} {body}")
}

fn ssh_keygen_verify(
    installation: &Installation,
    who: &str,
    purpose: &str,
    signature: &str,
    bytes: &str,
) -> Said {
    let (allowed, armored) = (
        installation.file("allowed_signers"),
        installation.file("armored.sig"),
    );
    let lines: Vec<String> = installation
        .custodians
        .iter()
        .map(|c| {
            format!(
                "{} namespaces=\"chancery/*\" {}\n",
                c.id,
                must(c.public_key())
            )
        })
        .collect();
    fs::write(&allowed, lines.concat()).expect("allowed signers");
    fs::write(&armored, signature).expect("a signature");
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-f", text(&allowed), "-I", who]);
    command.args(["-n", &namespace(purpose), "-s", text(&armored)]);
    run(&mut command, bytes.as_bytes())
}

/// A ceremony held to its end; the file of its transcript.
fn transcript(installation: &Installation) -> std::path::PathBuf {
    installation.create_ring(RING, &[]);
    let (id, _) = installation.hold(RING);
    let file = installation.file("transcript.json");
    installation.chancery(["ceremony", "transcript", &id, "--out", text(&file)]);
    file
}

#[test]
fn ssh_keygen_verifies_each_approval_and_acceptance_of_a_transcript() {
    let installation = Installation::new();
    let bytes = fs::read(transcript(&installation)).expect("the transcript");
    let transcript: Value = serde_json::from_slice(&bytes).expect("JSON");
    let record = &transcript["record"];
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let approvals: Vec<String> = list(&record["approvals"])
        .iter()
        .map(|a| member(&a["signature"], "signature"))
        .collect();
    let acceptances: Vec<String> = list(&transcript["acceptance"]["signatures"])
        .iter()
        .map(|s| member(s, "signature"))
        .collect();

    for (purpose, body, signatures) in [
        ("approve", member(record, "request"), approvals),
        (
            "accept",
            member(&transcript["acceptance"], "statement"),
            acceptances,
        ),
    ] {
        let signers = installation.signers();
        assert_eq!(signatures.len(), signers.len(), "{purpose}");
        let bytes = pae(&namespace(purpose), &body);
        for (signature, custodian) in signatures.iter().zip(signers) {
            let check = |purpose: &str, bytes: &str| {
                ssh_keygen_verify(&installation, &custodian.id, purpose, signature, bytes).code
                    == Some(0)
            };
            assert!(check(purpose, &bytes), "{purpose} by {}", custodian.id);
            assert!(
                !check(purpose, &format!("{bytes} ")),
                "{purpose}: a byte more"
            );
            assert!(!check("reject", &bytes), "{purpose}: another purpose");
        }
    }
}

#[test]
fn a_transcript_is_checked_offline_and_refused_after_a_change() {
    let installation = Installation::new();
    let file = transcript(&installation);
    let verify = [
        "ceremony",
        "verify",
        text(&file),
        "--genesis",
        &installation.genesis,
    ];
    let said = installation.chancery(verify).json();
    assert_eq!(said["approved_by"], serde_json::json!(["berta", "carl"]));

    // Anybody gets the same file from the service.
    let kid = said["kids"][0].as_str().expect("a kid");
    let service = installation.serve();
    let provenance = service.get(&format!("/v1/keys/{kid}/transcript"));
    assert_eq!(provenance.body, fs::read(&file).expect("the transcript"));

    let elsewhere = "0".repeat(64);
    let pinned = ["ceremony", "verify", text(&file), "--genesis", &elsewhere];
    assert_eq!(
        installation.try_chancery(pinned).code,
        Some(5),
        "another genesis"
    );
    // The trust crate's own tests change every byte; here a few, through the command.
    let bytes = fs::read(&file).expect("the transcript");
    for at in (0..bytes.len()).step_by(bytes.len() / 7 + 1) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&file, changed).expect("the transcript");
        let said = installation.try_chancery(verify);
        assert_eq!(said.code, Some(5), "byte {at} of {}: {said:?}", bytes.len());
    }
}
