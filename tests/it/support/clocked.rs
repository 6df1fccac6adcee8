//! Rings under a quorum on a real token, with a clock in the hands of the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use base::Env;
use keyring::ceremony::{
    CeremonyService, Draft, OrderInput, ProposalInput, ResultSigner, Runner, SigningPayload,
};
use keyring::keys::{Keys, PublicationSettings, Settings};
use keyring::rotation::{self as pointer, RingChange};
use log::{Event, Log};
use store::testing::place::Place;
use store::{Change, Database, RingRow};
use testkit::custodians::{Custodians, minute};
use testkit::installation::{self as made, Plan};
use token::Executor;
use trust::leaf::ActKind;
use trust::request::OrderWindow;
use trust::sshkey::SshKey;
use trust::{Algorithm, KeySpec, Time, Usage};

use super::installation::{directory, must};

pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);

struct Robot(Arc<Custodians>);

impl ResultSigner for Robot {
    fn public_key(&self) -> Result<SshKey, String> {
        Ok(self.0.public_key("robot"))
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, String> {
        Ok(self.0.signature("robot", namespace, bytes))
    }
}

/// A token as `softhsm/init-token` makes it, custodians, and rings that the policy calls routine.
pub struct Clocked {
    pub place: Place,
    pub custodians: Arc<Custodians>,
    pub executor: Executor,
    token: (String, String),
    pub settings: Settings,
    pub keys: Arc<Keys>,
    pub env: Env,
    now: Arc<AtomicI64>,
    _directory: tempfile::TempDir,
}

impl Clocked {
    /// A genesis of this environment, and nothing else.
    pub async fn new(environment: &str, rings: &[&str]) -> Self {
        let directory = directory();
        let plan = Plan {
            program: env!("CARGO_BIN_EXE_chancery").into(),
            directory: directory.path().to_owned(),
            token: directory.path().join("token"),
            token_label: "rotation".to_owned(),
            environment: environment.to_owned(),
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
        let custodians = Arc::new(Custodians::with_executors(environment, rings));
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
        let memory = must(made::memory_directory("clocked-"));
        let path = memory.path().join("chancery.db");
        let place = Place::open(Database::Sqlite { path }, Some(memory)).await;
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

    pub fn now(&self) -> Time {
        self.env.now()
    }

    pub fn wait(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).expect("short");
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    /// Not back.
    pub fn until(&self, time: Time) {
        self.now.fetch_max(time.millis(), Ordering::Relaxed);
    }

    pub fn service(&self) -> CeremonyService {
        let store = self.place.store.clone();
        CeremonyService::new(store, self.env.clone(), &self.settings, "test".into())
    }

    fn sign(&self, who: &str, payload: &SigningPayload) -> String {
        let SigningPayload { namespace, bytes } = payload;
        self.custodians.signature(who, namespace, bytes)
    }

    /// Proposed by one, approved by two, carried out, accepted by two.
    async fn closed(&self, ring: &str, draft: Draft) {
        self.keys.refresh().await;
        let input = ProposalInput {
            ring: Some(ring.parse().expect("a name")),
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

    /// The ring signs with its first key, and an order permits so many more.
    pub async fn ordered(&self, ring: &str, uses: u32) {
        let row = RingRow {
            name: ring.parse().expect("a name"),
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::P256,
            usage: Usage::Structured,
            created_at: self.now(),
            version: 1,
        };
        let event = Event {
            ring: Some(ring),
            ..Event::new(ActKind::Ring, "create", "test", self.now())
        };
        let log = Log::new(self.place.store.clone());
        log.commit(&Change::CreateRing(row), &event).await.unwrap();
        let (token_serial, token_label) = self.token.clone();
        self.closed(
            ring,
            Draft::Generate {
                token_serial: token_serial.clone(),
                token_label: token_label.clone(),
                activate_in: Duration::ZERO,
                lifetime: 400 * DAY,
            },
        )
        .await;
        self.wait(2 * DAY);
        let snapshot = self.keys.current();
        let state = &snapshot.rings[ring];
        let safety = &self.settings.safety;
        let plan = pointer::plan(state, &RingChange::Rotate, safety, self.now()).unwrap();
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
            uses,
            window: OrderWindow::always(),
        };
        self.closed(ring, Draft::Order(Box::new(order))).await;
    }

    /// The number of the key that the ring signs with.
    pub async fn primary(&self, ring: &str) -> u32 {
        self.keys.refresh().await;
        let snapshot = self.keys.current();
        let primary = snapshot.rings[ring].primary.as_ref();
        primary.map_or(0, |key| key.number)
    }

    /// What makes keys under orders.
    pub fn runner(&self) -> Runner {
        let signer = Arc::new(Robot(self.custodians.clone()));
        let service = self.service().with_result_signer(signer);
        Runner::new(service, self.executor.clone(), self.settings.clone())
    }
}
