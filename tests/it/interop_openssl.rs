//! OpenSSL checks raw signatures with nothing but the public key.

use std::fs;
use std::process::Command;

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
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
    let answer = service
        .post(&format!("/v1/rings/{RING}/sign"), Some(&signer), &body)
        .ok();
    assert_eq!(answer["kid"], kid);
    let signature = installation.file("signature");
    let bytes = Base64UrlUnpadded::decode_vec(answer["signature"].as_str().expect("a signature"));
    fs::write(&signature, bytes.expect("base64url")).expect("the signature");

    // The JWK carries the point; the fixed prefix makes it a SubjectPublicKeyInfo (RFC 5480) that OpenSSL reads.
    let jwk = service.get(&format!("/v1/keys/{kid}/jwk")).ok();
    let coordinate = |name: &str| {
        Base64UrlUnpadded::decode_vec(jwk[name].as_str().expect("a coordinate")).expect("base64url")
    };
    let prefix = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
    let spki = [prefix.as_slice(), &coordinate("x"), &coordinate("y")].concat();
    let key = installation.file("key.pem");
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        Base64::encode_string(&spki)
    );
    fs::write(&key, pem).expect("the key");

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
