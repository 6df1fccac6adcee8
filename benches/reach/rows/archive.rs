//! Archived keys by the thousand and by the million: start, memory, look-up and key set.

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::arguments::Arguments;
use crate::backlog::Aside;
use crate::backlog::archive::{Archived, kid};
use crate::http::{Client, request};
use crate::installation::Installation;
use crate::plot::short;
use crate::process;
use crate::report::{Figure, Reach, Section, table};
use crate::stats::{median, percentile};

/// A start looks at the newest thousand of them, and refuses these.
const FEW: i64 = 2_000;
const SOME: i64 = 10_000;
const MANY: i64 = 1_000_000;

/// Look-ups of one kind in one repetition.
const ASKED: i64 = 200;

/// One size, repetition by repetition.
#[derive(Default)]
struct Seen {
    start: Vec<f64>,
    memory: Vec<f64>,
    /// Milliseconds: an archived key that is read and tallied, a kid of no key, the key set.
    archived: Vec<f64>,
    unknown: Vec<f64>,
    set: Vec<f64>,
}

impl Seen {
    fn row(&self, keys: i64) -> Vec<String> {
        let of = |values: &[f64]| short(median(values));
        vec![
            keys.to_string(),
            of(&self.start),
            of(&self.memory),
            of(&self.archived),
            of(&self.unknown),
            of(&self.set),
        ]
    }
}

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let many = if arguments.quick { MANY / 20 } else { MANY };
    let sizes = [FEW, SOME, many];
    let mut asides = Vec::new();
    let mut filled = 0.0;
    for (size, name) in sizes
        .into_iter()
        .zip(["few-keys", "some-keys", "many-keys"])
    {
        let aside = Aside::new(installation, name)?;
        let started = Instant::now();
        let archived = aside.archive(size)?;
        filled = started.elapsed().as_secs_f64();
        asides.push((aside, archived));
    }
    let mut seen: Vec<Seen> = sizes.iter().map(|_| Seen::default()).collect();
    for _ in 0..arguments.repetitions() {
        for ((aside, archived), seen) in asides.iter().zip(&mut seen) {
            installation.stop();
            let start = installation.serve(&aside.environment)?;
            seen.start.push(start.as_secs_f64());
            ask(installation, archived, seen)?;
            seen.memory
                .push(process::memory(installation.service()?)?.0);
        }
    }
    installation.stop();
    let rows: Vec<Vec<String>> = seen
        .iter()
        .zip(sizes)
        .map(|(seen, size)| seen.row(size))
        .collect();
    let [few, some, most] = &seen[..] else {
        anyhow::bail!("three sizes");
    };
    let ratio = |of: fn(&Seen) -> &Vec<f64>| -> Vec<f64> {
        of(most)
            .iter()
            .zip(of(few))
            .map(|(many, few)| many / few)
            .collect()
    };
    Ok(Section {
        title: "Archived keys",
        text: vec![
            format!(
                "Rows of archived keys, their objects and ceremonies, written by SQL ({many} in {} s). The newest \
                 2 000 have the transcript of another key, so that a start and a look-up read and tally them in full \
                 before they refuse them; of a genuine archive a start tallies a quarter of that. {ASKED} look-ups of \
                 each kind one by one over the API, in turn; milliseconds are medians.",
                short(filled)
            ),
            table(
                &[
                    "keys",
                    "start s",
                    "MiB",
                    "archived ms",
                    "unknown ms",
                    "key set ms",
                ],
                &rows,
            ),
        ],
        figures: vec![
            Figure::new(
                "archive-1m-lookup",
                "",
                Reach::AtMost(1.2),
                &ratio(|seen| &seen.archived),
            ),
            Figure::new(
                "archive-1m-unknown",
                "",
                Reach::AtMost(1.2),
                &ratio(|seen| &seen.unknown),
            ),
            Figure::new(
                "archive-1m-jwks",
                "",
                Reach::AtMost(1.2),
                &ratio(|seen| &seen.set),
            ),
            Figure::new(
                "archive-1m-rss-mb",
                "MiB",
                Reach::AtMost(300.0),
                &most.memory,
            ),
            Figure::new("archive-1m-start-s", "s", Reach::AtMost(2.0), &most.start),
            Figure::new(
                "archive-10k-rss-mb",
                "MiB",
                Reach::AtMost(80.0),
                &some.memory,
            ),
            Figure::new("archive-10k-start-s", "s", Reach::AtMost(0.5), &some.start),
        ],
        plots: Vec::new(),
    })
}

fn ask(installation: &Installation, archived: &Archived, seen: &mut Seen) -> Result<()> {
    let mut client = Client::connect(installation.api)?;
    client.send(&request("GET", "/.well-known/jwks.json", None, ""))?;
    let mut times = |path: &dyn Fn(i64) -> String, expected: u16| -> Result<f64> {
        let mut times = Vec::new();
        for number in 0..ASKED {
            let request = request("GET", &path(number), None, "");
            let started = Instant::now();
            let (status, _) = client.send(&request)?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            anyhow::ensure!(status == expected, "{}: {status}", path(number));
        }
        Ok(percentile(&mut times, 50.0))
    };
    let of_key = |number: i64| format!("/v1/keys/{}", kid(archived.cold + number));
    seen.archived.push(times(&of_key, 404).context("archived")?);
    let of_none = |number: i64| format!("/v1/keys/{}", kid(archived.beyond + number));
    seen.unknown.push(times(&of_none, 404)?);
    let of_set = |_| "/.well-known/jwks.json".to_owned();
    seen.set.push(times(&of_set, 200)?);
    Ok(())
}
