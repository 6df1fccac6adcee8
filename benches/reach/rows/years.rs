//! A log, an archive and their costs as they grow: at one, three and ten million leaves, beside the same installation with
//! next to none. Ten times as much is the straight line extended, and marked so.

mod aged;
mod asked;

use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use testkit::postgres::Server;

use self::aged::Aged;
use self::asked::{QUESTIONS, VERDICT, ask};
use super::log::integrate;
use super::log_ratio::quiet;
use super::signer::{BATCH, Signer, window_of};
use crate::arguments::Arguments;
use crate::backlog::postgres::PostgresAside;
use crate::backlog::{Aside, Backlog, REFUSAL_EVERY};
use crate::installation::{ES256, Installation, output_directory};
use crate::load::Plan;
use crate::plot::short;
use crate::process;
use crate::report::{Figure, Reach, Section, table};
use crate::stats::{extended, median};

/// Leaves, and archived keys with their ceremonies and objects.
const STEPS: [(i64, i64); 3] = [
    (1_000_000, 10_000),
    (3_000_000, 30_000),
    (10_000_000, 100_000),
];
/// A whole run divides its leaves by nothing, a quick one by this.
const QUICK: i64 = 50;
/// How much further than the largest size the line is told.
const FURTHER: i64 = 10;
/// The last leaves are written into the indexes when there are so many, or after twenty seconds.
const TOGETHER: i64 = 16_384;
/// What is written behind the leaves is not waited for longer while it does not grow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes that a whole run may take on one engine.
const ROOM: u64 = 18_000_000_000;

/// One size, repetition by repetition.
#[derive(Default)]
struct Seen {
    /// Microseconds of CPU of a signature in batches, of the service and the database.
    cpu: Vec<f64>,
    start: Vec<f64>,
    memory: Vec<f64>,
    asked: [Vec<f64>; QUESTIONS.len()],
}

struct Size {
    leaves: i64,
    keys: i64,
    backlog: Box<dyn Backlog>,
    seen: Seen,
}

/// Next to none, and then each step.
struct Grown {
    sizes: Vec<Size>,
    filling: f64,
    integrating: f64,
    /// MiB of the service while it integrated, at most.
    rss_mb: f64,
    bytes: i64,
}

impl Size {
    fn new(leaves: i64, keys: i64, backlog: Box<dyn Backlog>) -> Self {
        Self {
            leaves,
            keys,
            backlog,
            seen: Seen::default(),
        }
    }
}

impl Grown {
    fn ends(&self) -> Result<[&Size; 3]> {
        match &self.sizes[..] {
            [few, small, .., large] => Ok([few, small, large]),
            _ => bail!("no sizes"),
        }
    }
}

pub fn sqlite(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let started = Instant::now();
    has_room(arguments)?;
    // In the other one rows before this may have left leaves; it is not measured meanwhile.
    installation.stop();
    let mut new = Installation::new(&output_directory()?).context("an empty installation")?;
    let aged = Aged::new(&mut new)?;
    let empty = Box::new(Aside::new(&mut new, "years")?);
    let grown = measured(&mut new, empty, &aged, arguments)?;
    let [few, _, large] = grown.ends()?;
    let ratio: Vec<f64> = over(&large.seen.cpu, &few.seen.cpu);
    let memory = grown.rss_mb.max(median(&large.seen.memory));
    let figures = vec![
        Figure::new("tenth-year-sign-ratio", "", Reach::AtMost(1.2), &ratio),
        Figure::new(
            "tenth-year-verdict-ms",
            "ms",
            Reach::AtMost(5.0),
            &large.seen.asked[VERDICT],
        ),
        Figure::new(
            "tenth-year-start-s",
            "s",
            Reach::AtMost(2.0),
            &large.seen.start,
        ),
        Figure::new("tenth-year-rss-mb", "MiB", Reach::AtMost(300.0), &[memory]),
        Figure::new(
            "cost-sqlite-growth",
            "",
            Reach::AtMost(1.2),
            &growth(&grown)?,
        ),
    ];
    Ok(Section {
        title: "The tenth year, and costs at three sizes on SQLite",
        text: text(&grown, started)?,
        figures,
        plots: Vec::new(),
    })
}

pub fn postgres(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    const DATABASE: &str = "chancery";
    let started = Instant::now();
    has_room(arguments)?;
    installation.stop();
    let directory = output_directory()?;
    // Its account may not be allowed into the directory of whoever builds.
    let server = Server::start_in(&directory).or_else(|_| Server::start());
    let server = Rc::new(server.context("PostgreSQL")?);
    // A little of what anybody gives a server for ten million rows.
    for setting in ["shared_buffers = '1GB'", "max_wal_size = '4GB'"] {
        let alter = format!("ALTER SYSTEM SET {setting}");
        testkit::process::done(&mut server.psql("postgres", &alter))?;
    }
    server.stop()?;
    server.resume()?;
    let url = server.create_database(DATABASE)?;
    let mut new = Installation::on(&directory, &url).context("an installation on PostgreSQL")?;
    let aged = Aged::new(&mut new)?;
    let empty = PostgresAside::new(&mut new, &server, DATABASE, "years")?;
    let grown = measured(&mut new, Box::new(empty), &aged, arguments)?;
    let mut text = text(&grown, started)?;
    text.push(
        "The server runs with fsync off, shared_buffers of 1 GB, max_wal_size of 4 GB, and its defaults otherwise. CPU is that of the service and of all \
         processes of the server."
            .to_owned(),
    );
    Ok(Section {
        title: "Costs at three sizes on PostgreSQL",
        text,
        figures: vec![Figure::new(
            "cost-postgres-growth",
            "",
            Reach::AtMost(1.2),
            &growth(&grown)?,
        )],
        plots: Vec::new(),
    })
}

fn has_room(arguments: &Arguments) -> Result<()> {
    let there = rustix::fs::statvfs(&output_directory()?)?;
    let there = there.f_bavail * there.f_frsize;
    ensure!(
        arguments.quick || there >= ROOM,
        "{} GB are free where the benchmark writes, and {} may be needed",
        there / 1_000_000_000,
        ROOM / 1_000_000_000
    );
    Ok(())
}

/// Fills, measures in turn, and gives the room back.
fn measured(
    installation: &mut Installation,
    empty: Box<dyn Backlog>,
    aged: &Aged,
    arguments: &Arguments,
) -> Result<Grown> {
    let mut grown = grow(installation, empty, arguments)?;
    for repetition in 0..arguments.repetitions() {
        eprintln!("bench:   repetition {}", repetition + 1);
        for size in &mut grown.sizes {
            look(installation, size, aged, arguments)
                .with_context(|| format!("{} leaves", size.leaves))?;
        }
    }
    installation.stop();
    for size in &grown.sizes {
        size.backlog.remove()?;
    }
    Ok(grown)
}

/// One line of growth; of each size but the largest a copy stays behind.
fn grow(
    installation: &mut Installation,
    growing: Box<dyn Backlog>,
    arguments: &Arguments,
) -> Result<Grown> {
    let mut sizes = Vec::new();
    let (mut filling, mut integrating, mut rss_mb) = (0.0, 0.0, 0.0_f64);
    let mut before = 0;
    let few = growing.copy(installation, "years-few")?;
    sizes.push(Size::new(few.size()?, 0, few));
    for (at, (leaves, keys)) in STEPS.into_iter().enumerate() {
        let leaves = if arguments.quick {
            leaves / QUICK
        } else {
            leaves
        };
        eprintln!("bench:   {leaves} leaves, {keys} archived keys");
        let started = Instant::now();
        installation.stop();
        growing.append_mixed(leaves - growing.size()?)?;
        growing.archive_more(before, keys)?;
        growing.settle()?;
        filling += started.elapsed().as_secs_f64();
        let started = Instant::now();
        rss_mb = rss_mb.max(integrate(installation, &*growing)?.rss_mb);
        behind(&*growing, leaves)?;
        integrating += started.elapsed().as_secs_f64();
        installation.stop();
        growing.settle()?;
        before = keys;
        if at + 1 < STEPS.len() {
            let copy = growing.copy(installation, &format!("years-{at}"))?;
            sizes.push(Size::new(leaves, keys, copy));
        } else {
            let bytes = growing.bytes()?;
            sizes.push(Size::new(leaves, keys, growing));
            return Ok(Grown {
                sizes,
                filling,
                integrating,
                rss_mb,
                bytes,
            });
        }
    }
    bail!("no steps")
}

/// Waits until what is written behind the leaves is there.
fn behind(backlog: &dyn Backlog, leaves: i64) -> Result<()> {
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        let done = backlog.indexed()?;
        if done + TOGETHER > leaves {
            return Ok(());
        }
        if done > last {
            (last, moved) = (done, Instant::now());
        }
        ensure!(
            moved.elapsed() < PATIENCE,
            "{done} of {leaves} leaves are in the indexes"
        );
        sleep(Duration::from_millis(200));
    }
}

/// One repetition at one size.
fn look(
    installation: &mut Installation,
    size: &mut Size,
    aged: &Aged,
    arguments: &Arguments,
) -> Result<()> {
    let backlog = &*size.backlog;
    installation.stop();
    let start = installation.serve(backlog.environment())?;
    size.seen.start.push(start.as_secs_f64());
    quiet(installation)?;
    let answers = ask(installation, backlog, size.leaves, aged)?;
    for (seen, answer) in size.seen.asked.iter_mut().zip(answers) {
        seen.push(answer);
    }
    let plan = Plan {
        address: installation.api,
        connections: 8,
        pace: None,
    };
    let service = installation.service()?;
    let signer = Signer::new(installation, ES256, BATCH);
    let used = || Ok(process::cpu(service)? + backlog.cpu()?);
    let (seen, _) = window_of(used, plan, signer, arguments.window())?;
    size.seen.cpu.push(seen.cpu_us);
    size.seen.memory.push(process::memory(service)?.0);
    Ok(())
}

fn over(above: &[f64], below: &[f64]) -> Vec<f64> {
    let pairs = above.iter().zip(below);
    pairs.map(|(above, below)| above / below).collect()
}

/// All costs that must not grow, at one size.
fn costs(seen: &Seen) -> Vec<(&'static str, &[f64])> {
    let mut costs = vec![("signature in batches, µs of CPU", &seen.cpu[..])];
    let asked = QUESTIONS.into_iter().zip(&seen.asked);
    costs.extend(asked.map(|(name, values)| (name, &values[..])));
    costs
}

/// Of the cost that grows most from the smallest size to the largest: the ratios of each repetition.
fn growth(grown: &Grown) -> Result<Vec<f64>> {
    let [_, small, large] = grown.ends()?;
    let pairs = costs(&large.seen).into_iter().zip(costs(&small.seen));
    let ratios = pairs.map(|((_, large), (_, small))| over(large, small));
    ratios
        .max_by(|one, other| median(one).total_cmp(&median(other)))
        .context("no costs")
}

fn text(grown: &Grown, started: Instant) -> Result<Vec<String>> {
    let [few, small, large] = grown.ends()?;
    let further = (large.leaves * FURTHER) as f64;
    let mut head = vec![String::new()];
    head.extend(grown.sizes.iter().map(|size| million(size.leaves)));
    head.push(format!("{} (extended)", million(large.leaves * FURTHER)));
    head.push("growth".to_owned());
    let all = |of: &dyn Fn(&Seen) -> f64, name: &str, grows: String| -> Vec<String> {
        let mut row = vec![name.to_owned()];
        row.extend(grown.sizes.iter().map(|size| short(of(&size.seen))));
        let steps = grown.sizes.iter().skip(1);
        let points: Vec<(f64, f64)> = steps
            .map(|size| (size.leaves as f64, of(&size.seen)))
            .collect();
        let told = extended(&points, further);
        // A line that falls says that nothing grows.
        row.push(if told > 0.0 {
            short(told)
        } else {
            "–".to_owned()
        });
        row.push(grows);
        row
    };
    let mut rows = Vec::new();
    for (at, (name, seen)) in costs(&large.seen).into_iter().enumerate() {
        let ratio = median(&over(seen, costs(&small.seen)[at].1));
        let name = match at {
            0 => name.to_owned(),
            _ => format!("{name}, ms"),
        };
        rows.push(all(&|seen| median(costs(seen)[at].1), &name, short(ratio)));
    }
    rows.push(all(&|seen| median(&seen.start), "start, s", String::new()));
    rows.push(all(
        &|seen| median(&seen.memory),
        "resident, MiB",
        String::new(),
    ));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    Ok(vec![
        format!(
            "One log that grows, written past the service to a copy of the database: to {} leaves, of which one in \
             {REFUSAL_EVERY} is a refusal, and to {} archived keys with their objects and ceremonies (written in {} s); \
             the service integrates and indexes them (in {} s, with at most {} MiB resident), {} bytes of database a \
             leaf. Of each size a copy is kept. Then in turn, from a copy with {} leaves and no such keys up: started \
             until ready to sign; questions one by one, medians; a window of signatures in batches of {BATCH}; resident \
             memory of the process tree. In all {} minutes.",
            large.leaves,
            large.keys,
            short(grown.filling),
            short(grown.integrating),
            short(grown.rss_mb),
            short(grown.bytes as f64 / large.leaves as f64),
            few.leaves,
            short(started.elapsed().as_secs_f64() / 60.0),
        ),
        table(&head, &rows),
        "The last but one column is not measured: it is the straight line through the three sizes, extended. Where the \
         three differ by less than their spread it says little. Growth is the median ratio of the largest of the three \
         to the smallest. Verdicts are on genuine signatures of a key that was rotated, retired and archived by the \
         ordinary commands before the rows were added."
            .to_owned(),
    ])
}

fn million(leaves: i64) -> String {
    match leaves % 1_000_000 {
        0 => format!("{} M leaves", leaves / 1_000_000),
        _ => format!("{leaves} leaves"),
    }
}
