//! What each engine does when it is locked, full, away or silent.

use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row as _};

use super::super::*;
use super::place::Place;
use super::server;
use super::world::*;
use crate::engine::{Engine as _, Home as _};

/// Everything that was acknowledged is there, in its place, and nothing else.
async fn check_log(store: &Store, acknowledged: &[i64]) {
    let leaves = store.leaves(0, MAX_PAGE).await.unwrap();
    let indexes: Vec<i64> = leaves.iter().map(|leaf| leaf.index).collect();
    assert_eq!(
        indexes,
        (0..store.log_size().await.unwrap()).collect::<Vec<_>>()
    );
    assert!(acknowledged.iter().all(|index| indexes.contains(index)));
}

async fn record(store: &Store) -> Result<i64, Error> {
    store.commit(&Change::Record, &leaf("refusal")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_file_is_busy_and_still_readable() {
    let place = Place::sqlite().await;
    let options = SqliteConnectOptions::new().filename(place.path());
    let mut other = options.connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let began = Instant::now();
    let locked = record(&place.store).await;
    assert!(matches!(locked, Err(Error::Busy { .. })), "{locked:?}");
    assert!(locked.unwrap_err().is_transient());
    assert!(began.elapsed() < Duration::from_secs(9));
    assert_eq!(place.store.log_size().await.unwrap(), 0);
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(record(&place.store).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_without_room_takes_nothing_and_loses_nothing() {
    let place = Place::sqlite().await;
    let kid = place.open_ring("atp").await;
    let database::AnyEngine::Sqlite(engine) = &place.store.engine else {
        panic!()
    };
    let limit = async |pages: u32| {
        let pragma = format!("PRAGMA max_page_count = {pages}");
        let (mut connection, turn) = engine.writer.acquire().await.unwrap();
        connection.execute(AssertSqlSafe(pragma)).await.unwrap();
        turn.put_back(connection);
    };
    limit(400).await;
    let mut acknowledged = Vec::new();
    let full = loop {
        let n = acknowledged.len();
        assert!(n < 10_000);
        let batch: Vec<_> = (n..n + 20)
            .map(|n| signature(&kid, "atp", &format!("s{n}")))
            .collect();
        match place.store.commit_signatures(&batch).await {
            Ok(outcomes) => acknowledged.extend(outcomes.iter().map(|outcome| match outcome {
                SignatureOutcome::Committed { index } => *index,
                other => panic!("{other:?}"),
            })),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full { .. }), "{full:?}");
    assert!(!full.is_transient() && !acknowledged.is_empty());
    check_log(&place.store, &acknowledged).await;
    limit(1_000_000).await;
    acknowledged.push(record(&place.store).await.unwrap());
    check_log(&place.store, &acknowledged).await;
}

/// Nobody asks whether it is alive, so nobody waits for the answer; what was left unfinished goes with its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_keeps_its_connection_until_something_is_left_unfinished_on_it() {
    let place = Place::sqlite().await;
    let kid = place.open_ring("atp").await;
    let database::AnyEngine::Sqlite(engine) = &place.store.engine else {
        panic!()
    };
    let cache = async || {
        let (mut connection, turn) = engine.writer.acquire().await.unwrap();
        let row = connection.fetch_one("PRAGMA cache_size").await.unwrap();
        turn.put_back(connection);
        row.get::<i64, _>(0)
    };
    let usual = cache().await;
    let (mut connection, turn) = engine.writer.acquire().await.unwrap();
    connection.execute("PRAGMA cache_size = 777").await.unwrap();
    turn.put_back(connection);
    let one = [signature(&kid, "atp", "one")];
    place.store.commit_signatures(&one).await.unwrap();
    record(&place.store).await.unwrap();
    assert_eq!(cache().await, 777);
    let writer = place.store.connections()[0];
    assert_eq!(
        (writer.pool, writer.used, writer.idle, writer.limit),
        ("writer", 0, 1, 1)
    );
    drop(engine.begin().await.unwrap());
    let two = [signature(&kid, "atp", "two")];
    place.store.commit_signatures(&two).await.unwrap();
    assert_eq!(cache().await, usual);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_that_is_no_database_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chancery.db");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    let refused = Store::connect(&Database::Sqlite { path }).await.map(drop);
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    let path = directory.path().join("nowhere").join("chancery.db");
    let refused = Store::found(&Database::Sqlite { path }).await.map(drop);
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
}

/// The volume is not mounted, or somebody moved the file: whoever only wants to read makes no database, and takes no WAL away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_away_is_not_replaced_by_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chancery.db");
    let wal = directory.path().join("chancery.db-wal");
    std::fs::write(&wal, b"what was committed last").unwrap();
    let database = Database::Sqlite { path: path.clone() };
    let refused = Store::connect(&database).await.map(drop).unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, Error::NoFile(_)), "{refused:?}");
    assert!(said.contains(&path.display().to_string()), "{said}");
    assert!(said.contains("chancery migrate"), "{said}");
    // The service waits for it.
    assert!(refused.may_pass() && !refused.is_transient());
    assert!(!path.exists());
    assert_eq!(std::fs::read(&wal).unwrap(), b"what was committed last");
    std::fs::remove_file(&wal).unwrap();
    let founded = Store::found(&database).await.unwrap();
    assert!(founded.migrate().await.unwrap() > 0);
    Store::connect(&database).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_is_private() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::sqlite().await;
    for name in ["chancery.db", "chancery.db-wal"] {
        let mode = std::fs::metadata(place.path().with_file_name(name))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_head_held_by_another_is_busy() {
    let place = Place::postgres().await;
    let mut other = place.other_connection().await;
    other
        .execute("BEGIN; SELECT size FROM log_head FOR UPDATE")
        .await
        .unwrap();
    let locked = record(&place.store).await;
    assert!(matches!(locked, Err(Error::Busy { .. })), "{locked:?}");
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(record(&place.store).await.unwrap(), 0);
}

/// A real disk cannot be filled here; the server's answer is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_without_room_is_full() {
    let place = Place::postgres().await;
    place
        .raw(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN RAISE EXCEPTION USING ERRCODE = ''disk_full''; END'",
        )
        .await
        .unwrap();
    place
        .raw(
            "CREATE TRIGGER full_disk BEFORE INSERT ON log_leaf
             FOR EACH STATEMENT EXECUTE FUNCTION full_disk()",
        )
        .await
        .unwrap();
    let full = record(&place.store).await;
    assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
    place
        .raw("DROP TRIGGER full_disk ON log_leaf")
        .await
        .unwrap();
    assert_eq!(record(&place.store).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_gone_and_back() {
    let server = server::own().await;
    let place = Place::on(&server).await;
    let mut acknowledged = vec![record(&place.store).await.unwrap()];
    let since = place.store.version().await.unwrap();
    let hearing = place.store.clone();
    let listener = tokio::spawn(async move {
        // Through the outage: errors come back at once or after the time-out, never a hang.
        loop {
            match hearing.wait_for_change(since, Duration::from_secs(2)).await {
                Ok(version) if version > since => return version,
                Ok(_) => {}
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop().unwrap();
    for _ in 0..2 {
        let began = Instant::now();
        let away = record(&place.store).await;
        assert!(matches!(away, Err(Error::Unavailable { .. })), "{away:?}");
        assert!(matches!(
            place.store.keys().await,
            Err(Error::Unavailable { .. })
        ));
        assert!(place.store.ping().await.is_err());
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    server.resume().unwrap();
    acknowledged.push(record(&place.store).await.unwrap());
    place.ring("atp").await;
    check_log(&place.store, &acknowledged).await;
    let heard = tokio::time::timeout(Duration::from_secs(20), listener).await;
    assert_eq!(heard.unwrap().unwrap(), since + 1);
}

/// A primary that became a standby, and is one no more: a connection from then is not used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_a2_a_connection_that_was_read_only_is_thrown_away() {
    let server = server::own().await;
    let place = Place::on(&server).await;
    let name = "chancery";
    let read_only =
        |value: &str| format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
    place.raw(&read_only("on")).await.unwrap();
    let replica = place.replica().await;
    for _ in 0..3 {
        let refused = record(&replica).await;
        assert!(
            matches!(refused, Err(Error::Unavailable { .. })),
            "{refused:?}"
        );
    }
    // The owner's own sessions are read-only as well by now.
    let mut owner = place.other_connection().await;
    for sql in [
        "SET default_transaction_read_only = off".to_owned(),
        read_only("off"),
    ] {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut owner);
        done.await.unwrap();
    }
    record(&replica).await.unwrap();
}

/// The one failure that is not a failure: the server dies between COMMIT and its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_lost_in_commit_is_an_unknown_outcome() {
    let server = server::own().await;
    let place = Place::on(&server).await;
    // A deferred trigger runs inside COMMIT.
    place
        .raw(
            "CREATE FUNCTION tarry() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_sleep(5); RETURN NULL; END'",
        )
        .await
        .unwrap();
    place
        .raw(
            "CREATE CONSTRAINT TRIGGER tarry AFTER INSERT ON log_leaf
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tarry()",
        )
        .await
        .unwrap();
    let store = place.store.clone();
    let committing = tokio::spawn(async move { record(&store).await });
    let in_commit = "SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'";
    while place.raw(in_commit).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().unwrap();
    let unknown = committing.await.unwrap();
    assert!(
        matches!(unknown, Err(Error::OutcomeUnknown { .. })),
        "{unknown:?}"
    );
    assert!(!unknown.unwrap_err().is_transient());
    server.resume().unwrap();
    check_log(&place.store, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_server_does_not_hang_anybody() {
    let server = server::own().await;
    let place = Place::on(&server).await;
    record(&place.store).await.unwrap();
    server.signal_backends("STOP").unwrap();
    let began = Instant::now();
    let silent = record(&place.store).await;
    assert!(silent.is_err_and(|error| error.is_transient()));
    assert!(began.elapsed() < Duration::from_secs(20));
    server.signal_backends("CONT").unwrap();
    record(&place.store).await.unwrap();
}

/// Each caller of a silent server would wait for a time-out of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_a12_a_frozen_server_is_refused_at_once() {
    let server = server::own().await;
    let place = Place::on(&server).await;
    record(&place.store).await.unwrap();
    server.signal_all("STOP").unwrap();
    let silent = record(&place.store).await;
    assert!(silent.is_err_and(|error| error.is_transient()));
    // Of many callers only the one waits that tries the server, for two seconds; whoever reads for strangers
    // knows as well.
    let visitors = place.store.for_visitors();
    let began = Instant::now();
    for _ in 0..200 {
        assert!(record(&place.store).await.is_err());
        assert!(visitors.log_size().await.is_err());
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    server.signal_all("CONT").unwrap();
    let began = Instant::now();
    while let Err(error) = record(&place.store).await {
        assert!(error.is_transient(), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    visitors.log_size().await.unwrap();
}

/// However many ask what takes long, the service's own reads and commits do not wait behind them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s3_strangers_do_not_take_the_services_connections() {
    let server = server::own().await;
    let place = Place::on(&server).await;
    let kid = place.open_ring("atp").await;
    let visitors = place.store.for_visitors();
    let mut other = place.other_connection().await;
    // Reads of it wait for their time limit.
    let lock = "BEGIN; LOCK TABLE log_checkpoint IN ACCESS EXCLUSIVE MODE";
    other.execute(lock).await.unwrap();
    // Who is refused asks again: a commit that waited behind them would wait for longer than it may.
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let visitors = visitors.clone();
            tokio::spawn(async move {
                loop {
                    match visitors.last_checkpoint().await {
                        Err(Error::Busy { .. }) => {}
                        other => return other,
                    }
                }
            })
        })
        .collect();
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while place.raw(waiting).await.unwrap() < 2 {
        tokio::task::yield_now().await;
    }
    let signed = [signature(&kid, "atp", "s")];
    place.store.commit_signatures(&signed).await.unwrap();
    place.store.keys().await.unwrap();
    assert!(asking.iter().all(|asked| !asked.is_finished()));
    // Four as set, the one that listens, the one of this test and the one that counts.
    let connections = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()";
    assert!(place.raw(connections).await.unwrap() <= 7);
    other.execute("ROLLBACK").await.unwrap();
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
    place.store.close().await;
    assert!(visitors.log_size().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_replaced() {
    let place = Place::postgres().await;
    record(&place.store).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    place.raw(cut).await.unwrap();
    assert_eq!(record(&place.store).await.unwrap(), 1);
    assert_eq!(place.store.log_size().await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_not_there_is_reported_in_time() {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("postgres://nobody@127.0.0.1:{port}/nothing?sslmode=disable").into();
    let began = Instant::now();
    let refused = Store::connect(&Database::Postgres {
        url,
        connections: 2,
    })
    .await
    .map(drop);
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_account_is_told_from_an_outage() {
    let url = server::fresh_database().await;
    let strangers = url.replace("//chancery@", "//stranger@");
    let nowhere = url.replace("/chancery_", "/elsewhere_");
    for url in [strangers, nowhere] {
        let database = Database::Postgres {
            url: url.into(),
            connections: 2,
        };
        let refused = Store::connect(&database).await.map(drop);
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    }
}
