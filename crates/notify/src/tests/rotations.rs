//! What of rotations is told, once for each state, and never a thousand times.

use std::time::Duration;

use store::{Change, Leaf, RotationEventRow, RotationPause};
use trust::Time;
use trust::leaf::{ActKind, ActLeaf};

use super::endpoint::Endpoint;
use super::world::{World, webhook};

const HOUR: Duration = Duration::from_secs(3_600);

fn id(number: usize) -> String {
    format!("kr_{number:036}")
}

/// Scheduled for now, due tomorrow.
fn row(number: usize, now: Time, cause: &str) -> RotationEventRow {
    RotationEventRow {
        id: id(number),
        asset: format!("test/a{number:05}"),
        key_type: "api_key".to_owned(),
        version: 2,
        previous_version: Some(1),
        cause: cause.to_owned(),
        state: "scheduled".to_owned(),
        slot: now,
        due: now + 24 * HOUR,
        consent: "automatic".to_owned(),
        order: None,
        ceremony: None,
        made: None,
        published_at: None,
        promoted_at: None,
        retired_at: None,
        requested_by: "chancery".to_owned(),
        reason: Some("it leaked".to_owned()),
        held: false,
        cancel: false,
        roll_back: false,
        waits: None,
        detail: None,
        created_at: now,
        updated_at: now,
        ended_at: None,
        look_at: now,
        lease_epoch: 0,
    }
}

impl World {
    async fn commit_rotation(&self, change: &Change, number: usize, action: &str) {
        let now = self.now();
        let act = ActLeaf {
            reference: Some(id(number)),
            reason: Some("callers fail".to_owned()),
            ..ActLeaf::new(ActKind::Rotation, action, "user:olga", now)
        };
        let leaf = Leaf {
            time: now.millis(),
            kind: ActKind::Rotation.name(),
            ring: None,
            kid: None,
            sig_hash: None,
            body: serde_json::to_string(&act).unwrap(),
        };
        self.place.store.commit(change, &leaf).await.unwrap();
    }

    async fn begin(&self, number: usize, cause: &str) {
        let row = Box::new(row(number, self.now(), cause));
        self.commit_rotation(&Change::BeginRotation(row), number, "begin")
            .await;
    }

    async fn is(&self, number: usize, state: &str, waits: &str) {
        let sql = format!(
            "UPDATE rotation_event SET state = '{state}', waits = NULLIF('{waits}', ''), detail = 'the reason' WHERE id = '{}'",
            id(number)
        );
        self.place.raw(&sql).await.unwrap();
    }
}

/// Types of what came, with what each is about.
fn told(endpoint: &Endpoint) -> Vec<(String, String)> {
    let seen = endpoint.seen().into_iter().map(|one| {
        let body: serde_json::Value = serde_json::from_str(&one.body).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
        let facts = &body["data"]["facts"];
        (text(&body["type"]), text(&facts["state"]))
    });
    seen.collect()
}

fn said(kind: &str, state: &str) -> (String, String) {
    (kind.to_owned(), state.to_owned())
}

#[tokio::test]
async fn each_state_of_a_rotation_is_told_once_however_often_it_comes_back() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = webhook(&endpoint.address);
    let (mut one, mut two) = (
        world.replica("one", &settings),
        world.replica("two", &settings),
    );
    world.begin(1, "time").await;
    let mut expected = Vec::new();
    let steps = [
        ("waiting", "executor", None),
        (
            "waiting",
            "approval",
            Some(said("rotation.waiting", "approval")),
        ),
        ("running", "", None),
        ("waiting", "approval", None),
        (
            "waiting",
            "propagation",
            Some(said("rotation.waiting", "propagation")),
        ),
        ("failed", "person", Some(said("rotation.failed", "failed"))),
        ("waiting", "propagation", None),
        ("failed", "person", None),
    ];
    for (state, waits, tells) in steps {
        world.is(1, state, waits).await;
        expected.extend(tells);
        for _ in 0..2 {
            world.pass(Duration::from_secs(61));
            one.round().await.unwrap();
            two.round().await.unwrap();
        }
        assert_eq!(told(&endpoint), expected, "{state} {waits}");
        // Whoever is started anew knows what was told.
        one = world.replica("one", &settings);
    }
    world.is(1, "waiting", "approval").await;
    world.pass(24 * HOUR);
    one.round().await.unwrap();
    two.round().await.unwrap();
    expected.push(said("rotation.late", "late"));
    assert_eq!(told(&endpoint), expected);
}

#[tokio::test]
async fn a_roll_back_and_a_declaration_are_told_of_once_and_an_orderly_end_is_not() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    world.begin(1, "time").await;
    world.begin(6, "time").await;
    for (number, state) in [(1, "rolled-back"), (6, "done")] {
        let sql = format!(
            "UPDATE rotation_event SET state = '{state}', ended_at = {} WHERE id = '{}'",
            world.now().millis(),
            id(number)
        );
        world.place.raw(&sql).await.unwrap();
    }
    // Of three assets at once, and later of another one.
    for number in 2..5 {
        world.begin(number, "event").await;
    }
    world.pass(Duration::from_secs(1));
    world.begin(5, "event").await;
    for _ in 0..6 {
        world.pass(Duration::from_secs(61));
        one.round().await.unwrap();
    }
    let mut told: Vec<String> = told(&endpoint).into_iter().map(|(kind, _)| kind).collect();
    told.sort();
    let expected = [
        "emergency.declared",
        "emergency.declared",
        "rotation.rolled-back",
    ];
    assert_eq!(told, expected);
    let seen = endpoint.seen();
    let mut bodies = seen.iter().map(|one| one.body.as_str());
    let three = bodies.find(|body| body.contains("test/a00002")).unwrap();
    for part in ["test/a00004", "it leaked", "/v1/key-rotation/events/kr_"] {
        assert!(three.contains(part), "{part}: {three}");
    }
}

#[tokio::test]
async fn fault_a_pause_over_a_due_date_is_told_of_once() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    let pause = RotationPause {
        since: Some(world.now()),
        by: Some("user:olga".to_owned()),
        reason: Some("an audit".to_owned()),
    };
    world
        .commit_rotation(&Change::PauseRotations(pause), 1, "pause")
        .await;
    let round = async |one: &mut crate::Notifier| {
        for _ in 0..3 {
            world.pass(Duration::from_secs(61));
            one.round().await.unwrap();
        }
    };
    round(&mut one).await;
    assert!(told(&endpoint).is_empty());
    // An emergency is not held by it.
    world.begin(1, "event").await;
    round(&mut one).await;
    assert_eq!(told(&endpoint), [said("emergency.declared", "declared")]);
    world.begin(2, "time").await;
    round(&mut one).await;
    world.begin(3, "time").await;
    round(&mut one).await;
    let told = told(&endpoint);
    assert_eq!(told[1..], [said("rotation.paused", "paused")]);
    assert!(endpoint.seen()[1].body.contains("an audit"));
}

#[tokio::test]
async fn fault_a_thousand_rotations_that_wait_are_a_few_messages() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    for number in 1..=1_000 {
        world.begin(number, "time").await;
    }
    world
        .place
        .raw("UPDATE rotation_event SET state = 'waiting', waits = 'approval', detail = 'nobody'")
        .await
        .unwrap();
    for _ in 0..30 {
        world.pass(Duration::from_secs(61));
        one.round().await.unwrap();
    }
    assert_eq!(told(&endpoint).len(), 21, "{:?}", told(&endpoint));
    let bodies = endpoint.seen();
    let together = bodies
        .iter()
        .find(|one| one.body.contains("\"more_subjects\":977"));
    assert!(together.is_some());
}
