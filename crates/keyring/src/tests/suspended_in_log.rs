//! Members whom the log suspended, and whom the database does not: they count for nothing that a replica believes.

use log::{Event, Log};
use store::{Change, StatementKind};
use trust::emergency::RESUME;
use trust::leaf::ActKind;
use trust::{MemberSignature, Purpose, Transcript, sshsig, verify_transcript};

use super::emergency::{RING, findings, opened, signs, state, stop, to_resume};
use super::installation::Installation;
use super::orders_in_log::refused_by_everybody;
use super::serving::Serving;
use super::standing_orders::{self, make, ordered, report};
use crate::ceremony::{Draft, Error};

/// By the member, at once.
async fn suspend(all: &Installation, who: &str) {
    let body = all.suspension_of(who).await;
    all.file(StatementKind::Suspension, &body, who).await;
}

/// As the database's owner could: no program reads of the suspension any more, and its leaf is there.
async fn lift(all: &Installation) {
    let sql = "DROP TRIGGER trust_statement_immutable;
        UPDATE trust_statement SET state = 'void' WHERE kind = 'suspension'";
    all.tamper("trust_statement", sql).await;
}

/// Closes what was carried out with these acceptances, as a hostile program would.
async fn close(all: &Installation, id: &str, who: &[&str]) {
    let row = all.store.ceremony(id).await.unwrap().unwrap();
    let mut transcript = Transcript::decode(&row.execution.unwrap()).unwrap();
    for who in who {
        let statement = transcript.acceptance.statement.clone();
        let signature = all.signed(who, Purpose::Accept, statement.as_bytes());
        let signature = MemberSignature::ssh(sshsig::normalize(&signature).unwrap());
        transcript.acceptance.signatures.push(signature);
    }
    let transcript = transcript.encode().unwrap();
    let verified = verify_transcript(&transcript, &all.settings.pin).unwrap();
    let change = Change::CloseCeremony {
        ceremony: id.to_owned(),
        transcript,
        at: all.now().millis(),
        corrected: None,
    };
    let event = Event {
        digest: Some(verified.core_digest()),
        reference: Some(id),
        ring: Some(RING),
        ..Event::new(ActKind::Emergency, RESUME, "test", all.now())
    };
    let log = Log::new(all.store.clone());
    log.commit(&change, &event).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_member_whom_the_log_suspended_counts_for_a_resume() {
    for (who, why) in [
        ("bob", "those who approved it were not suspended"),
        ("carol", "its proposer was suspended"),
    ] {
        let (all, _) = opened().await;
        stop(&all, Some(RING), "otto").await.unwrap();
        suspend(&all, who).await;
        lift(&all).await;
        // Whoever has the key and the database gets so far.
        let id = Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
        assert_eq!(all.ceremony_is(&id).await, "executed");
        let serving = Serving::over(&all).await;
        assert!(signs(&serving).await.is_err());
        close(&all, &id, &["alice", "bob"]).await;
        for replica in [serving, Serving::over(&all).await] {
            assert!(signs(&replica).await.is_err(), "{who}");
        }
        let faults = state(&all).await.faults.join(" ");
        assert!(faults.contains(why), "{faults}");
        assert!(findings(&all).await.contains(&"resume"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_that_a_member_accepted_who_was_suspended_since_waits_for_another() {
    let (all, _) = opened().await;
    stop(&all, Some(RING), "otto").await.unwrap();
    let id = Box::pin(all.executed(RING, to_resume(&all, Some(RING)).await)).await;
    all.accept(&id, "alice").await.unwrap();
    suspend(&all, "alice").await;
    // Enough accepted by the record, and one of them does not count any more.
    let size = all.store.log_size().await.unwrap();
    assert_eq!(all.accept(&id, "bob").await.unwrap().state, "executed");
    let told = all.store.leaves(size, 100).await.unwrap();
    assert!(told.iter().all(|leaf| leaf.kind != "emergency"), "{told:?}");
    let serving = Serving::over(&all).await;
    assert!(signs(&serving).await.is_err());
    assert_eq!(all.accept(&id, "ida").await.unwrap().state, "closed");
    assert_eq!(signs(&serving).await, Ok(()));
    assert_eq!(signs(&Serving::over(&all).await).await, Ok(()));
    assert_eq!(findings(&all).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_key_is_made_under_an_order_whose_approver_the_log_suspended() {
    let ring = standing_orders::RING;
    let (all, order) = ordered(&[ring], |_| ()).await;
    make(&all, &order).await.unwrap();
    suspend(&all, "bob").await;
    // The service pauses it, and takes no use.
    let told = report(&all, &order).await;
    assert_eq!((told.state, told.left), ("paused", 2));
    let paused = make(&all, &order).await.unwrap_err();
    assert!(matches!(paused, Error::NotApproved(_)), "{paused:?}");
    assert_eq!(report(&all, &order).await.left, 2);
    lift(&all).await;
    assert_eq!(report(&all, &order).await.state, "active");
    let why = refused_by_everybody(&all, &order).await;
    let expected = "too few of those who approved the standing order were not suspended";
    assert!(why.contains(expected), "{why}");
}

/// What was made before stays what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_made_before_an_approver_was_suspended_stays() {
    let ring = standing_orders::RING;
    let (all, order) = ordered(&[ring], |_| ()).await;
    make(&all, &order).await.unwrap();
    suspend(&all, "bob").await;
    assert_eq!(standing_orders::keys(&all).await, (2, vec![]));
    standing_orders::sound(&all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_a_member_accepted_who_was_suspended_since_is_not_closed() {
    let all = Installation::with_executors(&[]).await;
    for ring in ["log", standing_orders::RING] {
        Box::pin(all.open_ring(ring)).await;
    }
    let input = standing_orders::input(&all);
    let draft = Draft::Order(Box::new(input));
    let id = Box::pin(all.executed(standing_orders::RING, draft)).await;
    all.accept(&id, "alice").await.unwrap();
    suspend(&all, "alice").await;
    assert_eq!(all.accept(&id, "bob").await.unwrap().state, "executed");
    let orders = all.service().orders((i64::MAX, ""), 10).await.unwrap();
    assert!(orders.0.is_empty());
}
