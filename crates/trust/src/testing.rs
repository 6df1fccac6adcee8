//! Orders, proofs and keys for this crate's own tests, without a ceremony.

use crate::alg::{Algorithm, KeySpec};
use crate::bytes16::{CkaId, Nonce};
use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::jwk::{Kid, PublicKey};
use crate::name::Name;
use crate::place::{Location, Pkcs11Location, Pkcs11Place, Place};
use crate::request::{
    Destroy, DestroyKey, DocumentRef, Generate, KeyPurpose, Operation, Request, RevocationReason,
    Revoke, Usage,
};
use crate::subject::{Line, Subject};
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

pub fn location() -> Location {
    Location::Pkcs11(Pkcs11Location {
        cka_id: CkaId([1; 16]),
        label: "atp-integrity.1".to_owned(),
        token_label: "label".to_owned(),
        token_serial: "serial".to_owned(),
    })
}

pub fn generate(number: u32) -> Generate {
    Generate {
        ring: ring(),
        number,
        purpose: KeyPurpose::Sign {
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::P256,
        },
        usage: Usage::Structured,
        place: Place::Pkcs11(Pkcs11Place {
            cka_id: CkaId([1; 16]),
            label: format!("atp-integrity.{number}"),
            template: Template::signing_key(),
            token_label: "label".to_owned(),
            token_serial: "serial".to_owned(),
        }),
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
        keys: vec![DestroyKey {
            kid: kid(number),
            locations: vec![location()],
            number,
            ring: ring(),
        }],
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

fn first(subject: Subject) -> Line {
    Line {
        previous: None,
        sequence: 1,
        subject,
    }
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
        lines: operation.subjects().into_iter().map(first).collect(),
        roster: document,
        policy: document,
        operation,
        order: None,
        proposer: Some("carol".parse().unwrap()),
        reason: "a test".to_owned(),
        ticket: None,
        created_at: at(0),
        approve_by: at(1),
        execute_by: at(2),
        nonce: Nonce([0; 16]),
    }
}
