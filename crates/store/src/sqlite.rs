//! The embedded default: one file in WAL mode, one writer, a few readers.

pub(crate) mod bulk;
pub(crate) mod writer;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Pool, Sqlite};

use crate::asked;
use crate::engine::{
    AnswerColumns, Begun, Columns, Connection, Dialect, Engine, LeafColumns, Value, connection,
    json, within,
};
use crate::engine::{AssetStatements, HeadStatements, Home, Taken, ToPool};
use crate::error::{self, Error, Subject};
use crate::execution_statements::execution_statements;
use crate::fence::Head;
use crate::inventory_statements;
use crate::leases::take_lease;
use crate::log_head;
use crate::rotation_statements::rotation_statements;
use writer::{Turn, Writer};

/// Waiting for another process that holds the file, a backup for instance.
const BUSY: Duration = Duration::from_secs(5);
/// How often whoever waits for it looks again at least: SQLite's own handler sleeps 100 ms at most
/// (`sqliteDefaultBusyCallback` in its main.c), and a scheduler's tick more.
pub(crate) const LONGEST_POLL: Duration = Duration::from_millis(120);
/// Waiting for our own writer. Longer than a full batch on a slow disk.
const ACQUIRE: Duration = Duration::from_secs(5);
/// One statement. Longer than `BUSY`, so that a locked file is reported as locked.
const STATEMENT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

#[derive(Clone)]
pub(crate) struct SqliteEngine {
    /// One connection: writers queue here in order and never meet SQLITE_BUSY among themselves.
    pub writer: Writer,
    pub readers: Pool<Sqlite>,
    /// Readers of strangers, so that they do not wait in the service's way.
    pub visitors: Pool<Sqlite>,
    pub visiting: bool,
}

impl SqliteEngine {
    pub async fn connect(path: &Path, found: Found) -> Result<Self, Error> {
        match found {
            Found::OrCreate => create_private(path)?,
            // A WAL that lies beside a file that is away belongs to it, and is left alone.
            Found::Only => there(path)?,
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            // What was there a moment ago may be gone.
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: a commit that returned survives a power cut, not only a crash.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            // REPLACE then fires the triggers that forbid deletion.
            .pragma("recursive_triggers", "ON")
            .pragma("trusted_schema", "OFF")
            // In pages of 4 KiB. A page of an index is written by many batches; it reaches the
            // file once per checkpoint.
            .pragma("wal_autocheckpoint", "4000");
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(ACQUIRE)
                .test_before_acquire(false)
        };
        let writer = pool()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await
            .map_err(|source| classify("connect", source))?;
        let read_only = options.pragma("query_only", "ON");
        let readers = pool()
            .max_connections(READERS)
            .connect_with(read_only.clone())
            .await
            .map_err(|source| classify("connect", source))?;
        let visitors = pool().max_connections(READERS).connect_lazy_with(read_only);
        Ok(Self {
            writer: Writer::new(writer),
            readers,
            visitors,
            visiting: false,
        })
    }
}

/// A file has no name that a copy of it had not.
pub(crate) const HEAD: HeadStatements = HeadStatements {
    take: "UPDATE log_head SET size = size + $1, version = version + $2, clock = MAX(clock, $3)
        WHERE id = 1 RETURNING size, clock, CAST(unixepoch('subsec') * 1000 AS INTEGER), '', 0",
    look: "SELECT size, clock, CAST(unixepoch('subsec') * 1000 AS INTEGER), '', 0
        FROM log_head WHERE id = 1",
};

/// Whether a file that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// By `chancery migrate`, which founds an installation.
    OrCreate,
    /// By everybody else: the file may be on a volume that is not mounted.
    Only,
}

fn there(path: &Path) -> Result<(), Error> {
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::NoFile(path.into())),
        Err(source) => Err(Error::Unavailable {
            operation: "connect",
            source: sqlx::Error::Io(source),
        }),
    }
}

/// The file and, after it, its WAL are nobody else's to read: they hold token hashes.
fn create_private(path: &Path) -> Result<(), Error> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| Error::Unavailable {
            operation: "connect",
            source: sqlx::Error::Io(source),
        })
}

impl Engine for SqliteEngine {
    type Reader = TxConnection;
    type Transaction = TxConnection;

    const DIALECT: Dialect = Dialect {
        known_answers: "SELECT asked.key, known.request_hash, known.response, known.idx, known.time
            FROM json_each($1) AS asked CROSS JOIN idempotency AS known
            ON known.principal = asked.value->>0 AND known.key = asked.value->>1",
        occurrences: "SELECT asked.value, leaf.idx, leaf.time, leaf.kid
            FROM json_each($1) AS asked CROSS JOIN log_leaf AS leaf
            ON leaf.idx = (SELECT MIN(placed.idx)
                FROM json_each($2) AS known CROSS JOIN log_signature_part AS placed
                ON placed.part = known.value AND placed.prefix = unhex(substr(asked.value, 1, 16))
                CROSS JOIN log_leaf AS there
                ON there.idx = placed.idx AND there.sig_hash = asked.value)",
        occurrences_in: "SELECT sig_hash, idx, time, kid FROM log_leaf
            WHERE idx >= $2 AND idx < $3 AND sig_hash IN (SELECT value FROM json_each($1))
            ORDER BY idx",
        occurrences_at: "SELECT sig_hash, idx, time, kid FROM log_leaf
            WHERE idx IN (SELECT value FROM json_each($1)) ORDER BY idx",
        transcripts: "SELECT id, transcript FROM ceremony
            WHERE id IN (SELECT value FROM json_each($1)) AND transcript IS NOT NULL",
        fill_index: "INSERT INTO log_signature_part (part, prefix, idx)
            SELECT value / 2097152, substr($1, 1 + 8 * key, 8), value FROM json_each($2) WHERE TRUE
            ON CONFLICT DO NOTHING",
        leaves_of_kid: asked::LEAVES_OF_KID_SQLITE,
        leaves_of_order: asked::LEAVES_OF_ORDER_SQLITE,
        emergency_leaves: asked::EMERGENCY_LEAVES_SQLITE,
        last_emergency: asked::LAST_EMERGENCY_SQLITE,
        leaves_of_ceremony: asked::LEAVES_OF_CEREMONY_SQLITE,
        decisions: asked::DECISIONS_SQLITE,
        leaves_at: asked::LEAVES_AT_SQLITE,
        ceremonies_of: asked::CEREMONIES_OF_SQLITE,
        signatures_of:
            "SELECT ceremony, purpose, body, signature, received_at FROM ceremony_signature
            WHERE ceremony IN (SELECT value FROM json_each($1)) ORDER BY idx",
        keys_of: asked::KEYS_OF_SQLITE,
        objects: asked::OBJECTS_SQLITE,
        acts_of: asked::ACTS_OF_SQLITE,
        accepted_of: asked::ACCEPTED_OF_SQLITE,
        insert_acts: asked::INSERT_ACTS_SQLITE,
        insert_accepted: asked::INSERT_ACCEPTED_SQLITE,
        forget_answers: "DELETE FROM idempotency WHERE rowid IN
            (SELECT rowid FROM idempotency WHERE time < $1 ORDER BY time LIMIT $2)",
        emergency: crate::emergency_statements::SQLITE,
        has_migrations: "SELECT name FROM sqlite_schema WHERE name = '_sqlx_migrations'",
        take_lease: take_lease!("CAST(unixepoch('subsec') * 1000 AS INTEGER)"),
        executions: execution_statements!("CAST(unixepoch('subsec') * 1000 AS INTEGER)"),
        rotations: rotation_statements!(
            "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            "$4 ->> key_type"
        ),
        assets: AssetStatements {
            of: inventory_statements::ASSETS_OF_SQLITE,
            insert: inventory_statements::INSERT_ASSETS_SQLITE,
            insert_versions: inventory_statements::INSERT_VERSIONS_SQLITE,
        },
    };

    async fn reader(&self) -> Result<TxConnection, Error> {
        let pool = match self.visiting {
            true => &self.visitors,
            false => &self.readers,
        };
        TxConnection::acquire(pool, STATEMENT, None).await
    }

    /// IMMEDIATE: the write lock is taken here, so nothing read inside can be out of date.
    async fn begin(&self) -> Result<TxConnection, Error> {
        self.write().await?.begin("BEGIN IMMEDIATE").await
    }

    fn head(&self) -> HeadStatements {
        HEAD
    }

    async fn begin_signatures(
        &self,
        taken: Taken,
        kids: &BTreeSet<&str>,
        leaves: &[LeafColumns<'_>],
        judged: i64,
    ) -> Result<Begun<TxConnection>, Error> {
        let asked = json(kids)?;
        let (sql, values) = bulk::begin(taken, (&asked, kids.len()), leaves, judged)?;
        let (tx, row) = self.write().await?.begin_with(sql, &values).await?;
        let row = row.ok_or_else(log_head::no_head)?;
        let active = serde_json::from_str(&row.text(5)?).map_err(|_| Error::Corrupt {
            what: "a malformed list of keys",
            source: None,
        })?;
        let head = Head::read(&row)?;
        let written = match leaves {
            // What came before was another transaction's.
            [] => 0,
            _ => row.int(7)?.unsigned_abs(),
        };
        Ok(Begun {
            tx,
            head,
            active,
            emergency: row.int(6)?,
            written,
        })
    }

    async fn commit(&self, tx: TxConnection) -> Result<(), Error> {
        tx.end("COMMIT").await.map_err(Error::at_commit)
    }

    async fn insert_leaves(
        tx: &mut TxConnection,
        first: i64,
        leaves: &[LeafColumns<'_>],
    ) -> Result<u64, Error> {
        let rows = leaves.iter().zip(first..).map(|(leaf, index)| {
            let [time, kind, ring, kid, sig_hash, body] = *leaf;
            [Value::Int(index), time, kind, ring, kid, sig_hash, body]
        });
        bulk::LEAVES.insert(tx, rows).await
    }

    async fn insert_answers(
        tx: &mut TxConnection,
        answers: &[AnswerColumns<'_>],
    ) -> Result<u64, Error> {
        let rows = answers.iter().map(|answer| {
            let [principal, key, request_hash, response, index, time] = *answer;
            [index, time, principal, key, request_hash, response]
        });
        bulk::ANSWERS.insert(tx, rows).await
    }

    /// Where SQLite has rolled back by itself (disk full), this fails and the connection is
    /// closed, which does the same.
    async fn rollback(&self, tx: TxConnection) {
        let _ = tx.end("ROLLBACK").await;
    }
}

connection!(Sqlite, SqliteRow, Return, classify);

/// Where a connection goes.
enum Return {
    ToPool(ToPool),
    ToWriter(Turn),
}

impl From<ToPool> for Return {
    fn from(pool: ToPool) -> Self {
        Self::ToPool(pool)
    }
}

impl Home<PoolConnection<Sqlite>> for Return {
    fn put_back(self, connection: PoolConnection<Sqlite>) {
        match self {
            Self::ToPool(pool) => pool.put_back(connection),
            Self::ToWriter(turn) => turn.put_back(connection),
        }
    }
}

impl SqliteEngine {
    async fn write(&self) -> Result<TxConnection, Error> {
        let acquired = self.writer.acquire().await;
        let (connection, turn) = acquired.map_err(|source| classify("connect", source))?;
        let home = Return::ToWriter(turn);
        Ok(TxConnection::over(connection, home, STATEMENT, None))
    }
}

impl TxConnection {
    /// `sql` begins with BEGIN and ends with what is asked: its first row. Nothing is waited for after that.
    async fn begin_with(
        mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<(Self, Option<SqliteRow>), Error> {
        self.in_transaction = true;
        self.in_statement = true;
        let limit = self.limit;
        let work = Self::query(sql, values).fetch_optional(self.connection()?);
        let row = within(limit, "write", work, classify).await;
        self.note(&row);
        let row = row?;
        self.in_statement = false;
        Ok((self, row))
    }
}

fn not_acquired(_pool: &Pool<Sqlite>, source: sqlx::Error) -> Error {
    classify("connect", source)
}

/// By the primary result code (<https://sqlite.org/rescode.html>): the low byte.
pub(crate) fn classify(operation: &'static str, source: sqlx::Error) -> Error {
    let code = source
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<i32>().ok())
        .map(|code| code & 0xff);
    match code {
        // BUSY, LOCKED
        Some(5 | 6) => Error::Busy { operation, source },
        Some(13) => Error::Full { operation, source },
        // IOERR, CANTOPEN
        Some(10 | 14) => Error::Unavailable { operation, source },
        // CORRUPT, NOTADB
        Some(11 | 26) => Error::Corrupt {
            what: "the database file",
            source: Some(source),
        },
        Some(19) => Error::Conflict {
            what: Subject::Constraint,
            source: Some(source),
        },
        _ => error::classify(operation, source),
    }
}

/// How soon a change by another process is seen.
const POLL: Duration = Duration::from_millis(50);

/// Polls: a file has nobody who could call. One row of one page in the cache each time.
pub(crate) async fn wait_for_change(
    engine: &SqliteEngine,
    since: i64,
    at_most: Duration,
) -> Result<i64, Error> {
    let until = tokio::time::Instant::now() + at_most;
    loop {
        let version = log_head::number(engine, log_head::VERSION).await?;
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if version > since || left.is_zero() {
            return Ok(version);
        }
        tokio::time::sleep(POLL.min(left)).await;
    }
}
