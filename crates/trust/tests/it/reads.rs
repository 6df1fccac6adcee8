//! The bytes that members sign to read and to note something, as they are documented.

use trust::note::NoteBody;
use trust::read::{read_message, read_namespace};
use trust::{Sha256Digest, Time};

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
