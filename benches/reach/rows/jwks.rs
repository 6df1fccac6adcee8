//! The published keys against nginx serving the same bytes as a file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::signer::{Window, window};
use crate::arguments::Arguments;
use crate::http::request;
use crate::installation::Installation;
use crate::load::{Answer, Caller, Plan};
use crate::nginx::Nginx;
use crate::plot::{self, short};
use crate::process;
use crate::report::{Figure, Reach, Section, table};
use crate::stats::median;
use testkit::process::done;

const PATH: &str = "/.well-known/jwks.json";
const CONNECTIONS: usize = 64;
/// Keys are published until the document is this long.
const SIZE: usize = 3_000;

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    installation.serve(&BTreeMap::new())?;
    let mut document = installation.get(PATH)?;
    for number in 1..20 {
        if document.len() >= SIZE {
            break;
        }
        let ring = format!("filler-{number}");
        installation.ring(&ring, "RS256 RSA-2048")?;
        installation.ceremony(&ring)?;
        // The service follows its database; a new key is seen a moment later.
        std::thread::sleep(Duration::from_secs(1));
        document = installation.get(PATH)?;
    }
    let nginx = Nginx::start(&installation.file("nginx"), &document)?;
    let service = installation.service()?;
    let by_wrk = Command::new("wrk").arg("-v").output().is_ok();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..arguments.repetitions() {
        for (seen, pid, address, path) in [
            (&mut ours, service, installation.api, PATH),
            (&mut theirs, nginx.id(), nginx.address, "/jwks.json"),
        ] {
            seen.push(if by_wrk {
                wrk(pid, address, path, arguments.window())?
            } else {
                own(pid, address, path, arguments.window())?
            });
        }
    }
    let pick =
        |seen: &[Window], what: fn(&Window) -> f64| seen.iter().map(what).collect::<Vec<f64>>();
    let (our_rate, their_rate) = (pick(&ours, |w| w.rate), pick(&theirs, |w| w.rate));
    let (our_cpu, their_cpu) = (pick(&ours, |w| w.cpu_us), pick(&theirs, |w| w.cpu_us));
    let ratio = |above: &[f64], below: &[f64]| -> Vec<f64> {
        above
            .iter()
            .zip(below)
            .map(|(above, below)| above / below)
            .collect()
    };
    let bad: u64 = ours.iter().chain(&theirs).map(|seen| seen.bad).sum();
    Ok(Section {
        title: "JWKS against nginx",
        text: vec![
            format!(
                "A document of {} bytes, {CONNECTIONS} connections, load by {}; nginx with open_file_cache, sendfile \
                 and a worker for each core serves the same bytes. {bad} requests failed.",
                document.len(),
                if by_wrk {
                    "`wrk -t1`"
                } else {
                    "the own generator"
                },
            ),
            table(
                &["", "service", "nginx", "ratio"],
                &[
                    vec![
                        "requests/s".to_owned(),
                        short(median(&our_rate)),
                        short(median(&their_rate)),
                        short(median(&ratio(&our_rate, &their_rate))),
                    ],
                    vec![
                        "µs of CPU per request".to_owned(),
                        short(median(&our_cpu)),
                        short(median(&their_cpu)),
                        short(median(&ratio(&our_cpu, &their_cpu))),
                    ],
                ],
            ),
        ],
        figures: vec![
            Figure::new(
                "jwks-vs-nginx",
                "",
                Reach::AtLeast(1.2),
                &ratio(&our_rate, &their_rate),
            ),
            Figure::new(
                "jwks-cpu-vs-nginx",
                "",
                Reach::None,
                &ratio(&our_cpu, &their_cpu),
            ),
        ],
        plots: vec![plot::dots(
            "jwks-vs-nginx",
            "JWKS: requests per second",
            "/s",
            &[("service", &our_rate), ("nginx", &their_rate)],
        )],
    })
}

/// CPU is taken around the whole run of wrk, and divided by all its requests.
fn wrk(pid: u32, address: SocketAddr, path: &str, length: Duration) -> Result<Window> {
    let before = process::cpu(pid)?;
    let said = done(
        Command::new("wrk")
            .args([
                "-t1",
                &format!("-c{CONNECTIONS}"),
                &format!("-d{}s", length.as_secs().max(1)),
            ])
            .arg(format!("http://{address}{path}")),
    )?;
    let text = said.text()?;
    let cpu = process::cpu(pid)? - before;
    let number = |label: &str, at: usize| {
        text.lines()
            .find(|line| line.contains(label))
            .and_then(|line| line.split_whitespace().nth(at))
            .and_then(|word| word.parse::<f64>().ok())
    };
    let rate = number("Requests/sec:", 1).with_context(|| format!("wrk said {text}"))?;
    let requests = number("requests in", 0).with_context(|| format!("wrk said {text}"))?;
    let bad = u64::from(text.contains("Non-2xx") || text.contains("Socket errors"));
    Ok(Window {
        rate,
        cpu_us: cpu * 1e6 / requests,
        bad,
    })
}

struct Fetch(Vec<u8>);

impl Caller for Fetch {
    fn next(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> u64 {
        u64::from(answer.status == 200)
    }
}

fn own(pid: u32, address: SocketAddr, path: &str, length: Duration) -> Result<Window> {
    let plan = Plan {
        address,
        connections: CONNECTIONS,
        pace: None,
    };
    let fetch = Fetch(request("GET", path, None, ""));
    window(pid, plan, fetch, length).map(|(window, _)| window)
}
