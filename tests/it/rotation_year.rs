//! A year on a real store and a real token, by a clock that is handed in: rings under standing orders rotate by scheduler and
//! executor, and what is held elsewhere by a reporter, as a partner's program would be.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use calendar::facts::{AssetFacts, Order};
use calendar::policy::Caches;
use calendar::{KeyTypes, Policies, Span, Time};
use rotation::drivers::{Doing, Drivers, External, Rings, Signing};
use rotation::engine::error::Error;
use rotation::engine::inventory::Inventory;
use rotation::engine::{Clock, Engine, Parts, Propagation, Simulation};
use rotation::facts::InstallationFacts;
use rotation::inventory::{InventoryService, rows_of};
use rotation::jobs::Scheduler;
use rotation::policies::PolicyService;
use serde_json::json;
use store::{RotationEventRow, Store};
use testkit::custodians::Custodians;

use crate::support::clocked::{Clocked, HOUR};
use crate::support::process::repository;

/// Hours of the day at which a job has a slot: nothing happens between them but what an event waits for.
const SLOTS: [i64; 10] = [0, 1, 3, 4, 6, 8, 12, 16, 18, 20];

const HOUR_MILLIS: i64 = 3_600_000;

/// It rotates daily; for a year of it the test would take three times as long, so it is there for the last month.
const DAILY: (&str, &str) = ("external/mesh_certificate", "mesh_certificate");
const MONTH: Span = Span::days(30);

const RINGS: [&str; 2] = ["receipts", "records"];

/// The facts of the installation, read no more often than they change.
struct Everything {
    facts: InstallationFacts,
    store: Store,
    policies: tokio::sync::OnceCell<Arc<Policies>>,
    /// As they were read on which day.
    orders: tokio::sync::Mutex<(i64, Vec<Order>)>,
}

impl Inventory for Everything {
    /// They are the same all year.
    fn policies(&self, now: Time) -> Doing<'_, Result<Arc<Policies>, Error>> {
        Box::pin(async move {
            let read = self.policies.get_or_try_init(|| self.facts.policies(now));
            Ok(read.await?.clone())
        })
    }

    fn assets(&self) -> Doing<'_, Result<Vec<AssetFacts>, Error>> {
        self.facts.assets()
    }

    /// Their transcripts are verified anew each day and after each use, and not for each of five thousand runs of jobs.
    fn orders(&self, now: Time) -> Doing<'_, Result<Vec<Order>, Error>> {
        Box::pin(async move {
            let day = now.millis().div_euclid(86_400_000);
            let known = self.orders.lock().await.clone();
            let (read, orders) = known;
            let mut uses = Vec::new();
            for order in &orders {
                uses.push(self.store.last_use(order.id.as_str()).await?);
            }
            let same = orders.iter().map(|order| i64::from(order.used));
            if read == day && same.eq(uses) {
                return Ok(orders);
            }
            let orders = self.facts.orders(now).await?;
            *self.orders.lock().await = (day, orders.clone());
            Ok(orders)
        })
    }
}

fn inventory(store: &Store) -> InventoryService {
    let custodians = Custodians::new("simulation");
    let pin = custodians.pin().clone();
    let policies = PolicyService::new(store.clone(), Caches::default(), pin);
    InventoryService::new(store.clone(), policies)
}

/// Registers what somebody else keeps, in use since now.
async fn registered(world: &Clocked, assets: &[(&str, &str)]) {
    let now = world.now();
    let rows = assets.iter().map(|(name, key_type)| {
        json!({"asset": name, "key_type": key_type, "storage": "wrapped", "rotated_at": now})
    });
    let rows = rows_of(rows.collect()).expect("rows");
    let inventory = inventory(&world.place.store);
    let report = inventory.import(rows, true, ("olga", now)).await.unwrap();
    assert!(report.applied, "{report:?}");
}

/// The reporter of a partner does what is waited for, and says so; how much that was.
async fn reports(engine: &Engine, open: &[RotationEventRow]) -> usize {
    let mut done = 0;
    let mine = |row: &&RotationEventRow| {
        row.waits.as_deref() == Some("person") && row.asset.starts_with("external/")
    };
    for row in open.iter().filter(mine) {
        let report = engine.report(&row.id).await.expect("a report");
        let begun = report.steps.iter().find(|step| step.outcome.is_none());
        let step = begun.expect("a step that waits").step.clone();
        let said = engine.report_step(&row.id, &step, ("reporter:partner", "done"));
        said.await.expect("reported");
        engine.run(&row.id).await.expect("it goes on");
        done += 1;
    }
    done
}

fn scheduler(world: &Clocked) -> Scheduler {
    let store = world.place.store.clone();
    let (keys, service) = (world.keys.clone(), world.service());
    let safety = world.settings.safety;
    let actor = "chancery".to_owned();
    let signing = Signing::new(
        keys.clone(),
        service.clone(),
        store.clone(),
        safety,
        actor.clone(),
    );
    let rings = Rings::new(keys, service, store.clone());
    let engine = Engine::new(Parts {
        env: world.env.clone(),
        clock: Clock::Given(world.env.clone()),
        drivers: Drivers::default()
            .with(Arc::new(signing))
            .with(Arc::new(External::new(inventory(&store)))),
        inventory: Arc::new(Everything {
            facts: InstallationFacts::new(inventory(&store), rings),
            store: store.clone(),
            policies: tokio::sync::OnceCell::new(),
            orders: tokio::sync::Mutex::default(),
        }),
        propagation: Propagation::default(),
        owner: "replica".to_owned(),
        actor,
        store,
    });
    Scheduler::new(engine, HOUR)
}

fn at(time: trust::Time) -> Time {
    Time::from_millis(time.millis())
}

/// The picture as it stands in the documents; `UPDATE_GOLDEN=1` draws it anew.
fn is_drawn(name: &str, svg: &str) {
    let file = repository("docs/rotation").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        fs::write(&file, svg).expect("written");
    }
    let drawn = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        drawn == svg,
        "{}: UPDATE_GOLDEN=1 draws it anew",
        file.display()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_every_key_type_is_on_schedule_and_in_the_log() {
    let world = Clocked::new("simulation", &RINGS).await;
    for ring in RINGS {
        world.ordered(ring, 8).await;
    }
    let start = at(world.now());
    let types = KeyTypes::standard();
    let elsewhere = types.iter().map(|one| one.name.as_str());
    let elsewhere = elsewhere.filter(|name| !["signing", "mesh_certificate"].contains(name));
    let named: Vec<(String, &str)> = elsewhere
        .map(|key_type| (format!("external/{key_type}"), key_type))
        .collect();
    let named: Vec<(&str, &str)> = named
        .iter()
        .map(|(name, of)| (name.as_str(), *of))
        .collect();
    registered(&world, &named).await;
    let scheduler = scheduler(&world);
    let engine = scheduler.engine();
    scheduler.tick().await.unwrap();
    let ninety = engine.plan(Span::days(90)).await.unwrap();
    is_drawn("ninety-days.svg", &ninety.svg());
    let asked = Simulation {
        days: Some(365),
        ..Simulation::default()
    };
    let simulated = engine.simulate(&asked).await.unwrap();
    assert!(simulated.passed, "{:?}", simulated.findings);
    is_drawn("year.svg", &simulated.svg());

    let mut runner = world.runner();
    let end = start + Span::days(365);
    let mut daily = Some(DAILY);
    let mut runs = 0;
    while at(world.now()) < end {
        if at(world.now()) >= end - MONTH
            && let Some(daily) = daily.take()
        {
            registered(&world, &[daily]).await;
        }
        let finished = scheduler.tick().await.unwrap();
        let missed = finished.iter().map(|run| run.missed).sum::<u32>();
        assert!(finished.iter().all(|run| run.succeeded), "{finished:?}");
        assert_eq!(missed, 0, "{finished:?}");
        runs += finished.len();
        let open = loop {
            let round = engine.look(1_000).await.unwrap();
            assert!(round.failed.is_empty(), "{round:?}");
            let open = engine.open_events().await.unwrap();
            if open
                .iter()
                .any(|row| row.waits.as_deref() == Some("executor"))
            {
                let done = runner.round(&|| false).await.unwrap();
                assert!(
                    done.rotated.is_empty() && done.unavailable.is_none(),
                    "{done:?}"
                );
            }
            if reports(engine, &open).await == 0 {
                break open;
            }
        };
        // To the next slot of a job, or to what is looked at before.
        let now = world.now().millis();
        let mut hours = (now.div_euclid(HOUR_MILLIS) + 1)..;
        let slot = hours.find(|hour| SLOTS.contains(&hour.rem_euclid(24)));
        let slot = slot.expect("an hour") * HOUR_MILLIS;
        let looked_at = open.iter().map(|row| row.look_at.millis());
        let next = looked_at.filter(|at| *at > now).fold(slot, i64::min);
        world.until(trust::Time::from_millis(next));
    }

    // Every rotation in time, and by whose consent.
    let store = &world.place.store;
    let mut rows: Vec<RotationEventRow> = Vec::new();
    loop {
        let last = rows.last();
        let place = last.map_or((i64::MAX, String::new()), |row| {
            (row.created_at.millis(), row.id.clone())
        });
        let page = store.rotations_before(None, (place.0, &place.1), 500).await;
        let page = page.unwrap();
        if page.is_empty() {
            break;
        }
        rows.extend(page);
    }
    let promoted: Vec<&RotationEventRow> = rows
        .iter()
        .filter(|row| row.promoted_at.is_some())
        .collect();
    let late = promoted
        .iter()
        .filter(|row| row.promoted_at > Some(row.due));
    let late: Vec<_> = late
        .map(|row| (&row.asset, row.due, row.promoted_at))
        .collect();
    assert!(late.is_empty(), "{late:?}");
    let overdue = rows
        .iter()
        .filter(|row| row.promoted_at.is_none() && at(row.due) < end);
    assert_eq!(overdue.count(), 0);
    let mut of_type = BTreeMap::<&str, usize>::new();
    for row in &promoted {
        *of_type.entry(&row.key_type).or_default() += 1;
    }
    for one in KeyTypes::standard().iter() {
        let lived = match one.name.as_str() {
            "mesh_certificate" => MONTH.as_seconds(),
            _ => 365 * 86_400,
        };
        let expected = lived / one.interval.as_seconds();
        let count = of_type.get(one.name.as_str()).copied().unwrap_or(0) as u64;
        // What rotates once a year does so at the end of it, or just after.
        assert!(count + 1 >= expected, "{}: {count} of {expected}", one.name);
    }
    let automatic = promoted
        .iter()
        .filter(|row| row.consent != "ceremony")
        .count();
    assert!(
        automatic * 100 >= promoted.len() * 80,
        "{automatic} of {}",
        promoted.len()
    );
    for ring in RINGS {
        let signs = world.primary(ring).await;
        assert!(signs >= 5, "{ring}: {signs}");
    }
    // Each in the log: its beginning, its promotion, its end.
    let mut told = BTreeMap::<String, Vec<String>>::new();
    let size = store.log_size().await.unwrap();
    for from in (0..size).step_by(500) {
        for leaf in store.leaves(from, 500).await.unwrap() {
            if leaf.kind == "rotation" {
                let body: serde_json::Value = serde_json::from_str(&leaf.body).unwrap();
                let word = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                // What others say and what becomes of their versions is told beside the rotation itself.
                let action = word("action");
                if action != "report-step" && !action.ends_with("-version") {
                    told.entry(word("ref")).or_default().push(word("action"));
                }
            }
        }
    }
    for row in &rows {
        let mut expected = vec!["begin"];
        expected.extend(row.promoted_at.map(|_| "promote"));
        expected.extend(row.ended_at.map(|_| "done"));
        assert_eq!(told[&row.id], expected, "{row:?}");
    }
    // Four hours, six, eight, a day, a week, a month: each slot once.
    assert!(runs >= 365 * (6 + 4 + 3 + 1) + 52 + 12, "{runs}");
}
