//! Programs run by the tests, which have to say what is expected of them.

use std::ffi::OsStr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use testkit::process;
pub use testkit::process::Running;

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said(process::Said);

impl Deref for Said {
    type Target = process::Said;

    fn deref(&self) -> &process::Said {
        &self.0
    }
}

impl From<process::Said> for Said {
    fn from(said: process::Said) -> Self {
        Self(said)
    }
}

impl Said {
    /// What it printed, or the end of the test.
    pub fn text(&self) -> &str {
        self.0.text().unwrap_or_else(|e| panic!("{e:#}"))
    }

    pub fn json(&self) -> serde_json::Value {
        self.0.json().unwrap_or_else(|e| panic!("{e:#}"))
    }
}

/// Runs a program to its end with `input` on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Said {
    Said(process::run(command, input).unwrap_or_else(|e| panic!("{e:#}")))
}

/// Runs a program that has to succeed and returns what it printed.
pub fn done<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Said {
    succeeds(Command::new(program).args(arguments))
}

/// The same in a directory.
pub fn done_in<S: AsRef<OsStr>>(
    directory: &Path,
    program: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Said {
    let mut command = Command::new(program);
    succeeds(command.args(arguments).current_dir(directory))
}

fn succeeds(command: &mut Command) -> Said {
    Said(process::done(command).unwrap_or_else(|e| panic!("{e:#}")))
}

/// Asks again until it is so; generous, because a machine may be busy.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(25));
    }
}

/// Sends a signal to one process.
pub fn signal(name: &str, id: u32) {
    done("kill", ["-s", name, &id.to_string()]);
}

/// Whether a process of this id does anything; one that has ended and waits to be collected does not.
pub fn is_running(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}
