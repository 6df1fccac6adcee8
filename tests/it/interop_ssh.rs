//! Every approval and acceptance of a transcript is an ordinary SSH signature: `ssh-keygen -Y verify` says so itself.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::installation::{Installation, namespace, text};
use crate::support::process::{Said, run};

const RING: &str = "integrity";

fn ssh_keygen_verify(
    installation: &Installation,
    member: &str,
    purpose: &str,
    signature: &str,
    bytes: &[u8],
) -> Said {
    let (allowed, armored) = (
        installation.file("allowed_signers"),
        installation.file("armored.sig"),
    );
    let lines: Vec<String> = installation
        .custodians
        .iter()
        .map(|c| format!("{} namespaces=\"chancery/*\" {}\n", c.id, c.public_key()))
        .collect();
    fs::write(&allowed, lines.concat()).expect("allowed signers");
    fs::write(&armored, signature).expect("a signature");
    let mut command = Command::new("ssh-keygen");
    command.args([
        "-Y",
        "verify",
        "-f",
        text(&allowed),
        "-I",
        member,
        "-n",
        &namespace(purpose),
        "-s",
        text(&armored),
    ]);
    run(&mut command, bytes)
}

#[test]
fn ssh_keygen_verifies_each_approval_and_acceptance_of_a_transcript() {
    let installation = Installation::new();
    installation.chancery(["ring", "create", RING, "--algorithm", "ES256", "--apply"]);
    let id = installation.propose(RING);
    let signers = &installation.custodians[1..];
    signers.iter().for_each(|c| installation.approve(&id, c));
    installation.chancery(["ceremony", "execute", &id]);
    signers.iter().for_each(|c| installation.accept(&id, c));

    let file = installation.file("transcript.json");
    installation.chancery(["ceremony", "transcript", &id, "--out", text(&file)]);
    let transcript: Value =
        serde_json::from_slice(&fs::read(&file).expect("the transcript")).expect("JSON");
    for (part, purpose, written) in [
        ("approvals", "approve", "request"),
        ("acceptances", "accept", "acceptance"),
    ] {
        let signatures: Vec<&str> = transcript[part]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["signature"].as_str().expect("an armored signature"))
            .collect();
        assert_eq!(signatures.len(), signers.len(), "{part}");
        for (signature, custodian) in signatures.iter().zip(signers) {
            let bytes =
                fs::read(installation.paper(&id, custodian, written)).expect("what was signed");
            let good = ssh_keygen_verify(&installation, &custodian.id, purpose, signature, &bytes);
            assert_eq!(good.code, Some(0), "{part}: {good:?}");
            let changed = ssh_keygen_verify(
                &installation,
                &custodian.id,
                purpose,
                signature,
                &[bytes.as_slice(), b" "].concat(),
            );
            assert_ne!(changed.code, Some(0), "{part}: a changed byte");
            let elsewhere =
                ssh_keygen_verify(&installation, &custodian.id, "reject", signature, &bytes);
            assert_ne!(elsewhere.code, Some(0), "{part}: another purpose");
        }
    }
}

#[test]
fn a_transcript_is_checked_offline_and_refused_after_a_change() {
    let installation = Installation::new();
    installation.chancery(["ring", "create", RING, "--algorithm", "ES256", "--apply"]);
    let id = installation.propose(RING);
    installation.custodians[1..]
        .iter()
        .for_each(|c| installation.approve(&id, c));
    installation.chancery(["ceremony", "execute", &id]);
    installation.custodians[1..]
        .iter()
        .for_each(|c| installation.accept(&id, c));
    let file = installation.file("transcript.json");
    installation.chancery(["ceremony", "transcript", &id, "--out", text(&file)]);

    let verify = [
        "ceremony",
        "verify",
        text(&file),
        "--genesis",
        &installation.genesis,
    ];
    installation.chancery(verify);
    let bytes = fs::read(&file).expect("the transcript");
    // The trust crate's own tests change every byte; here a few, through the command.
    for at in (0..bytes.len()).step_by(bytes.len() / 7 + 1) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&file, changed).expect("the transcript");
        let said = installation.try_chancery(verify);
        assert_eq!(said.code, Some(5), "byte {at} of {}: {said:?}", bytes.len());
    }
}
