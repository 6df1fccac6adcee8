//! Programs: what they said, and children that do not outlive whoever started them.

use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Said {
    /// Its output without the blanks around it.
    pub fn text(&self) -> Result<&str> {
        let text = std::str::from_utf8(&self.stdout).context("the program printed no UTF-8")?;
        Ok(text.trim())
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.stdout).with_context(|| format!("no JSON: {self:?}"))
    }
}

/// Runs a program to its end with `input` on its standard input, whatever comes of it.
pub fn run(command: &mut Command, input: &[u8]) -> Result<Said> {
    collect(command.stderr(Stdio::piped()), input)
}

/// The same with its standard error where ours is.
pub fn run_in_sight(command: &mut Command, input: &[u8]) -> Result<Said> {
    collect(command.stderr(Stdio::inherit()), input)
}

fn collect(command: &mut Command, input: &[u8]) -> Result<Said> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program may end without reading its input.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output()?;
    Ok(Said {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program that has to succeed; that it failed is an error with its own words.
pub fn done(command: &mut Command) -> Result<Said> {
    let said = run(command, b"")?;
    if said.code != Some(0) {
        let text = String::from_utf8_lossy(&said.stdout);
        bail!("{command:?} failed: {text}{}", said.stderr);
    }
    Ok(said)
}

/// A child that is killed, by its own id, when it is let go of.
pub struct Running {
    child: Child,
    group: bool,
}

impl Running {
    pub fn new(child: Child) -> Self {
        Self {
            child,
            group: false,
        }
    }

    /// A child that leads a process group, which ends with it.
    pub fn leader(child: Child) -> Self {
        Self { child, group: true }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Process ids of what it started.
    pub fn children(&self) -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id()));
        let children = tasks
            .into_iter()
            .flatten()
            .flatten()
            .map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default())
            .collect::<String>();
        children
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect()
    }

    /// SIGTERM, and SIGKILL when that has had no effect for five seconds.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let end = Instant::now() + Duration::from_secs(5);
        while self.is_alive() && Instant::now() < end {
            sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    pub fn kill(&mut self) {
        if self.is_alive() {
            self.signal(Signal::KILL);
            // Nothing is left to do about a child that cannot be waited for.
            let _ = self.child.wait();
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself just now.
        let _ = match (pid, self.group) {
            (Some(pid), true) => kill_process_group(pid, signal),
            (Some(pid), false) => kill_process(pid, signal),
            (None, _) => Ok(()),
        };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
