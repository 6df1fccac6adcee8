//! What metrics say of rotations that ended.

use calendar::Span;
use store::testing::place::Place;

use super::world::World;
use crate::measured::{Measured, Shares};

pub async fn what_ended_lately_is_measured_and_found_in_the_log(place: Place) {
    let world = World::new(place, 2);
    let engine = world.engine("one");
    let measured = Measured::default();
    assert_eq!(measured.ago(), None);
    measured.read(&engine).await.unwrap();
    assert_eq!(measured.shares().await, Shares::default());

    let event = world.event(&engine, "test/a0").await;
    world.to_the_end(&engine, &event.id).await;
    let shares = |succeeded, audited, unaudited| Shares {
        succeeded: Some(succeeded),
        on_schedule: Some(1.0),
        automatic: Some(1.0),
        audited: Some(audited),
        promoted: 1,
        unaudited,
    };
    measured.read(&engine).await.unwrap();
    assert_eq!(measured.shares().await, shares(1.0, 1.0, 0));

    // Reading on counts nothing twice, and one who begins anew finds the same.
    let other = world.event(&engine, "test/a1").await;
    engine
        .cancel(&other.id, "somebody", Some("a test"))
        .await
        .unwrap();
    world.to_the_end(&engine, &other.id).await;
    measured.read(&engine).await.unwrap();
    measured.read(&engine).await.unwrap();
    assert_eq!(measured.shares().await, shares(0.5, 1.0, 0));
    let anew = Measured::default();
    anew.read(&engine).await.unwrap();
    assert_eq!(anew.shares().await, shares(0.5, 1.0, 0));
    assert!(anew.ago().is_some());
    let audited = anew.audited().unwrap();
    assert_eq!((audited.rotations, audited.not_told_in_all), (2, 0));

    // The database says that something ended, and the log does not.
    anew.forget_what_the_log_tells(&event.id).await;
    assert_eq!(anew.shares().await, shares(0.5, 0.5, 1));

    world.wait(Span::days(93));
    measured.read(&engine).await.unwrap();
    assert_eq!(measured.shares().await, Shares::default());
}

#[tokio::test]
async fn fault_what_cannot_be_read_holds_up_nothing_else_that_is_measured() {
    let world = World::new(Place::sqlite().await, 1);
    let engine = world.engine("one");
    let event = world.event(&engine, "test/a0").await;
    world.to_the_end(&engine, &event.id).await;
    let hide = "ALTER TABLE alert RENAME TO hidden";
    world.place.raw(hide).await.unwrap();
    let measured = Measured::default();
    assert!(measured.read(&engine).await.is_err());
    assert_eq!(measured.shares().await.promoted, 1);
    assert_eq!(measured.ago(), None, "not all of it was read");
    let show = "ALTER TABLE hidden RENAME TO alert";
    world.place.raw(show).await.unwrap();
    measured.read(&engine).await.unwrap();
    assert!(measured.ago().is_some());
}
