//! Full rate for a while: does memory stay where it is?

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::signer::Signer;
use crate::arguments::Arguments;
use crate::installation::{ES256, Installation};
use crate::load::{Load, Plan};
use crate::plot::{self, short};
use crate::process;
use crate::report::{Figure, Reach, Section};
use crate::stats::slope;

const CONNECTIONS: usize = 16;
const SAMPLE: Duration = Duration::from_secs(1);

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    installation.stop();
    installation.serve(&BTreeMap::new())?;
    let service = installation.service()?;
    let plan = Plan {
        address: installation.api,
        connections: CONNECTIONS,
        pace: None,
    };
    let load = Load::start(plan, Signer::new(installation, ES256, 1));
    let started = Instant::now();
    let mut samples = Vec::new();
    while started.elapsed() < arguments.soak {
        let (memory, _) = process::memory(service)?;
        samples.push((started.elapsed().as_secs_f64(), memory));
        sleep(SAMPLE);
    }
    let (good, bad) = (load.good(), load.bad());
    load.stop()?;
    // The first half fills caches and arenas; what grows after it, grows.
    let second = &samples[samples.len() / 2..];
    let per_hour = slope(second) * 3_600.0;
    let per_million = slope(second) * started.elapsed().as_secs_f64() / good as f64 * 1e6;
    let (first, last) = (
        samples.first().map_or(0.0, |s| s.1),
        samples.last().map_or(0.0, |s| s.1),
    );
    Ok(Section {
        title: "Soak",
        text: vec![format!(
            "{good} signatures in {} s over {CONNECTIONS} connections, {bad} requests failed. Resident memory of the \
             process tree: {} MiB at the start, {} MiB at the end; the straight line through the second half rises \
             by {} MiB an hour, or {} MiB per million signatures.",
            short(started.elapsed().as_secs_f64()),
            short(first),
            short(last),
            short(per_hour),
            short(per_million),
        )],
        figures: vec![
            Figure::new(
                "soak-rss-growth-mb-per-h",
                "MiB/h",
                Reach::None,
                &[per_hour],
            ),
            Figure::new("soak-rss-mb", "MiB", Reach::None, &[last]),
        ],
        plots: vec![plot::line(
            "soak",
            "Resident memory in MiB over seconds",
            &samples,
        )],
    })
}
