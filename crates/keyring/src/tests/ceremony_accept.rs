use super::installation::Installation;
use crate::ceremony::Error;

const EXECUTED: &str = "generate executed | present | - | pair";
const CLOSED: &str = "generate closed | present | records/1 prepared | pair";

async fn executed() -> (Installation, String) {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.executed("records", Installation::generation()).await;
    (all, id)
}

async fn acceptances(all: &Installation, id: &str) -> usize {
    let signatures = all.store.ceremony_signatures(id).await.unwrap();
    signatures
        .iter()
        .filter(|row| row.purpose == trust::Purpose::Accept)
        .count()
}

#[tokio::test]
async fn a_key_is_published_when_a_quorum_accepted_it_and_not_before() {
    let (all, id) = executed().await;
    for who in ["erin", "dave", "mallory"] {
        let refused = all.accept(&id, who).await.unwrap_err();
        assert!(
            matches!(refused, Error::DoesNotCount(_)),
            "{who}: {refused:?}"
        );
        assert!(all.last_act().await.starts_with("refusal accept: "));
    }
    assert_eq!(all.state().await, EXECUTED);
    let report = all.accept(&id, "alice").await.unwrap();
    assert_eq!(report.standing, "waiting for 1 more acceptance(s)");
    let twice = all.accept(&id, "alice").await.unwrap_err();
    assert!(matches!(twice, Error::DoesNotCount(_)), "{twice:?}");
    assert_eq!(acceptances(&all, &id).await, 1);
    assert_eq!(all.state().await, EXECUTED);
    assert!(all.snapshot().await.jwks.is_empty);

    let report = all.accept(&id, "bob").await.unwrap();
    assert_eq!(
        (report.state.as_str(), report.standing.as_str()),
        ("closed", "finished")
    );
    assert_eq!(report.accepted_by, ["alice", "bob"]);
    assert_eq!(all.state().await, CLOSED);
    let snapshot = all.snapshot().await;
    assert!(!snapshot.jwks.is_empty);
    assert_eq!(snapshot.rings["records"].keys[0].kid, report.kids[0]);
    let late = all.accept(&id, "carol").await.unwrap_err();
    assert!(
        matches!(&late, Error::State { found, .. } if found == "closed"),
        "{late:?}"
    );
    assert_eq!(acceptances(&all, &id).await, 2);
    assert!(!all.service().transcript(&id).await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_accepted_before_it_is_done() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.approved("records", Installation::generation()).await;
    let early = all.accept(&id, "alice").await.unwrap_err();
    assert!(
        matches!(
            &early,
            Error::State {
                needed: "executed",
                ..
            }
        ),
        "{early:?}"
    );
    let early = all.service().transcript(&id).await.unwrap_err();
    assert!(
        matches!(
            &early,
            Error::State {
                needed: "closed",
                ..
            }
        ),
        "{early:?}"
    );
}

/// A crash came between the last acceptance and the closing; three ways lead out of it.
#[tokio::test]
async fn what_was_accepted_and_not_closed_is_closed_later() {
    for way in ["another", "repeated", "reconciled"] {
        let (all, id) = executed().await;
        all.accept(&id, "alice").await.unwrap();
        all.break_at("INSERT ON signing_key", "TRUE").await;
        let failed = all.accept(&id, "bob").await.unwrap_err();
        assert!(matches!(failed, Error::Store(_)), "{failed:?}");
        all.repair().await;
        assert_eq!(acceptances(&all, &id).await, 2);
        assert_eq!(all.state().await, EXECUTED, "{way}");
        match way {
            "another" => drop(all.accept(&id, "carol").await.unwrap()),
            "repeated" => drop(all.accept(&id, "bob").await.unwrap()),
            _ => {
                let found = all.reconcile().await;
                assert!(
                    found[0].ends_with("accepted but not closed -> closed"),
                    "{found:?}"
                );
            }
        }
        assert_eq!(all.state().await, CLOSED, "{way}");
        assert_eq!(all.snapshot().await.keys.len(), 1);
    }
}

#[tokio::test]
async fn an_acceptance_that_the_database_did_not_take_is_given_again() {
    let (all, id) = executed().await;
    all.break_at("INSERT ON ceremony_signature", "TRUE").await;
    all.accept(&id, "alice").await.unwrap_err();
    all.repair().await;
    assert_eq!(acceptances(&all, &id).await, 0);
    all.accept(&id, "alice").await.unwrap();
    all.accept(&id, "bob").await.unwrap();
    assert_eq!(all.state().await, CLOSED);
}

/// Somebody put another public key under the ceremony after it was executed.
#[tokio::test]
async fn a_result_that_was_exchanged_is_not_accepted() {
    let (all, id) = executed().await;
    all.accept(&id, "alice").await.unwrap();
    let row = all.store.ceremony(&id).await.unwrap().unwrap();
    let text = String::from_utf8(row.execution.unwrap()).unwrap();
    let digest = trust::Sha256Digest::of(&row.request).to_string();
    let exchanged = text.replace(&digest, &"0".repeat(64));
    assert_ne!(text, exchanged);
    let sql = format!("UPDATE ceremony SET execution = CAST('{exchanged}' AS BLOB)");
    all.tamper("ceremony", &sql).await;
    let payload = all.service().acceptance_payload(&id).await.unwrap();
    let signature = all
        .custodians
        .signature("bob", &payload.namespace, &payload.bytes);
    let refused = all.service().accept(&id, &signature).await.unwrap_err();
    assert!(matches!(refused, Error::Acceptance(_)), "{refused:?}");
    assert!(all.snapshot().await.keys.is_empty());
    assert!(all.store.keys().await.unwrap().read.is_empty());
}

/// What does not count has no place in the transcript, which a stranger verifies.
#[tokio::test]
async fn a_closed_transcript_has_the_acceptances_that_count() {
    let (all, id) = executed().await;
    all.accept(&id, "alice").await.unwrap();
    all.accept(&id, "bob").await.unwrap();
    let bytes = all.service().transcript(&id).await.unwrap();
    let verified = trust::verify_transcript(&bytes, &all.settings.pin).unwrap();
    assert_eq!(verified.kids().len(), 1);
    let transcript = trust::Transcript::decode(&bytes).unwrap();
    assert_eq!(transcript.acceptance.signatures.len(), 2);
}
