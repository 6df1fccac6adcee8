//! The program as an auditor runs it: on files of an installation that is gone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn kept(file: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("tests/golden/upgrade/0001-formats/sqlite")
        .join(file)
}

fn genesis() -> String {
    std::fs::read_to_string(kept("genesis.sha256"))
        .unwrap()
        .trim()
        .to_owned()
}

fn verify(what: &str, file: &std::path::Path, genesis: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chancery-verify"))
        .args(["--output", "json", what])
        .arg(file)
        .args(["--genesis", genesis])
        .output()
        .unwrap()
}

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(kept(directory)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn evidence_and_transcripts_verify_with_nothing_but_the_genesis() {
    for transcript in files("transcripts") {
        let said = verify("transcript", &transcript, &genesis());
        assert_eq!(said.status.code(), Some(0), "{transcript:?}: {said:?}");
    }
    for evidence in files("evidence") {
        let said = verify("signature", &evidence, &genesis());
        let verdict: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        // Whatever it is worth, the file itself holds.
        assert!(verdict["verdict"].is_string(), "{evidence:?}: {said:?}");
    }
}

#[test]
fn another_genesis_and_a_changed_byte_are_told_by_the_exit_code() {
    let transcript = files("transcripts").remove(0);
    let other = "0".repeat(64);
    assert_eq!(
        verify("transcript", &transcript, &other).status.code(),
        Some(5)
    );
    let mut bytes = std::fs::read(&transcript).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let directory = tempfile::tempdir().unwrap();
    let changed = directory.path().join("changed.transcript");
    std::fs::write(&changed, bytes).unwrap();
    assert_eq!(
        verify("transcript", &changed, &genesis()).status.code(),
        Some(5)
    );
    let missing = verify("transcript", &directory.path().join("none"), &genesis());
    assert_eq!(missing.status.code(), Some(1));
}
