//! A superuser who makes the log shorter or another one, up to one who owns its storage and signs with its key: what is
//! published, the monitor's memory and old receipts know better.

use std::fs;
use std::path::Path;

use trust::Sha256Digest;

use super::log_superuser::leaf_is_rewritten;
use crate::support::database::Database;
use crate::support::installation::{Installation, text};
use crate::support::past::{Past, alarms, check, codes, signed, stop};
use crate::support::process::{done, run, until};

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

/// A service on this installation does not start, because of the log.
fn does_not_start(installation: &Installation) {
    let mut serve = installation.command();
    serve.arg("serve");
    serve.env("CHANCERY_HTTP__LISTEN", "127.0.0.1:0");
    serve.env("CHANCERY_HTTP__OPERATIONS_LISTEN", "127.0.0.1:0");
    let said = run(&mut serve, b"");
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.stderr.contains("the log cannot continue"), "{said:?}");
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
    does_not_start(&installation);
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
fn yesterdays_backup_is_restored() {
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
    stop(service);
    restore(&backup, &database);
    let report = check(&installation);
    assert_eq!(codes(&report), ["behind"], "{report}");
    does_not_start(&installation);
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
    // Inside all fits together: nothing there remembers.
    let report = check(&installation);
    assert_eq!(codes(&report), [""; 0], "{report}");
    // Outside two things do.
    assert_eq!(alarms(&installation, &service), ["forked"]);
    assert!(
        !past.receipt_fits(&service),
        "an old receipt shows the fork"
    );
}
