//! The verifier in Python and this one, asked about the same transcripts: valid ones, and one for each
//! rule. They share a document and no code.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use trust::*;

use crate::support::name;

/// Debian's own, which `.ci/setup` gives the one package it needs.
const PYTHON: &str = "/usr/bin/python3";

fn python(script: &str) -> Command {
    let verifier = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/verifier");
    let mut command = Command::new(PYTHON);
    command.arg(verifier.join(script));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("python3 is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.stdout.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Stops of signing, which are no transcripts.
#[derive(Debug, Default)]
struct Stops {
    held: usize,
    refused: usize,
    disagreements: Vec<String>,
}

impl Stops {
    fn compare(&mut self, file: &Path, bytes: &[u8], pin: &Pin, second: &Value) {
        let first = stop_file::verify_stop_file(bytes, pin);
        let told = first.as_ref().ok().map(|verified| {
            let logged = verified.logged_at.map(|at| at.to_string());
            (verified.stop.digest.to_string(), logged)
        });
        let text = |member: &str| second[member].as_str().map(str::to_owned);
        if told != text("digest").map(|digest| (digest, text("logged"))) {
            let first = first.as_ref().err().map(|error| error_chain(&error));
            let disagreement = format!("{}: {first:?}, {second}", file.display());
            self.disagreements.push(disagreement);
        }
        match first {
            Ok(_) => self.held += 1,
            Err(_) => self.refused += 1,
        }
    }
}

#[test]
fn both_verifiers_agree_on_every_transcript() {
    let directory = tempfile::tempdir().unwrap();
    let genesis = run(python("sample_transcripts.py").arg(directory.path()));
    let pin = Pin {
        genesis: genesis.trim().parse().unwrap(),
        service: name("chancery"),
        environment: name("test"),
    };
    let files = std::fs::read_dir(directory.path()).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut ask = python("chancery_verify.py");
    ask.args(["--output", "json", "--genesis", genesis.trim()]);
    let said = run(ask.args(&files));
    let second: BTreeMap<String, Value> = said
        .lines()
        .map(|line| {
            let answer: Value = serde_json::from_str(line).unwrap();
            (answer["file"].as_str().unwrap().to_owned(), answer)
        })
        .collect();
    assert_eq!(second.len(), files.len());
    let (mut held, mut recovered, mut disagreements) = (0, 0, Vec::new());
    let mut stops = Stops::default();
    for file in &files {
        let second = &second[file.to_str().unwrap()];
        let bytes = std::fs::read(file).unwrap();
        if file
            .extension()
            .is_some_and(|extension| extension == "stop")
        {
            stops.compare(file, &bytes, &pin, second);
            continue;
        }
        let first = verify_transcript(&bytes, &pin);
        let digest = first.as_ref().ok().map(|verified| verified.digest());
        if second["digest"].as_str() != digest.map(|digest| digest.to_string()).as_deref() {
            let first = first.as_ref().err().map(|error| error_chain(&error));
            disagreements.push(format!("{}: {first:?}, {second}", file.display()));
        }
        held += usize::from(first.is_ok());
        let recoveries = first.map_or(0, |verified| verified.trusted().recoveries().len());
        recovered += usize::from(recoveries > 0);
    }
    disagreements.append(&mut stops.disagreements);
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    assert!(stops.held > 5 && stops.refused > 25, "{stops:?}");
    let refused = files.len() - held;
    assert!(held > 50 && refused > 200, "{held} held, {refused} refused");
    assert!(recovered > 8, "{recovered} of them after a recovery");
}
