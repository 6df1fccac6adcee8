//! Exceptions, what witnesses attest, and the record for paper, over HTTP.

use trust::attestation::{
    Attestation, AttestationBody, Attestations, NotShown, verify_attestations,
};
use trust::exception::ExceptionBody;
use trust::format::V1;
use trust::{Pin, VerifiedTranscript, verify_transcript};

use super::*;

impl Fixture {
    fn exception_of(&self, who: &str, id: &str, decided_by: &str, at: Time) -> Value {
        let body = ExceptionBody {
            at,
            decided_by: decided_by.parse().unwrap(),
            exception: "the first token did not answer".to_owned(),
            request_digest: id.parse().unwrap(),
            v: V1,
        };
        let body = String::from_utf8(body.encode().unwrap()).unwrap();
        let signature = self.signed(who, Purpose::Exception, body.as_bytes());
        json!({"purpose": "exception", "signature": signature, "body": body})
    }

    fn attestation_of(&self, who: &str, of: &VerifiedTranscript, note: Option<&str>) -> Value {
        let body = AttestationBody::of(of, note.map(str::to_owned));
        let body = String::from_utf8(body.encode().unwrap()).unwrap();
        let signature = self.signed(who, Purpose::Witness, body.as_bytes());
        json!({"purpose": "witness", "signature": signature, "body": body})
    }

    async fn leaf_of_end(&self, id: &str) -> i64 {
        let leaves = self.store.leaves_of_ceremony(id, 0, 100).await.unwrap();
        let mut leaves = leaves.iter();
        let end = leaves.rfind(|leaf| leaf.body.starts_with(r#"{"action":"accepted","#));
        end.unwrap().index
    }

    async fn approve_and_execute(&self, id: &str) {
        for who in ["alice", "bob"] {
            let approval = self.approval(who, id).await;
            assert_eq!(self.submit(id, approval).await.status, 200);
        }
        self.execute(id).await;
    }

    async fn closed(&self, id: &str) -> (Vec<u8>, VerifiedTranscript) {
        for who in ["alice", "bob"] {
            let acceptance = self.acceptance(who, id).await;
            assert_eq!(self.submit(id, acceptance).await.status, 200);
        }
        let bytes = self.get(&format!("{}/transcript", one(id))).await.body;
        let verified = verify_transcript(&bytes, self.custodians.pin()).unwrap();
        (bytes.to_vec(), verified)
    }
}

#[tokio::test]
async fn a_witness_notes_an_exception_and_attests_what_was_closed() {
    let fixture = service().await;
    let id = fixture.open().await;
    let exception = fixture.exception_of("wendy", &id, "alice", fixture.now());
    let answered = fixture.submit(&id, exception).await;
    assert_eq!(answered.status, 200, "{}", answered.json());
    let read = fixture.read_as("alice", &one(&id)).await.json();
    assert_eq!(read["notes"][0]["what"], "exception", "{read}");
    fixture.approve_and_execute(&id).await;
    let (bytes, verified) = fixture.closed(&id).await;
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains("decided by alice at "), "{text}");

    // It waits for her, and for nobody else.
    let asked = async |who: &str| {
        let answer = fixture.read_as(who, "/v1/ceremonies/waiting").await.json();
        let all = answer["ceremonies"].as_array().unwrap().iter();
        let mut of_it = all.filter(|one| one["ceremony"] == id);
        of_it.next().cloned()
    };
    let waits = asked("wendy").await.unwrap();
    let told = (&waits["asked"], &waits["waiting_for"]);
    assert_eq!(told, (&json!("attest"), &json!(["wendy"])));
    assert_eq!(asked("bob").await, None);
    let attestation = fixture.attestation_of("wendy", &verified, Some("all of it"));
    let answered = fixture.submit(&id, attestation.clone()).await;
    assert_eq!(answered.status, 200, "{}", answered.json());
    assert_eq!(asked("wendy").await, None);
    assert_eq!(answered.json()["state"], "closed");
    fixture
        .refuses(&id, attestation, "signature_not_counted")
        .await;
    // Beside the transcript, which is as it was.
    let again = fixture.get(&format!("{}/transcript", one(&id))).await;
    assert_eq!(again.body, bytes);
    let file = fixture.get(&format!("{}/attestations", one(&id))).await;
    let file = Attestations::decode(&file.body).unwrap();
    assert_eq!(file.request_digest.to_string(), id);
    let judged = verify_attestations(&verified, &file.attestations);
    let attested = judged[0].as_ref().unwrap();
    let said = (attested.witness.as_str(), attested.note.as_deref());
    assert_eq!((said, judged.len()), (("wendy", Some("all of it")), 1));

    let path = format!("{}/record", one(&id));
    let page = fixture.get(&path).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        html.contains("wendy attests this transcript: all of it"),
        "{html}"
    );
    let made = trust::printed::print(&bytes, fixture.custodians.pin(), &file.attestations);
    assert_eq!(html, made.unwrap());
    assert_eq!(fixture.get(&path).await.body, html.as_bytes());
    // Its place in the log comes with the checkpoint that covers it, and the page stays as it is then.
    assert!(
        html.contains("this file has no proofs of the log"),
        "{html}"
    );
    fixture.publish_log().await;
    let end = fixture.leaf_of_end(&id).await;
    let proven = fixture.get(&path).await.body;
    let html = String::from_utf8(proven.to_vec()).unwrap();
    let shown = format!("{end}, which ends the ceremony");
    assert!(html.contains(&shown), "{html}");
    fixture.ceremony("records", fixture.generate()).await;
    fixture.publish_log().await;
    assert_eq!(fixture.get(&path).await.body, proven);
    let none = one(&Sha256Digest::of(b"x").to_string());
    let none = format!("{none}/record");
    assert_eq!(fixture.get(&none).await.code(), "unknown_ceremony");
}

#[tokio::test]
async fn threat_an_exception_by_whom_or_of_when_it_cannot_be() {
    let fixture = service().await;
    fixture.wait(60);
    let id = fixture.open().await;
    let now = fixture.now();
    for who in ["dave", "erin", "mallory"] {
        let exception = fixture.exception_of(who, &id, "alice", now);
        fixture
            .refuses(&id, exception, "signature_not_counted")
            .await;
    }
    let hours = |hours: i64| Time::from_millis(now.millis() + hours * 3_600_000);
    for (decided_by, at) in [
        ("mallory", now),
        ("erin", now),
        ("alice", hours(1)),
        ("alice", hours(-24)),
    ] {
        let exception = fixture.exception_of("wendy", &id, decided_by, at);
        let answered = fixture.refuses(&id, exception, "bad_member").await;
        assert_eq!(answered.member(), "body");
    }
    // Of another ceremony, and after the execution.
    let other = Sha256Digest::of(b"another").to_string();
    let exception = fixture.exception_of("wendy", &other, "alice", now);
    fixture
        .refuses(&id, exception, "signature_not_counted")
        .await;
    fixture.approve_and_execute(&id).await;
    let exception = fixture.exception_of("wendy", &id, "alice", now);
    fixture.refuses(&id, exception, "ceremony_state").await;
}

#[tokio::test]
async fn threat_an_attestation_of_what_is_not_closed_or_by_whom_it_cannot_be() {
    let fixture = service().await;
    let first = fixture.open().await;
    fixture.approve_and_execute(&first).await;
    let (bytes, verified) = fixture.closed(&first).await;
    let pin: &Pin = fixture.custodians.pin();
    assert!(verify_transcript(&bytes, pin).is_ok());
    for who in ["alice", "carol", "adam", "dave", "mallory"] {
        let attestation = fixture.attestation_of(who, &verified, None);
        fixture
            .refuses(&first, attestation, "signature_not_counted")
            .await;
    }
    fixture.wait(1);
    let second = fixture.open().await;
    let attestation = fixture.attestation_of("wendy", &verified, None);
    fixture
        .refuses(&second, attestation.clone(), "ceremony_state")
        .await;
    // An approval by it counts as little.
    let approval = fixture.approval("wendy", &second).await;
    fixture
        .refuses(&second, approval, "signature_not_counted")
        .await;
    let answered = fixture.get(&format!("{}/attestations", one(&second))).await;
    assert_eq!(answered.code(), "unknown_ceremony");
    let read = Attestation {
        body: attestation["body"].as_str().unwrap().to_owned(),
        log: NotShown,
        received_at: None,
        signature: trust::MemberSignature::ssh("x"),
    };
    assert!(verify_attestations(&verified, &[read])[0].is_err());
}
