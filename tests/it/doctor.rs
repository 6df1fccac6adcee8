//! `chancery doctor` finds what would stop `serve` or a signature, and says what to do.

use std::fs;
use std::net::TcpListener;

use serde_json::Value;

use crate::support::database::Database;
use crate::support::installation::{Installation, directory, text};
use crate::support::process::{repository, run, until};
use crate::support::witness::WitnessKey;
use testkit::postgres::Server;

/// The rows that doctor prints with these settings: what, whether it is good, what was found, what to do.
fn rows(installation: &Installation, settings: &[(&str, &str)]) -> Vec<Value> {
    let mut command = installation.command();
    command.args(["--output", "json", "doctor"]);
    let said = run(command.envs(settings.iter().copied()), b"");
    let told = said.json();
    let rows = told["checks"].as_array().cloned().expect("rows");
    let wrong = rows.iter().filter(|row| row["good"] == false).count();
    assert_eq!(told["wrong"], wrong);
    assert_eq!(said.code, Some(i32::from(wrong > 0)), "{told}");
    rows
}

fn row(rows: &[Value], what: &str) -> Value {
    let found = rows.iter().find(|row| row["what"] == what);
    found
        .unwrap_or_else(|| panic!("no row {what:?} in {rows:?}"))
        .clone()
}

/// A policy with one witness, and the lines that come after it.
fn policy(installation: &Installation, name: &str, lines: &str) -> String {
    let made = WitnessKey::new(&installation.file("."), &format!("{name}.example/w1"));
    let key = made.key;
    let file = installation.file(name);
    fs::write(
        &file,
        format!("witness w1 {key} http://127.0.0.1:1\n{lines}"),
    )
    .expect("written");
    text(&file).to_owned()
}

#[test]
fn case_w6_doctor_finds_what_would_stop_serve() {
    let installation = Installation::new();
    installation.open_ring("integrity");
    installation.open_log();
    let service = installation.serve();
    let published = installation.file("log/checkpoint");
    until("a checkpoint is published", || published.exists());
    until("its age is told", || {
        service
            .metric("chancery_log_checkpoint_age_seconds")
            .is_some()
    });
    let good = rows(&installation, &[]);
    assert!(good.iter().all(|row| row["good"] == true), "{good:?}");
    for what in ["API listener", "operations listener"] {
        let found = row(&good, what)["found"].to_string();
        assert!(found.contains("the service is running"), "{found}");
    }
    drop(service);
    let good = rows(&installation, &[]);
    assert!(good.iter().all(|row| row["good"] == true), "{good:?}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken
        .local_addr()
        .map(|at| (taken, at.to_string()))
        .expect("an address");
    let silent = policy(&installation, "silent.policy", "quorum w1\n");
    let without = policy(&installation, "without.policy", "");
    for (setting, value, what, words) in [
        (
            "HTTP__LISTEN",
            taken.1.as_str(),
            "API listener",
            "in use by another program",
        ),
        (
            "HTTP__OPERATIONS_LISTEN",
            &taken.1,
            "operations listener",
            "in use by another program",
        ),
        ("HTTP__LISTEN", "127.0.0.1:0", "API listener", ""),
        (
            "VERIFICATION__TIMESTAMP_AUTHORITIES",
            "[\"/nowhere/tsa.pem\"]",
            "time-stamp authorities",
            "/nowhere/tsa.pem",
        ),
        (
            "LOG__WITNESSES",
            "/nowhere/policy",
            "witnesses",
            "/nowhere/policy",
        ),
        ("LOG__WITNESSES", &without, "witnesses", "quorum"),
        (
            "SERVICE__ISSUER",
            "https://renamed.example",
            "log",
            "set log.origin = ",
        ),
        ("LOG__TILES", "/proc/nothing", "log", "/proc/nothing"),
        ("SERVICE__HISTORY_RING", "nothing", "key history", "no ring"),
        ("SERVICE__HISTORY_RING", "integrity", "key history", ""),
        (
            "TELEMETRY__FILTER",
            "info,=x=",
            "telemetry",
            "telemetry filter",
        ),
    ] {
        let name = format!("CHANCERY_{setting}");
        let rows = rows(&installation, &[(&name, value)]);
        let row = row(&rows, what);
        // Rows without words show that a setting that can work is not called wrong.
        assert_eq!(row["good"], words.is_empty(), "{setting}={value}: {row}");
        let told = format!("{} {}", row["found"], row["advice"]).replace("\\\"", "\"");
        assert!(told.contains(words), "{setting}={value}: {row}");
        assert!(words.is_empty() || row["advice"] != "", "{row}");
    }
    // It goes on without a witness that is silent, and says that receipts wait.
    let rows_then = rows(&installation, &[("CHANCERY_LOG__WITNESSES", &silent)]);
    let silent = row(&rows_then, "witnesses");
    assert_eq!(silent["good"], true);
    assert!(
        silent["found"].to_string().contains("w1 does not answer"),
        "{silent}"
    );
    assert!(
        silent["advice"].to_string().contains("receipts wait"),
        "{silent}"
    );

    // A storage that can be read and not be written.
    let probe = installation.file("log/doctor");
    fs::remove_file(&probe).expect("doctor has written");
    fs::create_dir(&probe).expect("something in its way");
    fs::write(probe.join("in-its-way"), "").expect("written");
    let blocked = row(&rows(&installation, &[]), "log");
    assert_eq!(blocked["good"], false, "{blocked}");
    fs::remove_dir_all(&probe).expect("removed");

    let mut database = Database::open(&installation.sqlite_url());
    database.run("CREATE TRIGGER full BEFORE INSERT ON lease BEGIN SELECT RAISE(ABORT, 'nothing is written'); END");
    let blocked = row(&rows(&installation, &[]), "database");
    assert_eq!(blocked["good"], false, "{blocked}");
    assert!(
        blocked["found"].to_string().contains("takes no writes"),
        "{blocked}"
    );
    database.run("DROP TRIGGER full");
    let good = rows(&installation, &[]);
    assert!(good.iter().all(|row| row["good"] == true), "{good:?}");

    // A leaf that a clock an hour ahead has written.
    database
        .run("UPDATE log_head SET clock = CAST(unixepoch('subsec') * 1000 AS INTEGER) + 3600000");
    let halted = row(&rows(&installation, &[]), "clock");
    assert_eq!(halted["good"], false, "{halted}");
    let told = format!("{} {}", halted["found"], halted["advice"]);
    for words in ["ahead of the clock", "`chancery log clock`"] {
        assert!(told.contains(words), "{told}");
    }
}

/// Takes the place of PostgreSQL's own.
const AN_HOUR_BEHIND: &str = "CREATE SCHEMA apart;
    CREATE FUNCTION apart.clock_timestamp() RETURNS timestamptz LANGUAGE sql
        AS 'SELECT pg_catalog.clock_timestamp() - interval ''1 hour''';
    GRANT USAGE ON SCHEMA apart TO PUBLIC;
    ALTER DATABASE chancery_doctor SET search_path = apart, pg_catalog, public";

#[test]
fn case_w6_doctor_finds_a_clock_apart_and_an_account_that_can_do_too_much() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server
        .create_database("chancery_doctor")
        .expect("a database");
    let installation = Installation::on(directory(), &url);
    let account = |role: &str| {
        let url = url.replace("//chancery@", &format!("//{role}@"));
        row(
            &rows(&installation, &[("CHANCERY_STORE__URL", &url)]),
            "database account",
        )
    };
    let expect = |role: &str, words: &str| {
        let found = account(role);
        assert_eq!(found["good"], true, "{found}");
        assert!(found["found"].to_string().contains(words), "{found}");
        let advised = found["advice"].to_string().contains("roles.sql");
        assert_eq!(advised, role != "chancery_service", "{found}");
    };
    expect("chancery", "superuser");
    let sql = fs::read_to_string(repository("deploy/postgres/roles.sql")).expect("roles");
    let said = run(&mut server.psql("chancery_doctor", &sql), b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    expect("chancery_owner", "owner of the tables");
    expect("chancery_service", "chancery_service");

    let together = row(&rows(&installation, &[]), "clock");
    assert_eq!(together["good"], true, "{together}");
    let said = run(&mut server.psql("chancery_doctor", AN_HOUR_BEHIND), b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    let apart = row(&rows(&installation, &[]), "clock");
    assert_eq!(apart["good"], false, "{apart}");
    assert!(apart["advice"].to_string().contains("NTP"), "{apart}");
}

#[test]
fn case_w6_doctor_finds_certificates_that_cannot_be_used() {
    let installation = Installation::new();
    let file = |name: &str| text(&installation.file(name)).to_owned();
    let made = |name: &str| {
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(file(&format!("{name}.pem")), certificate.pem()).expect("written");
        fs::write(file(&format!("{name}.key")), key.serialize_pem()).expect("written");
    };
    made("a");
    made("b");
    let expired = {
        let mut params =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(
            file("old.pem"),
            params.self_signed(&key).expect("a certificate").pem(),
        )
        .expect("written");
        fs::write(file("old.key"), key.serialize_pem()).expect("written");
        "old"
    };
    let authorities = |files: &[&str]| {
        let files: Vec<String> = files.iter().map(|name| file(name)).collect();
        let files = serde_json::to_string(&files).expect("JSON");
        let rows = rows(
            &installation,
            &[("CHANCERY_VERIFICATION__TIMESTAMP_AUTHORITIES", &files)],
        );
        row(&rows, "time-stamp authorities")
    };
    // An old one still vouches for old tokens; without another no new token counts.
    for (files, good, advised) in [
        (&["a.pem"] as &[&str], true, false),
        (&["a.pem", "old.pem"], true, true),
        (&["old.pem"], false, true),
    ] {
        let row = authorities(files);
        assert_eq!(row["good"], good, "{row}");
        assert_eq!(row["advice"] != "", advised, "{row}");
        assert_eq!(
            row["found"].to_string().contains("expired"),
            advised,
            "{row}"
        );
    }
    for (certificate, key, good, words) in [
        ("a", "a", true, "valid until"),
        ("a", "b", false, "do not match"),
        ("nothing", "a", false, "cannot be read"),
        (expired, expired, false, "expired"),
    ] {
        let certificate = file(&format!("{certificate}.pem"));
        let key = file(&format!("{key}.key"));
        let rows = rows(
            &installation,
            &[
                ("CHANCERY_HTTP__TLS__CERTIFICATE", &certificate),
                ("CHANCERY_HTTP__TLS__KEY", &key),
            ],
        );
        let row = row(&rows, "TLS certificate");
        assert_eq!(row["good"], good, "{row}");
        assert!(row["found"].to_string().contains(words), "{row}");
    }
}

/// A volume that is not mounted is no reason to begin a new installation.
#[test]
fn commands_whose_database_file_is_away_name_it_and_make_none() {
    let installation = Installation::new();
    let [file, wal, away] =
        ["chancery.db", "chancery.db-wal", "away.db"].map(|name| installation.file(name));
    installation.create_ring("records", &[]);
    assert!(
        !wal.exists(),
        "what a command wrote is in the file when it ends"
    );
    fs::rename(&file, &away).expect("moved");
    for arguments in [["asset", "list"], ["ring", "list"], ["alert", "list"]] {
        let said = installation.try_chancery(arguments);
        assert_eq!(said.code, Some(4), "{said:?}");
        let text = String::from_utf8_lossy(&said.stdout);
        let path = file.display().to_string();
        assert!(
            text.contains(&path) && text.contains("chancery migrate"),
            "{text}"
        );
        assert!(!file.exists(), "{arguments:?}");
    }
    let found = row(&rows(&installation, &[]), "database");
    assert_eq!(found["good"], false);
    assert!(!file.exists());
    fs::rename(&away, &file).expect("moved back");
    installation.chancery(["ring", "show", "records"]);
    assert_eq!(installation.chancery(["migrate"]).json()["applied"], 0);
}
