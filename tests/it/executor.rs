//! `chancery executor` as a process of its own: what is approved is carried out, once, whoever dies.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::support::database::Database;
use crate::support::executor::{Executor, on_token};
use crate::support::installation::{Installation, directory, member, text};
use crate::support::process::{Said, is_running, signal, until};
use testkit::postgres::Server;

const RING: &str = "integrity";

fn approved(installation: &Installation, ring: &str) -> String {
    let id = installation.propose(ring);
    installation.vote_all("approve", &id);
    id
}

fn count(database: &mut Database, what: &str) -> usize {
    let sql = format!("SELECT CAST(COUNT(*) AS TEXT) FROM {what}");
    database.one(&sql).parse().expect("a number")
}

fn state(database: &mut Database, id: &str) -> String {
    database.one(&format!("SELECT state FROM ceremony WHERE id = '{id}'"))
}

/// Database and token agree, and nobody is left with a ceremony.
fn is_settled(installation: &Installation, database: &mut Database) {
    let found = installation
        .chancery(["ceremony", "reconcile", "--alone"])
        .json();
    assert_eq!(found.as_array().map(Vec::len), Some(0), "{found}");
    assert_eq!(count(database, "execution WHERE holder <> ''"), 0);
    let objects = on_token(installation);
    assert!(objects.values().all(|pair| *pair == (1, 1)), "{objects:?}");
    assert_eq!(
        objects.len(),
        count(database, "key_object WHERE state = 'present'")
    );
}

fn what_is_approved_is_executed_and_nothing_else(installation: &Installation, url: &str) {
    installation.create_ring(RING, &[]);
    let mut database = Database::open(url);
    let mut executor = Executor::start(installation).when_ready();
    // Of one custodian of two.
    let open = installation.propose(RING);
    installation.approve(&open, &installation.custodians[1]);
    let id = approved(installation, RING);
    until("it is executed", || state(&mut database, &id) == "executed");
    assert_eq!(state(&mut database, &open), "proposed");
    assert_eq!(on_token(installation).len(), 1);
    installation.vote_all("accept", &id);
    let metrics = executor.answer("/metrics");
    let told = "chancery_executor_ceremonies_total{outcome=\"executed\"} 1";
    assert!(metrics.contains(told), "{metrics}");
    assert!(executor.answer("/health/ready").contains("\"ready\":true"));

    // The key that it made takes over, and is destroyed by it once it has ended.
    let kid = installation.only_kid(&id);
    installation.rotate_when_safe(RING);
    let next = approved(installation, RING);
    until("it is executed", || {
        state(&mut database, &next) == "executed"
    });
    installation.vote_all("accept", &next);
    installation.rotate_when_safe(RING);
    let retire = ["ring", "retire", RING, "--kid", &kid, "--apply"];
    until("it may retire", || {
        installation.try_chancery(retire).code == Some(0)
    });
    let end = installation.propose_words(&["ring", "archive", RING, "--kid", &kid, "--apply"]);
    installation.vote_all("approve", &end);
    until("it is destroyed", || {
        state(&mut database, &end) == "executed"
    });
    assert_eq!(on_token(installation).len(), 1);

    // An orderly stop leaves nothing behind.
    signal("TERM", executor.process.id());
    until("it has ended", || !executor.process.is_alive());
    is_settled(installation, &mut database);
    let waits = approved(installation, RING);
    assert_eq!(state(&mut database, &waits), "approved", "nobody is there");
    let said = installation.chancery(["executor", "--once"]).json();
    assert_eq!(said["executed"][0]["ceremony"], waits);
    is_settled(installation, &mut database);
}

#[test]
fn the_executor_executes_what_is_approved_and_nothing_else() {
    let installation = Installation::new();
    what_is_approved_is_executed_and_nothing_else(&installation, &installation.sqlite_url());
}

#[test]
fn the_executor_executes_what_is_approved_on_postgres() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database("chancery_it").expect("a database");
    let installation = Installation::on(directory(), &url);
    what_is_approved_is_executed_and_nothing_else(&installation, &url);
}

#[test]
fn an_executor_killed_at_any_step_leaves_one_key_and_no_unaccounted_object() {
    const ROUNDS: u64 = 10;
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let mut database = Database::open(&installation.sqlite_url());
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut executor = Executor::start(&installation).when_ready();
        let id = approved(&installation, RING);
        // Some are killed on the way to the intent, most a little later each time from the intent on.
        let step = if round < 2 { "approved" } else { "executing" };
        until("it is there", || {
            let state = state(&mut database, &id);
            state == step || state == "executed"
        });
        sleep(Duration::from_millis(round * 20));
        let workers = executor.process.children();
        executor.process.kill();
        until("its worker has ended", || {
            !workers.iter().any(|id| is_running(*id))
        });
        let before = state(&mut database, &id);

        // Another one: it waits for the lease, looks, and goes on by what it finds.
        let mut next = Executor::start(&installation).when_ready();
        until("it is settled", || {
            let held = count(&mut database, "execution WHERE holder <> ''");
            held == 0 && ["executed", "failed"].contains(&state(&mut database, &id).as_str())
        });
        let after = state(&mut database, &id);
        if after == "executed" {
            installation.vote_all("accept", &id);
            assert_eq!(installation.ceremony_state(&id), "closed");
        }
        *ends.entry(format!("{before}, then {after}")).or_default() += 1;
        signal("TERM", next.process.id());
        until("it has ended", || !next.process.is_alive());
        is_settled(&installation, &mut database);
    }
    println!("killed {ROUNDS} times: {ends:?}");
    let closed = count(&mut database, "ceremony WHERE state = 'closed'");
    assert_eq!(closed, count(&mut database, "signing_key"));
    assert_eq!(on_token(&installation).len(), closed);
}

#[test]
fn two_executors_at_once_execute_each_ceremony_once() {
    let installation = Installation::new();
    let mut database = Database::open(&installation.sqlite_url());
    let rings = ["a", "b", "c", "d"];
    for ring in rings {
        installation.create_ring(ring, &[]);
    }
    let ids: Vec<String> = rings
        .iter()
        .map(|ring| approved(&installation, ring))
        .collect();
    let executors = [
        Executor::start(&installation),
        Executor::start(&installation),
    ];
    for id in &ids {
        until("it is executed", || state(&mut database, id) == "executed");
    }
    for mut executor in executors {
        signal("TERM", executor.process.id());
        until("it has ended", || !executor.process.is_alive());
    }
    is_settled(&installation, &mut database);
    assert_eq!(on_token(&installation).len(), rings.len());
    let intents = "log_leaf WHERE body LIKE '%intend-generation%'";
    assert_eq!(count(&mut database, intents), rings.len(), "once each");
}

#[test]
fn what_lost_its_quorum_between_approval_and_execution_is_refused() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let id = approved(&installation, RING);
    let berta = text(installation.custodians[1].key_file()).to_owned();
    let suspend = [
        "trust", "suspend", "berta", "--reason", "stolen", "--key", &berta,
    ];
    installation.chancery(suspend);
    let cancelled = approved_by_row(&installation);
    let once = |installation: &Installation| installation.chancery(["executor", "--once"]).json();
    let said = once(&installation);
    assert_eq!(said["executed"].as_array().map(Vec::len), Some(0), "{said}");
    assert_eq!(said["waits"].as_array().map(Vec::len), Some(2), "{said}");
    for (ceremony, word) in [
        (&id, "waiting for 1 more"),
        (&cancelled, "rejected by carl"),
    ] {
        let waits = said["waits"].as_array().into_iter().flatten();
        let mut of = waits.filter(|waits| waits["ceremony"] == **ceremony);
        let why = of
            .next()
            .map(|waits| member(waits, "why"))
            .unwrap_or_default();
        assert!(why.contains(word), "{said}");
        let refused = installation.try_chancery([
            "executor",
            "export",
            "--ceremony",
            ceremony,
            "--out",
            "no",
        ]);
        assert_eq!(refused.code, Some(3), "{refused:?}");
    }
    assert!(on_token(&installation).is_empty());
    assert_eq!(
        once(&installation)["executed"].as_array().map(Vec::len),
        Some(0)
    );
}

/// Rejected, and a hand in the database says approved again.
fn approved_by_row(installation: &Installation) -> String {
    let id = installation.propose(RING);
    let carl = text(installation.custodians[2].key_file()).to_owned();
    let words = ["ceremony", "reject", &id, "--key", &carl, "--reason", "no"];
    installation.chancery(words);
    let mut database = Database::open(&installation.sqlite_url());
    database.disarm(&["ceremony"]);
    database.run(&format!(
        "UPDATE ceremony SET state = 'approved' WHERE id = '{id}'"
    ));
    id
}

#[test]
fn an_approved_ceremony_without_an_executor_is_named() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let id = approved(&installation, RING);
    let service = installation.serve();
    let ready = || String::from_utf8_lossy(&http(&service.operations)).into_owned();
    assert!(
        ready().contains("\"executor\":{\"ok\":true,\"waiting\":1"),
        "{}",
        ready()
    );
    let mut database = Database::open(&installation.sqlite_url());
    database.disarm(&["ceremony"]);
    database.run("UPDATE ceremony SET updated_at = updated_at - 20 * 60000");
    assert!(
        ready().contains("\"executor\":{\"ok\":false,\"waiting\":1"),
        "{}",
        ready()
    );
    let oldest = service.metric("chancery_executor_oldest_waiting_seconds");
    assert!(oldest.is_some_and(|oldest| oldest >= 1_200.0), "{oldest:?}");
    let said = installation.try_chancery(["doctor"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let told = said.json();
    let rows = told["checks"].as_array().cloned().unwrap_or_default();
    let row = rows.iter().find(|row| row["what"] == "ceremonies approved");
    let row = row.unwrap_or_else(|| panic!("{told}"));
    let found = member(row, "found");
    assert!(row["good"] == false && found.contains(&id), "{row}");
    assert!(
        found.contains("waits for an executor since 20 minutes"),
        "{row}"
    );
}

fn http(operations: &str) -> Vec<u8> {
    let answer = crate::support::http::send(operations, "GET", "/health/ready", &[], b"");
    answer.expect("an answer").body.clone()
}

fn in_production(installation: &Installation, words: &[&str], more: &[(&str, &str)]) -> Said {
    let mut command = installation.command();
    command
        .args(words)
        .env("CHANCERY_PROFILE", "production")
        .env("CHANCERY_PUBLICATION__PUBLISH_SAFETY", "1h")
        .envs(more.iter().copied());
    crate::support::process::run(&mut command, b"")
}

#[test]
fn one_pin_for_replica_and_executor_is_refused_unless_it_is_accepted() {
    let installation = Installation::new();
    installation.is_changed();
    let linked = installation.file("linked-pin");
    std::os::unix::fs::symlink(installation.token_file("pin"), &linked).expect("a link");
    let toml = fs::read_to_string(installation.file("chancery.toml")).expect("settings");
    let uri = toml.lines().find_map(|line| line.strip_prefix("uri = "));
    let uri = uri.expect("a URI").trim_matches('"').to_owned();
    let own = |pin: &std::path::Path| {
        let (before, _) = uri.split_once("pin-source=").expect("a source");
        format!("{before}pin-source=file:{}", text(pin))
    };
    installation.create_ring(RING, &[]);
    let approved = approved(&installation, RING);
    let order = "5".repeat(32);
    for words in [
        &["serve"][..],
        &["executor"],
        &["executor", "--once"],
        &["ceremony", "execute", &approved],
        &["ceremony", "reconcile"],
        &["order", "use", &order],
    ] {
        // By the same name, and by another.
        for uri in [own(&installation.token_file("pin")), own(&linked)] {
            let said = in_production(&installation, words, &[("CHANCERY_EXECUTOR__URI", &uri)]);
            assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
            assert!(said.stderr.contains("executor.same_pin"), "{said:?}");
        }
    }
    // Nothing was begun.
    assert!(on_token(&installation).is_empty());
    let state = installation.ceremony_state(&approved);
    assert_eq!(state, "approved");
    let accepted = [("CHANCERY_EXECUTOR__SAME_PIN", "accepted")];
    let said = in_production(&installation, &["executor", "--once"], &accepted);
    assert_eq!(said.code, Some(0), "{said:?}");
    let copy = installation.file("own-pin");
    fs::copy(installation.token_file("pin"), &copy).expect("copied");
    let uri = own(&copy);
    let said = in_production(
        &installation,
        &["executor", "--once"],
        &[("CHANCERY_EXECUTOR__URI", &uri)],
    );
    assert_eq!(said.code, Some(0), "a file of its own: {said:?}");
    // A lease that could run out under the token is none.
    let short = [accepted[0], ("CHANCERY_EXECUTOR__LEASE", "30s")];
    let said = in_production(&installation, &["executor", "--once"], &short);
    assert_eq!(said.code, Some(2), "{said:?}");
}

/// What a replica is configured with: it has no way to generate, whatever is approved.
#[test]
fn a_replica_without_an_executor_executes_nothing() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let id = approved(&installation, RING);
    let file = installation.file("chancery.toml");
    let toml = fs::read_to_string(&file).expect("settings");
    let mut table: toml::Table = toml.parse().expect("TOML");
    table.remove("executor");
    fs::write(&file, toml::to_string(&table).expect("TOML")).expect("written");
    let _service = installation.serve();
    for words in [
        &["ceremony", "execute", &id][..],
        &["ceremony", "reconcile"],
        &["executor", "--once"],
        &["executor"],
    ] {
        let said = installation.try_chancery(words.iter().copied());
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
    }
    assert!(on_token(&installation).is_empty());
}
