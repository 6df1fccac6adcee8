//! `chancery executor`, and what the token has.

use std::collections::BTreeMap;
use std::process::Stdio;

use super::http::send;
use super::installation::{Installation, free_port};
use super::process::{Running, until};

/// A running executor; killed when it is let go of.
pub struct Executor {
    pub process: Running,
    listen: String,
}

impl Executor {
    /// As soon as the process is there; a lease lasts a second.
    pub fn start(installation: &Installation) -> Self {
        installation.is_changed();
        let listen = free_port();
        let mut command = installation.command();
        command
            .arg("executor")
            .env("CHANCERY_EXECUTOR__LISTEN", &listen)
            .env("CHANCERY_EXECUTOR__LEASE", "1s")
            .env("CHANCERY_EXECUTOR__POLL", "200ms")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            process: Running::new(command.spawn().expect("it starts")),
            listen,
        }
    }

    pub fn when_ready(self) -> Self {
        until("the executor is ready", || {
            send(&self.listen, "GET", "/health/ready", &[], b"")
                .is_ok_and(|answer| answer.status == 200)
        });
        self
    }

    /// What it answers there.
    pub fn answer(&self, path: &str) -> String {
        let answer = send(&self.listen, "GET", path, &[], b"").expect("an answer");
        String::from_utf8_lossy(&answer.body).into_owned()
    }
}

/// Objects on the token by CKA_ID: how many private and public ones.
pub fn on_token(installation: &Installation) -> BTreeMap<String, (usize, usize)> {
    let mut found = BTreeMap::new();
    for (kind, private) in [("privkey", true), ("pubkey", false)] {
        let said = installation.token_tool(&["--list-objects", "--type", kind]);
        for line in said.text().lines() {
            let Some(id) = line.trim().strip_prefix("ID:") else {
                continue;
            };
            let counts: &mut (usize, usize) = found.entry(id.trim().to_owned()).or_default();
            if private {
                counts.0 += 1
            } else {
                counts.1 += 1
            }
        }
    }
    found
}
