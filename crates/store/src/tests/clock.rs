//! Clocks: of this process, of the database, and of the log's leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::*;
use super::place::Place;
use super::world::*;

/// Compares the clocks from now on; the process's is off from the database's by so much.
async fn compare(place: &Place, off: i64) -> i64 {
    let (database, _) = place.store.look().await.unwrap();
    let begun = Instant::now();
    let clock = Arc::new(move || {
        let since = i64::try_from(begun.elapsed().as_millis()).unwrap();
        database + since + off
    });
    place.store.compare_clocks(clock, Duration::from_secs(2));
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
