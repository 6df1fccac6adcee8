//! What the service is compared with: the token and the verification library alone, each in processes of their own.

pub mod token;
pub mod verify;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::process::own_cpu;
use testkit::process::Running;

/// What one child did in one stretch.
#[derive(Serialize, Deserialize, Clone, Copy, Default)]
pub struct Stretch {
    pub count: u64,
    pub seconds: f64,
    pub cpu: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Stretch {
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    pub fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.count as f64
    }
}

/// The child's side: says that it is ready, then works for as long as each line asks, in milliseconds.
fn obey(mut work: impl FnMut(Duration) -> Result<Stretch>) -> Result<()> {
    println!("ready");
    for line in std::io::stdin().lines() {
        let stretch = work(Duration::from_millis(line?.trim().parse()?))?;
        println!("{}", serde_json::to_string(&stretch)?);
    }
    Ok(())
}

/// Time and CPU around `work`, which returns how often it did its work and the times that took, in microseconds.
fn measured(work: impl FnOnce() -> Result<(u64, Vec<f64>)>) -> Result<Stretch> {
    let (started, before) = (Instant::now(), own_cpu()?);
    let (count, mut times) = work()?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), own_cpu()? - before);
    if times.is_empty() {
        // A number that is none does not travel as JSON.
        times.push(0.0);
    }
    Ok(Stretch {
        count,
        seconds,
        cpu,
        p50_us: super::stats::percentile(&mut times, 50.0),
        p99_us: super::stats::percentile(&mut times, 99.0),
    })
}

/// Children that do the same at the same time.
pub struct Crew {
    members: Vec<Member>,
}

struct Member {
    _child: Running,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Member {
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.reports.read_line(&mut line)? == 0 {
            bail!("a bare child ended: see above");
        }
        Ok(line)
    }
}

impl Crew {
    /// One after the other: SoftHSM refuses some of the log-ins that come at once.
    fn start(count: usize, arguments: &[String], environment: &[(String, String)]) -> Result<Self> {
        let this = std::env::current_exe()?;
        let mut members = Vec::new();
        for _ in 0..count {
            let mut child = Command::new(&this)
                .args(arguments)
                .envs(environment.iter().cloned())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let (orders, reports) = (child.stdin.take(), child.stdout.take());
            let mut member = Member {
                _child: Running::new(child),
                orders: orders.context("piped")?,
                reports: BufReader::new(reports.context("piped")?),
            };
            if member.line()?.trim() != "ready" {
                bail!("a bare child said something else than that it is ready");
            }
            members.push(member);
        }
        Ok(Self { members })
    }

    pub fn run(&mut self, duration: Duration) -> Result<Stretch> {
        for member in &mut self.members {
            writeln!(member.orders, "{}", duration.as_millis())?;
        }
        let mut sum = Stretch::default();
        for member in &mut self.members {
            let line = member.line()?;
            let one: Stretch = serde_json::from_str(&line)?;
            sum.count += one.count;
            sum.cpu += one.cpu;
            sum.seconds = sum.seconds.max(one.seconds);
            sum.p50_us = sum.p50_us.max(one.p50_us);
            sum.p99_us = sum.p99_us.max(one.p99_us);
        }
        Ok(sum)
    }
}
