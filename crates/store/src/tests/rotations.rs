//! Rotations and jobs: each version, slot and step by one owner, and none by one who was overtaken.

use std::time::Duration;

use trust::Time;

use super::super::*;
use super::conflicts::conflicts;
use super::place::Place;
use super::world::{NOW, leaf};

const MINUTE: Duration = Duration::from_secs(60);
const FIRST: StepBegin = StepBegin {
    again: false,
    unless_marked: true,
};

pub(super) fn at(millis: i64) -> Time {
    Time::from_millis(NOW + millis)
}

pub(super) fn id(number: u32) -> String {
    format!("kr_{number:036}")
}

fn event(number: u32, version: u32) -> RotationEventRow {
    RotationEventRow {
        id: id(number),
        asset: "signing/atp".to_owned(),
        key_type: "signing".to_owned(),
        version,
        previous_version: Some(version - 1),
        cause: "time".to_owned(),
        state: "scheduled".to_owned(),
        slot: at(0),
        due: at(3_600_000),
        consent: "automatic".to_owned(),
        order: None,
        ceremony: None,
        made: None,
        published_at: None,
        promoted_at: None,
        retired_at: None,
        requested_by: "chancery".to_owned(),
        reason: Some("its interval is over".to_owned()),
        held: false,
        cancel: false,
        roll_back: false,
        waits: None,
        detail: None,
        created_at: at(0),
        updated_at: at(0),
        ended_at: None,
        look_at: at(0),
        lease_epoch: 0,
        declared_at: None,
        retries: 0,
    }
}

/// Ids of what is to be looked at by an instant and was not since another.
async fn due(place: &Place, now: Time, untouched_since: Time) -> Vec<String> {
    let priorities = [("signing", 0), ("api_key", 1), ("webhook_secret", 1)];
    let priorities = priorities.map(|(word, priority)| (word.to_owned(), priority));
    let which = DueRotations {
        now,
        untouched_since,
        priorities: &priorities.into(),
    };
    place.store.due_rotations(&which, 10).await.unwrap()
}

pub(super) async fn commit(place: &Place, change: Change) -> Result<i64, Error> {
    place.store.commit(&change, &leaf("rotation")).await
}

pub(super) async fn begun(place: &Place, number: u32, version: u32) {
    let row = event(number, version);
    commit(place, Change::BeginRotation(Box::new(row)))
        .await
        .unwrap();
}

pub(super) fn ends(state: &'static str) -> RotationWrite {
    RotationWrite {
        ends: true,
        ..RotationWrite::new(at(5), state)
    }
}

pub async fn a_version_is_made_by_one_rotation(place: Place) {
    begun(&place, 1, 2).await;
    let stored = place.store.rotation_event(&id(1)).await.unwrap().unwrap();
    assert_eq!(stored, event(1, 2));
    let again = Change::BeginRotation(Box::new(event(2, 2)));
    conflicts(&place, again, Subject::Rotation).await;
    assert!(place.store.is_rotating("signing/atp").await.unwrap());
    // One that came to nothing makes room for another.
    let lease = place.store.take_rotation(&id(1), "one", MINUTE).await;
    let lease = lease.unwrap().unwrap();
    let done = Box::new(ends("cancelled"));
    commit(&place, Change::RecordRotation { lease, done })
        .await
        .unwrap();
    assert!(!place.store.is_rotating("signing/atp").await.unwrap());
    begun(&place, 2, 2).await;
    let before = place.store.rotations_before(None, (i64::MAX, ""), 10).await;
    let ids: Vec<_> = before.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, [id(2), id(1)]);
    let open = place.store.open_rotations(("", 0), 10).await.unwrap();
    assert_eq!(open.len(), 1);
    let ended = place.store.rotations_ended((0, ""), 10).await.unwrap();
    assert_eq!(ended.len(), 1);
    for sql in [
        "DELETE FROM rotation_event",
        "UPDATE rotation_event SET asset = 'signing/other'",
        "UPDATE rotation_event SET state = 'done'",
        "UPDATE rotation_event SET lease_epoch = -1",
    ] {
        place.refuses(sql).await;
    }
}

pub async fn an_owner_that_was_overtaken_writes_nothing(place: Place) {
    begun(&place, 1, 2).await;
    let take = async |owner, time| {
        place
            .store
            .take_rotation(&id(1), owner, time)
            .await
            .unwrap()
    };
    let first = take("one", Duration::ZERO).await.unwrap();
    let second = take("two", MINUTE).await.unwrap();
    assert!(second.epoch > first.epoch);
    assert!(take("three", MINUTE).await.is_none());
    let stale = place
        .store
        .begin_rotation_step(&first, ("generate", "chancery"), FIRST, at(1))
        .await;
    assert!(stale.is_err_and(|error| error.is_conflict()));
    let running = RotationWrite::new(at(1), "running");
    let stale = place.store.keep_rotation(&first, &running).await;
    assert!(stale.is_err_and(|error| error.is_conflict()));
    let stale = Change::RecordRotation {
        lease: first.clone(),
        done: Box::new(ends("done")),
    };
    conflicts(&place, stale, Subject::Rotation).await;
    assert!(place.store.hold_rotation(&first, MINUTE).await.is_err());
    assert!(!place.store.return_rotation(&first).await.unwrap());
    place.store.hold_rotation(&second, MINUTE).await.unwrap();
    // Nobody looks at what somebody has.
    assert_eq!(due(&place, at(10), at(10)).await, [""; 0]);
    assert!(place.store.return_rotation(&second).await.unwrap());
    assert_eq!(due(&place, at(10), at(10)).await, [id(1)]);
    assert_eq!(due(&place, at(-1), at(10)).await, [""; 0]);
    let returned = place.store.keep_rotation(&second, &running).await;
    assert!(returned.is_err_and(|error| error.is_conflict()));
}

/// Whatever the owner read before.
pub async fn a_step_does_not_begin_against_a_mark_or_a_pause(place: Place) {
    begun(&place, 1, 2).await;
    let lease = place.store.take_rotation(&id(1), "one", MINUTE).await;
    let lease = lease.unwrap().unwrap();
    let begins = async |step, how| {
        let begun = place
            .store
            .begin_rotation_step(&lease, (step, "chancery"), how, at(1));
        let begun = begun.await;
        assert!(
            begun.as_ref().err().is_none_or(Error::is_conflict),
            "{begun:?}"
        );
        begun.is_ok()
    };
    let pause = async |since| {
        let (by, reason) = (Some("olga".to_owned()), None);
        let pause = RotationPause { since, by, reason };
        commit(&place, Change::PauseRotations(pause)).await.unwrap();
    };
    let mark = async |mark| {
        let change = Change::MarkRotation {
            event: id(1),
            mark,
            at: NOW,
        };
        commit(&place, change).await.unwrap();
    };
    pause(Some(at(1))).await;
    assert!(!begins("generate", FIRST).await);
    pause(None).await;
    mark(RotationMark::Hold).await;
    assert!(!begins("generate", FIRST).await);
    mark(RotationMark::Release).await;
    assert!(begins("generate", FIRST).await);
    mark(RotationMark::Cancel).await;
    let again = StepBegin {
        again: true,
        ..FIRST
    };
    assert!(!begins("generate", again).await);
    // What was done all the same is written, and one more attempt is no more than that.
    let written = StepBegin {
        again: true,
        unless_marked: false,
    };
    assert!(begins("generate", written).await);
    assert_eq!(place.store.rotation_steps(&id(1)).await.unwrap().len(), 1);
    // Whoever gives it back leaves it to be looked at soon.
    let mut write = RotationWrite::new(at(2), "waiting");
    write.look_at = at(3_600_000);
    place.store.keep_rotation(&lease, &write).await.unwrap();
    assert!(place.store.return_rotation(&lease).await.unwrap());
    assert_eq!(due(&place, at(30_002), at(30_002)).await, [id(1)]);
}

pub async fn a_step_ends_once_and_is_tried_again_by_a_persons_word(place: Place) {
    begun(&place, 1, 2).await;
    let lease = place.store.take_rotation(&id(1), "one", MINUTE).await;
    let lease = lease.unwrap().unwrap();
    let begin = async || {
        place
            .store
            .begin_rotation_step(&lease, ("test", "chancery"), FIRST, at(1))
            .await
            .unwrap();
    };
    let step = |outcome| RotationWrite {
        step: Some(StepEnd {
            step: "test",
            outcome,
            why: Some("no answer".to_owned()),
            evidence: Some("{}".to_owned()),
        }),
        waits: Some("person"),
        detail: Some("no answer".to_owned()),
        ..RotationWrite::new(at(2), "waiting")
    };
    begin().await;
    place
        .store
        .keep_rotation(&lease, &step("person"))
        .await
        .unwrap();
    let twice = place.store.keep_rotation(&lease, &step("done")).await;
    assert!(twice.is_err_and(|error| error.is_conflict()));
    let mark = |mark| Change::MarkRotation {
        event: id(1),
        mark,
        at: NOW,
    };
    // Nothing was promoted: there is nothing to roll back.
    conflicts(&place, mark(RotationMark::RollBack), Subject::Rotation).await;
    commit(&place, mark(RotationMark::Retry)).await.unwrap();
    let row = place.store.rotation_event(&id(1)).await.unwrap().unwrap();
    assert_eq!((row.waits, row.detail, row.retries), (None, None, 1));
    begin().await;
    place
        .store
        .keep_rotation(&lease, &step("done"))
        .await
        .unwrap();
    let steps = place.store.rotation_steps(&id(1)).await.unwrap();
    let told: Vec<_> = steps
        .iter()
        .map(|step| (step.attempt, step.outcome.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(told, [(1, "retried"), (2, "done")]);
    let promoted = RotationWrite {
        promoted_at: Some(at(3)),
        ..RotationWrite::new(at(3), "running")
    };
    place.store.keep_rotation(&lease, &promoted).await.unwrap();
    conflicts(&place, mark(RotationMark::Cancel), Subject::Rotation).await;
    commit(&place, mark(RotationMark::RollBack)).await.unwrap();
    let row = place.store.rotation_event(&id(1)).await.unwrap().unwrap();
    assert!(row.roll_back && !row.cancel);
    assert_eq!(row.promoted_at, Some(at(3)));
    let report = RotationReport {
        at: at(4),
        by: "somebody".to_owned(),
        evidence: "{}".to_owned(),
    };
    let told = |step: &str| {
        Change::Inventory(Box::new(InventoryChange::ReportStep {
            event: id(1),
            step: step.to_owned(),
            report: report.clone(),
        }))
    };
    // Nobody waits for it.
    conflicts(&place, told("promote"), Subject::Rotation).await;
    commit(&place, told("roll-back")).await.unwrap();
    conflicts(&place, told("roll-back"), Subject::Rotation).await;
    let found = place.store.rotation_report(&id(1), "roll-back").await;
    assert_eq!(found.unwrap(), Some(report));
    let found = place.store.rotation_report(&id(1), "promote").await;
    assert_eq!(found.unwrap(), None);
}

/// Whoever has ten thousand of them to look at begins with an emergency.
pub async fn of_what_is_due_emergencies_come_first_then_priority_then_the_due_date(place: Place) {
    let events = [
        // Number, key type, trigger, due in so many hours.
        (1, "api_key", "time", 1),
        (2, "webhook_secret", "time", 2),
        (3, "signing", "time", 9),
        (4, "signing", "time", 8),
        (5, "api_key", "event", 7),
        (6, "of_nobody", "time", 0),
    ];
    for (number, key_type, cause, hours) in events {
        let row = RotationEventRow {
            asset: format!("external/a{number}"),
            key_type: key_type.to_owned(),
            cause: cause.to_owned(),
            due: at(hours * 3_600_000),
            // What waits longest is the least important.
            look_at: at(-1_000 - i64::from(number)),
            ..event(number, 2)
        };
        let change = Change::BeginRotation(Box::new(row));
        commit(&place, change).await.unwrap();
    }
    let ids = |numbers: &[u32]| numbers.iter().map(|number| id(*number)).collect::<Vec<_>>();
    assert_eq!(
        due(&place, at(0), at(0)).await,
        ids(&[5, 4, 3, 1, 2, 6]),
        "signing before what is as important as the rest"
    );
    // What was looked at since is passed by, but for emergencies.
    for number in [4, 5] {
        let lease = place.store.take_rotation(&id(number), "one", MINUTE).await;
        let lease = lease.unwrap().unwrap();
        let waits = RotationWrite::new(at(5), "waiting");
        place.store.keep_rotation(&lease, &waits).await.unwrap();
        place.store.return_rotation(&lease).await.unwrap();
    }
    assert_eq!(due(&place, at(6), at(1)).await, ids(&[5, 3, 1, 2, 6]));
    assert_eq!(due(&place, at(6), at(6)).await, ids(&[5, 4, 3, 1, 2, 6]));
    assert_eq!(due(&place, at(-1_005), at(6)).await, ids(&[6]));
}

/// Whoever runs it meanwhile wrote by what it was, and writes no more; nobody else has it until the lease is over.
pub async fn a_declaration_overtakes_whoever_has_the_lease(place: Place) {
    begun(&place, 1, 2).await;
    let lease = place.store.take_rotation(&id(1), "one", MINUTE).await;
    let lease = lease.unwrap().unwrap();
    let mark = || Change::MarkRotation {
        event: id(1),
        mark: RotationMark::Declare(Declaration {
            by: "olga".to_owned(),
            reason: "it leaked".to_owned(),
            due: at(7_200_000),
        }),
        at: NOW - 5,
    };
    place
        .refuses("UPDATE rotation_event SET requested_by = 'mallory'")
        .await;
    commit(&place, mark()).await.unwrap();
    let row = place.store.rotation_event(&id(1)).await.unwrap().unwrap();
    // What was due before stays due then.
    assert_eq!((row.slot, row.due), (at(-5), at(3_600_000)));
    assert_eq!((row.look_at, row.declared_at), (at(-5), Some(at(-5))));
    let later = RotationWrite::new(at(9_000_000), "waiting");
    let stale = place.store.keep_rotation(&lease, &later).await;
    assert!(stale.is_err_and(|error| error.is_conflict()));
    let taken = place.store.take_rotation(&id(1), "two", MINUTE).await;
    assert!(taken.unwrap().is_none());
    conflicts(&place, mark(), Subject::Rotation).await;
    for sql in [
        "UPDATE rotation_event SET cause = 'time'",
        "UPDATE rotation_event SET requested_by = 'mallory'",
    ] {
        place.refuses(sql).await;
    }
}

/// Each by its index, and what only waits for a time is not among them.
pub async fn rotations_that_are_told_of_are_read_by_themselves(place: Place) {
    for (number, sql) in [
        (1, "state = 'waiting'"),
        (2, "state = 'waiting', waits = 'executor'"),
        (3, "state = 'waiting', waits = 'approval'"),
        (4, "state = 'failed'"),
        (5, "cause = 'event'"),
        (6, "promoted_at = 1"),
    ] {
        begun(&place, number, number + 1).await;
        let sql = format!(
            "UPDATE rotation_event SET {sql} WHERE id = '{}'",
            id(number)
        );
        assert_eq!(place.raw(&sql).await.unwrap(), 1);
    }
    let told = async |which, place_of: (i64, &str)| {
        let rows = place.store.rotations_told(which, place_of, 2).await;
        let rows = rows.unwrap().into_iter();
        rows.map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(told(Told::NeedPeople, (0, "")).await, [id(3), id(4)]);
    let behind = (at(3_600_000).millis(), id(3));
    let behind = (behind.0, behind.1.as_str());
    assert_eq!(told(Told::NeedPeople, behind).await, [id(4)]);
    assert_eq!(told(Told::Declared, (0, "")).await, [id(5)]);
    let due = at(3_600_000);
    assert!(told(Told::LateAt(due), (0, "")).await.is_empty());
    let late = Told::LateAt(at(3_600_001));
    assert_eq!(told(late, (0, "")).await, [id(1), id(2)]);
    let behind = (due.millis(), id(4));
    assert_eq!(told(late, (behind.0, behind.1.as_str())).await, [id(5)]);
    assert!(told(Told::HeldAt(at(-1)), (0, "")).await.is_empty());
    let behind = (due.millis(), id(3));
    let behind = (behind.0, behind.1.as_str());
    assert_eq!(told(Told::HeldAt(at(0)), behind).await, [id(4)]);
    let mut counts = place.store.open_rotations_by_state().await.unwrap();
    counts.sort();
    let expected = [("failed", 1), ("scheduled", 2), ("waiting", 3)];
    assert_eq!(counts, expected.map(|(state, n)| (state.to_owned(), n)));
}

pub async fn a_slot_of_a_job_is_run_once(place: Place) {
    let store = &place.store;
    let hour = Duration::from_secs(3_600);
    assert!(
        store
            .ensure_job("check", "0 1 * * *", hour, at(0))
            .await
            .unwrap()
    );
    assert!(
        !store
            .ensure_job("check", "0 2 * * *", hour, at(9))
            .await
            .unwrap()
    );
    let new = |slot, owner| NewRun {
        job: "check",
        slot: at(slot),
        missed: 2,
        owner,
        at: at(slot),
        by_hand: false,
    };
    let other = place.replica().await;
    let (slot_1, slot_2) = (new(10, "one"), new(10, "two"));
    let (one, two) = tokio::join!(
        store.begin_run(&slot_1, Duration::ZERO),
        other.begin_run(&slot_2, Duration::ZERO)
    );
    let begun = [one.unwrap(), two.unwrap()];
    let mut begun: Vec<RunLease> = begun.into_iter().flatten().collect();
    assert_eq!(begun.len(), 1);
    let first = begun.remove(0);
    // One at a time, whatever the slot; and no earlier one.
    assert!(
        store
            .begin_run(&new(20, "one"), MINUTE)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .begin_run(&new(5, "one"), MINUTE)
            .await
            .unwrap()
            .is_none()
    );
    let second = store.take_run("check", at(10), "three", MINUTE).await;
    let second = second.unwrap().unwrap();
    assert!(
        store
            .take_run("check", at(10), "four", MINUTE)
            .await
            .unwrap()
            .is_none()
    );
    assert!(store.hold_run(&first, MINUTE).await.is_err());
    let stale = store.end_run(&first, "done", "{}", at(11)).await;
    assert!(stale.is_err_and(|error| error.is_conflict()));
    assert_eq!(store.open_runs().await.unwrap().len(), 1);
    store.hold_run(&second, MINUTE).await.unwrap();
    store
        .end_run(&second, "done", "{\"made\":1}", at(12))
        .await
        .unwrap();
    assert!(store.open_runs().await.unwrap().is_empty());
    let runs = store.runs("check", i64::MAX, 10).await.unwrap();
    assert_eq!((runs.len(), runs[0].missed), (1, 2));
    assert_eq!(runs[0].lease_epoch, 2);
    commit(
        &place,
        Change::PauseJob {
            job: "check".to_owned(),
            paused: true,
        },
    )
    .await
    .unwrap();
    assert!(
        store
            .begin_run(&new(30, "one"), MINUTE)
            .await
            .unwrap()
            .is_none()
    );
    let by_hand = NewRun {
        by_hand: true,
        ..new(31, "one")
    };
    let by_hand = store.begin_run(&by_hand, MINUTE).await.unwrap().unwrap();
    store
        .end_run(&by_hand, "failed", "{}", at(32))
        .await
        .unwrap();
    let job = store.jobs().await.unwrap().remove(0);
    assert!(job.paused && job.last_slot == at(10));
    assert_eq!(store.forget_runs("check", at(20)).await.unwrap(), 1);
}

pub async fn the_scheduler_is_paused_and_keys_are_acknowledged(place: Place) {
    let store = &place.store;
    assert_eq!(
        store.rotation_pause().await.unwrap(),
        RotationPause::default()
    );
    let pause = RotationPause {
        since: Some(at(1)),
        by: Some("somebody".to_owned()),
        reason: Some("an audit".to_owned()),
    };
    let version = store.version().await.unwrap();
    commit(&place, Change::PauseRotations(pause.clone()))
        .await
        .unwrap();
    assert_eq!(store.rotation_pause().await.unwrap(), pause);
    // No replica has to read anything again for it.
    assert_eq!(store.version().await.unwrap(), version);
    for time in [1, 2] {
        store
            .acknowledge_key("kid", "verifier", at(time))
            .await
            .unwrap();
    }
    let told = store.acknowledgements("kid").await.unwrap();
    let expected = AcknowledgementRow {
        principal: "verifier".to_owned(),
        at: at(2),
    };
    assert_eq!(told, [expected]);
    assert!(store.database_time().await.unwrap() > Time::from_millis(1_700_000_000_000));
}
