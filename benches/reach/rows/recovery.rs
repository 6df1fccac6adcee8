//! The token goes away under load and comes back: how soon is there a good signature, and who went without?

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::signer::Signer;
use crate::arguments::Arguments;
use crate::installation::{ES256, Installation};
use crate::load::{Answer, Caller, Load, Plan};
use crate::outside::Remote;
use crate::plot;
use crate::report::{Figure, Reach, Section};

const CONNECTIONS: usize = 8;
const PACE: Duration = Duration::from_millis(20);
/// Well within the time limit of every request that it meets.
const OUTAGE: Duration = Duration::from_millis(500);
/// Load before the token goes, and after it is back.
const AROUND: Duration = Duration::from_millis(1_000);

struct Timed {
    signer: Signer,
    good: Vec<(Instant, Instant)>,
    failed: Vec<u16>,
}

impl Caller for Timed {
    fn next(&mut self, out: &mut Vec<u8>) {
        self.signer.next(out);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> u64 {
        let good = self.signer.answered(answer);
        if good == 0 {
            self.failed.push(answer.status);
        } else {
            self.good.push((answer.sent, answer.done));
        }
        good
    }
}

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let mut remote = Remote::new(installation);
    remote.up()?;
    installation.serve(&remote.environment(installation)?)?;
    let seen = outages(installation, &mut remote, arguments);
    // Back to the token itself, whatever came of it.
    installation.serve(&BTreeMap::new())?;
    seen
}

fn outages(
    installation: &Installation,
    remote: &mut Remote,
    arguments: &Arguments,
) -> Result<Section> {
    let plan = Plan {
        address: installation.api,
        connections: CONNECTIONS,
        pace: Some(PACE),
    };
    let (mut recovery, mut lost, mut waited) = (Vec::new(), Vec::new(), Vec::new());
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut requests = 0;
    for _ in 0..arguments.repetitions() * 2 {
        let caller = Timed {
            signer: Signer::new(installation, ES256, 1),
            good: Vec::new(),
            failed: Vec::new(),
        };
        let load = Load::start(plan, caller);
        sleep(AROUND);
        remote.down();
        sleep(OUTAGE);
        let back = remote.up()?;
        sleep(AROUND);
        let caller = load.stop()?;
        let first = caller
            .good
            .iter()
            .map(|(_, done)| *done)
            .filter(|done| *done > back)
            .min();
        let first = first.context("no signature after the token was back")?;
        recovery.push((first - back).as_secs_f64() * 1e3);
        let longest = caller.good.iter().map(|(sent, done)| *done - *sent).max();
        waited.push(longest.unwrap_or_default().as_secs_f64() * 1e3);
        requests += caller.good.len() + caller.failed.len();
        lost.push(caller.failed.len() as f64);
        caller
            .failed
            .iter()
            .for_each(|status| *statuses.entry(*status).or_default() += 1);
    }
    let mut text = vec![format!(
        "The token is reached through `p11-kit server`, which is killed with all its connections and started again \
         after {} ms, while {CONNECTIONS} connections sign {:.0} times a second ({requests} requests in all). The time \
         runs from the moment the server takes connections until the first good answer. Every request's time limit \
         (10 s) is longer than the outage, so every request without a signature is lost.",
        OUTAGE.as_millis(),
        CONNECTIONS as f64 / PACE.as_secs_f64(),
    )];
    for (status, count) in &statuses {
        text.push(format!("{count} requests ended with {status}."));
    }
    Ok(Section {
        title: "The token back after an outage",
        text,
        figures: vec![
            Figure::new("hsm-recovery-ms", "ms", Reach::AtMost(50.0), &recovery),
            Figure::total("hsm-lost", "", Reach::AtMost(0.0), &lost),
            Figure::new("hsm-longest-wait-ms", "ms", Reach::None, &waited),
        ],
        plots: vec![plot::dots(
            "hsm-recovery",
            "From the token being back to the first good signature",
            "ms",
            &[("recovery", &recovery)],
        )],
    })
}
