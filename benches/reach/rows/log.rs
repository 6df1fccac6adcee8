//! What the transparency log costs a signature, and how soon its receipt is there.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::signer::{Signer, WARM_UP};
use crate::arguments::Arguments;
use crate::backlog::{Aside, Backlog};
use crate::installation::{ES256, Installation};
use crate::load::{Answer, Caller, Load, Plan};
use crate::plot::{self, short};
use crate::process;
use crate::raw::{Stretch, token};
use crate::report::{Figure, Reach, Section, table};
use crate::stats::{median, percentile};

const CONNECTIONS: usize = 64;
/// Between two looks at how far the tree is.
const LOOK: Duration = Duration::from_millis(50);
/// A tree that does not grow for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What integrating a backlog took.
pub struct Integrated {
    pub leaves: f64,
    pub seconds: f64,
    pub cpu: f64,
    pub rss_mb: f64,
}

/// Starts the service on a log that has leaves outside its tree and waits until they are all in it.
pub fn integrate(installation: &mut Installation, aside: &dyn Backlog) -> Result<Integrated> {
    let size = aside.size()?;
    installation.stop();
    installation.serve(aside.environment())?;
    let service = installation.service()?;
    let first = aside.integrated()?;
    let (mut last, mut moved) = (first, Instant::now());
    let (mut from, mut cpu, mut started) = (first, process::cpu(service)?, Instant::now());
    let mut rss_mb = 0.0_f64;
    loop {
        // From the first swap that is seen on, so that the start and a lease that has to run out do not count.
        if from == first {
            from = aside.integrated()?;
            (cpu, started) = (process::cpu(service)?, Instant::now());
        }
        rss_mb = rss_mb.max(process::memory(service)?.0);
        let done = aside.integrated()?;
        if done >= size {
            break;
        }
        if done > last {
            (last, moved) = (done, Instant::now());
        }
        if moved.elapsed() > PATIENCE {
            bail!("{done} of {size} leaves are in the tree");
        }
        sleep(LOOK);
    }
    Ok(Integrated {
        leaves: (size - from) as f64,
        seconds: started.elapsed().as_secs_f64(),
        cpu: process::cpu(service)? - cpu,
        rss_mb,
    })
}

/// CPU per second of a service that nobody asks for anything.
fn idle(installation: &Installation, length: Duration) -> Result<f64> {
    let service = installation.service()?;
    let (before, started) = (process::cpu(service)?, Instant::now());
    sleep(length);
    Ok((process::cpu(service)? - before) / started.elapsed().as_secs_f64())
}

pub fn share(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let backlog = if arguments.quick { 50_000 } else { 200_000 };
    let aside = Aside::new(installation, "backlog")?;
    let mut crew = token::crew(installation, ES256, "ES256", 1, 1)?;
    let (mut raw, mut cpu, mut rate, mut still) = (vec![], vec![], vec![], vec![]);
    for _ in 0..arguments.repetitions() {
        let stretch = crew.run(arguments.window() / 2)?;
        installation.stop();
        aside.append(backlog)?;
        let seen = integrate(installation, &aside)?;
        sleep(WARM_UP);
        let idle = idle(installation, arguments.window())?;
        raw.push(Stretch::cpu_us(&stretch));
        cpu.push((seen.cpu - idle * seen.seconds) * 1e6 / seen.leaves);
        rate.push(seen.leaves / seen.seconds);
        still.push(idle * 1e3);
    }
    let share: Vec<f64> = cpu.iter().zip(&raw).map(|(log, raw)| log / raw).collect();
    Ok(Section {
        title: "The log's share",
        text: vec![
            format!(
                "A service starts on {backlog} leaves that are not in the tree and signs nothing; its CPU until they \
                 are, less what it uses when idle, by leaf: reading the leaves, hashing, tiles written and synced, \
                 the swaps, a signed checkpoint every 8 192 leaves, the index of signatures. Against a bare P-256 \
                 signature on the token."
            ),
            table(
                &["", "median"],
                &[
                    vec![
                        "µs of CPU of the log per leaf".to_owned(),
                        short(median(&cpu)),
                    ],
                    vec![
                        "µs of CPU of a bare P-256 signature".to_owned(),
                        short(median(&raw)),
                    ],
                    vec!["leaves/s".to_owned(), short(median(&rate))],
                    vec![
                        "ms of CPU per second when idle".to_owned(),
                        short(median(&still)),
                    ],
                ],
            ),
        ],
        figures: vec![
            Figure::new("log-cpu-share", "", Reach::AtMost(0.05), &share),
            Figure::new(
                "log-integrate-per-s",
                "1/s",
                Reach::AtLeast(20_000.0),
                &rate,
            ),
        ],
        plots: vec![plot::dots(
            "log-cpu-share",
            "µs of CPU",
            "µs",
            &[("bare signature", &raw), ("the log, per leaf", &cpu)],
        )],
    })
}

/// Signs, waits for the receipt with the answer, and keeps the times.
struct Waiting {
    signer: Signer,
    seconds: Vec<f64>,
}

impl Caller for Waiting {
    fn next(&mut self, out: &mut Vec<u8>) {
        self.signer.next(out);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> u64 {
        let receipt = b"\"receipt\":\"c2sp.org/tlog-proof@v1";
        let there = answer
            .body
            .windows(receipt.len())
            .any(|part| part == receipt);
        if answer.status != 200 || !there {
            return 0;
        }
        self.seconds.push((answer.done - answer.sent).as_secs_f64());
        1
    }
}

pub fn receipts(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    installation.serve(&BTreeMap::new())?;
    let plan = Plan {
        address: installation.api,
        connections: CONNECTIONS,
        pace: None,
    };
    let (mut p50, mut p99, mut bad, mut count) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..arguments.repetitions() {
        let caller = Waiting {
            signer: Signer::asking(installation, ES256, 1, "?receipt=wait"),
            seconds: Vec::new(),
        };
        let load = Load::start(plan, caller);
        sleep(arguments.window() * 3);
        bad += load.bad();
        let mut seen = load.stop()?.seconds;
        count += seen.len();
        p50.push(percentile(&mut seen, 50.0));
        p99.push(percentile(&mut seen, 99.0));
    }
    Ok(Section {
        title: "Receipts with the answer",
        text: vec![format!(
            "`sign?receipt=wait`, {CONNECTIONS} connections, each with one request under way; the log is integrated \
             and a checkpoint signed every half second. {count} answers with a receipt, {bad} without one."
        )],
        figures: vec![
            Figure::new("log-receipt-p99-s", "s", Reach::AtMost(1.5), &p99),
            Figure::new("log-receipt-p50-s", "s", Reach::None, &p50),
        ],
        plots: Vec::new(),
    })
}
