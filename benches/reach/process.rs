//! What processes use: CPU and memory of a whole process tree, from /proc.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context as _, Result};

/// The fields of a stat file after the command, which may itself hold blanks and brackets.
fn stat(path: &str) -> Option<Vec<u64>> {
    let text = fs::read_to_string(path).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    // The state is a letter and counts as 0 here.
    Some(
        fields
            .split(' ')
            .map(|field| field.trim().parse().unwrap_or(0))
            .collect(),
    )
}

/// The process and its descendants.
pub fn tree(root: u32) -> Result<Vec<u32>> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(fields) = stat(&format!("/proc/{pid}/stat")) {
            parents.insert(pid, fields[1] as u32);
        }
    }
    let mut tree = vec![root];
    let mut at = 0;
    while at < tree.len() {
        let parent = tree[at];
        tree.extend(
            parents
                .iter()
                .filter(|(_, p)| **p == parent)
                .map(|(pid, _)| *pid),
        );
        at += 1;
    }
    Ok(tree)
}

/// CPU of the tree so far, in seconds; children that have ended and were waited for are in it.
pub fn cpu(root: u32) -> Result<f64> {
    let ticks: u64 = tree(root)?
        .iter()
        .filter_map(|pid| stat(&format!("/proc/{pid}/stat")))
        .map(|fields| fields[11..15].iter().sum::<u64>())
        .sum();
    Ok(seconds(ticks))
}

/// CPU of this process, in seconds.
pub fn own_cpu() -> Result<f64> {
    let fields = stat("/proc/self/stat").context("/proc/self/stat")?;
    Ok(seconds(fields[11] + fields[12]))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Resident memory of the tree in MiB, and how many processes it has.
pub fn memory(root: u32) -> Result<(f64, usize)> {
    let tree = tree(root)?;
    let pages: u64 = tree
        .iter()
        .filter_map(|pid| stat(&format!("/proc/{pid}/stat")))
        .map(|fields| fields[21])
        .sum();
    let page = rustix::param::page_size() as f64;
    Ok((pages as f64 * page / (1024.0 * 1024.0), tree.len()))
}

/// CPU of each kind of thread in the tree so far, in seconds. The main process's threads go by their names, those of its
/// children by the child's first argument.
pub fn threads(root: u32) -> Result<HashMap<String, f64>> {
    let mut found = HashMap::new();
    for pid in tree(root)? {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let path = task.path();
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            let Some(fields) = stat(&path.join("stat").to_string_lossy()) else {
                continue;
            };
            let name = if pid == root {
                name.trim()
                    .trim_end_matches(|c: char| c.is_ascii_digit())
                    .to_owned()
            } else {
                "worker process".to_owned()
            };
            *found.entry(name).or_default() += seconds(fields[11] + fields[12]);
        }
    }
    Ok(found)
}
