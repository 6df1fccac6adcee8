//! What the kernel says about this process: `/proc/self`, see proc(5).

use std::fs;

/// Ticks a second of the times in `/proc` (USER_HZ), the same on every Linux that this runs on.
const TICKS: f64 = 100.0;

#[derive(Debug, Clone, Copy, Default)]
pub struct Process {
    pub cpu_seconds: f64,
    /// Unix time.
    pub started_at: f64,
    pub resident_bytes: f64,
    pub open_files: f64,
    /// The soft limit.
    pub most_files: f64,
}

/// Members that cannot be read are 0.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures are f64; nothing here comes near 2^53"
)]
pub fn look() -> Process {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let stat = read("/proc/self/stat");
    // The name of the program may hold anything; the fields after it begin with the third.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
    let number_after = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        number.unwrap_or(0.0)
    };
    Process {
        cpu_seconds: (field(14) + field(15)) / TICKS,
        started_at: number_after(&read("/proc/stat"), "btime ") + field(22) / TICKS,
        resident_bytes: number_after(&read("/proc/self/status"), "VmRSS:") * 1024.0,
        open_files: fs::read_dir("/proc/self/fd").map_or(0.0, |found| found.count() as f64),
        most_files: number_after(&read("/proc/self/limits"), "Max open files"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let found = look();
        assert!(found.resident_bytes > 100_000.0, "{found:?}");
        assert!(
            found.open_files > 2.0 && found.most_files > found.open_files,
            "{found:?}"
        );
        // After 2020.
        assert!(found.started_at > 1_577_836_800.0, "{found:?}");
    }
}
