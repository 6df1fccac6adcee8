//! What the service adds to the token's own time, with one request at a time.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail};

use super::signer::Signer;
use crate::arguments::Arguments;
use crate::http::Client;
use crate::installation::{ES256, Installation};
use crate::plot::{self, short};
use crate::raw::token;
use crate::report::{Figure, Reach, Section, table};
use crate::stats::{median, percentile};

/// Requests in one repetition; their 99th percentile has a few beyond it.
const REQUESTS: usize = 1_000;

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    installation.serve(&BTreeMap::new())?;
    let mut crew = token::crew(installation, ES256, "ES256", 1, 1)?;
    let mut client = Client::connect(installation.api)?;
    let mut signer = Signer::new(installation, ES256, 1);
    let mut raw = [Vec::new(), Vec::new()];
    let mut service = [Vec::new(), Vec::new()];
    for _ in 0..arguments.repetitions() {
        let stretch = crew.run(arguments.window() / 3)?;
        raw[0].push(stretch.p50_us / 1e3);
        raw[1].push(stretch.p99_us / 1e3);
        let mut times = Vec::with_capacity(REQUESTS);
        for number in 0..REQUESTS + REQUESTS / 10 {
            let bytes = signer.bytes();
            let started = Instant::now();
            let (status, _) = client.send(bytes)?;
            // The first tenth warms up.
            if number >= REQUESTS / 10 {
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
            if status != 200 {
                bail!("a signature failed with {status}");
            }
        }
        service[0].push(percentile(&mut times, 50.0));
        service[1].push(percentile(&mut times, 99.0));
    }
    let added = |at: usize| -> Vec<f64> {
        service[at]
            .iter()
            .zip(&raw[at])
            .map(|(service, raw)| service - raw)
            .collect()
    };
    let row = |name: &str, at: usize| {
        vec![
            name.to_owned(),
            short(median(&raw[at])),
            short(median(&service[at])),
            short(median(&added(at))),
        ]
    };
    Ok(Section {
        title: "Latency with one request at a time",
        text: vec![
            format!(
                "ES256, one connection, {REQUESTS} requests a repetition; seen by the client, the record committed to \
                 the disk (SQLite, synchronous=FULL) included. Added is the service's percentile less the bare \
                 token's same percentile."
            ),
            table(
                &["ms", "bare token", "service", "added"],
                &[row("p50", 0), row("p99", 1)],
            ),
        ],
        figures: vec![
            Figure::new("sign-latency-p50-ms", "ms", Reach::AtMost(1.5), &added(0)),
            Figure::new("sign-latency-p99-ms", "ms", Reach::AtMost(5.0), &added(1)),
        ],
        plots: vec![plot::dots(
            "sign-latency",
            "Latency with one request at a time",
            "ms",
            &[
                ("bare p50", &raw[0]),
                ("service p50", &service[0]),
                ("bare p99", &raw[1]),
                ("service p99", &service[1]),
            ],
        )],
    })
}
