//! A ring under a standing order on a real token, rotated by the scheduler from the check of its age to the end of its old key,
//! by nobody's word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use base::Env;
use calendar::words::Reason;
use keyring::ceremony::{
    CeremonyService, Draft, OrderInput, ProposalInput, ResultSigner, Runner, SigningPayload,
};
use keyring::keys::{Keys, PublicationSettings, Settings};
use keyring::rotation::{self as pointer, RingChange};
use log::{Event, Log};
use rotation::engine::{Clock, Propagation, Ran};
use rotation::jobs::{self, Scheduler};
use store::testing::place::Place;
use store::{Change, RingRow};
use testkit::custodians::{Custodians, minute};
use testkit::installation::{self as made, Plan};
use token::Executor;
use trust::leaf::ActKind;
use trust::request::OrderWindow;
use trust::sshkey::SshKey;
use trust::{Algorithm, KeySpec, Time, Usage, verify_transcript};

use crate::support::installation::{Installation, directory, member, must};
use crate::support::process::until;

const RING: &str = "records";
const ASSET: &str = "signing/records";
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

struct Robot(Arc<Custodians>);

impl ResultSigner for Robot {
    fn public_key(&self) -> Result<SshKey, String> {
        Ok(self.0.public_key("robot"))
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, String> {
        Ok(self.0.signature("robot", namespace, bytes))
    }
}

struct World {
    place: Place,
    custodians: Arc<Custodians>,
    executor: Executor,
    token: (String, String),
    settings: Settings,
    keys: Arc<Keys>,
    env: Env,
    now: Arc<AtomicI64>,
    _directory: tempfile::TempDir,
}

impl World {
    /// A token as `softhsm/init-token` makes it, and a genesis.
    async fn new() -> Self {
        let directory = directory();
        let plan = Plan {
            program: env!("CARGO_BIN_EXE_chancery").into(),
            directory: directory.path().to_owned(),
            token: directory.path().join("token"),
            token_label: "rotation".to_owned(),
            environment: "test".to_owned(),
            store: String::new(),
            api: String::new(),
            operations: String::new(),
            publish_safety: DAY,
            settings: Vec::new(),
            narrate: None,
        };
        let made = must(made::Installation::with_token(plan));
        let conf = made.token_file("softhsm2.conf").display().to_string();
        let token = token::Settings {
            uri: made.token_uri(&made.module),
            profile: Some("softhsm".to_owned()),
            processes: None,
            sessions: None,
            queue_limit: token::QUEUE_LIMIT,
            environment: BTreeMap::from([("SOFTHSM2_CONF".to_owned(), conf)]),
        };
        let executor = Executor::start(&token, &made.plan.program).expect("a way to the token");
        let custodians = Arc::new(Custodians::with_executors("test", &[RING]));
        let now = Arc::new(AtomicI64::new(minute(0).millis()));
        let (clock, count) = (now.clone(), AtomicU64::new(1));
        // Different each time; nobody guesses here.
        let env = Env::new(
            move || Time::from_millis(clock.load(Ordering::Relaxed)),
            move |bytes: &mut [u8]| {
                bytes.fill(0);
                let next = count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                let from = bytes.len().saturating_sub(4);
                bytes[from..].copy_from_slice(&next[4..]);
                Ok(())
            },
        );
        let publication = PublicationSettings::default();
        let settings = Settings::new(custodians.pin().clone(), &publication).expect("settings");
        let place = Place::sqlite().await;
        let store = place.store.clone();
        let service = CeremonyService::new(store.clone(), env.clone(), &settings, "test".into());
        service
            .install_genesis(&custodians.genesis())
            .await
            .unwrap();
        Self {
            keys: Keys::load(store, settings.clone()).await.unwrap(),
            token: executor.identity().await.unwrap(),
            place,
            custodians,
            executor,
            settings,
            env,
            now,
            _directory: directory,
        }
    }

    fn now(&self) -> Time {
        self.env.now()
    }

    fn wait(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).expect("short");
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    fn service(&self) -> CeremonyService {
        let store = self.place.store.clone();
        CeremonyService::new(store, self.env.clone(), &self.settings, "test".into())
    }

    fn sign(&self, who: &str, payload: &SigningPayload) -> String {
        let SigningPayload { namespace, bytes } = payload;
        self.custodians.signature(who, namespace, bytes)
    }

    /// Proposed by one, approved by two, carried out, accepted by two.
    async fn closed(&self, draft: Draft) {
        self.keys.refresh().await;
        let input = ProposalInput {
            ring: Some(RING.parse().expect("a name")),
            proposer: "carol".parse().expect("a name"),
            reason: "a test".to_owned(),
            ticket: None,
            approve_by: self.now() + HOUR,
            execute_by: self.now() + 2 * HOUR,
            draft,
        };
        let (service, snapshot) = (self.service(), self.keys.current());
        let request = service.draft_request(input, &snapshot).await.unwrap();
        let payload = CeremonyService::proposal_payload(&request).unwrap();
        let bytes = request.encode().unwrap();
        let signature = self.sign("carol", &payload);
        let id = service.propose(bytes, &signature).await.unwrap();
        for who in ["alice", "bob"] {
            let payload = service.approval_payload(&id).await.unwrap();
            service
                .approve(&id, &self.sign(who, &payload))
                .await
                .unwrap();
        }
        let done = service.execute(&id, Some(&self.executor), &snapshot);
        done.await.unwrap();
        for who in ["alice", "bob"] {
            let payload = service.acceptance_payload(&id).await.unwrap();
            service
                .accept(&id, &self.sign(who, &payload))
                .await
                .unwrap();
        }
        self.keys.refresh().await;
    }

    /// The ring signs with its first key, and an order permits two more.
    async fn ordered(&self) {
        let row = RingRow {
            name: RING.parse().expect("a name"),
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::P256,
            usage: Usage::Structured,
            created_at: self.now(),
            version: 1,
        };
        let event = Event {
            ring: Some(RING),
            ..Event::new(ActKind::Ring, "create", "test", self.now())
        };
        let log = Log::new(self.place.store.clone());
        log.commit(&Change::CreateRing(row), &event).await.unwrap();
        let (token_serial, token_label) = self.token.clone();
        self.closed(Draft::Generate {
            token_serial: token_serial.clone(),
            token_label: token_label.clone(),
            activate_in: Duration::ZERO,
            lifetime: 400 * DAY,
        })
        .await;
        self.wait(2 * DAY);
        let snapshot = self.keys.current();
        let ring = &snapshot.rings[RING];
        let safety = &self.settings.safety;
        let plan = pointer::plan(ring, &RingChange::Rotate, safety, self.now()).unwrap();
        let now = self.now();
        pointer::apply(&plan, &log, "test", None, now)
            .await
            .unwrap();
        let order = OrderInput {
            activate_after: DAY,
            executor: "robot".parse().expect("a name"),
            executor_key: None,
            interval: DAY,
            lifetime: 400 * DAY,
            not_after: self.now() + 360 * DAY,
            not_before: self.now(),
            token_label,
            token_serial,
            uses: 2,
            window: OrderWindow::always(),
        };
        self.closed(Draft::Order(Box::new(order))).await;
    }

    fn scheduler(&self) -> Scheduler {
        let store = self.place.store.clone();
        Scheduler::of(jobs::Installation {
            ceremonies: self.service(),
            store,
            keys: self.keys.clone(),
            safety: self.settings.safety,
            env: self.env.clone(),
            clock: Clock::Given(self.env.clone()),
            propagation: Propagation::default(),
            owner: "replica".to_owned(),
            every: HOUR,
        })
    }

    async fn primary(&self) -> u32 {
        self.keys.refresh().await;
        let snapshot = self.keys.current();
        let primary = snapshot.rings[RING].primary.as_ref();
        primary.map_or(0, |key| key.number)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_on_a_real_token_rotates_by_the_scheduler_and_its_executor() {
    let world = World::new().await;
    world.ordered().await;
    let scheduler = world.scheduler();
    scheduler.tick().await.unwrap();
    let signer = Arc::new(Robot(world.custodians.clone()));
    let service = world.service().with_result_signer(signer);
    let mut runner = Runner::new(service, world.executor.clone(), world.settings.clone());
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
    assert_eq!(world.primary().await, 2);
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
