//! A replica that freezes at a step of a ring, is overtaken, and wakes: nothing of what it was about to do comes of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::RotationLease;
use store::testing::place::Place;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::rings::{DAY, RING, Ring, executed};
use crate::drivers::{Doing, Driver, Drivers, Rings, Signing, Task, Usage};
use crate::engine::error::Error;
use crate::engine::{Engine, Parts, Ran};
use crate::facts::InstallationFacts;
use crate::inventory::InventoryService;
use crate::jobs::Installation;
use crate::policies::{PolicyService, caches_of};
use crate::times::to_row;

/// What came of a look, or why nothing did.
pub(super) type Run = JoinHandle<Result<Ran, Error>>;

/// The driver of rings, which stops before or after what it is told.
pub(super) struct Freezes {
    pub(super) inner: Signing,
    at: Mutex<Option<&'static str>>,
    frozen: Notify,
    wakes: Notify,
}

impl Freezes {
    async fn reached(&self, step: &'static str) {
        let here = self.at.lock().unwrap().take_if(|at| *at == step).is_some();
        if here {
            self.frozen.notify_one();
            self.wakes.notified().await;
        }
    }
}

macro_rules! freezes {
    ($($method:ident),*) => {
        impl Driver for Freezes {
            fn kind(&self) -> &'static str {
                self.inner.kind()
            }

            fn in_use<'a>(&'a self, task: Task<'a>) -> Doing<'a, bool> {
                self.inner.in_use(task)
            }

            fn usage<'a>(&'a self, task: Task<'a>) -> Doing<'a, Usage> {
                self.inner.usage(task)
            }

            $(fn $method<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
                Box::pin(async move {
                    self.reached(stringify!($method)).await;
                    let answer = self.inner.$method(task).await;
                    self.reached(concat!(stringify!($method), " done")).await;
                    answer
                })
            })*
        }
    };
}
freezes!(
    check, generate, publish, test, promote, retire, archive, roll_back, revoke
);

/// A replica that freezes where it is told, beside one that does not.
pub(super) struct Two {
    pub(super) ring: Ring,
    pub(super) driver: Arc<Freezes>,
    one: Engine,
    pub(super) two: Engine,
}

impl Two {
    pub(super) async fn new(place: Place) -> Self {
        let ring = Ring::over(place).await;
        ring.order(2).await;
        let two = ring.scheduler().engine().clone();
        let (one, driver) = freezing(ring.installation("frozen"));
        Self {
            ring,
            driver,
            one,
            two,
        }
    }

    /// The replica goes on with it until it freezes at this step, or with ` done` after what it does.
    pub(super) async fn freezes(&self, id: &str, step: &'static str) -> Run {
        *self.driver.at.lock().unwrap() = Some(step);
        for _ in 0..40 {
            let (engine, event) = (self.one.clone(), id.to_owned());
            let mut run = tokio::spawn(async move { engine.run(&event).await });
            tokio::select! {
                () = self.driver.frozen.notified() => return run,
                ran = &mut run => match ran.unwrap().unwrap() {
                    Ran::Waits { look_at, .. } => self.ring.until(to_row(look_at)),
                    other => panic!("{step}: {other:?}"),
                },
            }
        }
        panic!("{step} is never reached");
    }

    pub(super) async fn lease_ends(&self, id: &str) {
        let sql = format!("UPDATE rotation_event SET lease_until = 0 WHERE id = '{id}'");
        self.ring.place.raw(&sql).await.unwrap();
    }

    /// Its lease runs out, and another one takes it.
    pub(super) async fn is_overtaken(&self, id: &str) -> RotationLease {
        self.lease_ends(id).await;
        let store = &self.ring.place.store;
        let lease = store.take_rotation(id, "two", Duration::from_secs(60));
        lease.await.unwrap().unwrap()
    }

    async fn is_cancelled(&self, id: &str) {
        self.lease_ends(id).await;
        self.two.cancel(id, "somebody", None).await.unwrap();
        let ran = self.two.run(id).await.unwrap();
        assert_eq!(ran, Ran::Ended { state: "cancelled" });
    }

    /// It wakes, and goes on.
    pub(super) async fn wakes(&self, run: Run) -> Result<Ran, Error> {
        self.driver.wakes.notify_one();
        run.await.unwrap()
    }

    /// It wakes, and writes nothing: neither a leaf nor a row that counts.
    pub(super) async fn wakes_for_nothing(&self, run: Run) {
        let store = &self.ring.place.store;
        let before = (
            store.log_size().await.unwrap(),
            store.version().await.unwrap(),
        );
        assert_eq!(self.wakes(run).await.unwrap(), Ran::Overtaken);
        let after = (
            store.log_size().await.unwrap(),
            store.version().await.unwrap(),
        );
        assert_eq!(before, after);
    }

    pub(super) async fn uses_left(&self) -> u32 {
        let service = self.ring.service();
        let (orders, _) = service.orders((i64::MAX, ""), 10).await.unwrap();
        orders[0].left
    }

    pub(super) async fn status_of(&self, number: u32) -> &'static str {
        self.ring.keys.refresh().await;
        let snapshot = self.ring.keys.current();
        let mut keys = snapshot.rings[RING].keys.iter();
        let key = keys.find(|key| key.number == number);
        key.map_or("absent", |key| key.status())
    }
}

fn freezing(installation: Installation) -> (Engine, Arc<Freezes>) {
    let Installation {
        store,
        keys,
        ceremonies,
        ..
    } = installation;
    let driver = Arc::new(Freezes {
        inner: Signing::new(
            keys.clone(),
            ceremonies.clone(),
            store.clone(),
            installation.safety,
            "frozen".to_owned(),
        ),
        at: Mutex::default(),
        frozen: Notify::new(),
        wakes: Notify::new(),
    });
    let caches = caches_of(keys.longest_cached());
    let policies = PolicyService::new(store.clone(), caches, keys.pin().clone());
    let inventory = InventoryService::new(store.clone(), policies);
    let rings = Rings::new(keys, ceremonies, store.clone());
    let engine = Engine::new(Parts {
        store,
        env: installation.env,
        clock: installation.clock,
        drivers: Drivers::default().with(driver.clone()),
        inventory: Arc::new(InstallationFacts::new(inventory, rings)),
        propagation: installation.propagation,
        owner: installation.owner,
        actor: "frozen".to_owned(),
    });
    (engine, driver)
}

pub async fn threat_an_owner_that_was_frozen_and_overtaken_changes_nothing(place: Place) {
    let world = Two::new(place).await;
    let ring = &world.ring;
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    ring.wait(87 * DAY);
    // Before the use is filed: the rotation is cancelled, and no use is taken.
    let id = ring.checked(&scheduler).await.id;
    let run = world.freezes(&id, "generate").await;
    world.is_cancelled(&id).await;
    world.wakes_for_nothing(run).await;
    assert_eq!(world.uses_left().await, 2);
    // Before the promotion of an accepted key, which stays the standby.
    let id = ring.checked(&scheduler).await.id;
    ring.waits_for(&scheduler, &id).await;
    assert_eq!(executed(&mut runner).await, 1);
    let run = world.freezes(&id, "promote").await;
    world.is_cancelled(&id).await;
    world.wakes_for_nothing(run).await;
    assert_eq!(ring.primary().await, 1);
    assert_eq!(world.status_of(2).await, "prepared");
    // Before the roll-back of a promoted key, and before the end of the old one.
    let id = ring.checked(&scheduler).await.id;
    let run = world.freezes(&id, "retire").await;
    world.is_overtaken(&id).await;
    world.wakes_for_nothing(run).await;
    assert_eq!(world.status_of(1).await, "secondary");
    world.lease_ends(&id).await;
    world.two.roll_back(&id, "somebody", None).await.unwrap();
    let run = world.freezes(&id, "roll_back").await;
    world.is_overtaken(&id).await;
    world.wakes_for_nothing(run).await;
    assert_eq!(ring.primary().await, 2);
    world.lease_ends(&id).await;
    let ran = world.two.run(&id).await.unwrap();
    let rolled_back = Ran::Ended {
        state: "rolled-back",
    };
    assert_eq!(ran, rolled_back);
    assert_eq!(ring.primary().await, 1);
}
