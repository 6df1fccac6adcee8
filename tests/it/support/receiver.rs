//! Receivers of notifications that somebody else wrote, and the sections of the configuration that name them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver as Lines, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::installation::{Installation, free_port};
use super::process::{Running, repository};

/// How long anything may take to arrive: a lease of another process has to run out, and a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);

pub struct Receiver {
    pub address: String,
    _child: Running,
    answers: ChildStdin,
    lines: Lines<Value>,
}

impl Receiver {
    /// PyPI `aiosmtpd`; what follows the address stands in the script.
    pub fn mail(arguments: &[&str]) -> Self {
        Self::start("smtp_receiver.py", arguments)
    }

    /// PyPI `standardwebhooks` with these secrets.
    pub fn webhook(secrets: &[&str]) -> Self {
        Self::start("webhook_receiver.py", secrets)
    }

    fn start(script: &str, arguments: &[&str]) -> Self {
        let address = free_port();
        let python = repository("target/interop/python/bin/python");
        let mut command = Command::new(python);
        command
            .arg(repository("tests/interop").join(script))
            .arg(&address)
            .args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}: `make setup` installs it"));
        let answers = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).expect("a line of JSON");
                if tell.send(value).is_err() {
                    return;
                }
            }
        });
        let new = Self {
            address,
            _child: Running::new(child),
            answers,
            lines,
        };
        assert_eq!(new.next()["ready"], true);
        new
    }

    /// How it answers from now on.
    pub fn answers(&mut self, line: &str) {
        writeln!(self.answers, "{line}").expect("it reads");
    }

    /// What it gets next.
    pub fn next(&self) -> Value {
        self.lines
            .recv_timeout(PATIENCE)
            .expect("something arrives")
    }

    /// What it gets next of which this is so; the others are passed over.
    pub fn next_where(&self, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.next();
            if is(&found) {
                return found;
            }
            assert!(Instant::now() < end, "never");
        }
    }

    /// What has arrived already, or does in this moment.
    pub fn soon(&self) -> Option<Value> {
        self.lines.recv_timeout(Duration::from_millis(200)).ok()
    }

    /// Nothing arrives for so long.
    pub fn is_quiet_for(&self, time: Duration) {
        match self.lines.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The value of a header.
pub fn header(mail: &Value, name: &str) -> String {
    let headers = mail["headers"].as_array().expect("headers");
    let found = headers.iter().find(|header| header[0] == name);
    let value = found.unwrap_or_else(|| panic!("no {name}: {mail}"));
    value[1].as_str().expect("text").to_owned()
}

/// Adds lines to the configuration.
pub fn configure(installation: &Installation, lines: &str) {
    installation.is_changed();
    let file = installation.file("chancery.toml");
    let text = fs::read_to_string(&file).expect("the configuration");
    fs::write(file, text + "\n" + lines).expect("written");
}
