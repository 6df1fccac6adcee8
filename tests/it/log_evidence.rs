//! Evidence: a file that outlives the service, the key and the theft of the key.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::evidence::{Evidence, verify};
use trust::verdict::{Outcome, Reason};

use crate::support::installation::{Installation, Service, base64url, member, text};
use crate::support::process::until;

/// A JWS over `payload`, logged and covered by a checkpoint; and its salt.
fn signed(service: &Service, token: &str, payload: &[u8]) -> (String, String) {
    let body = json!({"format": "jws", "payload": base64url(payload)});
    let path = "/v1/rings/atp/sign?receipt=wait";
    let answer = service.post(path, Some(token), &body).ok();
    member(&answer, "receipt");
    (member(&answer, "jws"), member(&answer, "salt"))
}

fn evidence(service: &Service, jws: &str, salt: &str) -> Vec<u8> {
    let body = json!({"signature": {"jws": jws}, "salt": salt});
    let answer = service.post("/v1/evidence", None, &body);
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    answer.into_body()
}

/// The service's answer once it knows of the revocation.
fn until_revoked(service: &Service, jws: &str) -> Value {
    let mut answer = Value::Null;
    until("the revocation is seen", || {
        answer = service.post("/v1/verify", None, &json!({"jws": jws})).ok();
        answer["reasons"] == json!(["key_compromised"])
    });
    answer
}

/// The evidence once the revocation is in it.
fn until_told(service: &Service, jws: &str, salt: &str) -> Vec<u8> {
    let body = json!({"signature": {"jws": jws}, "salt": salt});
    let mut file = Vec::new();
    until("the revocation is in the evidence", || {
        let answer = service.post("/v1/evidence", None, &body);
        let there = answer.status == 200;
        file = answer.into_body();
        let whole = Evidence::decode(&file).is_ok_and(|file| file.revocation.is_some());
        there && whole
    });
    file
}

fn genesis(installation: &Installation) -> Sha256Digest {
    installation.genesis.parse().expect("a digest")
}

#[test]
fn a_stolen_key_does_not_take_what_was_signed_before() {
    let installation = Installation::new();
    let kid = installation.open_ring("atp");
    installation.open_log();
    let token = installation.grant("integrity-service", "signer:atp");
    let service = installation.serve();
    let (before, salt) = signed(&service, &token, b"before the theft");

    // While the key signs.
    let file = evidence(&service, &before, &salt);
    let found = verify(&file, genesis(&installation), None).expect("the file holds");
    assert_eq!(found.verdict.outcome, Outcome::Valid);
    assert!(found.subject && !found.witnessed);
    assert_eq!(
        (found.kid.as_str(), found.ring.as_str()),
        (kid.as_str(), "atp")
    );

    // The key is revoked as compromised, since an instant after the signature.
    std::thread::sleep(Duration::from_millis(20));
    let body = json!({"format": "jws", "payload": "AQID"});
    let late = service.sign("atp", &token, &body);
    let since = ["--because", "compromised", "--compromised-since"];
    installation.revoke(
        "atp",
        &kid,
        &[&since[..], &[&member(&late, "time")]].concat(),
    );
    let answer = until_revoked(&service, &before);
    assert_eq!(answer["verdict"], "VALID_RETIRED_KEY", "{answer}");
    assert_eq!(answer["reasons"], json!(["key_compromised"]));
    let index = answer["log_index"].as_u64().expect("an index");
    let late = until_revoked(&service, &member(&late, "jws"));
    assert_eq!(late["verdict"], "REVOKED", "{late}");
    // What the log has of the revocation takes a moment to be covered by a checkpoint.
    let file = until_told(&service, &before, &salt);
    let found = verify(&file, genesis(&installation), None).expect("the file holds");
    assert_eq!(found.verdict.outcome, Outcome::ValidRetiredKey);
    assert_eq!(found.verdict.reasons, [Reason::KeyCompromised]);
    assert_eq!(found.index, index);

    // The command line says the same, offline.
    let path = installation.file("one.evidence");
    fs::write(&path, &file).expect("written");
    let said = installation.chancery(["verify", text(&path), "--genesis", &installation.genesis]);
    assert_eq!(said.json()["verdict"], "VALID_RETIRED_KEY");

    // Any other genesis, and a changed byte anywhere, are refused or make nothing better.
    assert!(verify(&file, Sha256Digest::of(b"another"), None).is_err());
    for at in (0..file.len()).step_by(97) {
        let mut bad = file.clone();
        bad[at] ^= 1;
        if let Ok(found) = verify(&bad, genesis(&installation), None) {
            assert_eq!(found.verdict.outcome, Outcome::Invalid, "byte {at}");
        }
    }
    let parsed = Evidence::decode(&file).expect("evidence");
    assert_eq!(
        parsed.log_keys.len(),
        1,
        "one log key signed all checkpoints"
    );
    let truncated = &file[..file.len() / 2];
    assert!(verify(truncated, genesis(&installation), None).is_err());
}
