//! What is over costs nothing at a start, and nobody who writes rows makes a replica pass over what is not.

use store::Hindrance;
use trust::Sha256Digest;
use trust::request::Ended;

use super::emergency::*;
use super::installation::Installation;
use super::serving::{Serving, Verifying};
use crate::ceremony::{Draft, Error};
use log::{EmergencyCost, EmergencyReading, EmergencyState, unverified_chains};

/// Stopped by one and let go on by the threshold.
async fn stopped_and_resumed(all: &Installation) {
    stop(all, Some(RING), "alice").await.unwrap();
    Box::pin(all.closed(RING, to_resume(all, Some(RING)).await)).await;
}

/// Rotated in an emergency, and ratified.
async fn rotated_and_ratified(all: &Installation) {
    Box::pin(all.standby(RING)).await;
    all.wait(super::installation::LONG);
    let id = all.propose(RING, rotation(all)).await;
    Box::pin(carried_out(all, &id, &THREE)).await.unwrap();
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    Box::pin(all.closed(RING, Draft::Ratification { rotation: None })).await;
}

/// Of a replica that starts now.
async fn cost_of_a_start(all: &Installation) -> EmergencyCost {
    all.snapshot().await.emergency.cost()
}

/// As the check of the log reads it: everything.
async fn everything(all: &Installation) -> EmergencyState {
    let documents = all.store.documents().await.unwrap();
    let chains = unverified_chains(&documents).unwrap().unwrap();
    let trusted = trust::chain::walk(&chains, &all.settings.pin).unwrap();
    let reading = EmergencyReading {
        store: &all.store,
        pin: &all.settings.pin,
        chain: Some((&chains, &trusted)),
        documents: &documents,
        suspensions: &[],
        seen: None,
    };
    reading.read_all().await.unwrap()
}

/// Fresh replicas and the check of the log hold the same, and know as much.
async fn same_as_everything(all: &Installation) {
    let (newest, all) = (all.snapshot().await, everything(all).await);
    let known = newest.emergency.known();
    assert_eq!(known.stops(), all.known().stops());
    assert_eq!(known.rotations(), all.known().rotations());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_costs_the_same_however_many_stops_and_rotations_are_over() {
    let (all, _) = opened().await;
    stopped_and_resumed(&all).await;
    Box::pin(rotated_and_ratified(&all)).await;
    stopped_and_resumed(&all).await;
    let (few, read) = (cost_of_a_start(&all).await, everything(&all).await.cost());
    for _ in 0..4 {
        stopped_and_resumed(&all).await;
    }
    for _ in 0..2 {
        Box::pin(rotated_and_ratified(&all)).await;
    }
    stopped_and_resumed(&all).await;
    assert_eq!(cost_of_a_start(&all).await, few);
    assert_eq!(few.verified, 2, "the newest resume and ratification");
    // Who reads everything verifies each of them.
    assert!(everything(&all).await.cost().verified > read.verified + 5);
    same_as_everything(&all).await;
    assert_eq!(signs(&Serving::over(&all).await).await, Ok(()));
    // What is open costs its own verification, and is judged the same.
    stop(&all, Some(RING), "bob").await.unwrap();
    let open = cost_of_a_start(&all).await;
    assert_eq!(open.verified, few.verified + 1);
    same_as_everything(&all).await;
    assert!(signs(&Serving::over(&all).await).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_runs_judges_what_is_new_alone() {
    let (all, _) = opened().await;
    for _ in 0..3 {
        stopped_and_resumed(&all).await;
    }
    let serving = Serving::over(&all).await;
    stop(&all, Some(RING), "alice").await.unwrap();
    assert!(signs(&serving).await.is_err());
    let stopped = serving.keys.current().emergency.cost();
    assert_eq!(stopped.verified, 1);
    Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
    assert_eq!(signs(&serving).await, Ok(()));
    let resumed = serving.keys.current().emergency.cost();
    assert_eq!(resumed.verified, 1);
    assert!(resumed.statements < 10, "{resumed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_place_of_a_line_is_found_without_reading_what_is_over() {
    let (all, _) = opened().await;
    for round in 0..3 {
        assert_eq!(draft(&all, Some(RING)).await.line.sequence, 2 * round + 1);
        stopped_and_resumed(&all).await;
    }
    let newest = all
        .store
        .hindrances_before(Hindrance::Stop, RING, i64::MAX, 2)
        .await;
    assert_eq!(newest.unwrap().len(), 2);
}

/// The leaf of this kind and action that was written last.
async fn last_leaf(all: &Installation, action: &str) -> String {
    let leaves = all.store.emergency_leaves(0).await.unwrap();
    let named = format!(r#"{{"action":"{action}","#);
    let mut told = leaves.into_iter().map(|leaf| leaf.body);
    told.rfind(|body| body.starts_with(&named)).unwrap()
}

/// As a database superuser inserts a leaf that was there before, word for word.
async fn again(all: &Installation, body: &str) {
    let size = all.store.log_size().await.unwrap();
    let now = all.now().millis();
    let sql = format!(
        "UPDATE log_head SET size = size + 1, version = version + 1;
         INSERT INTO log_leaf (idx, time, kind, body)
         VALUES ({size}, {now}, 'emergency', '{body}')"
    );
    assert!(all.place.raw(&sql).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_superuser_who_tells_of_an_old_stop_and_its_resume_again_hides_no_later_one() {
    let (all, _) = opened().await;
    stopped_and_resumed(&all).await;
    let (old, resume) = (
        last_leaf(&all, "stop").await,
        last_leaf(&all, "resume").await,
    );
    stop(&all, Some(RING), "alice").await.unwrap();
    for body in [&old, &resume] {
        again(&all, body).await;
        assert!(signs(&Serving::over(&all).await).await.is_err());
    }
    // Not even without the row that would show its place.
    let sql = "DELETE FROM emergency_stop WHERE seq > 1";
    all.tamper("emergency_stop", sql).await;
    assert!(signs(&Serving::over(&all).await).await.is_err());
    // The threshold ends it.
    let open = state(&all).await.stops;
    let open = open.iter().find(|stop| stop.sequence == 3).unwrap();
    let ends = Ended::Stop {
        digest: open.stop,
        sequence: open.sequence,
    };
    Box::pin(all.closed(RING, Draft::Resume { ends })).await;
    let left = state(&all).await.stops;
    assert!(left.iter().all(|stop| stop.sequence != 3), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_superuser_who_makes_the_leaf_of_a_stop_an_old_one_hides_nothing() {
    let (all, _) = opened().await;
    stopped_and_resumed(&all).await;
    let old = last_leaf(&all, "stop").await;
    stop(&all, Some(RING), "alice").await.unwrap();
    let index = all.store.last_emergency().await.unwrap();
    let sql = format!("UPDATE log_leaf SET body = '{old}' WHERE idx = {index}");
    all.tamper("log_leaf", &sql).await;
    // What the member signed is there, and nobody ended it.
    assert!(signs(&Serving::over(&all).await).await.is_err());
    assert!(!state(&all).await.faults.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_superuser_who_takes_a_stop_away_from_a_replica_that_read_it() {
    let (all, _) = opened().await;
    let serving = Serving::over(&all).await;
    stop(&all, Some(RING), "alice").await.unwrap();
    assert!(signs(&serving).await.is_err());
    all.tamper("emergency_stop", "DELETE FROM emergency_stop")
        .await;
    let sql = "UPDATE log_leaf SET kind = 'admin' WHERE kind = 'emergency'";
    all.tamper("log_leaf", sql).await;
    // Read again, because something changed.
    all.create_ring("other").await;
    serving.keys.refresh().await;
    assert!(signs(&serving).await.is_err());
    let known = serving.keys.current();
    let codes: Vec<_> = known.emergency.faults().iter().map(|f| f.code).collect();
    assert!(codes.contains(&"emergency_forgotten"), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_log_that_was_rewritten_below_what_was_judged_is_read_anew() {
    let (all, _) = opened().await;
    stopped_and_resumed(&all).await;
    all.create_ring("another").await;
    let serving = Serving::over(&all).await;
    assert_eq!(signs(&serving).await, Ok(()));
    // After the last of them, and before what this replica judged.
    let last = all.store.last_emergency().await.unwrap();
    let judged = serving.keys.current().emergency.judged();
    assert!(last + 1 < judged);
    let body = format!(
        r#"{{"action":"stop","actor":"x","kind":"emergency","ref":"{}","ring":"{RING}","time":"{}","v":1,"version":3}}"#,
        Sha256Digest::of(b"stop"),
        all.now()
    );
    let sql = format!(
        "UPDATE log_leaf SET kind = 'emergency', body = '{body}' WHERE idx = {}",
        last + 1
    );
    all.tamper("log_leaf", &sql).await;
    all.create_ring("other").await;
    serving.keys.refresh().await;
    assert!(signs(&serving).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_end_ends_what_was_before_it_in_its_line() {
    let (all, _) = opened().await;
    let behind = all.snapshot().await;
    stop(&all, Some(RING), "alice").await.unwrap();
    // A replica that knows nothing of the first takes another.
    let (body, signature) = signed(&all, &draft(&all, Some(RING)).await, "bob");
    let service = all.service();
    // It would say that the ring is stopped already, if it looked.
    let second = service.stop(body, &signature, &behind).await.unwrap();
    let open = state(&all).await.stops;
    assert_eq!(open.len(), 2, "{open:?}");
    let ends = Ended::Stop {
        digest: second,
        sequence: 2,
    };
    Box::pin(all.closed(RING, Draft::Resume { ends })).await;
    same_as_everything(&all).await;
    assert!(state(&all).await.stops.is_empty());
    assert_eq!(findings(&all).await, [""; 0]);
}

/// What anybody may ask for is made once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_of_a_stop_is_made_once_it_is_proven() {
    let (all, _) = opened().await;
    let named = stop(&all, Some(RING), "alice").await.unwrap();
    let verifying = Verifying::over(&all).await;
    verifying.covered().await;
    let file = verifying.evidence.stop_file(&named).await.unwrap().unwrap();
    let pin = &all.settings.pin;
    let shown = trust::stop_file::verify_stop_file(&file, pin).unwrap();
    assert!(shown.logged_at.is_some());
    // Neither row nor chain is read again.
    all.tamper("emergency_stop", "DELETE FROM emergency_stop")
        .await;
    let again = verifying.evidence.stop_file(&named).await.unwrap();
    assert_eq!(again, Some(file));
    let other = Sha256Digest::of(b"other");
    let none = verifying.evidence.stop_file(&other).await.unwrap();
    assert_eq!(none, None);
}

/// Custodians alone complete no emergency rotation, and neither do three members of whom one proposes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_rotation_that_no_members_could_approve_is_not_proposed() {
    let all = Installation::new().await;
    Box::pin(all.open_ring("log")).await;
    Box::pin(all.open_ring(RING)).await;
    let refused = all.try_propose(all.proposal(RING, rotation(&all))).await;
    let refused = refused.unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, Error::NoApprovers(_)), "{said}");
    let missing = "a member is missing who is security-lead, on-call-manager:";
    assert!(said.contains(missing), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_rotation_that_waits_names_the_roles_that_it_waits_for() {
    let (all, _, _) = with_standby().await;
    let id = all.propose(RING, rotation(&all)).await;
    for who in ["alice", "bob"] {
        let report = all.approve(&id, who).await.unwrap();
        let waits = "waiting for 2 more approval(s), of security-lead, on-call-manager";
        assert_eq!(report.standing, waits);
    }
    let report = all.approve(&id, "mona").await.unwrap();
    let waits = "waiting for 1 more approval(s), of security-lead";
    assert_eq!(report.standing, waits);
}

/// Whoever has minutes is told what comes when, and what stops the ring until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_rotation_without_a_standby_key_names_the_next_and_the_stop() {
    let (all, _) = opened().await;
    let tried = async || {
        let tried = all.try_propose(all.proposal(RING, rotation(&all))).await;
        tried.unwrap_err().to_string()
    };
    let said = tried().await;
    let stop = "`chancery emergency stop --ring records`";
    assert!(
        said.contains("generate --ring records") && said.contains(stop),
        "{said}"
    );
    let kid = Box::pin(all.standby(RING)).await;
    let said = tried().await;
    assert!(
        said.contains(&format!("key {kid} is one at 20")) && said.contains(stop),
        "{said}"
    );
}
