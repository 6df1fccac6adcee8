//! A log of a million leaves: integrated, proven, restarted, and signed into.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::log::integrate;
use super::log_proof::{Asked, ask};
use super::signer::{BATCH, Signer, window};
use crate::arguments::Arguments;
use crate::backlog::{Aside, Backlog as _};
use crate::installation::{ES256, Installation};
use crate::load::Plan;
use crate::plot::short;
use crate::process;
use crate::report::{Figure, Reach, Section, table};
use crate::stats::median;

const LEAVES: i64 = 1_000_000;

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let leaves = if arguments.quick { LEAVES / 20 } else { LEAVES };
    let few = Aside::new(installation, "few")?;
    let many = Aside::new(installation, "million")?;
    let first = many.size()?;
    let started = Instant::now();
    many.append(leaves)?;
    let append = started.elapsed().as_secs_f64();
    let integrated = integrate(installation, &many)?;

    let (mut restart, mut memory) = (Vec::new(), Vec::new());
    let (mut cold, mut warm) = (Asked::default(), Asked::default());
    let places: Vec<i64> = (0..200)
        .map(|n| first + (n * 7_919 + 13) * 101 % leaves)
        .collect();
    for _ in 0..arguments.repetitions() {
        installation.stop();
        restart.push(installation.serve(&many.environment)?.as_secs_f64());
        cold.add(ask(installation, &places)?);
        warm.add(ask(installation, &places)?);
        memory.push(process::memory(installation.service()?)?.0);
    }
    let checked = check(installation, &many);

    // Whether a signature costs more where there are many already.
    let mut cpu = [Vec::new(), Vec::new()];
    for _ in 0..arguments.repetitions() {
        for (at, aside) in [&few, &many].into_iter().enumerate() {
            installation.stop();
            installation.serve(&aside.environment)?;
            let plan = Plan {
                address: installation.api,
                connections: 8,
                pace: None,
            };
            let signer = Signer::new(installation, ES256, BATCH);
            let (seen, _) = window(installation.service()?, plan, signer, arguments.window())?;
            cpu[at].push(seen.cpu_us);
        }
    }
    let grown: Vec<f64> = cpu[1]
        .iter()
        .zip(&cpu[0])
        .map(|(many, few)| many / few)
        .collect();
    installation.stop();
    let bytes = |path: &Path| fs::metadata(path).map_or(0.0, |file| file.len() as f64);
    let size = bytes(&installation.file("million.db")) / leaves as f64;
    Ok(Section {
        title: "A million leaves",
        text: vec![
            format!(
                "{leaves} leaves written to a copy of the database in {} s past the service, {} bytes of database \
                 each; integrated by the service in {} s ({} leaves/s) with at most {} MiB resident. Then, five times: \
                 restarted until ready to sign; 200 receipts over the API one by one, the first time with nothing in \
                 the service's memory (cold), then again (warm).",
                short(append),
                short(size),
                short(integrated.seconds),
                short(integrated.leaves / integrated.seconds),
                short(integrated.rss_mb),
            ),
            table(
                &["receipt over the API", "p50 ms", "p99 ms"],
                &[cold.row("cold"), warm.row("warm")],
            ),
            checked,
            format!(
                "CPU per ES256 signature in batches of {BATCH}, in turn: {} µs with few leaves, {} µs with {leaves}.",
                short(median(&cpu[0])),
                short(median(&cpu[1])),
            ),
        ],
        figures: vec![
            Figure::new(
                "log-1m-rss-mb",
                "MiB",
                Reach::AtMost(300.0),
                &[integrated.rss_mb.max(median(&memory))],
            ),
            Figure::new("log-1m-restart-s", "s", Reach::AtMost(2.0), &restart),
            Figure::new(
                "log-1m-integrate-s",
                "s",
                Reach::None,
                &[integrated.seconds],
            ),
            Figure::new("log-1m-sign-ratio", "", Reach::AtMost(1.2), &grown),
        ],
        plots: Vec::new(),
    })
}

/// `chancery log check`, where this program has it.
fn check(installation: &Installation, aside: &Aside) -> String {
    let started = Instant::now();
    match installation.chancery_with(&aside.environment, &["log", "check"]) {
        Ok(said) => format!(
            "`chancery log check`: {} s: `{said}`.",
            short(started.elapsed().as_secs_f64())
        ),
        Err(error) => {
            let why = format!("{error:#}");
            match why.contains("unrecognized subcommand") {
                true => "This program has no `chancery log check`.".to_owned(),
                false => format!("`chancery log check` failed: {why}"),
            }
        }
    }
}
