//! The bytes that members sign to read and to note something, as they are documented.

use trust::chain::walk;
use trust::note::NoteBody;
use trust::read::{ReadError, in_time, read_message, read_namespace, verify_read};
use trust::{MemberSignature, Sha256Digest, Time};

use crate::support::{Custodian, World, minute};

fn pae(payload_type: &str, body: &str) -> String {
    let (of_type, of_body) = (payload_type.len(), body.len());
    format!("DSSEv1 {of_type} {payload_type} {of_body} {body}")
}

#[test]
fn what_is_signed_to_read_is_spelled_as_documented() {
    let namespace = read_namespace(&"seal".parse().unwrap(), &"production".parse().unwrap());
    let time = Time::from_millis(1_795_338_000_000);
    let bytes = read_message(&namespace, "/v1/ceremonies?state=open", time).unwrap();
    let body = r#"{"method":"GET","path":"/v1/ceremonies?state=open","time":"2026-11-22T09:00:00.000Z","v":1}"#;
    let expected = pae("chancery/read.v1@seal/production", body);
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn what_is_signed_to_note_something_is_spelled_as_documented() {
    let digest = Sha256Digest::of(b"a request");
    let body = NoteBody {
        note: "the safe was locked".to_owned(),
        request_digest: digest,
        v: trust::format::V1,
    };
    let body = String::from_utf8(body.encode().unwrap()).unwrap();
    let expected = format!(r#"{{"note":"the safe was locked","request_digest":"{digest}","v":1}}"#);
    assert_eq!(body, expected);
}

/// The cheapest question first: what is late, and then whose key it is, are asked before the signature.
#[test]
fn whose_key_it_is_is_asked_before_the_signature() {
    let world = World::quick();
    let trusted = walk(&world.chains, &world.pin).unwrap();
    let (time, path) = (minute(5), "/v1/ceremonies");
    let namespace = read_namespace(trusted.service(), trusted.environment());
    let over = |custodian: &Custodian, bytes: &[u8]| {
        MemberSignature::ssh(custodian.sign(&namespace.to_string(), bytes))
    };
    let message = read_message(&namespace, path, time).unwrap();
    let stranger = Custodian::quick("mallory");
    let read = |signature: &MemberSignature, now| verify_read(&trusted, path, time, signature, now);
    let good = over(&world.alice, &message);
    assert_eq!(read(&good, time).unwrap(), &world.alice.id);
    // Neither is a signature over this resource.
    let wrong = read(&over(&world.alice, b"another"), time).unwrap_err();
    assert!(matches!(wrong, ReadError::Signature(_)), "{wrong}");
    let nobody = read(&over(&stranger, b"another"), time).unwrap_err();
    assert_eq!(nobody, ReadError::NotAMember);
    let late = read(&over(&stranger, b"another"), minute(11)).unwrap_err();
    assert_eq!(late, ReadError::Late);
    assert_eq!(in_time(minute(6), minute(5)), Err(ReadError::Early));
}
