//! What is asked of a log of each size.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::aged::Aged;
use crate::backlog::Backlog;
use crate::http::{Client, request};
use crate::installation::Installation;
use crate::stats::median;

/// Questions of one kind in one repetition.
const ASKED: i64 = 200;
/// Where answers take so long that all of them would take longer than this, so many do.
const LONG: Duration = Duration::from_secs(3);
const LEAST: usize = 9;
/// Leaves of a page, and ceremonies of a list.
const PAGE: i64 = 100;

/// In the order of [`ask`]; all but the last are requests to the API.
pub const QUESTIONS: [&str; 6] = [
    "verdict on a signature of an archived key (with the look-up of its hash)",
    "page of 100 leaves of a key",
    "leaf by its index",
    "receipt, with its proof",
    "checkpoint",
    "list of the 100 latest ceremonies (statement alone)",
];
pub const VERDICT: usize = 0;

/// Milliseconds of one question of each kind, medians.
pub fn ask(
    installation: &Installation,
    backlog: &dyn Backlog,
    leaves: i64,
    aged: &Aged,
) -> Result<[f64; QUESTIONS.len()]> {
    let kid =
        backlog.text("SELECT kid FROM signing_key WHERE ring = 'records' AND role = 'primary'")?;
    // Not so near the end that a page would be short.
    let places: Vec<i64> = (0..ASKED)
        .map(|n| (n * 7_919 + 13) * 50_021 % (leaves * 9 / 10).max(1))
        .collect();
    let token = Some(aged.access_token.as_str());
    let at = |path: &dyn Fn(i64) -> String| -> Vec<Vec<u8>> {
        let paths = places.iter().map(|place| path(*place));
        paths.map(|path| request("GET", &path, token, "")).collect()
    };
    let page = |place: i64| {
        let key = format!("/v1/keys/{kid}/blast-radius");
        format!("{key}?since=2020-01-01T00:00:00.000Z&from={place}&limit={PAGE}")
    };
    let leaf = |place: i64| format!("/v1/audit?from={place}&limit=1");
    let receipt = |place: i64| format!("/v1/receipts/{place}");
    let checkpoint = |_| "/log/checkpoint".to_owned();
    aged.confirm(installation)?;
    let verdicts: Vec<Vec<u8>> = aged.requests().collect();
    Ok([
        times(installation, &verdicts).context("verdicts")?,
        times(installation, &at(&page)).context("pages")?,
        times(installation, &at(&leaf)).context("leaves")?,
        times(installation, &at(&receipt)).context("receipts")?,
        times(installation, &at(&checkpoint)).context("checkpoints")?,
        ceremonies(backlog).context("ceremonies")?,
    ])
}

fn times(installation: &Installation, requests: &[Vec<u8>]) -> Result<f64> {
    let mut client = Client::connect(installation.api)?;
    // The connection's own start is nobody's answer.
    client.send(&request("GET", "/log/checkpoint", None, ""))?;
    let mut times = Vec::with_capacity(requests.len());
    let begun = Instant::now();
    for request in requests {
        if times.len() >= LEAST && begun.elapsed() > LONG {
            break;
        }
        let started = Instant::now();
        let (status, body) = client.send(request)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        ensure!(
            status == 200,
            "{status} {}",
            String::from_utf8_lossy(&body[..body.len().min(400)])
        );
    }
    Ok(median(&times))
}

/// No request of the API lists them, so the store is asked as `ceremony list` asks it.
fn ceremonies(backlog: &dyn Backlog) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store = store::Store::connect(&backlog.store()).await?;
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let started = Instant::now();
            store.latest_ceremonies((i64::MAX, ""), PAGE).await?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        store.close().await;
        Ok(median(&times))
    })
}
