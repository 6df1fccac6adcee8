//! Full rate for a while: do memory, descriptors and latency stay where they are?

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::signer::Signer;
use crate::arguments::Arguments;
use crate::installation::{ES256, Installation};
use crate::load::{Answer, Caller, Load, Plan};
use crate::plot::{self, short};
use crate::process;
use crate::report::{Figure, Reach, Section, table};
use crate::stats::{percentile, slope};

const CONNECTIONS: usize = 16;
const SAMPLE: Duration = Duration::from_secs(1);
/// Rows of the table of the report.
const ROWS: usize = 12;

/// A signer that says how long each answer took, in milliseconds.
struct Timed {
    signer: Signer,
    times: Arc<Mutex<Vec<f64>>>,
}

impl Caller for Timed {
    fn next(&mut self, out: &mut Vec<u8>) {
        self.signer.next(out);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> u64 {
        let took = answer.done.duration_since(answer.sent).as_secs_f64() * 1e3;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.push(took);
        self.signer.answered(answer)
    }
}

/// What was seen in one second.
struct Sample {
    at: f64,
    signatures: u64,
    memory: f64,
    descriptors: f64,
    p50: f64,
    p99: f64,
}

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    installation.stop();
    installation.serve(&BTreeMap::new())?;
    let service = installation.service()?;
    let plan = Plan {
        address: installation.api,
        connections: CONNECTIONS,
        pace: None,
    };
    let times = Arc::new(Mutex::new(Vec::new()));
    let signer = Signer::new(installation, ES256, 1);
    let load = Load::start(
        plan,
        Timed {
            signer,
            times: times.clone(),
        },
    );
    let started = Instant::now();
    let mut samples = Vec::new();
    while started.elapsed() < arguments.soak {
        sleep(SAMPLE);
        let mut seen = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
        samples.push(Sample {
            at: started.elapsed().as_secs_f64(),
            signatures: load.good(),
            memory: process::memory(service)?.0,
            descriptors: descriptors(service)?,
            p50: percentile(&mut seen, 50.0),
            p99: percentile(&mut seen, 99.0),
        });
    }
    let (good, bad) = (load.good(), load.bad());
    load.stop()?;
    let over = |value: fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        let points = samples.iter().map(|sample| (sample.at, value(sample)));
        points.filter(|(_, value)| value.is_finite()).collect()
    };
    let memory = over(|sample| sample.memory);
    // The first half fills caches and arenas; what grows after it, grows.
    let second = &memory[memory.len() / 2..];
    let per_hour = slope(second) * 3_600.0;
    let per_million = slope(second) * started.elapsed().as_secs_f64() / good as f64 * 1e6;
    let last = samples.last().map_or(0.0, |sample| sample.memory);
    let every = samples.len().div_ceil(ROWS).max(1);
    let rows: Vec<Vec<String>> = samples
        .chunks(every)
        .filter_map(|part| part.last())
        .map(|sample| {
            vec![
                short(sample.at),
                sample.signatures.to_string(),
                short(sample.memory),
                short(sample.descriptors),
                short(sample.p50),
                short(sample.p99),
            ]
        })
        .collect();
    Ok(Section {
        title: "Soak",
        text: vec![
            format!(
                "{good} signatures in {} s over {CONNECTIONS} connections, {bad} requests failed. The straight line \
                 through the second half of the resident memory of the process tree rises by {} MiB an hour, or {} \
                 MiB per million signatures.",
                short(started.elapsed().as_secs_f64()),
                short(per_hour),
                short(per_million),
            ),
            table(
                &[
                    "s",
                    "signatures",
                    "resident MiB",
                    "descriptors",
                    "p50 ms",
                    "p99 ms",
                ],
                &rows,
            ),
        ],
        figures: vec![
            Figure::new(
                "soak-rss-growth-mb-per-h",
                "MiB/h",
                // Over less than half an hour the slope says nothing of an hour.
                match arguments.soak >= Duration::from_secs(1_800) {
                    true => Reach::AtMost(2.0),
                    false => Reach::None,
                },
                &[per_hour],
            ),
            Figure::new("soak-rss-mb", "MiB", Reach::None, &[last]),
        ],
        plots: vec![
            plot::line(
                "soak-memory",
                "Resident memory in MiB over seconds",
                &memory,
            ),
            plot::line(
                "soak-descriptors",
                "Open descriptors of the service over seconds",
                &over(|sample| sample.descriptors),
            ),
            plot::line(
                "soak-p50",
                "Median latency in ms over seconds",
                &over(|sample| sample.p50),
            ),
            plot::line(
                "soak-p99",
                "99th percentile of latency in ms over seconds",
                &over(|sample| sample.p99),
            ),
        ],
    })
}

/// Open files and sockets of the service and its workers.
fn descriptors(service: u32) -> Result<f64> {
    let open = process::tree(service)?
        .into_iter()
        .filter_map(|id| fs::read_dir(format!("/proc/{id}/fd")).ok())
        .map(Iterator::count)
        .sum::<usize>();
    Ok(open as f64)
}
