//! Orders, proofs and keys for this crate's own tests, without a ceremony.

use crate::alg::{Algorithm, KeySpec};
use crate::bytes16::{CkaId, Nonce};
use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::jwk::{Kid, PublicKey};
use crate::name::Name;
use crate::request::{
    Destroy, DocumentRef, Generate, Operation, Request, RevocationReason, Revoke, Usage,
};
use crate::tally::{Accepted, Approved};
use crate::template::Template;
use crate::time::Time;

pub fn at(seconds: i64) -> Time {
    Time::from_millis(seconds * 1000)
}

pub fn ring() -> Name {
    "atp-integrity".parse().unwrap()
}

/// A different key for every number. It is on no curve, which nothing here asks.
pub fn key(number: u32) -> PublicKey {
    let bytes = Sha256Digest::of(&number.to_be_bytes());
    PublicKey::ec(crate::jwk::Curve::P256, bytes.as_bytes(), bytes.as_bytes()).unwrap()
}

pub fn kid(number: u32) -> Kid {
    key(number).kid()
}

pub fn generate(number: u32) -> Generate {
    Generate {
        ring: ring(),
        algorithm: Algorithm::Es256,
        key_spec: KeySpec::P256,
        number,
        token_serial: "serial".to_owned(),
        token_label: "label".to_owned(),
        cka_id: CkaId([1; 16]),
        label: format!("atp-integrity.{number}"),
        template: Template::signing_key(),
        critical: true,
        usage: Usage::Structured,
        publish_at: at(0),
        activate_at: at(0),
        retire_at: at(1_000_000),
        predecessor: (number > 1).then(|| kid(number - 1)),
    }
}

pub fn accepted(number: u32) -> Accepted {
    Accepted::for_test(key(number), generate(number))
}

pub fn destroy(number: u32) -> Approved<Destroy> {
    let order = Destroy {
        ring: ring(),
        kid: kid(number),
        number,
        cka_id: CkaId([1; 16]),
        token_serial: "serial".to_owned(),
        token_label: "label".to_owned(),
    };
    Approved::for_test(order.clone(), request(Operation::Destroy(order)))
}

pub fn revoke(number: u32, compromised_since: Option<Time>) -> Approved<Revoke> {
    let reason = match compromised_since {
        Some(_) => RevocationReason::Compromised,
        None => RevocationReason::Superseded,
    };
    let order = Revoke {
        ring: ring(),
        kid: kid(number),
        number,
        reason,
        compromised_since,
    };
    Approved::for_test(order.clone(), request(Operation::Revoke(order)))
}

pub fn request(operation: Operation) -> Request {
    let document = DocumentRef {
        version: 1,
        digest: Sha256Digest::of(b"document"),
    };
    Request {
        v: V1,
        service: "seal".parse().unwrap(),
        environment: "test".parse().unwrap(),
        sequence: 1,
        previous_transcript: None,
        roster: document,
        policy: document,
        operation,
        proposer: "carol".parse().unwrap(),
        reason: "a test".to_owned(),
        ticket: None,
        created_at: at(0),
        approve_by: at(1),
        execute_by: at(2),
        nonce: Nonce([0; 16]),
    }
}
