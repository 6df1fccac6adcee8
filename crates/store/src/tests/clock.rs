//! Clocks: of this process, of the database, and of the log's leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::*;
use super::place::Place;
use super::world::*;

/// Compares the clocks from now on; the process's is off from the database's by so much.
async fn compare(place: &Place, off: i64) -> i64 {
    compare_within(place, off, 2_000).await
}

async fn compare_within(place: &Place, off: i64, tolerance: u64) -> i64 {
    let (database, _) = place.store.look().await.unwrap();
    let begun = Instant::now();
    let clock = Arc::new(move || {
        let since = i64::try_from(begun.elapsed().as_millis()).unwrap();
        database + since + off
    });
    let tolerance = Duration::from_millis(tolerance);
    place.store.compare_clocks(clock, tolerance);
    database
}

pub async fn case_v1_a_process_whose_clock_is_off_writes_nothing(place: Place) {
    let kid = place.open_ring("atp").await;
    let size = place.store.log_size().await.unwrap();
    compare(&place, 10_000).await;
    let changed = place.change(Change::Record).await.unwrap_err();
    assert!(matches!(changed, Error::ClockOff { .. }), "{changed}");
    let batch = [signature(&kid, "atp", "one")];
    let signed = place.store.commit_signatures(&batch).await.unwrap_err();
    assert!(matches!(signed, Error::ClockOff { .. }), "{signed}");
    assert_eq!(place.store.log_size().await.unwrap(), size);
    assert!(place.store.leaf(size).await.unwrap().is_none());
    let halted = place.store.halted().unwrap();
    assert!(halted.why.contains("differ by"), "{halted:?}");
    place.store.look().await.unwrap();
    assert!(place.store.halted().is_some());
}

pub async fn case_v1_a_leaf_that_lies_ahead_lets_its_correction_alone_through(place: Place) {
    let kid = place.open_ring("atp").await;
    let now = compare(&place, 0).await;
    place.change(Change::Record).await.unwrap();
    let index = place.store.log_size().await.unwrap();
    place
        .raw(&format!("UPDATE log_head SET clock = {}", now + 3_600_000))
        .await
        .unwrap();
    let ahead = |error: Error| matches!(error, Error::ClockAhead { .. });
    assert!(ahead(place.change(Change::Record).await.unwrap_err()));
    let batch = [signature(&kid, "atp", "one")];
    let signed = place.store.commit_signatures(&batch).await;
    assert!(ahead(signed.unwrap_err()));
    assert!(ahead(place.change(birth("b", 2, "atp")).await.unwrap_err()));
    assert_eq!(place.store.log_size().await.unwrap(), index);

    let log = ["log".to_owned()];
    place
        .approved_of("right", "clock-correction", None, &log)
        .await;
    place.change(execute("right")).await.unwrap();
    assert!(ahead(place.change(Change::Record).await.unwrap_err()));
    let close = Change::CloseCeremony {
        ceremony: digest("right"),
        transcript: b"right".to_vec(),
        at: NOW,
        corrected: Some(Corrected {
            first: index - 1,
            last: index - 1,
            bound: NOW + 7,
        }),
    };
    place.change(close).await.unwrap();
    place.change(Change::Record).await.unwrap();
    place.store.commit_signatures(&batch).await.unwrap();
    assert_eq!(place.store.halted(), None);
}

/// Only a leaf, of this time.
async fn leaf_at(store: &Store, time: i64) -> i64 {
    let leaf = Leaf {
        time,
        ..leaf("admin")
    };
    store.commit(&Change::Record, &leaf).await.unwrap()
}

/// Says of these leaves that they are not younger than `bound`, in a leaf that tells it.
async fn correct(place: &Place, name: &str, (first, last): (i64, i64), bound: i64) -> i64 {
    let log = ["log".to_owned()];
    place
        .approved_of(name, "clock-correction", None, &log)
        .await;
    place.change(execute(name)).await.unwrap();
    let change = Change::CloseCeremony {
        ceremony: digest(name),
        transcript: name.as_bytes().to_vec(),
        at: NOW,
        corrected: Some(Corrected { first, last, bound }),
    };
    let time = trust::Time::from_millis(bound);
    let body = format!(
        r#"{{"action":"clock-correction","actor":"cli","bound":"{time}","first":{first},"kind":"log","last":{last},"time":"{time}","v":1}}"#
    );
    let leaf = Leaf {
        time: bound,
        body,
        ..leaf("log")
    };
    place.store.commit(&change, &leaf).await.unwrap()
}

async fn log_clock(place: &Place) -> i64 {
    let when = AfterLatest {
        earliest: i64::MIN,
        strictly: false,
    };
    let make = |at: i64| {
        let leaf = Leaf {
            time: at,
            ..leaf("admin")
        };
        (Change::Record, leaf)
    };
    let index = place.store.commit_at(&when, &make).await.unwrap();
    place.store.leaf(index).await.unwrap().unwrap().time
}

/// Far more leaves than one statement looks at, and a second correction long after the first.
pub async fn case_v1_a_correction_counts_every_other_leaf(place: Place) {
    let store = &place.store;
    let late = NOW + 90_000;
    leaf_at(store, late).await;
    for n in 0..30 {
        leaf_at(store, NOW + n).await;
    }
    let wrong = leaf_at(store, NOW * 2).await;
    let between = leaf_at(store, NOW + 100).await;
    correct(&place, "first", (wrong, between), NOW + 200).await;
    assert_eq!(log_clock(&place).await, late, "a leaf of long before");
    for n in 0..20 {
        leaf_at(store, late + n).await;
    }
    let again = leaf_at(store, NOW * 3).await;
    let told = store.corrections().await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(Corrected::time(&told, wrong, NOW * 2), NOW + 200);
    assert_eq!(Corrected::time(&told, again, NOW * 3), NOW * 3);
    correct(&place, "second", (again, again), NOW + 300).await;
    assert_eq!(log_clock(&place).await, late + 19);
    correct(&place, "third", (0, 0), late + 500).await;
    assert_eq!(log_clock(&place).await, late + 500, "its own leaf");
}

/// What decides the end of a key follows a correction, and as far as clocks may differ the latest leaf.
pub async fn case_s10_an_end_follows_corrections_and_the_tolerance(place: Place) {
    let store = &place.store;
    let (now, _) = store.look().await.unwrap();
    leaf_at(store, now - 5_000).await;
    // Three minutes ahead: near enough that a leaf tells it could be true.
    let wrong = leaf_at(store, now + 180_000).await;
    correct(&place, "right", (wrong, wrong), now - 4_000).await;
    compare_within(&place, 0, 20_000).await;
    assert_eq!(log_clock(&place).await, now - 4_000);
    let when = AfterLatest {
        earliest: now,
        strictly: true,
    };
    let make = |at: i64| {
        let leaf = Leaf {
            time: at,
            ..leaf("admin")
        };
        (Change::Record, leaf)
    };
    let decided = async || {
        let index = store.commit_at(&when, &make).await?;
        Ok::<_, Error>(store.leaf(index).await?.unwrap().time)
    };
    assert_eq!(decided().await.unwrap(), now);
    leaf_at(store, now + 15_000).await;
    assert_eq!(decided().await.unwrap(), now + 15_001);
    // The same log beside clocks that may differ less.
    let strict = Place::of(place.replica().await, place.database.clone());
    compare_within(&strict, 0, 100).await;
    let refused = strict.store.commit_at(&when, &make).await;
    let late = store.look().await.unwrap().0 >= now + 14_000;
    assert!(
        matches!(refused, Err(Error::ClockAhead { .. })) || late,
        "{refused:?}"
    );
}
