//! A caller that signs, and what a service gets done in one window of such load.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::http::request;
use crate::installation::Installation;
use crate::load::{Answer, Caller, Load, Plan};
use crate::process;

/// Items of a request where there are many.
pub const BATCH: usize = 100;
/// Before counting starts.
pub const WARM_UP: Duration = Duration::from_millis(500);

/// Signs without end; each payload is another.
pub struct Signer {
    template: Vec<u8>,
    /// Where the counters of the items stand.
    places: Vec<usize>,
    count: u64,
    items: u64,
}

/// 96 bytes as base64url, of which the first letters are the counter.
const PAYLOAD: &str = "PAYLOAD0AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-P0BBQkNERUZHSElKS0xN";

impl Signer {
    pub fn new(installation: &Installation, ring: &str, items: usize) -> Self {
        Self::asking(installation, ring, items, "")
    }

    /// With a query at the end of the path.
    pub fn asking(installation: &Installation, ring: &str, items: usize, query: &str) -> Self {
        let item = format!("{{\"format\":\"jws\",\"payload\":\"{PAYLOAD}\"}}");
        let (path, body) = if items == 1 {
            (format!("/v1/rings/{ring}/sign{query}"), item)
        } else {
            let list = vec![item; items].join(",");
            (
                format!("/v1/rings/{ring}/sign-batch{query}"),
                format!("{{\"items\":[{list}]}}"),
            )
        };
        let template = request("POST", &path, Some(&installation.access_token), &body);
        let mark = b"PAYLOAD0";
        let places = template
            .windows(mark.len())
            .enumerate()
            .filter(|(_, window)| *window == mark)
            .map(|(at, _)| at)
            .collect();
        Self {
            template,
            places,
            count: 0,
            items: items as u64,
        }
    }

    /// The next request's bytes.
    pub fn bytes(&mut self) -> &[u8] {
        for place in &self.places {
            self.count += 1;
            let digits = format!("{:08x}", self.count as u32);
            self.template[*place..*place + 8].copy_from_slice(digits.as_bytes());
        }
        &self.template
    }
}

impl Caller for Signer {
    fn next(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes());
    }

    fn answered(&mut self, answer: &Answer<'_>) -> u64 {
        if answer.status != 200 {
            return 0;
        }
        if self.items == 1 {
            return 1;
        }
        // In a batch each item has a result of its own; refused ones do not count.
        let text = std::str::from_utf8(answer.body).unwrap_or_default();
        text.matches("\"log_index\":").count() as u64
    }
}

/// What the service did in one window.
#[derive(Clone, Copy)]
pub struct Window {
    pub rate: f64,
    pub cpu_us: f64,
    pub bad: u64,
}

/// Load, a warm-up, and one window of it.
pub fn window<C: Caller>(
    service: u32,
    plan: Plan,
    caller: C,
    length: Duration,
) -> Result<(Window, C)> {
    window_of(|| process::cpu(service), plan, caller, length)
}

/// The same where CPU is used elsewhere too.
pub fn window_of<C: Caller>(
    used: impl Fn() -> Result<f64>,
    plan: Plan,
    caller: C,
    length: Duration,
) -> Result<(Window, C)> {
    let load = Load::start(plan, caller);
    sleep(WARM_UP.min(length));
    let (good, cpu, started) = (load.good(), used()?, Instant::now());
    sleep(length);
    let (good, cpu) = (load.good() - good, used()? - cpu);
    let seconds = started.elapsed().as_secs_f64();
    let bad = load.bad();
    let caller = load.stop()?;
    let window = Window {
        rate: good as f64 / seconds,
        cpu_us: cpu * 1e6 / good as f64,
        bad,
    };
    Ok((window, caller))
}
