//! The two verifiers of evidence, asked about the same files: `trust::evidence` and deploy/verifier, which share a document
//! and no code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Map, Value, json};
use trust::evidence::verify;
use trust::tlog::policy::WitnessPolicy;

use super::installation::text;
use super::process::repository;

/// Debian's own, which `.ci/setup` gives the one package it needs. What else is called so may have none.
pub const PYTHON: &str = "/usr/bin/python3";

/// A file and what it is called when the two do not agree.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What both said.
#[derive(Debug, Default)]
pub struct Tally {
    pub held: usize,
    pub refused: usize,
    /// Refused by both, with another word each: allowed where two checks fail.
    pub words_differ: Vec<String>,
    /// Verdicts, each once.
    pub verdicts: std::collections::BTreeSet<String>,
    disagreements: Vec<String>,
}

impl Tally {
    /// The end of the test, if they did not agree about everything.
    pub fn done(self) -> Self {
        let all = self.disagreements.join("\n");
        let count = self.disagreements.len();
        assert!(count == 0, "{count} disagreements:\n{all}");
        self
    }
}

/// Asks both about files under one genesis and policy, and adds what they said.
pub fn ask(
    tally: &mut Tally,
    directory: &Path,
    genesis: &str,
    policy: Option<&str>,
    cases: &[Case],
) {
    let second = Second::start(directory, genesis, policy, cases);
    let parsed = policy.map(|policy| WitnessPolicy::parse(policy).expect("a policy"));
    let digest = genesis.parse().expect("a digest");
    let first: Vec<Value> = cases
        .iter()
        .map(|case| match verify(&case.bytes, digest, parsed.as_ref()) {
            Ok(found) => json!({
                "verdict": found.verdict.outcome,
                "reasons": found.verdict.reasons,
                "kid": found.kid,
                "ring": found.ring,
                "usage": found.usage,
                "log_index": found.index,
                "existed_at": found.verdict.existed_at,
                "witnessed": found.witnessed,
                "subject": found.subject,
                "order_use": found.order_use,
            }),
            Err(refused) => json!({"refused": refused.word, "why": refused.why}),
        })
        .collect();
    let second = second.answers(cases.len());
    for ((case, first), second) in cases.iter().zip(&first).zip(second) {
        let said = || format!("{} under {policy:?}: {first} and {second}", case.name);
        match (first.get("refused"), second.get("refused")) {
            (None, None) if *first == second => {
                tally.held += 1;
                let verdict = format!("{} {}", first["verdict"], first["reasons"]);
                tally.verdicts.insert(verdict.replace('"', ""));
            }
            (Some(one), Some(other)) => {
                tally.refused += 1;
                if one != other {
                    tally.words_differ.push(said());
                }
            }
            _ => tally.disagreements.push(said()),
        }
    }
}

/// The second verifier at work on all files in one process.
struct Second {
    child: Child,
    directory: PathBuf,
}

impl Second {
    fn start(directory: &Path, genesis: &str, policy: Option<&str>, cases: &[Case]) -> Self {
        let directory = tempfile::tempdir_in(directory).expect("a directory").keep();
        let mut command = Command::new(PYTHON);
        command.arg(repository("deploy/verifier/chancery_verify.py"));
        command.args(["--genesis", genesis, "--output", "json"]);
        if let Some(policy) = policy {
            let path = directory.join("policy");
            fs::write(&path, policy).expect("written");
            command.args(["--witness-policy", text(&path)]);
        }
        for (number, case) in cases.iter().enumerate() {
            let path = directory.join(format!("{number}.evidence"));
            fs::write(&path, &case.bytes).expect("written");
            command.arg(path);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child = child.unwrap_or_else(|e| panic!("{PYTHON}: {e}: `make setup` installs it"));
        Self { child, directory }
    }

    fn answers(self, count: usize) -> Vec<Value> {
        let said = self.child.wait_with_output().expect("it ends");
        let said = String::from_utf8(said.stdout).expect("text");
        let answers: Vec<Value> = said
            .lines()
            .map(|line| {
                let mut answer: Map<String, Value> = serde_json::from_str(line).expect("JSON");
                answer.remove("file");
                Value::Object(answer)
            })
            .collect();
        assert_eq!(answers.len(), count, "one answer for each file: {said}");
        fs::remove_dir_all(&self.directory).expect("removed");
        answers
    }
}
