//! A replica that dies before or after what any step does, or before it has written that it did it.

use calendar::Span;
use calendar::words::Step;
use store::testing::place::Place;

use super::world::{Fault, When, World};
use crate::engine::Ran;

/// Those that the driver does something in; `watch` only looks.
const STEPS: [Step; 7] = [
    Step::PreCheck,
    Step::Generate,
    Step::Publish,
    Step::Test,
    Step::Promote,
    Step::Retire,
    Step::Archive,
];

pub async fn a_replica_that_dies_at_any_step_is_followed_by_another(place: Place) {
    let world = World::new(place, 2 * STEPS.len());
    let mut number = 0;
    for step in STEPS {
        for when in [When::Before, When::After] {
            dies(&world, &format!("test/a{number}"), step, when).await;
            number += 1;
        }
    }
}

async fn dies(world: &World, asset: &str, step: Step, when: When) {
    let first = world.engine("one");
    first.make_due(Span::days(60)).await.unwrap();
    let mut open = world.store.open_rotations_of(asset).await.unwrap();
    let event = open.remove(0);
    world.elsewhere().fault = Some(Fault::Hangs(step, when));
    tokio::select! {
        ran = world.to_the_end(&first, &event.id) => panic!("{step} {when:?}: {ran:?}"),
        () = world.hangs.notified() => {}
    }
    world.elsewhere().fault = None;
    // It had the lease when it died, and nobody has the event until that ends.
    let second = world.replica("two").await;
    assert_eq!(second.run(&event.id).await.unwrap(), Ran::Busy, "{step}");
    world.lease_ends(&event.id).await;
    let ran = world.to_the_end(&second, &event.id).await;
    assert_eq!(ran, Ran::Ended { state: "done" }, "{step} {when:?}");
    assert_eq!(world.states(asset), ["archived", "primary"], "{step}");
    let steps = world.steps(&event.id).await;
    assert_eq!(steps.len(), Step::ALL.len(), "{step} {when:?}: {steps:#?}");
    assert!(steps.iter().all(|row| row.attempt == 1));
    // It was called again where nobody knew what had come of it, and nowhere else.
    let calls = world.elsewhere().calls.clone();
    for other in STEPS {
        let expected = if other == step { 2 } else { 1 };
        let called = calls.get(&(event.id.clone(), other.as_str())).copied();
        assert_eq!(called, Some(expected), "{step} {when:?}: {other}");
    }
    assert_eq!(world.leaves(&event.id).await.len(), 3, "{step} {when:?}");
}
