//! The reach: a large inventory on each engine, and its figures, which are printed as a table. `make reach` takes the number
//! of assets that is asked for, three times, and holds the medians against what is asked for. Without it there are a few more
//! than pages of any kind hold, on SQLite, and what is held is what comes of it, in whatever time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use calendar::Span;
use calendar::admission::Ask;
use log::{Event, Log};
use store::testing::place::Place;
use store::{Change, Store};
use trust::leaf::ActKind;

use super::rings::Ring;
use super::world::{KEY_TYPE, World, inventory};
use crate::inventory::{Filter, Rotated, read_csv};
use crate::measured::Measured;
use crate::times::from_row;

/// The variable by which `make reach` asks.
const ASKED: &str = "REACH";

/// More than pages of any kind hold; for the second engine more than one part of an import.
const FEW: usize = 12_000;
const FEWER: usize = 2_500;
const MANY: usize = 100_000;

const HEALTH: &str = "key_rotation_health_check";
const DAY: Duration = Duration::from_secs(86_400);

/// How long others wait for the database at most before they fail as busy.
const BUSY: Duration = Duration::from_secs(5);

/// What is measured, in how many milliseconds it is asked for, and what each run took.
#[derive(Default)]
struct Figures(Vec<(&'static str, Option<u64>, Vec<Duration>)>);

impl Figures {
    fn add(&mut self, what: &'static str, asked: Option<u64>, took: Duration) {
        match self.0.iter_mut().find(|figure| figure.0 == what) {
            Some(figure) => figure.2.push(took),
            None => self.0.push((what, asked, vec![took])),
        }
    }

    fn medians(&self) -> impl Iterator<Item = (&'static str, Option<u64>, Duration)> {
        self.0.iter().map(|(what, asked, took)| {
            let mut took = took.clone();
            took.sort_unstable();
            (*what, *asked, took[took.len() / 2])
        })
    }

    fn table(&self, head: &str) -> String {
        let shown = |took: Duration| match took.as_millis() {
            0..1_000 => format!("{:.0} ms", took.as_secs_f64() * 1e3),
            _ => format!("{:.2} s", took.as_secs_f64()),
        };
        let mut text = format!("| {head} | asked for | median |\n|---|---|---|\n");
        for (what, asked, took) in self.medians() {
            let asked = asked.map(|asked| shown(Duration::from_millis(asked)));
            let asked = asked.unwrap_or_default();
            text.push_str(&format!("| {what} | {asked} | {} |\n", shown(took)));
        }
        text
    }
}

/// Each within what is asked for on a machine that does nothing else, of a build that is optimised.
pub async fn a_large_inventory_is_imported_read_planned_and_checked_in_time(place: Place) {
    let engine = if place.is_sqlite() {
        "SQLite"
    } else {
        "PostgreSQL"
    };
    let mut figures = Figures::default();
    if !is_asked_for() {
        let few = if place.is_sqlite() { FEW } else { FEWER };
        with_room(measure(&mut figures, place, few));
        println!("{}", figures.table(&format!("{engine}, {few} assets")));
        return;
    }
    drop(place);
    for _ in 0..3 {
        let place = match engine {
            "SQLite" => Place::sqlite().await,
            _ => Place::postgres().await,
        };
        with_room(measure(&mut figures, place, MANY));
    }
    println!("{}", figures.table(&format!("{engine}, {MANY} assets")));
    for (what, asked, took) in figures.medians() {
        let asked = asked.map(Duration::from_millis);
        assert!(
            asked.is_none_or(|asked| took <= asked),
            "{engine}: {what}: {took:?}"
        );
    }
}

/// Ten thousand of them where `make reach` asks, and enough to be picked several times otherwise.
pub async fn fault_ten_thousand_events_due_in_one_hour_are_each_begun_once(place: Place) {
    let count = if is_asked_for() { 10_000 } else { 60 };
    let world = World::new(place, count);
    let engine = world.engine("one");
    let key_type = KEY_TYPE.parse().unwrap();
    let ask = Ask {
        key_type: &key_type,
        asset: None,
        force: true,
        may_force: true,
    };
    let (made, took) = timed(engine.schedule(ask, "somebody", None)).await;
    let made = made.unwrap();
    println!("{count} rotations of one hour are scheduled in {took:?}");
    assert_eq!(made.len(), count);
    assert!(made.iter().all(|row| row.slot == made[0].slot));
    // One of them leaks, after all the others were there.
    let leaked = &made[count / 2];
    let asset = leaked.asset.parse().unwrap();
    let reason = ("somebody", "it leaked");
    engine
        .declare(&key_type, Some(&asset), reason)
        .await
        .unwrap();
    let round = engine.look(1).await.unwrap();
    assert_eq!((round.looked, round.ended), (1, 1));
    assert_eq!(world.row(&leaked.id).await.state, "done");
    let (round, took) = timed(engine.look(100_000)).await;
    let round = round.unwrap();
    println!("{count} rotations of one hour are begun in {took:?}");
    assert_eq!((round.looked, round.failed.len()), (count - 1, 0));
    let calls = world.elsewhere().calls.clone();
    let generated = calls.iter().filter(|((_, step), _)| *step == "generate");
    assert_eq!(generated.count(), count);
    assert!(calls.values().all(|times| *times == 1));
    assert_eq!(engine.look(100_000).await.unwrap().looked, 0);
}

fn is_asked_for() -> bool {
    std::env::var_os(ASKED).is_some()
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let done = work.await;
    (done, began.elapsed())
}

/// All of it in one function needs more stack than a thread of a test has, where nothing is optimised.
fn with_room<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let (runtime, room) = (tokio::runtime::Handle::current(), 16 << 20);
    let thread = std::thread::Builder::new().stack_size(room);
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let work = thread.spawn_scoped(scope, move || runtime.block_on(work));
            work.expect("a thread").join().expect("no panic")
        })
    })
}

async fn measure(figures: &mut Figures, place: Place, assets: usize) {
    let ring = Ring::over(place).await;
    let (scheduler, inventory) = (ring.scheduler(), inventory(&ring.place.store));
    let since = from_row(ring.now()) - Span::days(20);
    let mut sheet = "asset,key_type,storage,rotated_at,labels\n".to_owned();
    for n in 0..assets {
        sheet.push_str(&format!(
            "external/a{n:06},api_key,wrapped,{since},env=prod\n"
        ));
    }

    let (is_over, other) = (Arc::new(AtomicBool::new(false)), ring.place.replica().await);
    let other = tokio::spawn(longest_wait(other, ring.now(), is_over.clone()));
    let (report, took) = timed(async {
        let rows = read_csv(sheet.as_bytes()).unwrap();
        inventory.import(rows, true, ("olga", ring.now())).await
    })
    .await;
    is_over.store(true, Ordering::Relaxed);
    let report = report.unwrap();
    assert_eq!((report.new, report.applied), (assets, true));
    assert_eq!(report.rows.len(), assets);
    figures.add("import", Some(30_000), took);
    let (waited, written) = other.await.unwrap();
    assert!(waited < BUSY, "{waited:?}");
    assert!(written > 5, "{written} between the parts");
    figures.add("longest wait of another writer meanwhile", None, waited);
    // As a database does by itself a minute later.
    ring.place.raw("ANALYZE").await.unwrap();

    let policies = inventory.policies().current(ring.now()).await.unwrap();
    let of_type = Filter {
        key_type: Some("api_key".parse().unwrap()),
        ..Filter::default()
    };
    let few = Filter {
        text: Some(format!("a{:05}", (assets - 1) / 10)),
        ..Filter::default()
    };
    for (what, asked, filter) in [
        ("a page of 100, by name", Some(100), &Filter::default()),
        ("a page of 100, of a key type", Some(100), &of_type),
        (
            "a page of a text that few have (4 000 rows are read)",
            None,
            &few,
        ),
    ] {
        let after = format!("external/a{:06}", assets / 2);
        let page = inventory.page(filter, Some(&after), 100, &policies);
        let (page, took) = timed(page).await;
        assert!(page.unwrap().unreadable.is_empty());
        figures.add(what, asked, took);
    }
    let after = Some(Rotated {
        at: 0,
        asset: format!("external/a{:06}", assets / 2),
    });
    let all = Filter::default();
    let (page, took) = timed(inventory.oldest(&all, after, 100, &policies)).await;
    assert_eq!(page.unwrap().rows.len(), 100);
    figures.add("a page of 100, oldest first", Some(100), took);

    let engine = scheduler.engine();
    let (known, took) = timed(engine.known()).await;
    let known = known.unwrap();
    // And the ring.
    assert_eq!(known.facts.assets.len(), assets + 1);
    figures.add("reading what a plan needs", None, took);
    let (plan, took) = timed(async { known.plan(Span::days(90)) }).await;
    assert!(plan.rotations.len() > 2 * assets);
    figures.add("plan of 90 days", Some(1_000), took);
    let (_, took) = timed(scheduler.run_now(HEALTH)).await;
    figures.add("health check", Some(5_000), took);
    let (looked, took) = timed(scheduler.look_at_alerts()).await;
    looked.unwrap();
    figures.add("look at alerts", Some(5_000), took);
    let measured = Measured::default();
    let (read, took) = timed(measured.read(engine)).await;
    read.unwrap();
    figures.add("reading what metrics say, in the background", None, took);

    ring.wait(60 * DAY);
    let (run, took) = timed(scheduler.run_now(HEALTH)).await;
    let summary = run.unwrap().summary;
    assert_eq!(summary["assets"], assets + 1);
    // They are 80 days old, and should be 30.
    assert_eq!(summary["over_150_percent"]["count"], assets);
    assert_eq!(summary["over_150_percent"]["assets"][0], "external/a000000");
    figures.add("health check, all of them overdue", Some(5_000), took);
    let looks = [
        "look at alerts, all of them overdue since the last one",
        "look at alerts, all of them overdue as before",
    ];
    // Ten thousand rows are written, which takes its time where nothing is optimised.
    for what in looks.into_iter().filter(|_| is_asked_for()) {
        let (looked, took) = timed(scheduler.look_at_alerts()).await;
        assert!(looked.unwrap().conditions >= assets);
        figures.add(what, Some(5_000), took);
    }
    let known = engine.known().await.unwrap();
    let (plan, took) = timed(async { known.plan(Span::days(1)) }).await;
    assert!(plan.counts().overdue >= assets);
    figures.add("plan of a day, all of them overdue", Some(1_000), took);
    let (plan, took) = timed(async { known.plan(Span::days(90)) }).await;
    assert!(plan.counts().overdue >= assets);
    figures.add("plan of 90 days, all of them overdue", Some(1_000), took);
}

/// How long another process waits for the database that writes now and then, until it is over, and how often it has written.
async fn longest_wait(
    store: Store,
    at: trust::Time,
    is_over: Arc<AtomicBool>,
) -> (Duration, usize) {
    let log = Log::new(store);
    let (mut longest, mut count) = (Duration::ZERO, 0);
    while !is_over.load(Ordering::Relaxed) {
        let event = Event::new(ActKind::Rotation, "look", "olga", at);
        let (written, took) = timed(log.commit(&Change::Record, &event)).await;
        written.unwrap();
        longest = longest.max(took);
        count += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (longest, count)
}
