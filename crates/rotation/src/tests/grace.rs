//! Rings whose old keys are published for a time, and not for ever.

use keyring::keys::Share;
use store::testing::place::Place;
use trust::KeyState;

use super::frozen::Two;
use super::rings::{ASSET, DAY, RING, Ring, executed};
use crate::drivers::{Answer, Driver as _, Task};
use crate::engine::Ran;
use crate::inventory::AssetChange;
use crate::times::from_row;

/// Tokens: thirty days of grace, and the same consent as signatures.
pub async fn of_key_type(ring: &Ring, key_type: &str) {
    let change = AssetChange {
        key_type: Some(key_type.parse().unwrap()),
        ..AssetChange::default()
    };
    let inventory = ring.inventory();
    let by = ("olga", ring.now());
    let asset = ASSET.parse().unwrap();
    let changed = inventory.change(&asset, &change, "tokens", by);
    changed.await.unwrap();
}

async fn is_published(ring: &Ring, number: u32) -> bool {
    ring.keys.refresh().await;
    let snapshot = ring.keys.current();
    let of_ring = &snapshot.rings[RING];
    let key = of_ring
        .keys
        .iter()
        .find(|key| key.number == number)
        .unwrap();
    let kid = key.kid.as_str().as_bytes();
    let has = |bytes: &[u8]| bytes.windows(kid.len()).any(|part| part == kid);
    assert_eq!(has(&of_ring.jwks.bytes), has(&snapshot.jwks.bytes));
    has(&of_ring.jwks.bytes)
}

pub async fn a_key_leaves_the_key_sets_at_the_end_of_a_finite_grace(place: Place) {
    let world = Two::new(place).await;
    let ring = &world.ring;
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    of_key_type(ring, "jwt_signing").await;
    ring.wait(87 * DAY);
    let id = ring.checked(&scheduler).await.id;
    ring.waits_for(&scheduler, &id).await;
    assert_eq!(executed(&mut runner).await, 1);
    // A replica that freezes before the end takes nothing out.
    let run = world.freezes(&id, "archive").await;
    let row = ring.row(&id).await;
    assert!(row.retired_at.is_some());
    let over = row.promoted_at.unwrap() + 30 * DAY;
    assert!(ring.now() >= over && is_published(ring, 1).await);
    world.is_overtaken(&id).await;
    world.wakes_for_nothing(run).await;
    assert!(is_published(ring, 1).await);
    world.lease_ends(&id).await;
    let ran = world.two.run(&id).await.unwrap();
    assert_eq!(ran, Ran::Ended { state: "done" });
    assert!(!is_published(ring, 1).await && is_published(ring, 2).await);
    let steps = ring.place.store.rotation_steps(&id).await.unwrap();
    let evidence = steps.last().unwrap().evidence.clone().unwrap();
    assert!(evidence.contains(r#""in_key_sets":false"#), "{evidence}");
    // The archive has it, and it is retired: what it signed is valid.
    let snapshot = ring.keys.current();
    let kid = snapshot.rings[RING].keys[0].kid.clone();
    let found = ring.keys.find(&kid, Share::Known).await.unwrap();
    assert!(matches!(found.state, KeyState::Retired(_)));
    assert!(found.unpublished_at.is_some_and(|at| at >= over));
    // Done again, it finds that it is done, and changes nothing.
    let version = ring.place.store.version().await.unwrap();
    let row = ring.row(&id).await;
    let again = world.driver.inner.archive(Task {
        event: &row,
        now: from_row(ring.now()),
        lease: None,
    });
    assert!(matches!(again.await, Answer::Done(_)));
    assert_eq!(ring.place.store.version().await.unwrap(), version);
}
