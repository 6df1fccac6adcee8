//! The system's clock and random source, as the programs hand them in. Everything below a program takes them as
//! parameters (`Env`), so that a test can say when it is.

use trust::Time;

use crate::NoRandomness;

/// The wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub fn now() -> Time {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Fills `bytes` from the operating system's random source.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that draws randomness"
)]
pub fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness)
}

/// Raises the process's soft limit of open files to the hard one, as far as anybody needs, and says
/// what it is.
pub fn open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(MOST_FILES);
    let wanted = limit.maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    let files = match wanted > now && setrlimit(Resource::Nofile, raised).is_ok() {
        true => wanted,
        false => now,
    };
    usize::try_from(files).unwrap_or(usize::MAX)
}

/// The calling thread, and those that it starts, run only where others leave it a processor: the kernel
/// gives a thread of the usual priority nine times the share of this one (`nice`, sched(7)).
pub fn lower_priority() {
    // Always allowed but where a filter of system calls forbids it; then all threads are equal.
    let _ = rustix::process::nice(10);
}

/// More than this is of no use to a service.
const MOST_FILES: u64 = 65_536;

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    #[test]
    fn a_thread_of_lower_priority_leaves_the_others_as_they_are() {
        let before = getpriority_process(None).unwrap();
        let lower = std::thread::spawn(|| {
            super::lower_priority();
            getpriority_process(None).unwrap()
        });
        assert_eq!(lower.join().unwrap(), (before + 10).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
