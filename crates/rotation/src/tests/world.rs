//! Assets of a driver of the tests: what the planner needs no word about, and the engine neither.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use base::Env;
use calendar::facts::{AssetFacts, Order, VersionFacts};
use calendar::next_step::OldUse;
use calendar::policy::Caches;
use calendar::words::{Step, VersionState};
use calendar::{KeyTypes, Policies, Span, Time, Word};
use serde_json::json;
use store::testing::place::Place;
use store::{RotationEventRow, RotationStepRow, Store};
use tokio::sync::Notify;
use trust::{Pin, Sha256Digest};

use crate::drivers::{Answer, Doing, Done, Driver, Drivers, External, Task, Usage};
use crate::engine::error::Error;
use crate::engine::inventory::Inventory;
use crate::engine::{Clock, Engine, Parts, Propagation, Ran};
use crate::inventory::{InventoryService, rows_of};
use crate::policies::PolicyService;

/// Their key type: automatic, published for an hour, thirty days, a day of overlap, seven of grace.
pub const KEY_TYPE: &str = "api_key";

/// Before or after what a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// What a step is to do otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It never comes back.
    Hangs(Step, When),
    /// It fails.
    Fails(Step, bool),
}

/// What is held by nobody but the test.
#[derive(Default)]
pub struct Elsewhere {
    pub assets: Vec<AssetFacts>,
    pub orders: Vec<Order>,
    /// The key type that all rotate by, whatever their rotations began with.
    pub held: Option<Word>,
    pub fault: Option<Fault>,
    /// How often the driver was called, by event and step.
    pub calls: BTreeMap<(String, &'static str), usize>,
}

pub struct World {
    pub place: Place,
    pub store: Store,
    pub elsewhere: Arc<Mutex<Elsewhere>>,
    pub hangs: Arc<Notify>,
    now: Arc<AtomicI64>,
    count: Arc<AtomicU64>,
}

pub struct TestDriver {
    elsewhere: Arc<Mutex<Elsewhere>>,
    hangs: Arc<Notify>,
}

pub fn at(text: &str) -> Time {
    text.parse().unwrap()
}

pub fn asset(name: &str, since: Time) -> AssetFacts {
    AssetFacts {
        name: name.parse().unwrap(),
        key_type: KEY_TYPE.parse().unwrap(),
        owner: None,
        versions: vec![VersionFacts {
            number: 1,
            created_at: since,
            expires_at: None,
            state: VersionState::Primary { since },
        }],
        usage: None,
        request: None,
        events: Vec::new(),
        held: false,
    }
}

/// Of an installation without a genesis: no ceremony holds there.
fn pin() -> Pin {
    Pin {
        genesis: Sha256Digest::of(b""),
        service: "chancery".parse().unwrap(),
        environment: "production".parse().unwrap(),
    }
}

/// The inventory in the database.
pub fn inventory(store: &Store) -> InventoryService {
    let policies = PolicyService::new(store.clone(), Caches::default(), pin());
    InventoryService::new(store.clone(), policies)
}

/// Registers an asset whose values somebody else keeps, with its first version in use since then.
pub async fn register(store: &Store, (name, key_type): (&str, &str), since: Time, now: Time) {
    let row = json!({
        "asset": name, "key_type": key_type, "storage": "wrapped", "rotated_at": since,
    });
    let by = ("olga", trust::Time::from_millis(now.millis()));
    let rows = rows_of(vec![row]).unwrap();
    let report = inventory(store).import(rows, true, by).await.unwrap();
    assert!(report.applied, "{report:?}");
}

impl World {
    /// So many assets that became primary 29 days ago.
    pub fn new(place: Place, assets: usize) -> Self {
        let now = at("2026-11-30T00:30:00.000Z");
        let since = now - Span::days(29);
        let name = |number| format!("test/a{number}");
        let elsewhere = Elsewhere {
            assets: (0..assets).map(|n| asset(&name(n), since)).collect(),
            ..Elsewhere::default()
        };
        Self {
            store: place.store.clone(),
            place,
            elsewhere: Arc::new(Mutex::new(elsewhere)),
            hangs: Arc::default(),
            now: Arc::new(AtomicI64::new(now.millis())),
            count: Arc::new(AtomicU64::new(1)),
        }
    }

    pub fn now(&self) -> Time {
        Time::from_millis(self.now.load(Ordering::Relaxed))
    }

    pub fn wait(&self, span: Span) {
        self.until(self.now() + span);
    }

    pub fn until(&self, time: Time) {
        self.now.fetch_max(time.millis(), Ordering::Relaxed);
    }

    pub fn elsewhere(&self) -> MutexGuard<'_, Elsewhere> {
        self.elsewhere.lock().unwrap()
    }

    /// Of a replica whose clock is so many milliseconds ahead.
    fn env(&self, ahead: i64) -> Env {
        let (clock, count) = (self.now.clone(), self.count.clone());
        Env::new(
            move || trust::Time::from_millis(clock.load(Ordering::Relaxed) + ahead),
            move |bytes: &mut [u8]| {
                // Different each time; nobody guesses here.
                let next = count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                bytes.fill(0);
                let from = bytes.len().saturating_sub(4);
                bytes[from..].copy_from_slice(&next[4..]);
                Ok(())
            },
        )
    }

    pub fn engine(&self, owner: &str) -> Engine {
        self.engine_with(owner, self.store.clone(), Propagation::default())
    }

    /// Of a replica with connections of its own.
    pub async fn replica(&self, owner: &str) -> Engine {
        self.engine_with(owner, self.place.replica().await, Propagation::default())
    }

    /// Of a replica with connections of its own, whose clock is so far ahead of the database's.
    pub async fn replica_ahead(&self, owner: &str, ahead: i64) -> Engine {
        let store = self.place.replica().await;
        self.engine_of(owner, store, Propagation::default(), ahead)
    }

    pub fn engine_with(&self, owner: &str, store: Store, propagation: Propagation) -> Engine {
        self.engine_of(owner, store, propagation, 0)
    }

    fn engine_of(&self, owner: &str, store: Store, propagation: Propagation, ahead: i64) -> Engine {
        // By the time that the database would say.
        let clock = Clock::Given(self.env(0));
        self.engine_by(owner, store, propagation, (self.env(ahead), clock))
    }

    /// Of a replica with connections of its own and a clock of its own, which is compared with the database's, by whose time it
    /// goes.
    pub async fn replica_by(&self, owner: &str, env: Env) -> Engine {
        let store = self.place.replica().await;
        let own = env.clone();
        let own = Arc::new(move || own.now().millis());
        store.compare_clocks(own, std::time::Duration::from_secs(2));
        let clock = Clock::Database(store.clone());
        self.engine_by(owner, store, Propagation::default(), (env, clock))
    }

    fn engine_by(
        &self,
        owner: &str,
        store: Store,
        propagation: Propagation,
        (env, clock): (Env, Clock),
    ) -> Engine {
        let driver = TestDriver {
            elsewhere: self.elsewhere.clone(),
            hangs: self.hangs.clone(),
        };
        let drivers = Drivers::default()
            .with(Arc::new(driver))
            .with(Arc::new(External::new(inventory(&store))));
        Engine::new(Parts {
            store,
            env,
            clock,
            drivers,
            inventory: Arc::new(Known(self.elsewhere.clone())),
            propagation,
            owner: owner.to_owned(),
            actor: "chancery".to_owned(),
        })
    }

    /// The one event of an asset that is open, made by the plan.
    pub async fn event(&self, engine: &Engine, asset: &str) -> RotationEventRow {
        engine.make_due(Span::days(3)).await.unwrap();
        let mut open = self.store.open_rotations_of(asset).await.unwrap();
        assert_eq!(open.len(), 1, "{open:?}");
        open.remove(0)
    }

    pub async fn row(&self, id: &str) -> RotationEventRow {
        self.store.rotation_event(id).await.unwrap().unwrap()
    }

    pub async fn steps(&self, id: &str) -> Vec<RotationStepRow> {
        self.store.rotation_steps(id).await.unwrap()
    }

    /// Goes on with an event and with the time, until it ends or waits for something that no time brings.
    pub async fn to_the_end(&self, engine: &Engine, id: &str) -> Ran {
        for _ in 0..60 {
            let ran = engine.run(id).await.unwrap();
            match &ran {
                Ran::Waits {
                    look_at,
                    reason: None,
                } => self.until(*look_at),
                _ => return ran,
            }
        }
        panic!("{id} goes on for ever");
    }

    /// Whoever had it is dead, and its time is over.
    pub async fn lease_ends(&self, id: &str) {
        let sql = format!("UPDATE rotation_event SET lease_until = 0 WHERE id = '{id}'");
        self.place.raw(&sql).await.unwrap();
    }

    /// Actions of the leaves about an event, in their order.
    pub async fn leaves(&self, id: &str) -> Vec<String> {
        let leaves = self.store.leaves(0, 1_000).await.unwrap();
        let of_kind = leaves.iter().filter(|leaf| leaf.kind == "rotation");
        let bodies = of_kind.map(|leaf| {
            let body: serde_json::Value = serde_json::from_str(&leaf.body).unwrap();
            body
        });
        let mine = bodies.filter(|body| body["ref"] == id);
        mine.map(|body| {
            let number = |name: &str| body[name].as_u64().unwrap_or(0);
            let (version, previous) = (number("version"), number("previous_version"));
            let text = |name: &str| body[name].as_str().unwrap_or("-").to_owned();
            format!("{} {} {previous}->{version}", text("asset"), text("action"))
        })
        .collect()
    }

    pub fn states(&self, asset: &str) -> Vec<&'static str> {
        let elsewhere = self.elsewhere();
        let mut all = elsewhere.assets.iter();
        let found = all.find(|one| one.name.as_str() == asset).unwrap();
        found.versions.iter().map(|one| one.state.word()).collect()
    }
}

/// The inventory of the test.
struct Known(Arc<Mutex<Elsewhere>>);

impl Inventory for Known {
    fn policies(&self, now: Time) -> Doing<'_, Result<Arc<Policies>, Error>> {
        let standard = Policies::standard(&KeyTypes::standard(), Caches::default(), now);
        Box::pin(async move { Ok(Arc::new(standard.unwrap())) })
    }

    fn assets(&self) -> Doing<'_, Result<Vec<AssetFacts>, Error>> {
        let assets = self.0.lock().unwrap().assets.clone();
        Box::pin(async { Ok(assets) })
    }

    fn held<'a>(&'a self, _: &'a str, _: &'a Word) -> Doing<'a, Result<Option<Word>, Error>> {
        let held = self.0.lock().unwrap().held.clone();
        Box::pin(async { Ok(held) })
    }

    fn orders(&self, _: Time) -> Doing<'_, Result<Vec<Order>, Error>> {
        let orders = self.0.lock().unwrap().orders.clone();
        Box::pin(async { Ok(orders) })
    }
}

impl TestDriver {
    /// What a step does, once: the versions show whether it has been done.
    async fn does(
        &self,
        task: Task<'_>,
        step: Step,
        effect: impl Fn(&mut Vec<VersionFacts>, Time),
    ) -> Answer {
        let fault = {
            let mut elsewhere = self.elsewhere.lock().unwrap();
            let of = (task.event.id.clone(), step.as_str());
            *elsewhere.calls.entry(of).or_default() += 1;
            elsewhere.fault
        };
        match fault {
            Some(Fault::Hangs(at, When::Before)) if at == step => self.hang().await,
            Some(Fault::Fails(at, transient)) if at == step => {
                return Answer::Failed {
                    transient,
                    why: "it is out of order".to_owned(),
                };
            }
            _ => {}
        }
        {
            let mut elsewhere = self.elsewhere.lock().unwrap();
            let mut all = elsewhere.assets.iter_mut();
            let name = task.event.asset.as_str();
            if let Some(asset) = all.find(|one| one.name.as_str() == name) {
                effect(&mut asset.versions, task.now);
            }
        }
        if fault == Some(Fault::Hangs(step, When::After)) {
            self.hang().await;
        }
        let version = task.event.version;
        Answer::Done(Done {
            version: (step == Step::Generate).then_some(version),
            made: (step == Step::Generate).then(|| format!("{}/{version}", task.event.asset)),
            evidence: json!({ "step": step }),
            ..Done::default()
        })
    }

    async fn hang(&self) {
        self.hangs.notify_one();
        std::future::pending::<()>().await;
    }
}

fn change(versions: &mut [VersionFacts], number: u32, state: VersionState) {
    if let Some(version) = versions.iter_mut().find(|one| one.number == number)
        && version.state.word() != state.word()
    {
        version.state = state;
    }
}

impl Driver for TestDriver {
    fn kind(&self) -> &'static str {
        "test"
    }

    fn check<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(self.does(task, Step::PreCheck, |_, _| {}))
    }

    fn generate<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        let number = task.event.version;
        Box::pin(self.does(task, Step::Generate, move |versions, now| {
            if versions.iter().all(|one| one.number != number) {
                versions.push(VersionFacts {
                    number,
                    created_at: now,
                    expires_at: None,
                    state: VersionState::Prepared { published_at: None },
                });
            }
        }))
    }

    fn publish<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        let number = task.event.version;
        Box::pin(self.does(task, Step::Publish, move |versions, now| {
            let published_at = Some(now);
            for one in versions.iter_mut().filter(|one| one.number == number) {
                one.state = VersionState::Prepared { published_at };
            }
        }))
    }

    fn test<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(self.does(task, Step::Test, |_, _| {}))
    }

    fn promote<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        let number = task.event.version;
        Box::pin(self.does(task, Step::Promote, move |versions, since| {
            change(versions, number - 1, VersionState::Secondary { since });
            change(versions, number, VersionState::Primary { since });
        }))
    }

    fn in_use<'a>(&'a self, task: Task<'a>) -> Doing<'a, bool> {
        let elsewhere = self.elsewhere.lock().unwrap();
        let mut assets = elsewhere.assets.iter();
        let asset = assets.find(|one| one.name.as_str() == task.event.asset);
        let primary = asset.and_then(|asset| asset.primary().ok());
        let is = primary.is_some_and(|(version, _)| version.number == task.event.version);
        Box::pin(async move { is })
    }

    fn usage<'a>(&'a self, _: Task<'a>) -> Doing<'a, Usage> {
        Box::pin(async {
            Usage {
                old: OldUse::Free,
                evidence: json!({ "uses": 0 }),
            }
        })
    }

    fn retire<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        let number = task.event.version;
        Box::pin(self.does(task, Step::Retire, move |versions, since| {
            change(versions, number - 1, VersionState::Retired { since });
        }))
    }

    fn archive<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        let number = task.event.version;
        Box::pin(self.does(task, Step::Archive, move |versions, since| {
            change(versions, number - 1, VersionState::Archived { since });
        }))
    }

    fn roll_back<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        let number = task.event.version;
        Box::pin(self.does(task, Step::Watch, move |versions, since| {
            change(versions, number, VersionState::Secondary { since });
            change(versions, number - 1, VersionState::Primary { since });
        }))
    }

    fn revoke<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        let number = task.event.version;
        Box::pin(self.does(task, Step::Watch, move |versions, _| {
            versions.retain(|one| one.number != number);
        }))
    }
}
