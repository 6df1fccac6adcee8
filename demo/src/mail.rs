//! A mail server on this machine, written by somebody else (aiosmtpd), and what custodians get from it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use testkit::installation::free_port;

use super::stage::Stage;
use verify::output::{Failure, Output};

/// Says each message that it gets as a line of JSON; it is part of the sources.
const SCRIPT: &str = "tests/interop/smtp_receiver.py";
/// Debian's own, for which `make demo` installs python3-aiosmtpd.
const PYTHON: &str = "/usr/bin/python3";
/// Levels of escalation that have a contact.
const LEVELS: [&str; 2] = ["operations", "security"];
/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stopped when it is let go of.
pub struct Mail {
    server: Child,
    messages: Receiver<Value>,
}

impl Mail {
    /// The server, and the section of the configuration that sends there; nothing where it is not installed.
    pub fn start(stage: &Stage, people: &[&str], output: &Output) -> Result<Option<Self>, Failure> {
        let has_library = Command::new(PYTHON)
            .args(["-c", "import aiosmtpd"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !has_library || !Path::new(SCRIPT).is_file() {
            output.remark("  (no mail: aiosmtpd or the source tree is missing; `.ci/setup mail`)");
            return Ok(None);
        }
        let address = free_port()?;
        output.remark(format!("$ python3 {SCRIPT} {address} &"));
        let mut server = Command::new(PYTHON)
            .args([SCRIPT, &address])
            // Open for as long as we live: the server leaves when it is closed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let lines = server.stdout.take().context("its output")?;
        let (tell, messages) = channel();
        thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let message = serde_json::from_str::<Value>(&line);
                if !message.is_ok_and(|message| tell.send(message).is_ok()) {
                    return;
                }
            }
        });
        let new = Self { server, messages };
        new.next()?;
        let port = address.rsplit_once(':').context("a port")?.1;
        let mut section = format!(
            "\n[notify.receivers.people]\nkind = \"mail\"\nserver = \"localhost:{port}\"\nsecurity = \"none\"\n\
             allow_private = true\nfrom = \"keys@keys.example\"\n\n[notify.receivers.people.addresses]\n"
        );
        for name in people {
            section += &format!("{name} = \"{name}@people.example\"\n");
        }
        section += "\n[notify.receivers.people.contacts]\n";
        for level in LEVELS {
            section += &format!("{level} = \"{level}@people.example\"\n");
        }
        for level in LEVELS {
            section += &format!("\n[notify.escalation.{level}]\nto = [\"people/{level}\"]\n");
        }
        let mut configuration = std::fs::OpenOptions::new()
            .append(true)
            .open(stage.installation.file("chancery.toml"))?;
        configuration.write_all(section.as_bytes())?;
        Ok(Some(new))
    }

    fn next(&self) -> Result<Value, Failure> {
        let message = self.messages.recv_timeout(PATIENCE);
        Ok(message.map_err(|_| anyhow!("no message arrived within {PATIENCE:?}"))?)
    }

    /// The next message to this custodian of which the subject has these words; others are shown by their subjects.
    pub fn to(&self, who: &str, words: &str, output: &Output) -> Result<Message, Failure> {
        let address = format!("{who}@people.example");
        loop {
            let message = Message(self.next()?);
            output.remark(format!(
                "  mail to {}: {}",
                message.0["to"][0],
                message.subject()
            ));
            if message.0["to"][0] == address.as_str() && message.subject().contains(words) {
                return Ok(message);
            }
        }
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// One message, as the server received it.
pub struct Message(Value);

impl Message {
    fn subject(&self) -> &str {
        let headers = self.0["headers"].as_array().into_iter().flatten();
        let mut subjects = headers.filter(|header| header[0] == "Subject");
        subjects
            .next()
            .and_then(|header| header[1].as_str())
            .unwrap_or_default()
    }

    pub fn show(&self, output: &Output) {
        let body = self.0["body"].as_str().unwrap_or_default();
        for line in body.lines() {
            output.remark(format!("  | {line}").trim_end());
        }
    }

    /// The words of the command in it that begins so, with the name of a key file in its place.
    pub fn command(&self, begins: &str, key: &str) -> Result<Vec<String>, Failure> {
        let body = self.0["body"].as_str().unwrap_or_default();
        let mut lines = body.lines().map(str::trim);
        let line = lines.find(|line| line.starts_with(begins));
        let line = line.ok_or_else(|| anyhow!("the mail has no command {begins}"))?;
        let words = line.split_whitespace().skip(1);
        Ok(words
            .map(|word| if word == "KEY" { key } else { word }.to_owned())
            .collect())
    }
}
