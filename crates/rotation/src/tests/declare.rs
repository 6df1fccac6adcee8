//! A declared emergency leaves nothing out.

use calendar::facts::VersionFacts;
use calendar::words::{Reason, Step};
use calendar::{Span, Word};
use store::RotationEventRow;
use store::testing::place::Place;

use super::world::{Fault, KEY_TYPE, World, asset};
use crate::engine::error::Error;
use crate::engine::{Engine, Ran};

const ASSET: &str = "test/a0";

async fn declare(engine: &Engine, asset: Option<&str>) -> Result<Vec<RotationEventRow>, Error> {
    let key_type: Word = KEY_TYPE.parse().unwrap();
    let asset = asset.map(|name| name.parse().unwrap());
    let why = ("olga", "it leaked");
    engine.declare(&key_type, asset.as_ref(), why).await
}

pub async fn threat_a_rotation_that_is_held_is_declared_and_waits_for_nobody(place: Place) {
    let world = World::new(place, 1);
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    engine.hold(&event.id, "somebody", None).await.unwrap();
    engine.pause(true, "somebody", None).await.unwrap();
    let declared = declare(&engine, None).await.unwrap();
    let [row] = &declared[..] else {
        panic!("{declared:?}");
    };
    assert_eq!((&row.id, row.version), (&event.id, event.version));
    assert_eq!((row.cause.as_str(), row.held), ("event", false));
    let said = (row.requested_by.as_str(), row.reason.as_deref());
    assert_eq!(said, ("olga", Some("it leaked")));
    assert!(row.slot < event.slot && row.due < event.due && row.created_at == event.created_at);
    assert_eq!(row.declared_at.unwrap().millis(), world.now().millis());
    let leaves = world.leaves(&event.id).await;
    assert_eq!(leaves.last().unwrap(), "test/a0 declare 1->2");
    let twice = declare(&engine, None).await;
    assert!(matches!(twice, Err(Error::Refused(_))), "{twice:?}");
    assert_eq!(world.leaves(&event.id).await, leaves);
    // It is due at once.
    let round = engine.look(10).await.unwrap();
    assert_eq!((round.looked, round.ended), (1, 1), "{round:?}");
    assert_eq!(world.states(ASSET), ["archived", "primary"]);
}

#[tokio::test]
async fn a_declaration_makes_what_is_not_open_and_turns_what_is() {
    let world = World::new(Place::sqlite().await, 2);
    let engine = world.engine("one");
    let since = world.now();
    world.elsewhere().assets.push(asset("test/young", since));
    engine.make_due(Span::days(3)).await.unwrap();
    let mut declared = declare(&engine, None).await.unwrap();
    declared.sort_by(|a, b| a.asset.cmp(&b.asset));
    let told: Vec<_> = declared
        .iter()
        .map(|row| {
            (
                row.asset.as_str(),
                row.cause.as_str(),
                row.declared_at.is_some(),
            )
        })
        .collect();
    let expected = [
        ("test/a0", "event", true),
        ("test/a1", "event", true),
        ("test/young", "event", false),
    ];
    assert_eq!(told, expected);
    assert_eq!(declared[0].due, declared[2].due);
}

#[tokio::test]
async fn what_failed_for_good_is_tried_again_when_it_is_declared() {
    let world = World::new(Place::sqlite().await, 1);
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    world.elsewhere().fault = Some(Fault::Fails(Step::Test, false));
    let ran = world.to_the_end(&engine, &event.id).await;
    let person = Some(Reason::Person);
    assert!(matches!(ran, Ran::Waits { reason, .. } if reason == person));
    world.elsewhere().fault = None;
    let row = declare(&engine, Some(ASSET)).await.unwrap().remove(0);
    assert_eq!(
        (row.state.as_str(), row.waits, row.retries),
        ("waiting", None, 1)
    );
    let ran = engine.run(&event.id).await.unwrap();
    assert_eq!(ran, Ran::Ended { state: "done" });
}

#[tokio::test]
async fn an_asset_that_gets_no_emergency_is_named_and_the_others_get_theirs() {
    let world = World::new(Place::sqlite().await, 3);
    let engine = world.engine("one");
    let first = world.elsewhere().assets[0].versions[0];
    let prepared = VersionFacts {
        state: calendar::words::VersionState::Prepared { published_at: None },
        ..first
    };
    world.elsewhere().assets[1].versions = vec![prepared];
    let error = declare(&engine, None).await.unwrap_err();
    assert!(matches!(&error, Error::LeftOut { asset, .. } if asset == "test/a1"));
    let said = "test/a1 got no emergency rotation (no-primary); declared for 2 others";
    assert_eq!(error.to_string(), said);
}

#[tokio::test]
async fn what_is_being_cancelled_is_not_declared_and_is_named() {
    let world = World::new(Place::sqlite().await, 1);
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    engine.cancel(&event.id, "somebody", None).await.unwrap();
    let error = declare(&engine, None).await.unwrap_err();
    assert!(error.to_string().contains("is being ended"), "{error}");
    engine.look(10).await.unwrap();
    let declared = declare(&engine, None).await.unwrap();
    assert_ne!(declared[0].id, event.id);
}

#[tokio::test]
async fn more_than_one_declaration_makes_is_refused_before_anything_is_written() {
    let world = World::new(Place::sqlite().await, 10_001);
    let engine = world.engine("one");
    let error = declare(&engine, None).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("10001 assets") && said.contains("by asset"),
        "{said}"
    );
    assert!(engine.open_events().await.unwrap().is_empty());
    assert_eq!(declare(&engine, Some(ASSET)).await.unwrap().len(), 1);
}
