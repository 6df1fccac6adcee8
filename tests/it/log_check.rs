//! `chancery log check` finds nothing where nothing was done, whatever happened before and while it looks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::installation::{Installation, PUBLISH_SAFETY, directory};
use crate::support::load::{Load, signed};
use crate::support::postgres::Server;
use crate::support::process::until;

/// What the check says, whatever that is.
pub fn check(installation: &Installation) -> Value {
    let said = installation.try_chancery(["log", "check"]);
    let report = said.json();
    let findings = report["findings"].as_array();
    let findings = findings.unwrap_or_else(|| panic!("{said:?}"));
    let code = if findings.is_empty() { 0 } else { 5 };
    assert_eq!(said.code, Some(code), "{report}");
    report
}

/// The codes of what it finds, each once.
pub fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    let mut codes: Vec<&str> = findings
        .iter()
        .map(|finding| finding["code"].as_str().expect("a code"))
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// Retires a key as soon as that is safe.
fn retire(installation: &Installation, ring: &str, kid: &str) {
    let words = ["ring", "retire", ring, "--kid", kid, "--apply"];
    until("it may retire", || {
        installation.try_chancery(words).code == Some(0)
    });
}

/// Everything that can happen to a key, a ceremony and a credential.
fn a_whole_life(installation: &Installation) {
    assert_eq!(check(installation)["findings"], json!([]), "an empty one");
    let first = installation.open_ring("atp");
    installation.open_log();
    let token = installation.grant("integrity-service", "signer:atp");
    let other = installation.grant("another", "signer:atp");
    let service = installation.serve();
    service.jws("atp", &token, b"the first key");

    // A rotation, a roll-back and one back again; the first key ends and is destroyed.
    let second = installation.give_birth("atp");
    installation.rotate_when_safe("atp");
    for _ in 0..2 {
        installation.chancery(["ring", "roll-back", "atp", "--apply"]);
    }
    retire(installation, "atp", &first);
    installation.hold_words(&["ring", "archive", "atp", "--kid", &first, "--apply"]);

    // A revocation with a successor; a rejected ceremony; another in the middle; a name granted twice.
    installation.give_birth("atp");
    std::thread::sleep(PUBLISH_SAFETY);
    let rejected = installation.propose("atp");
    let carl = &installation.custodians[2];
    let words = ["ceremony", "reject", &rejected, "--reason", "not today"];
    let key = ["--key", crate::support::installation::text(carl.key_file())];
    installation.chancery(words.into_iter().chain(key));
    let since = ["--because", "compromised", "--compromised-since"];
    let since = [&since[..], &["2026-01-01T00:00:00.000Z"]].concat();
    installation.revoke("atp", &second, &since);
    let half = installation.propose("atp");
    installation.vote_all("approve", &half);
    let hash = trust::Sha256Digest::of(other.as_bytes()).to_string();
    installation.chancery(["access", "withdraw", "--token-hash", &hash]);
    for _ in 0..2 {
        let grant = [
            "access",
            "grant",
            "mesh",
            "--role",
            "signer:atp",
            "--san",
            "a.example",
        ];
        installation.chancery(grant);
        installation.chancery(["access", "withdraw", "--san", "a.example"]);
    }
    let report = check(installation);
    assert_eq!(report["findings"], json!([]), "{report}");
    assert_eq!(report["keys"], 4, "{report}");

    // While signatures go in, and rotations, more than a page of both.
    let load = Load::start(&service, "atp", &token, 4);
    let end = Instant::now() + Duration::from_secs(6);
    let mut rounds = 0;
    while Instant::now() < end || rounds < 3 {
        installation.give_birth("log");
        let report = check(installation);
        assert_eq!(report["findings"], json!([]), "{report}");
        rounds += 1;
    }
    let all = load.stop();
    assert!(
        signed(&all).len() > 300,
        "only {} signatures",
        signed(&all).len()
    );
    let report = check(installation);
    assert_eq!(report["findings"], json!([]), "{report}");
    assert!(report["leaves"].as_u64() > Some(300), "{report}");
    assert!(report["checkpoints"].as_u64() > Some(3), "{report}");
    assert_eq!(
        report["remarks"].as_array().map(Vec::len).unwrap_or(0) <= 1,
        true,
        "{report}"
    );
}

#[test]
fn a_sound_installation_is_clean_also_under_load() {
    a_whole_life(&Installation::new());
}

#[test]
fn a_sound_installation_on_postgresql_is_clean_also_under_load() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server
        .create_database("chancery_check")
        .expect("a database");
    a_whole_life(&Installation::on(directory(), &url));
}
