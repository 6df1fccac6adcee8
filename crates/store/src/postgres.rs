//! PostgreSQL: any number of replicas, ordered by the row of the log head.

use std::collections::{BTreeSet, HashSet};
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Pool, Postgres};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::asked;
use crate::breaker::{Breaker, Pass, TRIAL};
use crate::engine::{
    AnswerColumns, Begun, Columns, Connection, Dialect, Engine, LeafColumns, Value, connection,
    json, within,
};
use crate::engine::{AssetStatements, HeadStatements, Taken, ToPool};
use crate::error::{self, Error, Subject};
use crate::execution_statements::execution_statements;
use crate::fence::Head;
use crate::inventory_statements;
use crate::leases::take_lease;
use crate::log_head::{self, take_head};
use crate::rotation_statements::rotation_statements;

const ACQUIRE: Duration = Duration::from_secs(5);
/// A connection that takes longer is worth a look at whether there is a server.
const HURRY: Duration = Duration::from_millis(300);
/// Waiting for the log head behind other replicas.
const LOCK: &str = "5s";
/// The server gives up first, so that the connection stays usable …
const STATEMENT: &str = "10s";
/// … and this is for a server that does not answer at all.
const LIMIT: Duration = Duration::from_secs(12);
/// What strangers ask for takes milliseconds; they wait for a connection no longer than they are answered.
const VISITORS_STATEMENT: &str = "3s";
const VISITORS_LIMIT: Duration = Duration::from_secs(4);
const VISITORS_ACQUIRE: Duration = Duration::from_secs(3);
/// A replica that stops in the middle of a transaction does not hold the log head for long.
const IDLE: &str = "15s";

#[derive(Clone)]
pub(crate) struct PostgresEngine {
    pub pool: Pool<Postgres>,
    /// For reads of strangers. Nothing of the service's own waits behind them.
    pub visitors: Pool<Postgres>,
    pub visiting: bool,
    pub head: HeadStatements,
    breaker: Arc<Breaker>,
    /// Of connections outside the pool.
    options: Arc<PgConnectOptions>,
    listener: Arc<Mutex<Option<PgListener>>>,
}

impl PostgresEngine {
    /// Half of the connections are for strangers, and at least two for each side; the listener keeps one more.
    pub async fn connect(url: &SecretString, connections: u32) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url.expose_secret())
            .map_err(|source| classify("connect", source))?
            .application_name("chancery");
        let limited = |statement: &'static str| {
            options.clone().options([
                ("statement_timeout", statement),
                ("lock_timeout", LOCK),
                ("idle_in_transaction_session_timeout", IDLE),
                // All statements read few rows by an index, which the planner cannot know of a page over a view: it would
                // compile for 200 ms what runs for ten.
                ("jit", "off"),
            ])
        };
        let with_timeouts = limited(STATEMENT);
        // Once by hand, because a pool would go on trying and then not say why it could not.
        within(ACQUIRE, "connect", with_timeouts.connect(), classify).await?;
        let strangers = (connections / 2).max(2);
        let own = connections.saturating_sub(strangers).max(2);
        let pool = PgPoolOptions::new()
            .max_connections(own + 1)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(with_timeouts);
        let visitors = PgPoolOptions::new()
            .max_connections(strangers)
            .acquire_timeout(VISITORS_ACQUIRE)
            .connect_lazy_with(limited(VISITORS_STATEMENT));
        Ok(Self {
            pool,
            visitors,
            visiting: false,
            head: HEAD,
            breaker: Arc::default(),
            options: Arc::new(options),
            listener: Arc::default(),
        })
    }

    /// A connection out of a pool; of a server that was silent a moment ago only for the one who tries it.
    /// The pool asks the server before it gives a connection out.
    async fn acquire(&self, pool: &Pool<Postgres>, limit: Duration) -> Result<TxConnection, Error> {
        let silent = || Error::Unavailable {
            operation: "connect",
            source: sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        };
        let acquiring = self.acquire_from(pool, limit);
        let acquired = match self.breaker.pass() {
            Pass::Usual => acquiring.await,
            Pass::Trial => match timeout(TRIAL, acquiring).await {
                Ok(done) => done,
                Err(_) => Err(silent()),
            },
            Pass::Refused => {
                // A caller that tries again at once does not keep the others from their turn.
                tokio::task::yield_now().await;
                return Err(silent());
            }
        };
        match &acquired {
            Ok(_) => self.breaker.answered(),
            Err(error) => self.breaker.failed(error),
        }
        acquired
    }

    /// Where nobody listens the pool would go on trying until its time is over; whoever waits for a
    /// signature is told at once.
    async fn acquire_from(
        &self,
        pool: &Pool<Postgres>,
        limit: Duration,
    ) -> Result<TxConnection, Error> {
        let breaker = Some(self.breaker.clone());
        let mut acquiring = pin!(TxConnection::acquire(pool, limit, breaker));
        if let Ok(done) = timeout(HURRY, &mut acquiring).await {
            return done;
        }
        match self.refusal().await {
            Some(refused) => Err(classify("connect", sqlx::Error::Io(refused))),
            None => acquiring.await,
        }
    }

    /// Why the server cannot be there, if that can be told in a moment.
    async fn refusal(&self) -> Option<std::io::Error> {
        if self.options.get_socket().is_some() {
            return None;
        }
        let server = (self.options.get_host(), self.options.get_port());
        timeout(HURRY, TcpStream::connect(server)).await.ok()?.err()
    }

    /// A connection outside the pool and without time-outs.
    pub async fn without_timeouts(&self) -> Result<PgConnection, Error> {
        within(ACQUIRE, "connect", self.options.connect(), classify).await
    }
}

/// The clock is read after the lock was had. A promoted standby writes its WAL on a new timeline from the first byte on
/// (`pg_control_checkpoint` tells of it only after a checkpoint); another server has another system identifier, and a
/// database that was dropped and made anew another number.
macro_rules! head_columns {
    ($database:literal) => {
        concat!(
            "size, clock, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, ",
            $database
        )
    };
}
macro_rules! head_statements {
    ($database:literal) => {
        HeadStatements {
            take: concat!(
                "UPDATE log_head SET size = size + $1, version = version + $2,
                    clock = GREATEST(clock, $3) WHERE id = 1 RETURNING ",
                head_columns!($database)
            ),
            look: concat!(
                "SELECT ",
                head_columns!($database),
                " FROM log_head WHERE id = 1"
            ),
        }
    };
}
pub(crate) const HEAD: HeadStatements = head_statements!(
    "(SELECT system_identifier FROM pg_control_system())::text || '/'
        || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/'
        || (SELECT oid FROM pg_database WHERE datname = current_database())::text,
    (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"
);
/// Where the server does not say which one it is.
pub(crate) const HEAD_BY_INDEX: HeadStatements = head_statements!("''::text, 0::bigint");

/// A batch is one parameter: a JSON array of arrays.
pub(crate) const INSERT_LEAVES: &str = "INSERT INTO log_leaf
        (idx, time, kind, ring, kid, sig_hash, body)
    SELECT $1 + place - 1, (value->>0)::bigint, value->>1, value->>2, value->>3, value->>4,
        value->>5
    FROM json_array_elements($2::json) WITH ORDINALITY AS given (value, place)";
/// Of kids in a JSON array, those that may sign; beside each the last leaf by which a ring may have been kept from signing.
pub(crate) const ACTIVE_OF: &str = concat!(
    "SELECT kid, ",
    asked::last_emergency!(postgres),
    " FROM signing_key WHERE state = 'active'
    AND kid = ANY (ARRAY (SELECT json_array_elements_text($1::json)))"
);
pub(crate) const INSERT_ANSWERS: &str = "INSERT INTO idempotency
        (principal, key, request_hash, response, idx, time)
    SELECT value->>0, value->>1, value->>2, value->>3, (value->>4)::bigint, (value->>5)::bigint
    FROM json_array_elements($1::json) AS given (value)";

impl Engine for PostgresEngine {
    type Reader = TxConnection;
    type Transaction = TxConnection;

    const DIALECT: Dialect = Dialect {
        known_answers: "SELECT asked.place - 1, known.request_hash, known.response, known.idx,
                known.time
            FROM json_array_elements($1::json) WITH ORDINALITY AS asked (value, place)
            JOIN idempotency AS known
            ON known.principal = asked.value->>0 AND known.key = asked.value->>1",
        occurrences: "SELECT asked.hash, leaf.idx, leaf.time, leaf.kid
            FROM json_array_elements_text($1::json) AS asked (hash)
            JOIN LATERAL (SELECT leaf.idx, leaf.time, leaf.kid
                FROM json_array_elements_text($2::json) AS known (part)
                JOIN log_signature_part AS placed ON placed.part = known.part::bigint
                    AND placed.prefix = decode(substr(asked.hash, 1, 16), 'hex')
                JOIN log_leaf AS leaf ON leaf.idx = placed.idx AND leaf.sig_hash = asked.hash
                ORDER BY placed.idx LIMIT 1) AS leaf ON TRUE",
        occurrences_in: "SELECT sig_hash, idx, time, kid FROM log_leaf
            WHERE idx >= $2 AND idx < $3
                AND sig_hash IN (SELECT json_array_elements_text($1::json))
            ORDER BY idx",
        occurrences_at: "SELECT sig_hash, idx, time, kid FROM log_leaf
            WHERE idx IN (SELECT json_array_elements_text($1::json)::bigint) ORDER BY idx",
        transcripts: "SELECT id, transcript FROM ceremony
            WHERE id = ANY (ARRAY (SELECT json_array_elements_text($1::json)))
                AND transcript IS NOT NULL",
        fill_index: "INSERT INTO log_signature_part (part, prefix, idx)
            SELECT idx / 2097152, substring($1::bytea FROM (1 + 8 * (place - 1))::integer FOR 8), idx
            FROM json_array_elements_text($2::json) WITH ORDINALITY AS given (value, place)
            CROSS JOIN LATERAL (SELECT value::bigint AS idx) AS leaf
            ON CONFLICT DO NOTHING",
        leaves_of_kid: asked::LEAVES_OF_KID_POSTGRES,
        leaves_of_order: asked::LEAVES_OF_ORDER_POSTGRES,
        emergency_leaves: asked::EMERGENCY_LEAVES_POSTGRES,
        last_emergency: asked::LAST_EMERGENCY_POSTGRES,
        leaves_of_ceremony: asked::LEAVES_OF_CEREMONY_POSTGRES,
        decisions: asked::DECISIONS_POSTGRES,
        leaves_at: asked::LEAVES_AT_POSTGRES,
        ceremonies_of: asked::CEREMONIES_OF_POSTGRES,
        signatures_of:
            "SELECT ceremony, purpose, body, signature, received_at FROM ceremony_signature
            WHERE ceremony = ANY (ARRAY (SELECT json_array_elements_text($1::json))) ORDER BY idx",
        keys_of: asked::KEYS_OF_POSTGRES,
        objects: asked::OBJECTS_POSTGRES,
        acts_of: asked::ACTS_OF_POSTGRES,
        accepted_of: asked::ACCEPTED_OF_POSTGRES,
        insert_acts: asked::INSERT_ACTS_POSTGRES,
        insert_accepted: asked::INSERT_ACCEPTED_POSTGRES,
        forget_answers: "DELETE FROM idempotency WHERE ctid = ANY (ARRAY
            (SELECT ctid FROM idempotency WHERE time < $1 ORDER BY time LIMIT $2))",
        emergency: crate::emergency_statements::POSTGRES,
        has_migrations: "SELECT 1 WHERE to_regclass('_sqlx_migrations') IS NOT NULL",
        take_lease: take_lease!("(extract(epoch FROM clock_timestamp()) * 1000)::bigint"),
        executions: execution_statements!("(extract(epoch FROM clock_timestamp()) * 1000)::bigint"),
        rotations: rotation_statements!(
            "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
            "((SELECT $4::jsonb) ->> key_type)::bigint"
        ),
        assets: AssetStatements {
            of: inventory_statements::ASSETS_OF_POSTGRES,
            insert: inventory_statements::INSERT_ASSETS_POSTGRES,
            insert_versions: inventory_statements::INSERT_VERSIONS_POSTGRES,
        },
    };

    async fn reader(&self) -> Result<TxConnection, Error> {
        match self.visiting {
            true => self.acquire(&self.visitors, VISITORS_LIMIT).await,
            false => self.acquire(&self.pool, LIMIT).await,
        }
    }

    /// READ COMMITTED on purpose: each statement after the one that waited for the log head sees
    /// what the writers before us have committed.
    async fn begin(&self) -> Result<TxConnection, Error> {
        let held = self.acquire(&self.pool, LIMIT).await?;
        held.begin("BEGIN ISOLATION LEVEL READ COMMITTED").await
    }

    fn head(&self) -> HeadStatements {
        self.head
    }

    /// Two statements: one sees what was committed when it began, before it waited for the head.
    async fn begin_signatures(
        &self,
        taken: Taken,
        kids: &BTreeSet<&str>,
        _leaves: &[LeafColumns<'_>],
        _judged: i64,
    ) -> Result<Begun<TxConnection>, Error> {
        let kids = json(kids)?;
        let mut tx = self.begin().await?;
        match head_and_keys(&mut tx, self.head(), taken, &kids).await {
            Ok((head, active, emergency)) => Ok(Begun {
                tx,
                head,
                active,
                emergency,
                written: 0,
            }),
            Err(error) => {
                self.rollback(tx).await;
                Err(error)
            }
        }
    }

    async fn commit(&self, tx: TxConnection) -> Result<(), Error> {
        tx.end("COMMIT").await.map_err(Error::at_commit)
    }

    async fn insert_leaves(
        tx: &mut TxConnection,
        first: i64,
        leaves: &[LeafColumns<'_>],
    ) -> Result<u64, Error> {
        let values = [Value::Int(first), Value::Text(&json(&leaves)?)];
        tx.execute(INSERT_LEAVES, &values).await
    }

    async fn insert_answers(
        tx: &mut TxConnection,
        answers: &[AnswerColumns<'_>],
    ) -> Result<u64, Error> {
        let values = [Value::Text(&json(&answers)?)];
        tx.execute(INSERT_ANSWERS, &values).await
    }

    /// Where this fails the connection is closed, which does the same.
    async fn rollback(&self, tx: TxConnection) {
        let _ = tx.end("ROLLBACK").await;
    }
}

async fn head_and_keys(
    tx: &mut TxConnection,
    statements: HeadStatements,
    taken: Taken,
    kids: &str,
) -> Result<(Head, HashSet<String>, i64), Error> {
    let head = take_head(tx, statements, taken).await?;
    let rows = tx.fetch(ACTIVE_OF, &[Value::Text(kids)]).await?;
    let active: Result<_, _> = rows.iter().map(|row| row.text(0)).collect();
    // Without a key that may sign nobody asks.
    let emergency = rows.first().map_or(Ok(i64::MAX), |row| row.int(1));
    Ok((head, active?, emergency?))
}

connection!(Postgres, PgRow, ToPool, classify);

/// The pool goes on trying to connect until its time is up: with room left in it, that means
/// that the server is away and not that we are busy.
fn not_acquired(pool: &Pool<Postgres>, source: sqlx::Error) -> Error {
    let full = pool.size() >= pool.options().get_max_connections();
    match source {
        sqlx::Error::PoolTimedOut if !full => Error::Unavailable {
            operation: "connect",
            source,
        },
        source => classify("connect", source),
    }
}

/// By SQLSTATE (PostgreSQL documentation, appendix A).
pub(crate) fn classify(operation: &'static str, source: sqlx::Error) -> Error {
    let Some(code) = source.as_database_error().and_then(|error| error.code()) else {
        return error::classify(operation, source);
    };
    match &*code {
        // insufficient_privilege, undefined_function, feature_not_supported
        "42501" | "42883" | "0A000" if is_about_identity(&source) => Error::NoIdentity { source },
        // disk_full
        "53100" => Error::Full { operation, source },
        // lock_not_available, query_canceled, serialization_failure, deadlock_detected,
        // too_many_connections, out_of_memory
        "55P03" | "57014" | "40001" | "40P01" | "53300" | "53200" => {
            Error::Busy { operation, source }
        }
        // admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped,
        // idle_in_transaction_session_timeout, read_only_sql_transaction (a standby)
        "57P01" | "57P02" | "57P03" | "57P04" | "25P03" | "25006" => {
            Error::Unavailable { operation, source }
        }
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => Error::Corrupt {
            what: "the database files",
            source: Some(source),
        },
        code if code.starts_with("08") || code.starts_with("58") => {
            Error::Unavailable { operation, source }
        }
        // invalid_authorization_specification, invalid_password, invalid_catalog_name,
        // insufficient_privilege
        "28000" | "28P01" | "3D000" | "42501" => Error::Refused { operation, source },
        // class 23, and what our triggers raise
        code if code.starts_with("23") => Error::Conflict {
            what: Subject::Constraint,
            source: Some(source),
        },
        _ => error::classify(operation, source),
    }
}

fn is_about_identity(error: &sqlx::Error) -> bool {
    let asked = ["pg_control_system", "pg_walfile_name", "pg_current_wal_lsn"];
    error
        .as_database_error()
        .is_some_and(|error| asked.iter().any(|name| error.message().contains(name)))
}

/// Notifications come from a trigger on the log head. They are lost while a connection is, so
/// the version is also looked at now and then.
const CHANNEL: &str = "chancery";
const LOOK: Duration = Duration::from_secs(1);
/// Without a listener: another call has it, or it cannot be had.
const POLL: Duration = Duration::from_millis(100);

pub(crate) async fn wait_for_change(
    engine: &PostgresEngine,
    since: i64,
    at_most: Duration,
) -> Result<i64, Error> {
    let until = Instant::now() + at_most;
    let mut slot = engine.listener.try_lock().ok();
    if let Some(slot) = slot.as_deref_mut().filter(|slot| slot.is_none()) {
        *slot = listen(engine).await;
    }
    loop {
        // After LISTEN and before waiting, so that no change falls in between.
        let version = log_head::number(engine, log_head::VERSION).await?;
        let left = until.saturating_duration_since(Instant::now());
        if version > since || left.is_zero() {
            return Ok(version);
        }
        match slot.as_deref_mut() {
            Some(slot) if slot.is_some() => hear(slot, LOOK.min(left)).await,
            _ => tokio::time::sleep(POLL.min(left)).await,
        }
    }
}

/// The listener's connection belongs to the pool, which would wait for it for ever.
pub(crate) async fn close(engine: &PostgresEngine) {
    drop(engine.listener.lock().await.take());
    engine.visitors.close().await;
    engine.pool.close().await;
}

/// Its own connection, one for all clones of the store.
async fn listen(engine: &PostgresEngine) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(&engine.pool).await.ok()?;
    listener.listen(CHANNEL).await.ok()?;
    Some(listener)
}

/// A listener that failed is let go; the next call makes another.
async fn hear(slot: &mut Option<PgListener>, at_most: Duration) {
    let Some(listener) = slot else { return };
    if let Ok(Err(_) | Ok(None)) = tokio::time::timeout(at_most, listener.try_recv()).await {
        *slot = None;
    }
}
