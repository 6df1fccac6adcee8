//! A ring under a standing order on a real token, rotated by the scheduler from the check of its age to the end of its old key,
//! by nobody's word.

use calendar::words::Reason;
use rotation::engine::{Clock, Propagation, Ran};
use rotation::jobs::{self, Scheduler};
use trust::verify_transcript;

use crate::support::clocked::{Clocked, DAY, HOUR};
use crate::support::installation::{Installation, member};
use crate::support::process::until;

const RING: &str = "records";
const ASSET: &str = "signing/records";

fn scheduler(world: &Clocked) -> Scheduler {
    Scheduler::of(jobs::Installation {
        ceremonies: world.service(),
        store: world.place.store.clone(),
        keys: world.keys.clone(),
        safety: world.settings.safety,
        env: world.env.clone(),
        clock: Clock::Given(world.env.clone()),
        propagation: Propagation::default(),
        owner: "replica".to_owned(),
        every: HOUR,
        ladder: calendar::alerts::escalation::Ladder::default(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_on_a_real_token_rotates_by_the_scheduler_and_its_executor() {
    let world = Clocked::new("test", &[RING]).await;
    world.ordered(RING, 2).await;
    let scheduler = scheduler(&world);
    scheduler.tick().await.unwrap();
    let mut runner = world.runner();
    let (mut made, mut ended) = (0, 0);
    // Half a year, hour by hour where something happens: the scheduler and the executor, and nobody else.
    world.wait(80 * DAY);
    for _ in 0..100 * 24 {
        scheduler.tick().await.unwrap();
        let round = scheduler.engine().look(100).await.unwrap();
        assert!(round.failed.is_empty(), "{round:?}");
        ended += round.ended;
        let done = runner.round(&|| false).await.unwrap();
        let trouble = (&done.waits, &done.orders, &done.unavailable);
        assert!(
            done.waits.is_empty() && done.orders.is_empty() && done.unavailable.is_none(),
            "{trouble:?}"
        );
        assert!(done.rotated.is_empty(), "the engine decides: {done:?}");
        made += done.executed.len();
        if ended == 1 {
            break;
        }
        world.wait(HOUR);
    }
    assert_eq!((made, ended), (1, 1));
    assert_eq!(world.primary(RING).await, 2);
    let store = &world.place.store;
    let rows = store.rotations_before(Some(ASSET), (i64::MAX, ""), 10);
    let [row] = &rows.await.unwrap()[..] else {
        panic!("one rotation");
    };
    assert_eq!(
        (row.state.as_str(), row.consent.as_str()),
        ("done", "order")
    );
    assert!(row.promoted_at.expect("promoted") <= row.due, "{row:?}");
    let report = scheduler.engine().report(&row.id).await.unwrap();
    let done = report
        .steps
        .iter()
        .filter(|step| step.outcome.as_deref() == Some("done"));
    assert_eq!(done.count(), 7, "{report:#?}");
    // The rotation and the ceremony of its key name each other.
    let ceremony = row.ceremony.clone().expect("a ceremony");
    let transcript = store.transcript(&ceremony).await.unwrap().expect("closed");
    let verified = verify_transcript(&transcript, &world.settings.pin).unwrap();
    assert_eq!(verified.request().ticket.as_deref(), Some(row.id.as_str()));
    assert!(verified.by_executor().is_some());
    // Nobody can do it twice.
    let again = scheduler.engine().run(&row.id).await.unwrap();
    assert_eq!(again, Ran::Ended { state: "done" });
    assert!(row.waits.is_none() || row.waits.as_deref() != Some(Reason::Person.as_str()));
}

/// The same by the programs: the service looks by itself, and a person sees what it waits for.
#[test]
fn the_service_goes_on_with_what_was_scheduled_and_the_log_holds() {
    let installation = Installation::new();
    installation.open_ring("integrity");
    installation.open_log();
    let service = installation.serve_with(&[("CHANCERY_ROTATION__EVERY", "200ms")]);
    let plan = installation
        .chancery(["rotation", "plan", "--days", "200"])
        .json();
    let asset = "signing/integrity";
    assert!(plan["rotations"].to_string().contains(asset), "{plan}");
    let picture = installation.file("plan.svg").display().to_string();
    installation.chancery(["rotation", "plan", "--svg", &picture]);
    assert!(text_of(&picture).starts_with("<svg"));
    let schedule = ["rotation", "schedule", "signing", "--asset", asset];
    let early = installation.try_chancery(schedule);
    assert_eq!(early.code, Some(3), "{early:?}");
    let forced = [&schedule[..], &["--force", "--reason", "a test"]].concat();
    let made = installation.chancery(forced).json();
    let id = member(&made[0], "id");
    let show = || installation.chancery(["rotation", "show", &id]).json();
    until("the service has begun with it", || {
        show()["waits"] == "approval"
    });
    assert_eq!(show()["steps"][0]["outcome"], "done");
    until("it is counted", || {
        service
            .metric("chancery_rotations_open{state=\"waiting\"}")
            .is_some_and(|count| count > 0.5)
    });
    let paused = installation
        .chancery(["job", "pause", "--reason", "an audit"])
        .json();
    assert_eq!(paused["paused"], true);
    let resumed = installation.chancery(["job", "resume"]).json();
    assert_eq!(resumed["jobs"].as_array().map(Vec::len), Some(6));
    let run = installation
        .chancery(["job", "run", "key_rotation_health_check"])
        .json();
    assert_eq!(run["succeeded"], true);
    installation.chancery(["rotation", "cancel", &id, "--reason", "enough"]);
    until("the service has ended it", || {
        show()["state"] == "cancelled"
    });
    let late = installation.try_chancery(["rotation", "retry", &id]);
    assert_eq!(late.code, Some(3), "{late:?}");
    let events = installation
        .chancery(["rotation", "events", "--asset", asset])
        .json();
    assert_eq!(events.as_array().map(Vec::len), Some(1));
    installation.chancery(["rotation", "report"]);
    let simulated = installation
        .chancery(["rotation", "simulate", "--days", "100"])
        .json();
    assert_eq!(simulated["assets"], 2);
    // What was written about it is in a log that holds.
    let checked = installation.try_chancery(["log", "check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(path).expect("a file")
}
