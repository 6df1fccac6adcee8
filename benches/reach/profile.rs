//! Where the time goes: CPU by kind of thread from /proc, and by function from `perf` where it is installed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::installation::said;
use super::plot::{self, short};
use super::process;
use super::report::{Section, table};

/// Functions that take less of the whole are left out, in percent.
const LEAST: f64 = 0.6;

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
    let by_kind: Vec<_> = kinds.iter().map(|(name, cpu)| vec![name.clone(), short(*cpu)]).collect();
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
        plots: vec![plot::bars("profile-threads", "µs of CPU per ES256 signature, by thread", "µs", &kinds)],
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
    said(
        Command::new("perf")
            .args(["record", "-q", "-F", "997", "-p", &pids.join(","), "-o"])
            .arg(file)
            .args(["--", "sleep", &seconds]),
    )?;
    let whole = report(file, "pid,dso,symbol")?;
    let mut libraries: BTreeMap<(bool, String), f64> = BTreeMap::new();
    let mut functions = Vec::new();
    for line in whole.lines() {
        let Some((percent, pid, library, function)) = entry(line) else {
            continue;
        };
        let main = pid == root;
        *libraries.entry((main, library.clone())).or_default() += percent;
        let part = if main { "service" } else { "worker" };
        match functions.iter_mut().find(|(p, f, _): &&mut (&str, String, f64)| *p == part && *f == function) {
            Some((_, _, sum)) => *sum += percent,
            None => functions.push((part, function, percent)),
        }
    }
    if functions.is_empty() {
        return Err(anyhow!("perf saw nothing"));
    }
    functions.sort_by(|a, b| b.2.total_cmp(&a.2));
    let mut libraries: Vec<_> = libraries.into_iter().collect();
    libraries.sort_by(|a, b| b.1.total_cmp(&a.1));
    let by_library: Vec<_> = libraries
        .iter()
        .filter(|(_, percent)| *percent >= LEAST)
        .map(|((main, library), percent)| {
            vec![if *main { "service" } else { "worker" }.to_owned(), library.clone(), format!("{percent:.1}")]
        })
        .collect();
    let by_function: Vec<_> = functions
        .iter()
        .filter(|(.., percent)| *percent >= LEAST)
        .map(|(part, function, percent)| vec![(*part).to_owned(), format!("`{function}`"), format!("{percent:.1}")])
        .collect();
    Ok(vec![
        "Samples by process and library, in percent of all:".to_owned(),
        table(&["process", "library", "%"], &by_library),
        "By function (the kernel's work is shown under its own names):".to_owned(),
        table(&["process", "function", "%"], &by_function),
    ])
}

fn report(file: &Path, sort: &str) -> Result<String> {
    said(
        Command::new("perf")
            .args(["report", "-q", "--stdio", "--no-children", "-g", "none", "-F", "overhead,pid,dso,symbol", "-t", "\u{1}"])
            .args(["-s", sort, "-i"])
            .arg(file),
    )
}

/// `12.34% <sep> pid:comm <sep> library <sep> [k] function`.
fn entry(line: &str) -> Option<(f64, u32, String, String)> {
    let mut parts = line.split('\u{1}').map(str::trim);
    let percent = parts.next()?.trim_end_matches('%').parse().ok()?;
    let pid = parts.next()?.split(':').next()?.trim().parse().ok()?;
    let library = parts.next()?.to_owned();
    let function = parts.next()?;
    let function = function.split_once("] ").map_or(function, |(_, name)| name);
    Some((percent, pid, library, function.to_owned()))
}
