//! OpenSSL checks raw signatures with nothing but the public key.

use std::fs;
use std::process::Command;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::json;

use crate::support::installation::{Installation, base64url, text};
use crate::support::process::{done, run};

const RING: &str = "seals";

#[test]
fn openssl_verifies_a_der_signature_over_a_digest() {
    let installation = Installation::new();
    installation.create_ring(RING, &["--usage", "raw"]);
    let kid = installation.give_birth(RING);
    installation.rotate_when_safe(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let service = installation.serve();

    let record = installation.file("record");
    fs::write(&record, b"a record of the integrity service").expect("the record");
    let digest = Command::new("openssl")
        .args(["dgst", "-sha256", "-binary", text(&record)])
        .output()
        .expect("openssl");
    let body = json!({"format": "raw", "digest": base64url(&digest.stdout), "hash": "sha-256", "encoding": "der"});
    let answer = service.sign(RING, &signer, &body);
    assert_eq!(answer["kid"], kid);
    let signature = installation.file("signature");
    let bytes = Base64UrlUnpadded::decode_vec(answer["signature"].as_str().expect("a signature"));
    fs::write(&signature, bytes.expect("base64url")).expect("the signature");

    let key = installation.file("key.pem");
    let pem = service.get(&format!("/v1/keys/{kid}/pem"));
    assert_eq!(pem.status, 200);
    fs::write(&key, pem.into_body()).expect("the key");

    let verify = [
        "dgst",
        "-sha256",
        "-verify",
        text(&key),
        "-signature",
        text(&signature),
    ];
    let said = done("openssl", verify.into_iter().chain([text(&record)]));
    assert_eq!(said.text(), "Verified OK");
    fs::write(&record, b"another record").expect("the record");
    let said = run(Command::new("openssl").args(verify).arg(&record), b"");
    assert_ne!(said.code, Some(0));
}
