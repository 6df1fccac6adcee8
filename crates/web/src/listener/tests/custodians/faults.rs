//! The database fails in the middle of a submission: what was not finished is told, is finished when it is sent again, and
//! nothing is half kept.

use super::*;

impl Fixture {
    /// Writing to this table fails from now on, and not because a rule says so.
    async fn breaks(&self, table: &str, event: &str, when: &str) {
        let sql = format!(
            "CREATE TRIGGER broken AFTER {event} ON {table} {when} BEGIN INSERT INTO nowhere VALUES (1); END"
        );
        self.place.raw(&sql).await.unwrap();
    }

    async fn works_again(&self) {
        self.place.raw("DROP TRIGGER broken").await.unwrap();
    }

    async fn signatures(&self, id: &str) -> usize {
        self.store.ceremony_signatures(id).await.unwrap().len()
    }

    /// Sent while the database fails, and once more.
    async fn fails_and_is_sent_again(&self, id: &str, body: Value) -> Answered {
        let before = (self.world().await, self.signatures(id).await);
        let failed = self.submit(id, body.clone()).await;
        assert!(failed.status.is_server_error(), "{}", failed.status);
        let text = failed.json().to_string();
        assert!(!text.contains("nowhere"), "{text}");
        assert_eq!((self.world().await, self.signatures(id).await), before);
        self.works_again().await;
        let answered = self.submit(id, body).await;
        assert_eq!(answered.status, 200, "{}", answered.json());
        answered
    }
}

#[tokio::test]
async fn fault_the_database_fails_while_a_signature_is_kept() {
    let fixture = service().await;
    let request = fixture.request("records", fixture.generate()).await;
    let bytes = request.encode().unwrap();
    let body = json!({
        "request": String::from_utf8(bytes.clone()).unwrap(),
        "signature": fixture.signed("carol", Purpose::Propose, &bytes),
    });
    // The ceremony is there and its proposal is not: neither is.
    fixture.breaks("ceremony_signature", "INSERT", "").await;
    let before = fixture.world().await;
    let failed = fixture.post(LIST, body.to_string()).await;
    assert!(failed.status.is_server_error(), "{}", failed.status);
    let id = Sha256Digest::of(&bytes).to_string();
    assert!(fixture.store.ceremony(&id).await.unwrap().is_none());
    assert_eq!(fixture.world().await, before);
    fixture.works_again().await;
    assert_eq!(fixture.post(LIST, body.to_string()).await.status, 200);
    fixture.state.services.keys.refresh().await;

    let note = fixture.note_of("wendy", &id, "seen");
    fixture.breaks("ceremony_signature", "INSERT", "").await;
    fixture.fails_and_is_sent_again(&id, note).await;
    let approval = fixture.approval("alice", &id).await;
    fixture.breaks("log_leaf", "INSERT", "").await;
    fixture.fails_and_is_sent_again(&id, approval).await;
    let rejection = fixture.objection("bob", Purpose::Reject, &id, "no");
    fixture.breaks("ceremony_signature", "INSERT", "").await;
    fixture.fails_and_is_sent_again(&id, rejection).await;
    assert_eq!(fixture.state_of(&id).await, "rejected");
}

/// The signature and what follows from it are two transactions. Between them the signature counts already.
#[tokio::test]
async fn fault_the_database_fails_between_a_signature_and_what_it_completes() {
    let fixture = service().await;
    let moves = "WHEN NEW.state <> OLD.state";
    let finished = async |id: &str, body: Value, state: &str| {
        let before = fixture.signatures(id).await;
        let was = fixture.state_of(id).await;
        fixture.breaks("ceremony", "UPDATE", moves).await;
        let failed = fixture.submit(id, body.clone()).await;
        assert!(failed.status.is_server_error(), "{}", failed.status);
        assert_eq!(fixture.state_of(id).await, was);
        assert_eq!(fixture.signatures(id).await, before + 1);
        fixture.works_again().await;
        let again = fixture.submit(id, body).await;
        assert_eq!(again.status, 200, "{state}: {}", again.json());
        assert_eq!(again.json()["state"], state);
        assert_eq!(fixture.signatures(id).await, before + 1);
    };
    for (who, purpose, state) in [
        ("alice", Purpose::Reject, "rejected"),
        ("carol", Purpose::Cancel, "cancelled"),
    ] {
        fixture.wait(1);
        let id = fixture.open().await;
        let body = fixture.objection(who, purpose, &id, "no");
        finished(&id, body, state).await;
    }
    fixture.wait(1);
    let id = fixture.open().await;
    let approval = fixture.approval("alice", &id).await;
    assert_eq!(fixture.submit(&id, approval).await.status, 200);
    finished(&id, fixture.approval("bob", &id).await, "approved").await;
    fixture.execute(&id).await;
    let acceptance = fixture.acceptance("alice", &id).await;
    assert_eq!(fixture.submit(&id, acceptance).await.status, 200);
    finished(&id, fixture.acceptance("bob", &id).await, "closed").await;
    // The key is published once.
    let keys = fixture.state.services.keys.current();
    assert_eq!(keys.rings["records"].keys.len(), 2);
}
