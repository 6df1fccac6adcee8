//! When it is said that there is no executor.

use serde_json::Value;

use crate::support::database::Database;
use crate::support::http::send;
use crate::support::installation::Installation;
use crate::support::process::run;

const RING: &str = "integrity";

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
