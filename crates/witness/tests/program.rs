//! The program as its operator runs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::process::{Command, Output};

fn witness(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chancery-witness"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_key_is_made_once_and_a_witness_without_logs_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let key = key.to_str().unwrap();
    let new = ["new", "--name", "witness.example/w1", "--out", key];
    let made = witness(&new);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let vkey = String::from_utf8(made.stdout).unwrap();
    assert!(vkey.starts_with("witness.example/w1+"), "{vkey}");
    let again = witness(&new);
    assert_eq!(again.status.code(), Some(2), "never overwritten: {again:?}");
    let state = directory.path().join("state");
    let state = state.to_str().unwrap();
    let serve = ["serve", "--key", key, "--state", state];
    let serve = [&serve[..], &["--listen", "127.0.0.1:0"]].concat();
    let refused = witness(&serve);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("--log"), "{why}");
}
