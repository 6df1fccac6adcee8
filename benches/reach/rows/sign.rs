//! Signing at full rate: how much of the CPU goes into the signature itself.

use std::collections::BTreeMap;
use std::thread::sleep;

use anyhow::{Context as _, Result};

use super::signer::{BATCH, Signer, WARM_UP, window};
use crate::arguments::Arguments;
use crate::installation::{ES256, Installation, PS256};
use crate::load::{Load, Plan};
use crate::plot::{self, short};
use crate::profile;
use crate::raw::{Crew, Stretch, token};
use crate::report::{Figure, Reach, Section, table};
use crate::stats::median;

/// Bare processes and sessions in each, of which the fastest is what the service is held against.
const GRID: [(usize, usize); 5] = [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1)];
const CONNECTIONS: usize = 64;
/// Full connections would exceed the service's queue, which then refuses.
const BATCH_CONNECTIONS: usize = 8;
struct Setting {
    id: &'static str,
    title: &'static str,
    scheme: &'static str,
    ring: &'static str,
    connections: usize,
    items: usize,
    reach: f64,
}

pub fn ps256(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let setting = Setting {
        id: "sign-ps256-ucpu",
        title: "Signing, RSA-2048 (PS256)",
        scheme: "PS256",
        ring: PS256,
        connections: CONNECTIONS,
        items: 1,
        reach: 0.90,
    };
    measure(installation, arguments, &setting)
}

pub fn es256(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let setting = Setting {
        id: "sign-es256-ucpu",
        title: "Signing, P-256 (ES256)",
        scheme: "ES256",
        ring: ES256,
        connections: CONNECTIONS,
        items: 1,
        reach: 0.45,
    };
    measure(installation, arguments, &setting)
}

/// Each signature is a commit of its own, with every wake-up on the way.
pub fn es256_alone(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let setting = Setting {
        id: "sign-es256-c1-ucpu",
        title: "Signing on one connection, P-256 (ES256)",
        scheme: "ES256",
        ring: ES256,
        connections: 1,
        items: 1,
        reach: 0.25,
    };
    measure(installation, arguments, &setting)
}

pub fn es256_batch(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let setting = Setting {
        id: "sign-es256-batch-ucpu",
        title: "Signing in batches of 100, P-256 (ES256)",
        scheme: "ES256",
        ring: ES256,
        connections: BATCH_CONNECTIONS,
        items: BATCH,
        reach: 0.55,
    };
    measure(installation, arguments, &setting)
}

/// The grid, and the crew of its fastest cell.
fn best(
    installation: &Installation,
    arguments: &Arguments,
    setting: &Setting,
) -> Result<(Crew, String, Vec<Vec<String>>)> {
    let mut rows = Vec::new();
    let mut best: Option<(f64, Crew, String)> = None;
    for (processes, sessions) in GRID {
        let mut crew = token::crew(
            installation,
            setting.ring,
            setting.scheme,
            processes,
            sessions,
        )?;
        let length = arguments.window() / 3;
        let seen = (0..3)
            .map(|_| crew.run(length))
            .collect::<Result<Vec<_>>>()?;
        let rate = median(&seen.iter().map(Stretch::rate).collect::<Vec<_>>());
        let cpu = median(&seen.iter().map(Stretch::cpu_us).collect::<Vec<_>>());
        let name = format!("{processes} × {sessions}");
        rows.push(vec![name.clone(), short(rate), short(cpu)]);
        if best.as_ref().is_none_or(|(fastest, ..)| rate > *fastest) {
            best = Some((rate, crew, name));
        }
    }
    let (_, crew, name) = best.context("an empty grid")?;
    Ok((crew, name, rows))
}

fn measure(
    installation: &mut Installation,
    arguments: &Arguments,
    setting: &Setting,
) -> Result<Section> {
    installation.serve(&BTreeMap::new())?;
    let (mut crew, cell, grid) = best(installation, arguments, setting)?;
    let plan = Plan {
        address: installation.api,
        connections: setting.connections,
        pace: None,
    };
    let (mut raw, mut service) = (Vec::new(), Vec::new());
    for _ in 0..arguments.repetitions() {
        raw.push(crew.run(arguments.window())?);
        let signer = Signer::new(installation, setting.ring, setting.items);
        let (seen, _) = window(installation.service()?, plan, signer, arguments.window())?;
        service.push(seen);
    }
    let raw_cpu: Vec<f64> = raw.iter().map(Stretch::cpu_us).collect();
    let raw_rate: Vec<f64> = raw.iter().map(Stretch::rate).collect();
    let cpu: Vec<f64> = service.iter().map(|seen| seen.cpu_us).collect();
    let rate: Vec<f64> = service.iter().map(|seen| seen.rate).collect();
    let ratio = |above: &[f64], below: &[f64]| -> Vec<f64> {
        above
            .iter()
            .zip(below)
            .map(|(above, below)| above / below)
            .collect()
    };
    let bad: u64 = service.iter().map(|seen| seen.bad).sum();
    let text = vec![
        format!(
            "{} connections, {} signature(s) a request, JWS compact over 84 bytes, the load generator on the same \
             cores. Included: authentication, policy, rate limit, verification of every signature, the record in \
             SQLite (synchronous=FULL) before the answer. {bad} requests had no good result.",
            setting.connections, setting.items
        ),
        table(
            &[
                "bare processes × sessions",
                "signatures/s",
                "µs of CPU each",
            ],
            &grid,
        ),
        format!("The fastest cell, {cell}, was then run in turn with the service:"),
        table(
            &["", "bare token", "service", "ratio"],
            &[
                vec![
                    "µs of CPU per signature (`U_cpu`)".to_owned(),
                    short(median(&raw_cpu)),
                    short(median(&cpu)),
                    short(median(&ratio(&raw_cpu, &cpu))),
                ],
                vec![
                    "signatures/s (`R_raw`, `R_service`, `U`)".to_owned(),
                    short(median(&raw_rate)),
                    short(median(&rate)),
                    short(median(&ratio(&rate, &raw_rate))),
                ],
            ],
        ),
    ];
    let figure = Figure::new(
        setting.id,
        "",
        Reach::AtLeast(setting.reach),
        &ratio(&raw_cpu, &cpu),
    );
    let plot = plot::dots(
        setting.id,
        &format!("{}: µs of CPU per signature", setting.title),
        "µs",
        &[("bare token", &raw_cpu), ("service", &cpu)],
    );
    Ok(Section {
        title: setting.title,
        text,
        figures: vec![figure],
        plots: vec![plot],
    })
}

/// Where the time of the ES256 row goes.
pub fn profiled(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    installation.serve(&BTreeMap::new())?;
    let plan = Plan {
        address: installation.api,
        connections: CONNECTIONS,
        pace: None,
    };
    let group = |part: &str| installation.metric(&format!("chancery_group_commit_leaves_{part}"));
    let signer = Signer::new(installation, ES256, 1);
    let load = Load::start(plan, signer);
    sleep(WARM_UP);
    let (sum, count) = (group("sum"), group("count"));
    let seen = profile::of(
        installation.service()?,
        || load.good(),
        arguments.window() * 2,
    );
    let size = || -> Result<f64> { Ok((group("sum")? - sum?) / (group("count")? - count?)) };
    let size = size();
    load.stop()?;
    let mut seen = seen?;
    // How many signatures share the cost of one commit.
    seen.figures.extend(
        size.ok()
            .map(|size| Figure::new("group-commit-size", "", Reach::None, &[size])),
    );
    Ok(seen)
}
