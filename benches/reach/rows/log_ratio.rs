//! Signing with the log beside it and without, in turn.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::signer::{Signer, window};
use crate::arguments::Arguments;
use crate::installation::{ES256, Installation};
use crate::load::Plan;
use crate::plot::{self, short};
use crate::process;
use crate::raw::{Stretch, token};
use crate::report::{Figure, Reach, Section, table};
use crate::stats::median;

/// What the integrator lags behind must be done before it is measured.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let setting = |interval: &str| {
        BTreeMap::from([("CHANCERY_LOG__INTERVAL".to_owned(), interval.to_owned())])
    };
    let mut crew = token::crew(installation, ES256, "ES256", 1, 1)?;
    let (mut raw, mut rate) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut cpu = [Vec::new(), Vec::new()];
    for _ in 0..arguments.repetitions() {
        raw.push(Stretch::cpu_us(&crew.run(arguments.window() / 2)?));
        for (at, interval) in ["500ms", "24h"].into_iter().enumerate() {
            installation.stop();
            installation.serve(&setting(interval))?;
            quiet(installation)?;
            let plan = Plan {
                address: installation.api,
                connections: 64,
                pace: None,
            };
            let signer = Signer::new(installation, ES256, 1);
            let (seen, _) = window(installation.service()?, plan, signer, arguments.window())?;
            cpu[at].push(seen.cpu_us);
            rate[at].push(seen.rate);
        }
    }
    let over = |above: &[f64], below: &[f64]| -> Vec<f64> {
        above
            .iter()
            .zip(below)
            .map(|(above, below)| above / below)
            .collect()
    };
    let [on, off] = &cpu;
    let row = |name: &str, at: usize| {
        vec![
            name.to_owned(),
            short(median(&cpu[at])),
            short(median(&over(&raw, &cpu[at]))),
            short(median(&rate[at])),
        ]
    };
    Ok(Section {
        title: "Signing with and without the log",
        text: vec![
            "ES256, 64 connections. With the log: the tree grows and a checkpoint is signed every half second. \
             Without: the same service with an interval of a day, so that leaves are written and nothing else. The \
             ratio is of CPU per signature, with over without."
                .to_owned(),
            table(
                &["", "µs of CPU per signature", "`U_cpu`", "signatures/s"],
                &[row("with the log", 0), row("without", 1)],
            ),
        ],
        figures: vec![
            Figure::new("sign-es256-log-ratio", "", Reach::None, &over(on, off)),
            Figure::new("sign-es256-ucpu-without-log", "", Reach::None, &over(&raw, off)),
        ],
        plots: vec![plot::dots(
            "sign-es256-log-ratio",
            "µs of CPU per ES256 signature",
            "µs",
            &[("bare token", &raw), ("with the log", on), ("without", off)],
        )],
    })
}

/// Waits until the service uses next to nothing: it has caught up.
pub fn quiet(installation: &Installation) -> Result<()> {
    let (service, started) = (installation.service()?, Instant::now());
    let mut before = process::cpu(service)?;
    loop {
        sleep(Duration::from_millis(600));
        let now = process::cpu(service)?;
        if now - before < 0.06 {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("the service does not come to rest");
        }
        before = now;
    }
}
