//! An OIDC issuer that somebody else wrote, npm `oidc-provider` (tests/interop).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::installation::free_port;
use super::process::{Running, repository};

pub struct Issuer {
    pub url: String,
    _child: Running,
    acts: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Issuer {
    /// It listens, with one key of this algorithm (`ES256`, `RS256`).
    pub fn new(algorithm: &str) -> Self {
        let address = free_port();
        let (_, port) = address.rsplit_once(':').expect("a port");
        let mut command = Command::new("node");
        command.arg(repository("target/interop/oidc-issuer.mjs"));
        let mut child = command
            .args([port, algorithm])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}: `make setup` installs it"));
        let acts = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut new = Self {
            url: format!("http://{address}"),
            _child: Running::new(child),
            acts,
            answers,
        };
        new.answer();
        new
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the issuer answers");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }

    fn act(&mut self, act: &Value) -> Value {
        writeln!(self.acts, "{act}").expect("the issuer reads");
        self.answer()
    }

    /// An access token for a client (`signer-app`, `watcher-app`, `plain-app`) and an audience.
    pub fn token(&mut self, client: &str, audience: &str) -> String {
        let resource = format!("urn:{audience}");
        let answer = self.act(&json!({"do": "token", "client": client, "resource": resource}));
        let token = answer["token"].as_str();
        token.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// It signs with a new key, and still publishes the old ones or not.
    pub fn rotate(&mut self, kid: &str, keep: bool) {
        self.act(&json!({"do": "rotate", "kid": kid, "keep": keep}));
    }

    pub fn leave(&mut self) {
        self.act(&json!({"do": "leave"}));
    }

    pub fn return_again(&mut self) {
        self.act(&json!({"do": "return"}));
    }

    /// How often its key set was asked for.
    pub fn asked(&mut self) -> u64 {
        self.act(&json!({"do": "asked"}))["keys"]
            .as_u64()
            .expect("a count")
    }
}
