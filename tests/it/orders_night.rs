//! A hundred rings under standing orders, in one night, by nobody: an executor at a real token, while the clock of the test
//! goes on from quarter to quarter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use base::Env;
use keyring::ceremony::{
    CeremonyService, Draft, OrderInput, ProposalInput, ResultSigner, Runner, SigningPayload,
};
use keyring::keys::{Keys, PublicationSettings, Settings};
use keyring::rotation::{self, RingChange};
use log::{Event, Log};
use store::testing::place::Place;
use store::{Change, RingRow};
use testkit::custodians::{Custodians, minute};
use testkit::installation::{self as made, Plan};
use token::Executor;
use trust::leaf::ActKind;
use trust::request::OrderWindow;
use trust::sshkey::SshKey;
use trust::{Algorithm, KeySpec, Time, Usage, verify_transcript};

use crate::support::installation::{directory, must};

const RINGS: usize = 100;
const HOUR: Duration = Duration::from_secs(3_600);
const LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// From the making of a key until it is due.
const AHEAD: Duration = Duration::from_secs(2 * 3_600);

struct Robot(Arc<Custodians>);

impl ResultSigner for Robot {
    fn public_key(&self) -> Result<SshKey, String> {
        Ok(self.0.public_key("robot"))
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, String> {
        Ok(self.0.signature("robot", namespace, bytes))
    }
}

struct Night {
    place: Place,
    custodians: Arc<Custodians>,
    service: CeremonyService,
    settings: Settings,
    executor: Executor,
    keys: Arc<Keys>,
    now: Arc<AtomicI64>,
    token: (String, String),
}

impl Night {
    fn now(&self) -> Time {
        Time::from_millis(self.now.load(Ordering::Relaxed))
    }

    fn goes_on(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).expect("short");
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    /// Proposed by one custodian and approved by two.
    async fn approved(&self, ring: &str, draft: Draft) -> String {
        let snapshot = self.keys.current();
        let input = ProposalInput {
            ring: Some(ring.parse().expect("a name")),
            proposer: "carol".parse().expect("a name"),
            reason: "a test".to_owned(),
            ticket: None,
            approve_by: self.now() + HOUR,
            execute_by: self.now() + 2 * HOUR,
            draft,
        };
        let service = &self.service;
        let request = service.draft_request(input, &snapshot).await.unwrap();
        let payload = CeremonyService::proposal_payload(&request).unwrap();
        let bytes = request.encode().unwrap();
        let signature = self.sign("carol", &payload);
        let id = service.propose(bytes, &signature).await.unwrap();
        for who in ["alice", "bob"] {
            let payload = service.approval_payload(&id).await.unwrap();
            let signature = self.sign(who, &payload);
            service.approve(&id, &signature).await.unwrap();
        }
        id
    }

    async fn accept(&self, id: &str) {
        for who in ["alice", "bob"] {
            let payload = self.service.acceptance_payload(id).await.unwrap();
            let signature = self.sign(who, &payload);
            self.service.accept(id, &signature).await.unwrap();
        }
    }

    fn sign(&self, who: &str, payload: &SigningPayload) -> String {
        let SigningPayload { namespace, bytes } = payload;
        self.custodians.signature(who, namespace, bytes)
    }

    async fn primaries(&self) -> BTreeMap<u32, usize> {
        self.keys.refresh().await;
        let mut numbers = BTreeMap::new();
        for ring in self.keys.current().rings.values() {
            let number = ring.primary.as_ref().map_or(0, |key| key.number);
            *numbers.entry(number).or_default() += 1;
        }
        numbers
    }
}

fn rings() -> Vec<String> {
    (0..RINGS).map(|number| format!("r{number:03}")).collect()
}

/// Rings that sign with their first key, each with a standing order for the next ones.
async fn ordered() -> (Night, tempfile::TempDir) {
    let directory = directory();
    let plan = Plan {
        program: env!("CARGO_BIN_EXE_chancery").into(),
        directory: directory.path().to_owned(),
        token: directory.path().join("token"),
        token_label: "night".to_owned(),
        environment: "test".to_owned(),
        store: String::new(),
        api: String::new(),
        operations: String::new(),
        publish_safety: HOUR,
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
    let rings = rings();
    let names: Vec<&str> = rings.iter().map(String::as_str).collect();
    let custodians = Arc::new(Custodians::with_executors("test", &names));
    let now = Arc::new(AtomicI64::new(minute(0).millis()));
    let clock = now.clone();
    let env = Env::new(
        move || Time::from_millis(clock.load(Ordering::Relaxed)),
        base::system::fill,
    );
    let publication = PublicationSettings {
        publish_safety: HOUR,
        ..PublicationSettings::default()
    };
    let settings = Settings::new(custodians.pin().clone(), &publication).expect("settings");
    let place = Place::sqlite().await;
    let store = place.store.clone();
    let actor = "executor".to_owned();
    let service = CeremonyService::new(store.clone(), env, &settings, actor);
    service
        .install_genesis(&custodians.genesis())
        .await
        .unwrap();
    let night = Night {
        keys: Keys::load(store, settings.clone()).await.unwrap(),
        token: executor.identity().await.unwrap(),
        place,
        custodians,
        service,
        settings,
        executor,
        now,
    };
    let log = Log::new(night.place.store.clone());
    for ring in &rings {
        let row = RingRow {
            name: ring.parse().expect("a name"),
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::P256,
            usage: Usage::Structured,
            created_at: night.now(),
            version: 1,
        };
        let event = Event {
            ring: Some(ring),
            ..Event::new(ActKind::Ring, "create", "test", night.now())
        };
        log.commit(&Change::CreateRing(row), &event).await.unwrap();
    }
    night.keys.refresh().await;
    for ring in &rings {
        let (token_serial, token_label) = night.token.clone();
        let first = Draft::Generate {
            token_serial,
            token_label,
            activate_in: Duration::ZERO,
            lifetime: LIFETIME,
        };
        night.approved(ring, first).await;
        let (token_serial, token_label) = night.token.clone();
        let order = OrderInput {
            activate_after: AHEAD,
            executor: "robot".parse().expect("a name"),
            executor_key: None,
            interval: 24 * HOUR,
            lifetime: LIFETIME,
            not_after: night.now() + 365 * 24 * HOUR,
            not_before: night.now(),
            token_label,
            token_serial,
            uses: 4,
            window: OrderWindow {
                from_minute: 0,
                until_minute: 4 * 60,
                ..OrderWindow::always()
            },
        };
        night.approved(ring, Draft::Order(Box::new(order))).await;
    }
    let (service, executor) = (night.service.clone(), night.executor.clone());
    let mut runner = Runner::new(service, executor, night.settings.clone());
    let round = runner.round(&|| false).await.unwrap();
    assert_eq!(round.executed.len(), 2 * RINGS, "{:?}", round.waits);
    for report in round.executed {
        night.accept(&report.ceremony).await;
    }
    night.goes_on(2 * HOUR);
    night.keys.refresh().await;
    let snapshot = night.keys.current();
    for ring in snapshot.rings.values() {
        let safety = &night.settings.safety;
        let plan = rotation::plan(ring, &RingChange::Rotate, safety, night.now()).unwrap();
        let now = night.now();
        rotation::apply(&plan, &log, "test", None, now)
            .await
            .unwrap();
    }
    (night, directory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_rings_rotate_in_one_night_without_a_person() {
    let began = Instant::now();
    let (night, _directory) = ordered().await;
    println!(
        "{RINGS} rings were opened and ordered in {:?}",
        began.elapsed()
    );
    assert_eq!(night.primaries().await, BTreeMap::from([(1, RINGS)]));
    let service = night.service.clone();
    let service = service.with_result_signer(Arc::new(Robot(night.custodians.clone())));
    let executor = night.executor.clone();
    let mut runner = Runner::new(service, executor, night.settings.clone());
    // Until ten in the evening before the first keys end: there is nothing to do.
    let round = runner.round(&|| false).await.unwrap();
    assert_eq!((round.executed.len(), round.orders.len()), (0, 0));
    let evening: Time = "2027-02-19T22:00:00.000Z".parse().expect("a time");
    night.goes_on(evening.since(night.now()));
    let (mut made, mut rotated) = (0, 0);
    let began = Instant::now();
    for _ in 0..12 * 4 {
        let round = runner.round(&|| false).await.unwrap();
        let trouble = (&round.waits, &round.orders, &round.unavailable);
        assert!(
            round.waits.is_empty() && round.orders.is_empty() && round.unavailable.is_none(),
            "{trouble:?}"
        );
        made += round.executed.len();
        rotated += round.rotated.len();
        night.goes_on(HOUR / 4);
    }
    println!(
        "{made} keys were made and {rotated} rings rotated in {:?}",
        began.elapsed()
    );
    assert_eq!((made, rotated), (RINGS, RINGS));
    assert_eq!(night.primaries().await, BTreeMap::from([(2, RINGS)]));
    // Each by its own file, from the genesis alone.
    let keys = night.place.store.keys().await.unwrap().all().unwrap();
    assert_eq!(keys.len(), 2 * RINGS);
    for key in keys.iter().filter(|key| key.number == 2) {
        let id = key.ceremony.to_string();
        let transcript = night.place.store.transcript(&id).await.unwrap();
        let transcript = transcript.expect("closed");
        let verified = verify_transcript(&transcript, &night.settings.pin).unwrap();
        assert!(verified.by_executor().is_some());
    }
}
