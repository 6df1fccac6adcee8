//! Where the time goes: CPU by kind of thread from /proc, and by function from `perf` where it is installed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::plot::{self, short};
use super::process;
use super::report::{Section, table};
use testkit::process::done;

/// Functions that take less of the whole are left out, in percent.
const LEAST: f64 = 0.4;
/// Rows of a table at most.
const MOST: usize = 50;

/// Looks at a process tree under load; `done` counts what it gets done.
pub fn of(root: u32, done: impl Fn() -> u64, length: Duration) -> Result<Section> {
    let (before, count) = (process::threads(root)?, done());
    sleep(length);
    let (after, count) = (process::threads(root)?, done() - count);
    let mut kinds: Vec<(String, f64)> = after
        .into_iter()
        .map(|(name, cpu)| {
            let spent = cpu - before.get(&name).copied().unwrap_or(0.0);
            (name, spent * 1e6 / count as f64)
        })
        .filter(|(_, cpu)| *cpu > 0.05)
        .collect();
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    let by_kind: Vec<_> = kinds
        .iter()
        .map(|(name, cpu)| vec![name.clone(), short(*cpu)])
        .collect();
    let mut text = vec![
        "ES256, 64 connections, one signature a request: µs of CPU per signature, by kind of thread.".to_owned(),
        table(&["thread", "µs of CPU per signature"], &by_kind),
    ];
    match functions(root, length) {
        Ok(found) => text.extend(found),
        Err(error) => text.push(format!("No profile by function: {error:#}.")),
    }
    Ok(Section {
        title: "Where the time goes",
        text,
        figures: Vec::new(),
        plots: vec![plot::bars(
            "profile-threads",
            "µs of CPU per ES256 signature, by thread",
            "µs",
            &kinds,
        )],
    })
}

/// Samples the tree and sums by process, library and function.
fn functions(root: u32, length: Duration) -> Result<Vec<String>> {
    let file = std::env::temp_dir().join(format!("chancery-bench-{}.perf", std::process::id()));
    let seen = sampled(root, length, &file);
    // Left-over samples are of no use to anybody.
    let _ = std::fs::remove_file(&file);
    seen
}

fn sampled(root: u32, length: Duration, file: &Path) -> Result<Vec<String>> {
    let pids: Vec<String> = process::tree(root)?.iter().map(u32::to_string).collect();
    let seconds = length.as_secs().max(1).to_string();
    done(
        Command::new("perf")
            .args(["record", "-q", "-F", "997", "-p", &pids.join(","), "-o"])
            .arg(file)
            .args(["--", "sleep", &seconds]),
    )?;
    let whole = done(
        Command::new("perf")
            .args([
                "report",
                "-q",
                "--stdio",
                "--no-children",
                "-g",
                "none",
                "-t",
                "\u{1}",
                "-s",
                "comm,dso,symbol",
                "-i",
            ])
            .arg(file),
    )?;
    let samples: Vec<Sample> = whole.text()?.lines().filter_map(sample).collect();
    if samples.is_empty() {
        return Err(anyhow!("perf saw nothing"));
    }
    let by_library = sums(&samples, |sample| {
        (sample.thread.clone(), sample.library.clone())
    });
    let by_function = sums(&samples, |sample| {
        (sample.thread.clone(), format!("`{}`", sample.function))
    });
    Ok(vec![
        "Samples by thread and library, in percent of all (`worker process` is where the token signs and the \
         signature is verified):"
            .to_owned(),
        table(&["thread", "library", "%"], &by_library),
        "By function:".to_owned(),
        table(&["thread", "function", "%"], &by_function),
    ])
}

struct Sample {
    percent: f64,
    thread: String,
    library: String,
    function: String,
}

/// The largest sums, as rows of a table.
fn sums(samples: &[Sample], by: impl Fn(&Sample) -> (String, String)) -> Vec<Vec<String>> {
    let mut sums: BTreeMap<(String, String), f64> = BTreeMap::new();
    for sample in samples {
        *sums.entry(by(sample)).or_default() += sample.percent;
    }
    let mut sums: Vec<_> = sums
        .into_iter()
        .filter(|(_, percent)| *percent >= LEAST)
        .collect();
    sums.sort_by(|a, b| b.1.total_cmp(&a.1));
    let row = |((thread, what), percent): ((String, String), f64)| {
        vec![thread, what, format!("{percent:.1}")]
    };
    sums.into_iter().take(MOST).map(row).collect()
}

/// `12.34% <sep> thread <sep> library <sep> [k] function`.
fn sample(line: &str) -> Option<Sample> {
    let mut parts = line.split('\u{1}').map(str::trim);
    let percent = parts.next()?.trim_end_matches('%').parse().ok()?;
    let thread = match parts.next()?.trim_end_matches(|c: char| c.is_ascii_digit()) {
        // The session threads of the worker processes have no name of their own.
        "chancery" => "worker process",
        other => other,
    };
    let library = parts.next()?.to_owned();
    let function = parts.next()?;
    let function = function.split_once("] ").map_or(function, |(_, name)| name);
    Some(Sample {
        percent,
        thread: thread.to_owned(),
        library,
        function: function.to_owned(),
    })
}
