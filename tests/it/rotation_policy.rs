//! The policy of a critical key type: custodians change it from their own machines, and nobody else does; what a row says
//! beside it is not planned by.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use trust::Time;

use crate::support::database::Database;
use crate::support::http::send;
use crate::support::installation::{Installation, Service, member, text};
use crate::support::kept::second_verifier;
use crate::support::past::codes;
use crate::support::process::{Said, run};

/// The document in force with an interval, as the next version, in a file.
fn next(installation: &Installation, interval: &str, name: &str) -> String {
    let shown = installation.chancery(["policy", "show", "signing"]).json();
    let mut document = shown["document"].clone();
    let version = document["version"].as_u64().expect("a version");
    document["version"] = json!(version + 1);
    document["interval"] = json!(interval);
    let file = installation.file(name);
    fs::write(&file, document.to_string()).expect("written");
    text(&file).to_owned()
}

fn in_force(installation: &Installation) -> (Value, Value, Value) {
    let shown = installation.chancery(["policy", "show", "signing"]).json();
    let document = &shown["document"];
    (
        document["version"].clone(),
        document["interval"].clone(),
        shown["lapsed"].clone(),
    )
}

/// What a service that runs says of the policy in force.
fn served(service: &Service, operator: &str) -> Value {
    let (bearer, path) = (format!("Bearer {operator}"), "/v1/policies/signing");
    let answer = send(
        &service.api,
        "GET",
        path,
        &[("authorization", &bearer)],
        b"",
    );
    answer.expect("the service answers").ok()["document"].clone()
}

const RING: &str = "signing/atp";

/// When the next rotation of the ring is due, and by the policy of which key type.
fn planned(installation: &Installation) -> (String, Time) {
    let plan = installation.chancery(["rotation", "plan", "--days", "100"]);
    let plan = plan.json();
    let rotations = plan["rotations"].as_array().expect("a list").iter();
    let mut of = rotations.filter(|one| one["asset"] == RING);
    let next = of.next().unwrap_or_else(|| panic!("{plan}"));
    let due = member(next, "due").parse().expect("a time");
    (member(next, "key_type"), due)
}

/// What doctor says of policies: whether it is well, and what it found.
fn examined(installation: &Installation) -> (bool, String) {
    let told = installation.try_chancery(["doctor"]).json();
    let rows = told["checks"].as_array().cloned().unwrap_or_default();
    let row = rows.iter().find(|row| row["what"] == "rotation policies");
    let row = row.unwrap_or_else(|| panic!("{told}"));
    (row["good"] == true, member(row, "found"))
}

/// A custodian's own command, with nothing but a key, the address of the service and the genesis.
fn elsewhere(installation: &Installation, url: &str, words: &[&str]) -> Said {
    let mut chancery = Command::new(env!("CARGO_BIN_EXE_chancery"));
    chancery
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .args(["--output", "json", "ceremony"])
        .args(words)
        .args(["--url", url, "--genesis", &installation.genesis]);
    run(&mut chancery, b"")
}

/// Signed by the first custodian, on the service's own machine.
fn propose(installation: &Installation, file: &str) -> Said {
    let ada = &installation.custodians[0];
    let by = ["--proposer", "ada", "--key", text(ada.key_file())];
    let new = ["ceremony", "new", "rotation-policy", file];
    let why = ["--reason", "a yearly review"];
    installation.try_chancery(new.into_iter().chain(by).chain(why))
}

#[test]
fn custodians_change_the_policy_of_a_critical_key_type_and_nobody_else_does() {
    let installation = Installation::new();
    installation.open_ring("atp");
    installation.open_log();
    let operator = installation.grant("watch", "operator");
    let service = installation.serve();
    let url = format!("http://{}", service.api);
    let does = |words: &[&str]| {
        let said = elsewhere(&installation, &url, words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        said.json()
    };
    let [ada, berta, carl] = [0, 1, 2].map(|n| text(installation.custodians[n].key_file()));
    let file = next(&installation, "60d", "two.json");
    let refused = installation.try_chancery(["policy", "set", &file, "--reason", "why"]);
    assert_eq!(refused.code, Some(3));
    let said = refused.json().to_string();
    assert!(said.contains("ceremony new rotation-policy"), "{said}");

    assert_eq!(served(&service, &operator)["interval"], "90d");
    let (_, by_ninety) = planned(&installation);
    let new = ["new", "rotation-policy", &file, "--proposer", "ada"];
    let why = ["--key", ada, "--reason", "a yearly review"];
    let asked: Vec<&str> = new.into_iter().chain(why).collect();
    let id = member(&does(&asked), "ceremony");
    // Another of the same place in the line, which the first makes void.
    let other = next(&installation, "30d", "other.json");
    let other = member(&propose(&installation, &other).json(), "ceremony");
    installation.vote_all("approve", &other);
    let waits = does(&["list", "--waiting", "--key", berta]);
    let waits = waits.as_array().expect("a list").iter();
    let mut waits = waits.filter(|row| row["ceremony"] == id.as_str());
    let row = waits.next().expect("it waits");
    assert_eq!(row["lines"][0]["subject"], "rotation-policy/signing");
    let review = does(&["review", &id, "--key", berta]).to_string();
    assert!(
        review.contains("interval changes from 90d to 60d"),
        "{review}"
    );
    for key in [berta, carl] {
        does(&["approve", &id, "--key", key]);
    }
    installation.chancery(["ceremony", "execute", &id]);
    let ninety = (json!(1), json!("90d"), json!([]));
    assert_eq!(in_force(&installation), ninety, "not accepted yet");
    for key in [berta, carl] {
        does(&["accept", &id, "--key", key]);
    }
    assert_eq!(installation.ceremony_state(&id), "closed");
    let sixty = (json!(2), json!("60d"), json!([]));
    assert_eq!(in_force(&installation), sixty);
    let versions = ["policy", "show", "signing", "--versions"];
    let versions = installation.chancery(versions).json();
    assert_eq!(versions[0]["changed_by"], "member:ada", "{versions}");
    let void = installation.try_chancery(["ceremony", "execute", &other]);
    assert_eq!(void.code, Some(3), "{void:?}");

    // It is planned by, and a service that runs has it too.
    let (key_type, due) = planned(&installation);
    assert_eq!(key_type, "signing");
    assert_eq!(by_ninety.since(due).as_secs(), 30 * 86_400);
    assert_eq!(served(&service, &operator)["interval"], "60d");
    assert!(examined(&installation).0);
    // What was decided is shown to anybody, offline.
    let transcript = installation.file("policy.transcript");
    let out = ["ceremony", "transcript", &id, "--out", text(&transcript)];
    installation.chancery(out);
    let genesis = ["--genesis", &installation.genesis];
    let verify = ["ceremony", "verify", text(&transcript)];
    installation.chancery(verify.into_iter().chain(genesis));
    let mut second = second_verifier();
    second.args([text(&transcript), "--genesis", &installation.genesis]);
    let said = run(&mut second, b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    let checked = installation.chancery(["log", "check"]).json();
    assert!(codes(&checked).is_empty(), "{checked}");

    // With the rights of the service alone the ring is given the key type of others, whose policy an administrator sets.
    let mut database = Database::open(&installation.sqlite_url());
    database
        .run("INSERT INTO ring_asset VALUES ('atp', 'jwt_signing', '', NULL, '{}', 0, 'mallory')");
    assert_eq!(planned(&installation), (key_type, due));
    let (good, found) = examined(&installation);
    assert!(!good && found.contains(RING), "{found}");
    let (_, _, wrong) = in_force(&installation);
    assert!(wrong.to_string().contains("jwt_signing"), "{wrong}");
    // And a version of the policy that nobody decided.
    database.run(
        "INSERT INTO rotation_policy SELECT key_type, 3, replace(replace(document, '60d', '720d'), \
         '\"version\":2', '\"version\":3'), reason, changed_by, changed_at, 1 FROM rotation_policy",
    );
    assert_eq!(planned(&installation).1, due);
    assert_eq!(served(&service, &operator)["interval"], "60d");
    let (_, found) = examined(&installation);
    assert!(found.contains("decided version 3"), "{found}");
    let checked = installation.try_chancery(["log", "check"]);
    assert_eq!(checked.code, Some(5), "{checked:?}");
    let checked = checked.json();
    let found = codes(&checked);
    for code in ["policy_unlogged", "policy_undecided"] {
        assert!(found.contains(&code), "{checked}");
    }
    // The quorum decides all the same, behind it, and the row stays what it is.
    let file = next(&installation, "45d", "four.json");
    let mut document: Value =
        serde_json::from_slice(&fs::read(&file).expect("read")).expect("JSON");
    document["version"] = json!(4);
    fs::write(&file, document.to_string()).expect("written");
    let fourth = member(&propose(&installation, &file).json(), "ceremony");
    installation.vote_all("approve", &fourth);
    installation.chancery(["ceremony", "execute", &fourth]);
    installation.vote_all("accept", &fourth);
    assert_eq!(in_force(&installation).1, "45d");
    let versions = ["policy", "show", "signing", "--versions"];
    let versions = installation.chancery(versions).json();
    let versions = versions.as_array().expect("a list").iter();
    let undecided: Vec<bool> = versions.map(|row| row["undecided"] == true).collect();
    assert_eq!(undecided, [false, true, false, false]);
}
