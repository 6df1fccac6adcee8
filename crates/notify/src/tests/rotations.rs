//! What of rotations is told, once for each state, and never a thousand times.

use std::time::Duration;

use store::{Change, Declaration, Leaf, RotationEventRow, RotationMark, RotationPause};
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
        declared_at: None,
        retries: 0,
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

impl World {
    async fn all_wait(&self, numbers: std::ops::RangeInclusive<usize>, waits: &str) {
        let sql = format!(
            "UPDATE rotation_event SET state = 'waiting', waits = NULLIF('{waits}', ''), detail = 'nobody'
             WHERE id BETWEEN '{}' AND '{}'",
            id(*numbers.start()),
            id(*numbers.end())
        );
        self.place.raw(&sql).await.unwrap();
    }

    async fn minute(&self, one: &mut crate::Notifier) {
        self.pass(Duration::from_secs(61));
        one.round().await.unwrap();
    }
}

#[tokio::test]
async fn fault_a_backlog_that_drains_is_told_of_no_more_than_one_that_stays() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = webhook(&endpoint.address);
    let mut one = world.replica("one", &settings);
    for number in 1..=200 {
        world.begin(number, "time").await;
    }
    world.all_wait(1..=200, "approval").await;
    for done in (10..=170).step_by(10) {
        for _ in 0..2 {
            world.minute(&mut one).await;
        }
        world.all_wait(1..=done, "").await;
        // Whoever is started anew knows who was told of, and that others were told together.
        one = world.replica("one", &settings);
    }
    world.minute(&mut one).await;
    let all = told(&endpoint);
    // The first twenty, and one for the others; and while a hundred are less, another one at the most.
    assert!((21..=22).contains(&all.len()), "{} {all:?}", all.len());
    assert!(all.iter().all(|(kind, _)| kind == "rotation.waiting"));
}

#[tokio::test]
async fn a_backlog_that_grows_tenfold_is_told_of_again_on_the_same_day() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    for number in 1..=150 {
        world.begin(number, "time").await;
    }
    let mut count = async |until, waits| {
        world.all_wait(1..=until, waits).await;
        for _ in 0..3 {
            world.minute(&mut one).await;
        }
        told(&endpoint).len()
    };
    assert_eq!(count(25, "approval").await, 21);
    assert_eq!(count(29, "approval").await, 21);
    assert_eq!(count(60, "approval").await, 22);
    assert_eq!(count(110, "approval").await, 22);
    assert_eq!(count(150, "approval").await, 23);
}

#[tokio::test]
async fn fault_a_hundred_that_are_rolled_back_are_a_few_messages() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    for number in 1..=100 {
        world.begin(number, "time").await;
    }
    let sql = format!(
        "UPDATE rotation_event SET state = 'rolled-back', ended_at = {}",
        world.now().millis()
    );
    world.place.raw(&sql).await.unwrap();
    for _ in 0..5 {
        world.minute(&mut one).await;
    }
    let all = told(&endpoint);
    assert_eq!(all.len(), 21, "{all:?}");
    assert!(all.iter().all(|(kind, _)| kind == "rotation.rolled-back"));
}

#[tokio::test]
async fn a_failure_after_a_retry_is_told_of_again_and_the_retry_is_not() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    world.begin(1, "time").await;
    let failed = said("rotation.failed", "failed");
    for times in 1..=3 {
        world.is(1, "failed", "person").await;
        for _ in 0..2 {
            world.minute(&mut one).await;
        }
        assert_eq!(told(&endpoint), vec![failed.clone(); times]);
        let retry = Change::MarkRotation {
            event: id(1),
            mark: RotationMark::Retry,
            at: world.now().millis(),
        };
        world.commit_rotation(&retry, 1, "retry").await;
        world.minute(&mut one).await;
        assert_eq!(told(&endpoint).len(), times);
    }
}

#[tokio::test]
async fn fault_a_ring_is_told_of_however_many_others_wait_for_the_end_of_their_grace() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    let now = world.now().millis();
    let sql = format!(
        "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 20001)
        INSERT INTO rotation_event (id, asset, key_type, version, cause, state, slot, due, consent, requested_by,
            promoted_at, created_at, updated_at, look_at)
        SELECT printf('kr_%036d', 100 + n), printf('external/a%05d', n), 'api_key', 2, 'time', 'waiting', {now}, {now},
            'automatic', 'chancery', {now}, {now}, {now}, {now} FROM many"
    );
    assert_eq!(world.place.raw(&sql).await.unwrap(), 20_001);
    world.begin(1, "time").await;
    world.is(1, "failed", "person").await;
    world.minute(&mut one).await;
    world.minute(&mut one).await;
    assert_eq!(told(&endpoint), [said("rotation.failed", "failed")]);
}

#[tokio::test]
async fn an_open_rotation_that_is_declared_is_told_of_with_the_others_of_its_declaration() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    for number in 1..=2 {
        world.begin(number, "time").await;
        world.pass(HOUR);
    }
    for number in 1..=2 {
        let declared = Change::MarkRotation {
            event: id(number),
            mark: RotationMark::Declare(Declaration {
                by: "user:olga".to_owned(),
                reason: "it leaked".to_owned(),
                due: world.now() + HOUR,
            }),
            at: world.now().millis(),
        };
        world.commit_rotation(&declared, number, "declare").await;
    }
    world.begin(3, "event").await;
    world.minute(&mut one).await;
    world.minute(&mut one).await;
    assert_eq!(told(&endpoint), [said("emergency.declared", "declared")]);
    let body = &endpoint.seen()[0].body;
    for part in ["test/a00001", "test/a00003", "it leaked", "user:olga"] {
        assert!(body.contains(part), "{part}: {body}");
    }
}
