//! Rings under a quorum: the engine asks, the executor makes, the engine promotes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use base::Env;
use calendar::alerts::escalation::Ladder;
use calendar::policy::Caches;
use calendar::words::Reason;
use keyring::ceremony::{
    CeremonyService, Draft, OrderInput, ProposalInput, ResultSigner, Runner, SigningPayload,
};
use keyring::keys::{Keys, PublicationSettings, Settings};
use keyring::rotation::{self, RingChange};
use log::{Event, Log};
use store::testing::place::Place;
use store::{Change, RingRow, RotationEventRow};
use testkit::custodians::{Custodians, minute};
use testkit::token::SoftwareToken;
use trust::leaf::ActKind;
use trust::request::OrderWindow;
use trust::sshkey::SshKey;
use trust::{Algorithm, KeySpec, Time, Usage};

use crate::engine::{Clock, Propagation, Ran};
use crate::inventory::InventoryService;
use crate::jobs::{Installation, Scheduler};
use crate::policies::PolicyService;
use crate::times::to_row;

const SERIAL: &str = "0123456789abcdef";
const LABEL: &str = "test";
pub(super) const RING: &str = "records";
pub(super) const ASSET: &str = "signing/records";
const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

struct Robot(Arc<Custodians>);

impl ResultSigner for Robot {
    fn public_key(&self) -> Result<SshKey, String> {
        Ok(self.0.public_key("robot"))
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, String> {
        Ok(self.0.signature("robot", namespace, bytes))
    }
}

pub(super) struct Ring {
    pub(super) place: Place,
    custodians: Arc<Custodians>,
    pub(super) token: SoftwareToken,
    settings: Settings,
    pub(super) keys: Arc<Keys>,
    env: Env,
    now: Arc<AtomicI64>,
}

impl Ring {
    /// A ring that signs with its first key, which the policy calls routine.
    pub(super) async fn new() -> Self {
        Self::over(Place::sqlite().await).await
    }

    /// The same over a database.
    pub(super) async fn over(place: Place) -> Self {
        let custodians = Arc::new(Custodians::with_executors("production", &[RING]));
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
        let settings = Settings::new(custodians.pin().clone(), &publication).unwrap();
        let store = place.store.clone();
        let service = CeremonyService::new(store.clone(), env.clone(), &settings, "test".into());
        let genesis = custodians.genesis();
        service.install_genesis(&genesis).await.unwrap();
        let ring = Self {
            keys: Keys::load(store, settings.clone()).await.unwrap(),
            token: SoftwareToken::new(SERIAL, LABEL),
            place,
            custodians,
            settings,
            env,
            now,
        };
        ring.open().await;
        ring
    }

    pub(super) fn inventory(&self) -> InventoryService {
        let (store, pin) = (self.place.store.clone(), self.custodians.pin().clone());
        let policies = PolicyService::new(store.clone(), Caches::default(), pin);
        InventoryService::new(store, policies)
    }

    pub(super) fn now(&self) -> Time {
        self.env.now()
    }

    pub(super) fn wait(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn until(&self, time: Time) {
        self.now.fetch_max(time.millis(), Ordering::Relaxed);
    }

    pub(super) fn service(&self) -> CeremonyService {
        let store = self.place.store.clone();
        CeremonyService::new(store, self.env.clone(), &self.settings, "test".into())
    }

    pub(super) fn runner(&self) -> Runner {
        let signer = Arc::new(Robot(self.custodians.clone()));
        let service = self.service().with_result_signer(signer);
        Runner::new(service, self.token.executor(), self.settings.clone())
    }

    pub(super) fn scheduler(&self) -> Scheduler {
        Scheduler::of(self.installation("one"))
    }

    pub(super) fn installation(&self, owner: &str) -> Installation {
        let store = self.place.store.clone();
        Installation {
            ceremonies: self.service(),
            store,
            keys: self.keys.clone(),
            safety: self.settings.safety,
            env: self.env.clone(),
            clock: Clock::Given(self.env.clone()),
            propagation: Propagation::default(),
            owner: owner.to_owned(),
            every: HOUR,
            ladder: Ladder::default(),
        }
    }

    async fn open(&self) {
        let row = RingRow {
            name: RING.parse().unwrap(),
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
        self.closed(Self::generation(), None).await;
        self.wait(2 * DAY);
        self.keys.refresh().await;
        let snapshot = self.keys.current();
        let safety = &self.settings.safety;
        let ring = &snapshot.rings[RING];
        let plan = rotation::plan(ring, &RingChange::Rotate, safety, self.now()).unwrap();
        rotation::apply(&plan, &log, "test", None, self.now())
            .await
            .unwrap();
        self.keys.refresh().await;
    }

    pub(super) fn generation() -> Draft {
        Draft::Generate {
            token_serial: SERIAL.to_owned(),
            token_label: LABEL.to_owned(),
            activate_in: Duration::ZERO,
            lifetime: 400 * DAY,
        }
    }

    pub(super) async fn order(&self, uses: u32) {
        let order = OrderInput {
            activate_after: 24 * HOUR,
            executor: "robot".parse().unwrap(),
            executor_key: None,
            interval: Duration::ZERO,
            lifetime: 400 * DAY,
            not_after: self.now() + 360 * DAY,
            not_before: self.now(),
            token_label: LABEL.to_owned(),
            token_serial: SERIAL.to_owned(),
            uses,
            window: OrderWindow::always(),
        };
        self.closed(Draft::Order(Box::new(order)), None).await;
    }

    fn sign(&self, who: &str, payload: &SigningPayload) -> String {
        self.custodians
            .signature(who, &payload.namespace, &payload.bytes)
    }

    /// Proposed by one, approved by two.
    async fn approved(&self, draft: Draft, ticket: Option<String>) -> String {
        self.keys.refresh().await;
        let input = ProposalInput {
            ring: Some(RING.parse().unwrap()),
            proposer: "carol".parse().unwrap(),
            reason: "a test".to_owned(),
            ticket,
            approve_by: self.now() + HOUR,
            execute_by: self.now() + 2 * HOUR,
            draft,
        };
        let service = self.service();
        let snapshot = self.keys.current();
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
        let service = self.service();
        for who in ["alice", "bob"] {
            let payload = service.acceptance_payload(id).await.unwrap();
            let signature = self.sign(who, &payload);
            service.accept(id, &signature).await.unwrap();
        }
    }

    pub(super) async fn closed(&self, draft: Draft, ticket: Option<String>) {
        let id = self.approved(draft, ticket).await;
        let executor = self.token.executor();
        let snapshot = self.keys.current();
        let service = self.service();
        let done = service.execute(&id, Some(&executor), &snapshot);
        done.await.unwrap();
        self.accept(&id).await;
    }

    pub(super) async fn row(&self, id: &str) -> RotationEventRow {
        let row = self.place.store.rotation_event(id).await;
        row.unwrap().unwrap()
    }

    pub(super) async fn primary(&self) -> u32 {
        self.keys.refresh().await;
        let snapshot = self.keys.current();
        let primary = snapshot.rings[RING].primary.as_ref();
        primary.map_or(0, |key| key.number)
    }

    /// What the daily check makes of it.
    pub(super) async fn checked(&self, scheduler: &Scheduler) -> RotationEventRow {
        // A run is known by its instant.
        self.wait(Duration::from_secs(1));
        let run = scheduler.run_now("automated_key_rotation_check").await;
        let run = run.unwrap();
        assert!(run.succeeded, "{run:?}");
        let mut open = self.place.store.open_rotations_of(ASSET).await.unwrap();
        assert_eq!(open.len(), 1, "{run:?}");
        open.remove(0)
    }

    pub(super) async fn waits_for(&self, scheduler: &Scheduler, id: &str) -> Option<Reason> {
        for _ in 0..40 {
            match scheduler.engine().run(id).await.unwrap() {
                Ran::Waits {
                    look_at,
                    reason: None,
                } => self.until(to_row(look_at)),
                Ran::Waits { reason, .. } => return reason,
                Ran::Ended { .. } => return None,
                other => panic!("{other:?}"),
            }
        }
        panic!("{id} goes on for ever");
    }
}

pub(super) async fn executed(runner: &mut Runner) -> usize {
    let round = runner.round(&|| false).await.unwrap();
    assert!(
        round.unavailable.is_none() && round.orders.is_empty(),
        "{round:?}"
    );
    assert!(round.rotated.is_empty(), "{round:?}");
    round.executed.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_under_a_standing_order_rotates_by_the_scheduler() {
    let ring = Ring::new().await;
    ring.order(1).await;
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    ring.wait(87 * DAY);
    // The newest key ends in months: the executor alone would do nothing.
    assert_eq!(executed(&mut runner).await, 0);
    let event = ring.checked(&scheduler).await;
    assert_eq!((event.consent.as_str(), event.version), ("order", 2));
    let id = &event.id;
    assert_eq!(ring.waits_for(&scheduler, id).await, Some(Reason::Executor));
    let row = ring.row(id).await;
    let ceremony = row.ceremony.unwrap();
    assert_eq!(row.order, event.order);
    // Asked again it asks for nothing more.
    assert_eq!(ring.waits_for(&scheduler, id).await, Some(Reason::Executor));
    let (orders, _) = ring.service().orders((i64::MAX, ""), 10).await.unwrap();
    assert_eq!(orders[0].left, 0);
    assert_eq!(executed(&mut runner).await, 1);
    let report = ring.service().report(&ceremony).await.unwrap();
    assert_eq!(report.state, "closed");
    // It is published for a day; the executor leaves the promotion to whoever decides.
    assert_eq!(ring.primary().await, 1);
    ring.wait(DAY);
    assert_eq!(executed(&mut runner).await, 0);
    assert_eq!(ring.primary().await, 1);
    assert_eq!(ring.waits_for(&scheduler, id).await, None);
    assert_eq!(ring.primary().await, 2);
    let row = ring.row(id).await;
    assert_eq!(
        (row.state.as_str(), row.previous_version),
        ("done", Some(1))
    );
    assert!(row.promoted_at.unwrap() <= row.due, "{row:?}");
    let snapshot = ring.keys.current();
    let old = &snapshot.rings[RING].keys[0];
    // Its grace is for ever: it stays in the key sets.
    assert_eq!((old.status(), old.unpublished_at), ("retired", None));
    // The order is used up in the middle of it: the next one needs people, and says so.
    ring.wait(87 * DAY);
    let event = ring.checked(&scheduler).await;
    assert_eq!((event.version, event.consent.as_str()), (3, "ceremony"));
    let id = &event.id;
    assert_eq!(
        ring.waits_for(&scheduler, id).await,
        Some(Reason::OrderUsedUp)
    );
    let detail = ring.row(id).await.detail.unwrap();
    assert!(
        detail.contains(id) && detail.contains("ceremony new generate"),
        "{detail}"
    );
    // A member proposes it with the rotation as its ticket.
    let ceremony = ring.approved(Ring::generation(), Some(id.clone())).await;
    assert_eq!(ring.waits_for(&scheduler, id).await, Some(Reason::Approval));
    assert_eq!(ring.row(id).await.ceremony.as_deref(), Some(&*ceremony));
    assert_eq!(executed(&mut runner).await, 1);
    ring.accept(&ceremony).await;
    assert_eq!(ring.waits_for(&scheduler, id).await, None);
    assert_eq!(ring.primary().await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_key_is_rolled_back_and_what_was_made_serves_the_next_rotation() {
    let ring = Ring::new().await;
    ring.order(2).await;
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    let engine = scheduler.engine();
    ring.wait(87 * DAY);
    let event = ring.checked(&scheduler).await;
    ring.waits_for(&scheduler, &event.id).await;
    assert_eq!(executed(&mut runner).await, 1);
    // Published, and cancelled: the key stays as a standby.
    engine.run(&event.id).await.unwrap();
    assert!(ring.row(&event.id).await.published_at.is_some());
    engine.cancel(&event.id, "somebody", None).await.unwrap();
    let ran = engine.run(&event.id).await.unwrap();
    assert_eq!(ran, Ran::Ended { state: "cancelled" });
    // The next rotation takes it, and no other use.
    let event = ring.checked(&scheduler).await;
    while ring.row(&event.id).await.promoted_at.is_none() {
        match engine.run(&event.id).await.unwrap() {
            Ran::Waits { look_at, .. } => ring.until(to_row(look_at)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ring.primary().await, 2);
    let (orders, _) = ring.service().orders((i64::MAX, ""), 10).await.unwrap();
    assert_eq!(orders[0].left, 1);
    engine
        .roll_back(&event.id, "somebody", Some("callers fail"))
        .await
        .unwrap();
    let ran = engine.run(&event.id).await.unwrap();
    assert_eq!(
        ran,
        Ran::Ended {
            state: "rolled-back"
        }
    );
    assert_eq!(ring.primary().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_an_emergency_that_is_declared_replaces_no_signature() {
    let ring = Ring::new().await;
    ring.order(2).await;
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    let key_type = "signing".parse().unwrap();
    let declared = scheduler
        .engine()
        .declare(&key_type, None, ("somebody", "it leaked"));
    let event = declared.await.unwrap().remove(0);
    assert_eq!(
        ring.waits_for(&scheduler, &event.id).await,
        Some(Reason::Executor)
    );
    assert_eq!(executed(&mut runner).await, 1);
    // The standby is there and published long enough, and still nobody but the roster makes it the primary.
    assert_eq!(
        ring.waits_for(&scheduler, &event.id).await,
        Some(Reason::Approval)
    );
    let detail = ring.row(&event.id).await.detail.unwrap();
    assert!(detail.contains("chancery emergency rotate"), "{detail}");
    ring.wait(3 * DAY);
    assert_eq!(
        ring.waits_for(&scheduler, &event.id).await,
        Some(Reason::Approval)
    );
    assert_eq!(ring.primary().await, 1);
}
