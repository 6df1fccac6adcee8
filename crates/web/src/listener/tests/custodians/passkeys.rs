//! Passkeys over HTTP: what a browser is given, what it gives back, and what is refused.

use serde_json::{Value, json};
use testkit::passkey::{RP_ID, SoftPasskey, relying_party};
use trust::{Purpose, Sha256Digest, base64url, dsse};

use super::roster::STATEMENTS;
use super::{one, service};
use crate::testing::Fixture;

impl Fixture {
    fn bytes(&self, purpose: Purpose, body: &[u8]) -> Vec<u8> {
        dsse::pae(&self.namespace(purpose), body)
    }

    /// What a page is given for a member's signature.
    async fn options(&self, id: &str, query: &str) -> Value {
        let path = format!("{}/passkey?{query}", one(id));
        let answered = self.read_as("alice", &path).await;
        assert_eq!(answered.status, 200, "{}", answered.json());
        answered.json()
    }

    /// Bob has a passkey, enrolled over HTTP.
    async fn enrolled(&self) -> SoftPasskey {
        let passkey = SoftPasskey::new("bob");
        let body = self.next_roster(|roster| {
            roster.passkeys = Some(relying_party());
            let bob = roster
                .members
                .iter_mut()
                .find(|each| each.id.as_str() == "bob");
            bob.unwrap().keys.push(passkey.member_key());
        });
        let filed = self.file_statement("roster", &body, "alice").await.json();
        assert!(
            filed["unproven"][0]
                .as_str()
                .unwrap()
                .starts_with("bob: passkey ES256 ")
        );
        let id = Sha256Digest::of(&body);
        let path = format!("{STATEMENTS}/{id}");
        let shown = self.read_as("alice", &path).await.json();
        let message = self.bytes(Purpose::Roster, &body);
        let challenge = base64url::encode(Sha256Digest::of(&message).as_bytes());
        assert_eq!(shown["passkey"]["challenge"], challenge);
        assert_eq!(shown["passkey_attestations"], json!([]));
        let assertion = passkey.browser_json(&message);
        let attestation = base64url::encode(&passkey.attestation());
        let mut sent = json!({"purpose": "sign", "signature": assertion});
        let refused = self.about(&body, &sent).await;
        assert_eq!(refused.status, 409, "{}", refused.json());
        sent["attestation"] = json!("=");
        assert_eq!(self.about(&body, &sent).await.code(), "bad_member");
        sent["attestation"] = json!(attestation);
        let signed = self.about(&body, &sent).await;
        assert_eq!(signed.json()["unproven"], json!([]), "{}", signed.json());
        let shown = self.read_as("alice", &path).await.json();
        assert_eq!(shown["passkey_attestations"][0]["attestation"], attestation);
        let signed = self.agree(Purpose::Roster, &body, "bob").await.json();
        assert_eq!(signed["state"], "effective", "{signed}");
        passkey
    }
}

#[tokio::test]
async fn a_browser_is_given_what_it_needs_and_its_answer_counts() {
    let fixture = service().await;
    let bob = fixture.enrolled().await;
    let id = fixture.open().await;
    let request = fixture.ceremonies().request(&id).await.unwrap().0;
    let message = fixture.bytes(Purpose::Approve, &request);
    let options = fixture.options(&id, "purpose=approve&member=bob").await;
    let challenge = base64url::encode(Sha256Digest::of(&message).as_bytes());
    assert_eq!(options["challenge"], challenge);
    assert_eq!(
        (&options["rpId"], &options["userVerification"]),
        (&json!(RP_ID), &json!("required"))
    );
    assert_eq!(options["allowCredentials"][0]["type"], "public-key");

    let approval = json!({"purpose": "approve", "signature": bob.browser_json(&message)});
    let answered = fixture.submit(&id, approval.clone()).await;
    assert_eq!(
        answered.json()["approved_by"],
        json!(["bob"]),
        "{}",
        answered.json()
    );
    // Replayed, it is there already, and nothing is written.
    let size = fixture.store.log_size().await.unwrap();
    let again = fixture.submit(&id, approval).await;
    assert_eq!(again.code(), "signature_not_counted", "{}", again.json());
    assert_eq!(fixture.store.log_size().await.unwrap(), size);
    let answered = fixture
        .submit(&id, fixture.approval("alice", &id).await)
        .await;
    assert_eq!(answered.json()["state"], "approved");

    fixture.execute(&id).await;
    let statement = fixture.ceremonies().statement(&id).await.unwrap();
    let message = fixture.bytes(Purpose::Accept, &statement);
    let options = fixture.options(&id, "purpose=accept").await;
    let challenge = base64url::encode(Sha256Digest::of(&message).as_bytes());
    assert_eq!(options["challenge"], challenge);
    let signature: Value = serde_json::from_str(&bob.sign(&message)).unwrap();
    let accepted = json!({"purpose": "accept", "signature": signature});
    assert_eq!(fixture.submit(&id, accepted).await.status, 200);
    let accepted = fixture.acceptance("alice", &id).await;
    assert_eq!(
        fixture.submit(&id, accepted).await.json()["state"],
        "closed"
    );
}

#[tokio::test]
async fn a_passkey_rejects_and_a_copy_of_it_signs_nothing() {
    let fixture = service().await;
    let bob = fixture.enrolled().await;
    let (first, second) = (fixture.open().await, fixture.open().await);
    let reason = json!("no ticket");
    let object = |id: &str| trust::approval::ObjectionBody {
        v: trust::format::V1,
        request_digest: id.parse().unwrap(),
        reason: "no ticket".to_owned(),
    };
    let message = |id: &str| fixture.bytes(Purpose::Reject, &object(id).encode().unwrap());
    let options = fixture
        .options(&first, "purpose=reject&reason=no%20ticket")
        .await;
    let challenge = Sha256Digest::of(&message(&first));
    assert_eq!(
        options["challenge"],
        base64url::encode(challenge.as_bytes())
    );
    let by =
        |signature: String| json!({"purpose": "reject", "signature": signature, "reason": reason});
    let answered = fixture.submit(&first, by(bob.sign(&message(&first)))).await;
    assert_eq!(answered.json()["state"], "rejected", "{}", answered.json());
    let copy = by(bob.sign_at(&message(&second), 1));
    let refused = fixture.submit(&second, copy).await;
    assert_eq!(refused.code(), "signature_not_counted");
    assert!(
        refused.json().to_string().contains("did not rise"),
        "{}",
        refused.json()
    );
    assert_eq!(fixture.state_of(&second).await, "proposed");
}

#[tokio::test]
async fn what_is_no_passkey_is_told_apart() {
    let fixture = service().await;
    let id = fixture.open().await;
    for query in [
        "",
        "?purpose=propose",
        "?purpose=accept&reason=x",
        "?purpose=reject",
        "?purpose=approve&member=%00",
        "?purpose=approve&more=1",
    ] {
        let path = format!("{}/passkey{query}", one(&id));
        let answered = fixture.read_as("alice", &path).await;
        assert_eq!(answered.code(), "bad_query", "{query}");
    }
    // The roster has none.
    let path = format!("{}/passkey?purpose=approve", one(&id));
    let answered = fixture.read_as("alice", &path).await;
    assert_eq!(answered.status, 409, "{}", answered.json());
    // Nobody reads it without a signature or a role.
    assert_eq!(fixture.get(&path).await.code(), "unauthenticated");
    let stranger = SoftPasskey::new("stranger");
    for signature in [
        json!(7),
        json!(["x"]),
        json!({}),
        json!({"kind": "webauthn"}),
        json!({"kind": "pgp"}),
        serde_json::from_str(&stranger.sign(b"message")).unwrap(),
    ] {
        let sent = json!({"purpose": "approve", "signature": signature});
        let code = match signature.is_object() {
            true => "signature_not_counted",
            false => "bad_member",
        };
        fixture.refuses(&id, sent, code).await;
    }
}
