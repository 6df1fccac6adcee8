//! From a signature to a receipt that anybody checks: the whole way through a running service.

use serde_json::{Value, json};
use trust::PublicKey;
use trust::tlog::checkpoint;
use trust::tlog::merkle::{leaf_hash, verify_consistency};
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;

use crate::support::installation::{Installation, Service, base64url, member};

/// The key that checkpoints of a service are checked with, made from what it publishes.
fn log_key(installation: &Installation, service: &Service, kid: &str) -> VerifierKey {
    let jwk = service.get(&format!("/v1/keys/{kid}/jwk")).into_body();
    let key = PublicKey::from_jwk_json(&jwk).expect("a JWK");
    assert_eq!(key.kid().as_str(), kid);
    VerifierKey::for_log(&format!("{}/log", installation.plan.api), &key).expect("a log key")
}

#[test]
fn a_receipt_proves_that_a_signature_is_in_the_log() {
    let installation = Installation::new();
    installation.open_ring("atp");
    let log_kid = installation.open_log();
    let token = installation.grant("integrity-service", "signer:atp");
    let auditor = installation.grant("auditor", "auditor");
    let other = installation.grant("somebody", "signer:log");
    let service = installation.serve();
    let key = log_key(&installation, &service, &log_kid);
    let keys = [key];
    let none = WitnessPolicy::parse("quorum none\n").expect("a policy");

    let mut before: Option<checkpoint::Checkpoint> = None;
    for round in 0..3 {
        let body = json!({"format": "jws", "payload": base64url(b"record")});
        let path = "/v1/rings/atp/sign?receipt=wait";
        let signed = service.post(path, Some(&token), &body).ok();
        let index = signed["log_index"].as_u64().expect("an index");
        let receipt = member(&signed, "receipt");
        let proof = TlogProof::parse(receipt.as_bytes()).expect("a tlog-proof");
        assert_eq!(proof.index, index);
        let leaf: &Value = &service.leaves(&auditor, index as usize)[0]["leaf"];
        let leaf = trust::json::canonical(leaf).expect("canonical");
        let logged = proof
            .verify(leaf_hash(&leaf), &keys, &none)
            .expect("the proof holds");
        assert!(logged.checkpoint.size > index);
        // A byte of the leaf more or less, and it does not.
        let mut other = leaf.clone();
        other[10] ^= 1;
        assert!(proof.verify(leaf_hash(&other), &keys, &none).is_err());

        let note = service.get("/log/checkpoint");
        assert_eq!(
            note.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        let note = Note::parse(&note.body).expect("a note");
        let now = checkpoint::open(&note, &keys).expect("by the log's key");
        assert!(now.size >= logged.checkpoint.size);
        if let Some(before) = before {
            let path = format!("/v1/log/consistency?old={}&new={}", before.size, now.size);
            let hashes: Vec<trust::Sha256Digest> = service.get(&path).ok()["hashes"]
                .as_array()
                .expect("hashes")
                .iter()
                .map(|hash| {
                    use base64ct::Encoding as _;
                    let bytes = base64ct::Base64::decode_vec(hash.as_str().expect("text"));
                    let bytes = bytes.expect("base64").try_into().expect("32 bytes");
                    trust::Sha256Digest::from_bytes(bytes)
                })
                .collect();
            verify_consistency(before.size, now.size, before.root, now.root, &hashes)
                .unwrap_or_else(|e| panic!("round {round}: {e}"));
        }
        before = Some(now);
    }
    // The log's own key signs nothing else, whatever the caller may do.
    let refused = service.post(
        "/v1/rings/log/sign",
        Some(&other),
        &json!({"format": "jws", "payload": "AQ"}),
    );
    refused.problem(403, "forbidden");
}
