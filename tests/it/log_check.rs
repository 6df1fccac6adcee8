//! `chancery log check` finds nothing where nothing was done, whatever happened before and while it looks.

use serde_json::json;

use crate::support::database::Database;
use crate::support::installation::{Installation, directory, text};
use crate::support::past::{check, codes};

use crate::support::load::{Load, signed};
use crate::support::process::{done, until};
use testkit::postgres::Server;

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
    installation.until_rotation_is_safe("atp");
    let rejected = installation.propose("atp");
    let carl = &installation.custodians[2];
    let words = ["ceremony", "reject", &rejected, "--reason", "not today"];
    let key = ["--key", text(carl.key_file())];
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
    for _ in 0..3 {
        load.goes_on(110);
        installation.give_birth("log");
        let report = check(installation);
        assert_eq!(report["findings"], json!([]), "{report}");
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

/// A file of the log, a byte near its middle another.
fn touch(installation: &Installation, path: &str) {
    let path = installation.file("log").join(path);
    let mut bytes = std::fs::read(&path).expect("a file of the log");
    let at = bytes.len() / 2 + 20;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("written");
}

#[test]
fn the_files_of_the_log_are_touched_or_taken_away() {
    // Two full tiles and a partial one, and a level above.
    let installation = Installation::new();
    installation.open_log();
    let refuse = |_| installation.try_chancery(["ring", "rotate", "log", "--apply"]);
    let refused = (0..20)
        .map(refuse)
        .filter(|said| said.code == Some(3))
        .count();
    assert_eq!(refused, 20);
    let mut database = Database::open(&installation.sqlite_url());
    while database
        .one("SELECT CAST(size AS TEXT) FROM log_head")
        .parse::<i64>()
        .expect("a size")
        < 520
    {
        // Leaves like the last one.
        database.run(
            "BEGIN;
             INSERT INTO log_leaf SELECT idx + 1, time, kind, ring, kid, sig_hash, body FROM log_leaf
                ORDER BY idx DESC LIMIT 1;
             UPDATE log_head SET size = size + 1;
             COMMIT",
        );
    }
    let size = database.one("SELECT CAST(size AS TEXT) FROM log_head");
    drop(database);
    let service = installation.serve();
    until("all is published", || {
        let note = String::from_utf8_lossy(&service.get("/log/checkpoint").body).into_owned();
        note.lines().nth(1) == Some(size.as_str())
    });
    drop(service);
    let report = check(&installation);
    assert_eq!(
        (codes(&report), report["remarks"].clone()),
        (vec![], json!([]))
    );

    let kept = installation.file("copy");
    let log = installation.file("log");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        done("cp", ["-r", text(from), text(to)]);
    };
    copy(&log, &kept);
    for (path, found) in [
        ("tile/0/000", vec!["leaf", "tile", "tiles"]),
        ("tile/0/001", vec!["leaf", "tile", "tiles"]),
        ("tile/1/000.p/2", vec!["tile"]),
        ("tile/entries/001", vec!["bundle"]),
        ("checkpoint", vec!["published"]),
    ] {
        touch(&installation, path);
        let report = check(&installation);
        assert_eq!(codes(&report), found, "{path}: {report}");
        if path != "checkpoint" {
            std::fs::remove_file(log.join(path)).expect("removed");
            let report = check(&installation);
            assert_eq!(codes(&report), ["tile"], "{path}: {report}");
        }
        std::fs::remove_dir_all(&log).expect("removed");
        copy(&kept, &log);
    }

    // After retention bodies of signatures may be gone, and others may not.
    let mut database = Database::open(&installation.sqlite_url());
    database.disarm(&["log_leaf", "log_tree"]);
    database.run("UPDATE log_tree SET pruned = 300");
    database.run("UPDATE log_leaf SET body = '' WHERE idx = 299");
    let report = check(&installation);
    assert_eq!(
        codes(&report),
        [
            "bundle",
            "checkpoint",
            "leaf",
            "published",
            "root",
            "unreadable"
        ],
        "{report}"
    );
}
