//! What an executor says of what it finds, and when others say that there is none.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::support::database::Database;
use crate::support::http::send;
use crate::support::installation::{Installation, free_port};
use crate::support::process::{Running, run, until};

const RING: &str = "integrity";

/// How many lines of a file have these words.
fn lines(installation: &Installation, file: &str, words: &str) -> usize {
    let log = fs::read_to_string(installation.file(file)).unwrap_or_default();
    log.lines().filter(|line| line.contains(words)).count()
}

#[test]
fn what_is_not_settled_is_traced_once_however_often_it_is_found() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let stray = "b1".repeat(16);
    let made = ["--keypairgen", "--key-type", "EC:prime256v1", "--id"];
    installation.token_tool(&[&made[..], &[&stray, "--label", "stray"]].concat());
    // What another one left is not settled as long as its lease lasts, and token and database are compared in each round.
    let id = installation.propose(RING);
    installation.vote_all("approve", &id);
    let lease = ("CHANCERY_EXECUTOR__LEASE", "10m");
    let mut dies = installation.command();
    dies.args(["executor", "--once"])
        .envs([lease, ("DIES_AT_STEP", "intended")]);
    assert_eq!(run(&mut dies, b"").code, None);
    let log = fs::File::create(installation.file("executor.log")).expect("a file");
    let listen = free_port();
    installation.is_changed();
    let mut command = installation.command();
    command
        .arg("executor")
        .env("CHANCERY_EXECUTOR__LISTEN", &listen)
        .env("CHANCERY_EXECUTOR__POLL", "50ms")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log);
    let _executor = Running::new(command.spawn().expect("it starts"));
    let rounds = || {
        let answer = send(&listen, "GET", "/metrics", &[], b"").ok()?;
        let metrics = String::from_utf8_lossy(&answer.body).into_owned();
        let name = "chancery_executor_rounds_total{outcome=\"done\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
        line.parse::<f64>().ok()
    };
    until("it has looked five times", || {
        rounds().is_some_and(|rounds| rounds >= 5.0)
    });
    let held = "in progress in another executor";
    assert_eq!(lines(&installation, "executor.log", held), 1);
    let words = "on the token without a ceremony";
    assert_eq!(lines(&installation, "executor.log", words), 1);
    // Another one is news, and the first still is none.
    let other = "b2".repeat(16);
    installation.token_tool(&[&made[..], &[&other, "--label", "stray"]].concat());
    until("it is found", || {
        lines(&installation, "executor.log", words) == 2
    });
    let before = rounds();
    until("it has looked again", || {
        rounds()
            .zip(before)
            .is_some_and(|(now, before)| now >= before + 3.0)
    });
    assert_eq!(lines(&installation, "executor.log", words), 2);
    assert_eq!(lines(&installation, "executor.log", held), 1);
}

/// Whether `/health/ready` and `doctor` say that a ceremony is carried out in time.
fn in_time(installation: &Installation, operations: &str, late: &str) -> (Value, Value) {
    let answer = send(operations, "GET", "/health/ready", &[], b"").expect("an answer");
    let ready: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let mut command = installation.command();
    command
        .args(["--output", "json", "doctor"])
        .env("CHANCERY_NOTIFY__EXECUTOR_LATE", late);
    let told = run(&mut command, b"").json();
    let rows = told["checks"].as_array().cloned().unwrap_or_default();
    // There is none as long as nothing is late.
    let row = rows.iter().find(|row| row["what"] == "ceremonies approved");
    let good = row.is_none_or(|row| row["good"] == true);
    (find(&ready, "executor")["ok"].clone(), Value::Bool(good))
}

/// The member of this name, however deep.
fn find<'a>(value: &'a Value, name: &str) -> &'a Value {
    let below = || {
        value
            .as_object()?
            .values()
            .find_map(|value| found(value, name))
    };
    match value.get(name) {
        Some(found) => found,
        None => below().unwrap_or(&Value::Null),
    }
}

fn found<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    Some(find(value, name)).filter(|found| !found.is_null())
}

#[test]
fn an_executor_is_late_when_the_settings_say_so_and_not_before() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let id = installation.propose(RING);
    installation.vote_all("approve", &id);
    let late = "2h";
    let service = installation.serve_with(&[("CHANCERY_NOTIFY__EXECUTOR_LATE", late)]);
    let mut database = Database::open(&installation.sqlite_url());
    database.disarm(&["ceremony"]);
    let mut after = |minutes: u32| {
        database.run(&format!(
            "UPDATE ceremony SET updated_at = updated_at - {minutes} * 60000"
        ));
        in_time(&installation, &service.operations, late)
    };
    let both = |ok: bool| (Value::Bool(ok), Value::Bool(ok));
    // Longer than the default.
    assert_eq!(after(20), both(true));
    assert_eq!(after(101), both(false));
}
