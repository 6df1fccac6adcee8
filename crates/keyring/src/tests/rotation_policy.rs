//! The policy of a critical key type: what a quorum decided is in force, and nothing that stands beside it.

use calendar::floors::{Deviation, Framework};
use calendar::{KeyTypes, PolicyDocument, Span, Word};
use store::testing::place::Place;
use store::{CeremonyState, Change};
use trust::leaf::ActKind;
use trust::{Operation, Request, verify_transcript};

use super::installation::Installation;
use crate::ceremony::{Draft, Error, canonical_policy};
use log::{Event, Log, PolicyInForce, policy_in_force};

/// No ring is concerned.
const NONE: &str = "none";

fn signing() -> Word {
    "signing".parse().unwrap()
}

fn next(version: u32, interval: u64) -> PolicyDocument {
    let types = KeyTypes::standard();
    PolicyDocument {
        interval: Span::days(interval),
        version,
        ..PolicyDocument::standard(types.get("signing").unwrap())
    }
}

fn draft(version: u32, interval: u64) -> Draft {
    Draft::RotationPolicy(Box::new(next(version, interval)))
}

async fn in_force(all: &Installation) -> PolicyInForce {
    let of = signing();
    let found = policy_in_force(&all.store, &all.settings.pin, &of);
    found.await.unwrap()
}

/// Version and interval in days, and what the database says otherwise.
async fn found(all: &Installation) -> (u32, u64, Vec<String>) {
    let types = KeyTypes::standard();
    let found = in_force(all).await;
    let document = found.document(types.get("signing").unwrap());
    (
        document.version,
        document.interval.as_seconds() / 86_400,
        found.faults,
    )
}

async fn state(all: &Installation, id: &str) -> CeremonyState {
    all.store.ceremony(id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn a_policy_is_in_force_when_it_is_accepted() {
    in_force_when_accepted(Place::sqlite().await).await;
}

#[tokio::test]
async fn a_policy_is_in_force_when_it_is_accepted_on_postgres() {
    in_force_when_accepted(Place::postgres().await).await;
}

async fn in_force_when_accepted(place: Place) {
    let all = Installation::over(place);
    let genesis = all.custodians.genesis();
    all.service().install_genesis(&genesis).await.unwrap();
    assert_eq!(found(&all).await, (1, 90, vec![]));
    let id = all.executed(NONE, draft(2, 60)).await;
    assert_eq!(found(&all).await, (1, 90, vec![]));
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    assert_eq!(found(&all).await, (2, 60, vec![]));
    let row = in_force(&all).await.decided.unwrap();
    assert_eq!(row.changed_by, "member:carol");
    let leaf = all.store.leaf(row.index).await.unwrap().unwrap();
    for part in [
        r#""action":"accepted""#,
        r#""asset":"policy/signing""#,
        r#""previous_version":1"#,
        r#""version":2"#,
        &*format!(r#""ref":"{id}""#),
    ] {
        assert!(leaf.body.contains(part), "{part} in {}", leaf.body);
    }
    all.wait(1);
    all.closed(NONE, draft(3, 45)).await;
    assert_eq!(found(&all).await, (3, 45, vec![]));
}

#[tokio::test]
async fn only_the_next_version_of_a_policy_that_may_be_is_proposed() {
    let all = Installation::new().await;
    let why = async |draft: Draft| {
        let refused = all.try_propose(all.proposal(NONE, draft)).await;
        refused.unwrap_err().to_string()
    };
    assert!(why(draft(3, 60)).await.contains("expected 2"));
    assert!(why(draft(2, 9_000)).await.contains("interval"));
    let types = KeyTypes::standard();
    let mut other = PolicyDocument::standard(types.get("api_key").unwrap());
    other.version = 2;
    let other = Draft::RotationPolicy(Box::new(other));
    assert!(why(other).await.contains("no critical key type"));
    let mut unknown = next(2, 60);
    unknown.key_type = "launch_code".parse().unwrap();
    let unknown = Draft::RotationPolicy(Box::new(unknown));
    assert!(why(unknown).await.contains("no key type"));
}

#[tokio::test]
async fn of_two_on_one_policy_the_second_is_void_when_the_first_is_executed() {
    let all = Installation::new().await;
    let first = all.approved(NONE, draft(2, 60)).await;
    all.wait(1);
    let second = all.approved(NONE, draft(2, 30)).await;
    all.execute(&first).await.unwrap();
    let void = all.execute(&second).await.unwrap_err();
    assert!(matches!(void, Error::NotApproved(_)), "{void}");
    // Nobody has accepted the first: the next one replaces what is in force, and the first never is.
    all.wait(1);
    all.closed(NONE, draft(2, 45)).await;
    let overtaken = all.accept(&first, "alice").await.unwrap_err();
    assert!(matches!(overtaken, Error::Overtaken(_)), "{overtaken}");
    // Nobody is asked for it any more.
    assert_eq!(all.service().expire().await.unwrap(), 1);
    assert_eq!(state(&all, &first).await, CeremonyState::Failed);
    assert_eq!(found(&all).await, (2, 45, vec![]));
    // It replaces a policy that is not in force any more.
    let bytes = all.store.ceremony(&second).await.unwrap().unwrap().request;
    let Operation::RotationPolicy(order) = Request::decode(&bytes).unwrap().operation else {
        panic!("another operation");
    };
    let stale = all.service().policy_is_next(&order).await.unwrap_err();
    assert!(stale.to_string().contains("expected 3"), "{stale}");
}

#[tokio::test]
async fn a_policy_that_is_not_accepted_in_time_ends_and_the_next_one_is_decided() {
    let all = Installation::new().await;
    let late = all.executed(NONE, draft(2, 60)).await;
    all.accept(&late, "alice").await.unwrap();
    all.wait(120);
    assert_eq!(all.service().expire().await.unwrap(), 0, "its last moment");
    all.wait(1);
    let refused = all.accept(&late, "bob").await.unwrap_err();
    assert!(matches!(refused, Error::NotApproved(_)), "{refused}");
    assert_eq!(state(&all, &late).await, CeremonyState::Executed);
    assert_eq!(all.service().expire().await.unwrap(), 1);
    assert_eq!(state(&all, &late).await, CeremonyState::Failed);
    assert_eq!(found(&all).await, (1, 90, vec![]));
    all.closed(NONE, draft(2, 30)).await;
    assert_eq!(found(&all).await, (2, 30, vec![]));
}

/// Whoever took the last acceptance died before it was closed.
#[tokio::test]
async fn a_policy_that_enough_accepted_is_closed_by_whoever_keeps_the_deadlines() {
    let all = Installation::new().await;
    let id = all.executed(NONE, draft(2, 60)).await;
    all.accept(&id, "alice").await.unwrap();
    let fails = "CREATE TRIGGER fails BEFORE INSERT ON rotation_policy BEGIN SELECT RAISE(ABORT, 'no'); END";
    all.place.raw(fails).await.unwrap();
    all.accept(&id, "bob").await.unwrap_err();
    assert_eq!(state(&all, &id).await, CeremonyState::Executed);
    all.place.raw("DROP TRIGGER fails").await.unwrap();
    assert_eq!(all.service().expire().await.unwrap(), 1);
    assert_eq!(state(&all, &id).await, CeremonyState::Closed);
    assert_eq!(found(&all).await, (2, 60, vec![]));
}

/// It would hold neither then nor later, and its assets would have no rules at all.
#[tokio::test]
async fn a_policy_whose_deviation_ends_before_its_acceptance_has_no_effect() {
    let all = Installation::new().await;
    let until = all.now() + std::time::Duration::from_secs(90 * 60);
    let mut document = next(2, 4 * 365);
    document.deviations.push(Deviation {
        framework: Framework::Nist80057,
        paragraph: "5.3.6 (1)".to_owned(),
        reason: "a migration".to_owned(),
        decided_by: "ciso".to_owned(),
        until: calendar::Time::from_millis(until.millis()),
    });
    let draft = Draft::RotationPolicy(Box::new(document));
    let id = all.executed(NONE, draft).await;
    all.accept(&id, "alice").await.unwrap();
    all.wait(90);
    let refused = all.accept(&id, "bob").await.unwrap_err();
    assert!(matches!(refused, Error::Overtaken(_)), "{refused}");
    assert!(refused.to_string().contains("deviation"), "{refused}");
    // Another replica may have other settings, by which it may be: its time ends it.
    assert_eq!(all.service().expire().await.unwrap(), 0);
    all.wait(31);
    assert_eq!(all.service().expire().await.unwrap(), 1);
    assert_eq!(state(&all, &id).await, CeremonyState::Failed);
    assert_eq!(found(&all).await, (1, 90, vec![]));
}

/// What stands in the database beside what was decided.
async fn told(all: &Installation, document: &str) {
    let row =
        format!("INSERT INTO rotation_policy SELECT 'signing', {document}, 'x', 'superuser', 0, 0");
    all.place.raw(&row).await.unwrap();
}

/// A leaf that anybody who writes to the log could have written.
async fn leaf(all: &Installation, version: u64, of: Option<&str>) {
    let core = match of {
        Some(ceremony) => {
            let bytes = all.store.transcript(ceremony).await.unwrap().unwrap();
            let pin = &all.settings.pin;
            Some(verify_transcript(&bytes, pin).unwrap().core_digest())
        }
        None => None,
    };
    let event = Event {
        asset: Some("policy/signing"),
        digest: core,
        reference: of,
        version: Some(version),
        ..Event::new(ActKind::Ceremony, "accepted", "superuser", all.now())
    };
    let log = Log::new(all.store.clone());
    log.commit(&Change::Record, &event).await.unwrap();
}

#[tokio::test]
async fn threat_a_superuser_changes_what_a_quorum_decided() {
    for (sql, why, expected) in [
        (
            "UPDATE rotation_policy SET document = replace(document, '60d', '720d')",
            "is not the one that was decided",
            3,
        ),
        (
            "UPDATE rotation_policy SET idx = 1",
            "is not the one that was decided",
            3,
        ),
        ("DELETE FROM rotation_policy", "is not in the database", 3),
        (
            "INSERT INTO rotation_policy SELECT key_type, 3, replace(replace(document, '60d', '720d'), \
             '\"version\":2', '\"version\":3'), reason, changed_by, changed_at, 1 FROM rotation_policy",
            "no ceremony of which the log tells decided version 3",
            4,
        ),
    ] {
        let all = Installation::new().await;
        all.closed(NONE, draft(2, 60)).await;
        for trigger in ["no_update", "no_delete"] {
            let drop = format!("DROP TRIGGER rotation_policy_{trigger}");
            all.place.raw(&drop).await.unwrap();
        }
        all.place.raw(sql).await.unwrap();
        let (version, interval, faults) = found(&all).await;
        assert_eq!((version, interval), (2, 60), "{sql}");
        assert!(faults[0].contains(why), "{sql}: {faults:?}");
        // A quorum decides all the same, and what was written beside it is behind it then.
        all.wait(1);
        all.closed(NONE, draft(expected, 45)).await;
        assert_eq!(found(&all).await, (expected, 45, vec![]), "{sql}");
    }
}

/// Version 3 is tighter than version 2, and whoever owns the database takes its rows away, or tells of version 2 again.
#[tokio::test]
async fn threat_an_older_decision_comes_back() {
    let all = Installation::new().await;
    all.closed(NONE, draft(2, 60)).await;
    all.wait(1);
    let third = all.closed(NONE, draft(3, 30)).await;
    for trigger in [
        "rotation_policy_no_delete",
        "ceremony_line_immutable",
        "ceremony_line_done",
        "ceremony_line_last",
    ] {
        let drop = format!("DROP TRIGGER IF EXISTS {trigger}");
        all.place.raw(&drop).await.unwrap();
    }
    let sql = "DELETE FROM rotation_policy WHERE version = 3";
    assert_eq!(all.place.raw(sql).await.unwrap(), 1);
    let sql = format!("UPDATE ceremony_line SET done = 0 WHERE ceremony = '{third}'");
    assert_eq!(all.place.raw(&sql).await.unwrap(), 1);
    let (version, interval, faults) = found(&all).await;
    assert_eq!((version, interval), (3, 30));
    assert!(faults[0].contains("not in the database"), "{faults:?}");

    let all = Installation::new().await;
    let second = all.closed(NONE, draft(2, 60)).await;
    all.wait(1);
    all.closed(NONE, draft(3, 30)).await;
    leaf(&all, 2, Some(&second)).await;
    leaf(&all, 4, Some(&second)).await;
    let (version, interval, faults) = found(&all).await;
    assert_eq!((version, interval), (3, 30));
    assert!(faults[1].contains("told of it before"), "{faults:?}");
    all.wait(1);
    all.closed(NONE, draft(4, 20)).await;
    assert_eq!(found(&all).await, (4, 20, vec![]));
}

/// With the rights of the service alone.
#[tokio::test]
async fn threat_rows_and_leaves_that_nobody_decided_hide_what_a_quorum_did() {
    let all = Installation::new().await;
    let policy = canonical_policy(&next(2, 720)).unwrap();
    told(&all, &format!("2, '{policy}'")).await;
    let (version, interval, faults) = found(&all).await;
    assert_eq!((version, interval), (1, 90));
    assert!(faults[0].contains("decided version 2"), "{faults:?}");
    let refused = all.try_propose(all.proposal(NONE, draft(2, 60))).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("expected 3"), "{refused}");
    let third = all.closed(NONE, draft(3, 60)).await;
    assert_eq!(found(&all).await, (3, 60, vec![]));
    for number in 0..20 {
        leaf(&all, 3 + number, None).await;
        leaf(&all, u32::MAX.into(), Some(&third)).await;
        leaf(&all, u64::from(u32::MAX) + 1, Some(&third)).await;
    }
    let (version, interval, faults) = found(&all).await;
    assert_eq!((version, interval), (3, 60));
    assert_eq!(faults.len(), 11, "{faults:?}");
    assert!(faults[0].contains("no version"), "{faults:?}");
    assert!(faults[1].contains("told of it before"), "{faults:?}");
    assert!(faults[2].contains("no ceremony"), "{faults:?}");
    assert!(faults[10].contains("50 more"), "{faults:?}");
    // A row that takes the leaf by which the next one comes.
    for index in [0, 1, 2, 1_000] {
        let next = all.store.log_size().await.unwrap() + index;
        let row = format!(
            "INSERT INTO rotation_policy SELECT 'api_key', 2, '{policy}', 'x', 'superuser', 0, {next}"
        );
        all.place.refuses(&row).await;
    }
    all.wait(1);
    all.closed(NONE, draft(4, 45)).await;
    assert_eq!(found(&all).await, (4, 45, vec![]));
}

/// The one before stays in force, and the next one can be decided.
#[tokio::test]
async fn threat_a_policy_rests_on_a_ceremony_that_does_not_hold() {
    for (trigger, sql, why, expected) in [
        (
            "ceremony_immutable",
            "UPDATE ceremony SET transcript = CAST(replace(CAST(transcript AS TEXT), '45d', '720d') AS BLOB) WHERE id = '{}'",
            "is invalid",
            4,
        ),
        (
            "log_leaf_no_update",
            "UPDATE log_leaf SET body = replace(body, '\"version\":3', '\"version\":4') WHERE body LIKE '%accepted%{}%'",
            "differs from its ceremony",
            4,
        ),
    ] {
        let all = Installation::new().await;
        all.closed(NONE, draft(2, 60)).await;
        all.wait(1);
        let last = all.closed(NONE, draft(3, 45)).await;
        let drop = format!("DROP TRIGGER {trigger}");
        all.place.raw(&drop).await.unwrap();
        let done = all.place.raw(&sql.replace("{}", &last)).await.unwrap();
        assert_eq!(done, 1, "{sql}");
        let (version, interval, faults) = found(&all).await;
        assert_eq!((version, interval), (2, 60), "{sql}");
        assert!(faults[1].contains(why), "{sql}: {faults:?}");
        all.wait(1);
        all.closed(NONE, draft(expected, 30)).await;
        assert_eq!(found(&all).await, (expected, 30, vec![]), "{sql}");
    }
}
