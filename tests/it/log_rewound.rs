//! A superuser who makes the log shorter or another one, up to one who owns its storage and signs with its key: what is
//! published, the monitor's memory and old receipts know better.

use std::fs;
use std::path::Path;

use serde_json::json;
use testkit::http::send;
use trust::Sha256Digest;

use super::log_superuser::leaf_is_rewritten;
use crate::support::database::Database;
use crate::support::installation::{Installation, Service, base64url, member, text};
use crate::support::past::{Past, RING, alarms, check, codes, signed, stop};
use crate::support::process::{done, until};

/// Cuts leaves, head, tree and checkpoints off behind an earlier checkpoint.
fn cut_tail(installation: &Installation) {
    let mut database = Database::open(&installation.sqlite_url());
    database.disarm(&["log_leaf", "log_head", "log_tree", "log_checkpoint"]);
    let sizes = database.rows("SELECT CAST(size AS TEXT) FROM log_checkpoint ORDER BY size DESC");
    let size = &sizes[2][0];
    database.run(&format!(
        "DELETE FROM log_leaf WHERE idx >= {size};
         UPDATE log_head SET size = {size};
         UPDATE log_tree SET size = {size},
            root = (SELECT root FROM log_checkpoint WHERE size = {size}),
            clock = (SELECT clock FROM log_checkpoint WHERE size = {size});
         DELETE FROM log_checkpoint WHERE size > {size}"
    ));
}

/// A service on this installation publishes its keys, and neither signs nor says anything about signatures.
fn only_publishes(installation: &Installation, token: &str) -> String {
    let service = installation.replica(&[]);
    let keys = key_set(&service);
    let before = service.get("/log/checkpoint");
    let body = json!({"format": "jws", "payload": base64url(b"record")});
    let refused = service.post("/v1/rings/atp/sign", Some(token), &body);
    // The ring's primary may be among the keys that are withheld.
    assert!([409, 503].contains(&refused.status), "{}", refused.status);
    // A refusal is recorded at once where the caller is known; here it would take the index of a published leaf.
    let size = || {
        let mut database = Database::open(&installation.sqlite_url());
        database.one("SELECT CAST(size AS TEXT) FROM log_head")
    };
    let leaves = size();
    let another = service.post("/v1/rings/another/sign", Some(token), &body);
    assert_ne!(another.status, 200);
    let claim = json!({"jws": "e30.e30.AA"});
    let unknown = service.post("/v1/verify", None, &claim);
    unknown.problem(503, "log_unavailable");
    let health = |path| send(&service.operations, "GET", path, &[], b"").expect("it answers");
    let ready = health("/health/ready").json().expect("JSON");
    assert_eq!(ready["serves"]["publication"], true, "{ready}");
    assert_eq!(ready["serves"]["signing"], false, "{ready}");
    assert_eq!(ready["serves"]["verification"], false, "{ready}");
    let why = member(&ready["parts"]["log"], "refused");
    assert!(why.contains("older than the log"), "{why}");
    assert_eq!(health("/health/ready/signing").status, 503);
    assert_eq!(service.get("/log/checkpoint").body, before.body);
    stop(service);
    assert_eq!(size(), leaves, "nothing was written");
    keys
}

fn key_set(service: &Service) -> String {
    let answer = service.get("/.well-known/jwks.json");
    assert_ne!(answer.json()["keys"], json!([]));
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Takes the log's files away; the integrator writes them again from the leaves that are there.
fn wipe_files(installation: &Installation) {
    fs::remove_dir_all(installation.file("log")).expect("the log's files");
}

#[test]
fn the_tail_is_deleted() {
    let past = Past::sqlite();
    let installation = past.copy(None);
    cut_tail(&installation);
    let report = check(&installation);
    assert!(codes(&report).contains(&"behind"), "{report}");
    only_publishes(&installation, &past.token);
    // With the log's files too nothing inside remembers; outside it is remembered.
    wipe_files(&installation);
    let service = installation.replica(&[]);
    until("a checkpoint is published", || {
        service.get("/log/checkpoint").status == 200
    });
    assert_eq!(alarms(&installation, &service), ["shrunk"]);
    assert!(!past.receipt_fits(&service));
}

#[test]
fn case_l2_publication_stays_up_on_yesterdays_backup() {
    let past = Past::sqlite();
    let installation = past.copy(None);
    let (database, backup) = (
        installation.file("chancery.db"),
        installation.file("backup"),
    );
    fs::copy(&database, &backup).expect("a backup");
    done(
        "cp",
        [
            "-r",
            text(&installation.file("log")),
            text(&installation.file("log.backup")),
        ],
    );
    let service = installation.replica(&[]);
    assert!(past.receipt_fits(&service));
    for _ in 0..3 {
        signed(&service, &past.token);
    }
    assert_eq!(alarms(&installation, &service), [""; 0]);
    // Revoked after the backup: the old database holds the key for good.
    let body = json!({"format": "jws", "payload": base64url(b"record")});
    let signed_last = service.sign(RING, &past.token, &body);
    let (kid, jws) = (member(&signed_last, "kid"), member(&signed_last, "jws"));
    assert!(key_set(&service).contains(&kid));
    installation.revoke(RING, &kid, &["--because", "superseded"]);
    let size = || {
        let note = String::from_utf8_lossy(&service.get("/log/checkpoint").body).into_owned();
        let size = note.lines().nth(1).expect("a size").parse::<u64>();
        size.expect("a number")
    };
    let leaves = Database::open(&installation.sqlite_url())
        .rows("SELECT CAST(size AS TEXT) FROM log_head")[0][0]
        .parse::<u64>()
        .expect("a number");
    until("all of it is published", || size() >= leaves);
    stop(service);
    restore(&backup, &database);
    let report = check(&installation);
    assert_eq!(codes(&report), ["behind"], "{report}");
    let keys = only_publishes(&installation, &past.token);
    assert!(!keys.contains(&kid), "{keys}");
    // What is published comes back, the revocation with it; what a ceremony wrote besides its leaves does not.
    let recover = ["log", "recover", "--without-kept", "--apply"];
    let done = installation.chancery(recover).json();
    assert_eq!(done["applied"], true, "{done}");
    let by_hand = done["by_hand"].as_array().expect("acts");
    assert!(
        by_hand
            .iter()
            .all(|act| act.to_string().contains("ceremony"))
    );
    let service = installation.replica(&[]);
    assert!(!key_set(&service).contains(&kid));
    let claim = json!({"jws": jws});
    let verdict = service.post("/v1/verify", None, &claim).ok();
    assert!(verdict["log_index"].is_number(), "{verdict}");
    stop(service);
    restore(&backup, &database);
    // Restored with the log's files: the log is shorter than the one that was seen.
    fs::remove_dir_all(installation.file("log")).expect("the log's files");
    fs::rename(installation.file("log.backup"), installation.file("log")).expect("a backup");
    let service = installation.replica(&[]);
    assert_eq!(alarms(&installation, &service), ["shrunk"]);
    // And another one, as soon as it has grown again.
    for _ in 0..4 {
        signed(&service, &past.token);
    }
    assert_eq!(alarms(&installation, &service), ["forked"]);
}

#[test]
fn case_l1_a_replica_that_stops_leaves_what_is_not_published() {
    let past = Past::sqlite();
    let installation = past.copy(None);
    let kept = || {
        let files = fs::read_dir(installation.file("kept"))
            .into_iter()
            .flatten();
        // The check of the log keeps its place beside them.
        let files = files.flatten().filter(|file| {
            let name = file.file_name();
            name.to_str().is_some_and(|name| name.starts_with("kept-"))
        });
        let files = files.map(|file| fs::read_to_string(file.path()));
        files.collect::<Result<Vec<_>, _>>().expect("read")
    };
    let service = installation.replica(&[]);
    assert!(past.receipt_fits(&service));
    stop(service);
    assert_eq!(kept(), [""; 0], "all is published");
    let service = installation.replica(&[("CHANCERY_LOG__INTERVAL", "1h")]);
    let ready = || {
        send(
            &service.operations,
            "GET",
            "/health/ready/signing",
            &[],
            b"",
        )
    };
    until("it signs", || {
        ready().is_ok_and(|ready| ready.status == 200)
    });
    // The round of the start may have it yet; the next is in an hour.
    until("a leaf waits", || {
        let body = json!({"format": "jws", "payload": base64url(b"record")});
        service.sign(RING, &past.token, &body);
        service.metric("chancery_log_kept_leaves") > Some(1.0)
    });
    let body = json!({"format": "jws", "payload": base64url(b"record")});
    let last = service.sign(RING, &past.token, &body);
    stop(service);
    let [file] = kept().try_into().expect("one file");
    let begins = format!("\n{} ", last["log_index"]);
    assert!(
        file.contains(&begins) && file.contains("\n# end "),
        "{file}"
    );
    // Set back by a few seconds that nobody has published: the file knows of them.
    let (database, backup) = (
        installation.file("chancery.db"),
        installation.file("backup"),
    );
    fs::copy(&database, &backup).expect("a backup");
    let mut rows = Database::open(&installation.sqlite_url());
    rows.disarm(&["log_leaf", "log_head"]);
    rows.run(
        "DELETE FROM log_leaf WHERE idx = (SELECT size - 1 FROM log_head);
         UPDATE log_head SET size = size - 1",
    );
    drop(rows);
    let service = installation.replica(&[]);
    let ready = send(&service.operations, "GET", "/health/ready", &[], b"").expect("it answers");
    let why = member(&ready.json().expect("JSON")["parts"]["log"], "refused");
    let words = "was answered and is not in the database";
    assert!(why.contains(words), "{why}");
    stop(service);
    restore(&backup, &database);
    let service = installation.replica(&[]);
    assert!(past.receipt_fits(&service));
    until("all is published", || {
        service.metric("chancery_log_waiting_leaves") == Some(0.0)
    });
    stop(service);
    stop(installation.replica(&[]));
    assert_eq!(kept(), [""; 0], "what is published needs no file");
}

fn restore(backup: &Path, database: &Path) {
    for more in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{more}", text(database)));
    }
    fs::copy(backup, database).expect("restored");
}

#[test]
fn history_is_rewritten_as_a_whole_and_signed_by_the_logs_own_key() {
    let past = Past::sqlite();
    let installation = past.copy(None);
    let mut database = Database::open(&installation.sqlite_url());
    database.disarm(&["log_leaf", "log_tree", "log_checkpoint"]);
    leaf_is_rewritten(&mut database, past);
    let empty = Sha256Digest::of(b"");
    database.run(&format!(
        "DELETE FROM log_checkpoint; UPDATE log_tree SET size = 0, root = '{empty}', clock = 0"
    ));
    drop(database);
    wipe_files(&installation);
    // The token signs for whoever holds it: here the service itself, over the leaves that it finds.
    let service = installation.replica(&[]);
    until("a checkpoint is published", || {
        service.get("/log/checkpoint").status == 200
    });
    signed(&service, &past.token);
    // The check itself remembers what it verified, as long as its file is there. Beside it all fits together.
    let report = check(&installation);
    assert_eq!(codes(&report), ["checkpoint"], "{report}");
    let elsewhere = installation.file("elsewhere");
    let said = installation.chancery(["log", "check", "--state", text(&elsewhere)]);
    assert_eq!(said.json()["findings"], json!([]), "{said:?}");
    // Outside two things do.
    assert_eq!(alarms(&installation, &service), ["forked"]);
    assert!(
        !past.receipt_fits(&service),
        "an old receipt shows the fork"
    );
}
