//! A verifier that somebody else wrote, with its own JWKS cache, kept running over a rotation (tests/interop).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::process::{Running, repository};

/// Seconds before an unknown kid may cause another fetch. By default both clients wait 30 s, which a `publish_safety` of
/// hours dwarfs; here both times are cut down together.
const COOLDOWN: &str = "1";

pub struct Verifier {
    pub name: &'static str,
    _child: Running,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Verifier {
    /// npm `jose`, `createRemoteJWKSet`.
    pub fn jose(jwks_url: &str) -> Self {
        let script = repository("target/interop/jose-verifier.mjs");
        Self::start(
            "jose",
            Command::new("node").arg(script).args([jwks_url, COOLDOWN]),
        )
    }

    /// PyPI `PyJWT`, `PyJWKClient`.
    pub fn pyjwt(jwks_url: &str) -> Self {
        let python = repository("target/interop/python/bin/python");
        let script = repository("tests/interop/pyjwt_verifier.py");
        Self::start(
            "PyJWT",
            Command::new(python).arg(script).args([jwks_url, COOLDOWN]),
        )
    }

    fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}: `make setup` installs it"));
        let questions = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            name,
            _child: Running::new(child),
            questions,
            answers,
        }
    }

    fn ask(&mut self, question: &Value) -> Result<String, String> {
        writeln!(self.questions, "{question}").expect("the verifier reads");
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the verifier answers");
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{}: {e}: {line:?}", self.name));
        let text = |member: &str| answer[member].as_str().unwrap_or_default().to_owned();
        if answer["verdict"] == "accepted" {
            Ok(text("kid"))
        } else {
            Err(text("why"))
        }
    }

    /// The kid of the key that a JWS verifies under, or why it does not.
    pub fn verify(&mut self, jws: &str) -> Result<String, String> {
        self.ask(&json!({"token": jws}))
    }

    /// The same for a detached JWS and its payload in base64url.
    pub fn verify_detached(&mut self, jws: &str, payload: &str) -> Result<String, String> {
        self.ask(&json!({"token": jws, "payload": payload}))
    }
}
