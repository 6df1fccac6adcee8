//! The same on PostgreSQL: databases of one server, each with a log of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, PgConnection};
use testkit::postgres::Server;

use super::archive::WHOLE;
use super::{Backlog, CHUNK, REFUSAL_EVERY, said_copy};
use crate::installation::Installation;
use crate::process;

/// Connections of the service, and of what asks beside it.
const CONNECTIONS: u32 = 8;

pub struct PostgresAside {
    environment: BTreeMap<String, String>,
    server: Rc<Server>,
    database: String,
    tiles: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl PostgresAside {
    /// A copy of the installation as it stands, whose database this is; the service is stopped for it.
    pub fn new(
        installation: &mut Installation,
        server: &Rc<Server>,
        database: &str,
        name: &str,
    ) -> Result<Self> {
        installation.stop();
        let log = installation.file("log");
        Self::of(installation, server, (database, &log), name)
    }

    fn of(
        installation: &Installation,
        server: &Rc<Server>,
        (database, log): (&str, &PathBuf),
        name: &str,
    ) -> Result<Self> {
        // Copied as files: written to the WAL it would take as long as filling it.
        let create =
            format!("CREATE DATABASE \"{name}\" TEMPLATE \"{database}\" STRATEGY file_copy");
        testkit::process::done(&mut server.psql("postgres", &create))?;
        let directory = format!("{name}-log");
        let tiles = installation.file(&directory);
        said_copy(log, &tiles)?;
        // The log was written with the other database; this one is told that it is its own.
        let known = tiles.join("database");
        if known.exists() {
            fs::remove_file(known)?;
        }
        Ok(Self {
            environment: BTreeMap::from([
                ("CHANCERY_STORE__URL".to_owned(), server.url(name)),
                ("CHANCERY_LOG__TILES".to_owned(), directory),
                // Leaves that one of them answered are not missing from the others.
                ("CHANCERY_LOG__KEPT".to_owned(), format!("{name}-kept")),
            ]),
            server: Rc::clone(server),
            database: name.to_owned(),
            tiles,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    fn with<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        let url = self.server.url(&self.database);
        self.runtime.block_on(async {
            let mut database = PgConnection::connect(&url).await?;
            let done = work(&mut database).await;
            database.close().await?;
            done
        })
    }

    fn psql(&self, sql: &str) -> Result<()> {
        testkit::process::done(&mut self.server.psql(&self.database, sql)).map(drop)
    }
}

impl Backlog for PostgresAside {
    fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    fn number(&self, sql: &'static str) -> Result<i64> {
        self.with(async |database| Ok(sqlx::query_scalar(sql).fetch_one(database).await?))
    }

    fn text(&self, sql: &'static str) -> Result<String> {
        self.with(async |database| Ok(sqlx::query_scalar(sql).fetch_one(database).await?))
    }

    fn append_mixed(&self, count: i64) -> Result<()> {
        let mut at = self.size()?;
        let end = at + count;
        self.with(async |database| {
            while at < end {
                let to = (at + CHUNK).min(end);
                let mut chunk = database.begin().await?;
                sqlx::query("UPDATE log_head SET size = $1")
                    .bind(to)
                    .execute(&mut *chunk)
                    .await?;
                sqlx::query(LEAVES)
                    .bind(at)
                    .bind(to)
                    .bind(REFUSAL_EVERY)
                    .execute(&mut *chunk)
                    .await
                    .context("leaves")?;
                chunk.commit().await?;
                at = to;
            }
            Ok(())
        })
    }

    fn archive_more(&self, from: i64, end: i64) -> Result<()> {
        // The triggers say how a key comes to be, which these did not.
        const TABLES: [&str; 3] = ["ceremony", "key_object", "signing_key"];
        for table in TABLES {
            self.psql(&format!("ALTER TABLE {table} DISABLE TRIGGER USER"))?;
        }
        self.with(async |database| {
            for (sql, what) in [
                (CEREMONIES, "ceremonies"),
                (OBJECTS, "objects"),
                (KEYS, "keys"),
            ] {
                sqlx::query(sql)
                    .bind(from)
                    .bind(end)
                    .bind(end - WHOLE)
                    .execute(&mut *database)
                    .await
                    .context(what)?;
            }
            for sql in ["DELETE FROM key_count", COUNT] {
                sqlx::query(sql).execute(&mut *database).await?;
            }
            Ok(())
        })?;
        for table in TABLES {
            self.psql(&format!("ALTER TABLE {table} ENABLE TRIGGER USER"))?;
        }
        Ok(())
    }

    /// What autovacuum does between one leaf and the ten-millionth; in a window of measuring it would be counted.
    fn settle(&self) -> Result<()> {
        self.psql("VACUUM (ANALYZE)")?;
        self.psql("CHECKPOINT")
    }

    fn copy(&self, installation: &mut Installation, name: &str) -> Result<Box<dyn Backlog>> {
        installation.stop();
        let from = (self.database.as_str(), &self.tiles);
        Ok(Box::new(Self::of(installation, &self.server, from, name)?))
    }

    fn store(&self) -> store::Database {
        store::Database::Postgres {
            url: self.server.url(&self.database).into(),
            connections: CONNECTIONS,
        }
    }

    fn cpu(&self) -> Result<f64> {
        process::cpu(self.server.id().context("PostgreSQL does not run")?)
    }

    fn bytes(&self) -> Result<i64> {
        self.number("SELECT pg_database_size(current_database())")
    }

    fn remove(&self) -> Result<()> {
        let drop_it = format!("DROP DATABASE \"{}\"", self.database);
        testkit::process::done(&mut self.server.psql("postgres", &drop_it))?;
        fs::remove_dir_all(&self.tiles)?;
        Ok(())
    }
}

/// What the leaves of a signature and of a refusal say (docs/LOG.md), with digests of nothing.
const LEAVES: &str = "INSERT INTO log_leaf (idx, time, kind, ring, kid, sig_hash, body)
SELECT idx, time, CASE WHEN refused THEN 'refusal' ELSE 'sign' END, 'records',
    CASE WHEN refused THEN NULL ELSE kid END, CASE WHEN refused THEN NULL ELSE hash END,
    CASE WHEN refused THEN '{\"action\":\"sign\",\"actor\":\"bench\",\"kind\":\"refusal\",\"reason\":\"forbidden\",'
        || '\"ring\":\"records\",\"time\":\"'
    ELSE '{\"actor\":\"bench\",\"alg\":\"ES256\",\"input_commit\":\"' || input || '\",\"kid\":\"' || kid
        || '\",\"kind\":\"sign\",\"ring\":\"records\",\"sig_hash\":\"' || hash || '\",\"time\":\"' END || told || '\",\"v\":1}'
FROM (SELECT idx, idx % $3::bigint = 0 AS refused,
        encode(sha256(convert_to('signature ' || idx, 'UTF8')), 'hex') AS hash,
        encode(sha256(convert_to('input ' || idx, 'UTF8')), 'hex') AS input
        FROM generate_series($1::bigint, $2::bigint - 1) AS made (idx)) AS leaf,
    (SELECT (extract(epoch FROM now()) * 1000)::bigint AS time,
        to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS told) AS clock,
    (SELECT kid FROM signing_key WHERE ring = 'records' AND role = 'primary') AS primary_key
ORDER BY idx";

const COUNT: &str = "INSERT INTO key_count (ring, state, keys)
    SELECT ring, state, COUNT(*) FROM signing_key GROUP BY ring, state";

const CEREMONIES: &str = "INSERT INTO ceremony
    (id, operation, ring, state, nonce, request, execution, transcript, created_at, updated_at)
SELECT lpad(to_hex(n + 1), 64, '0'), 'generate', 'records', 'closed', lpad(to_hex(n + 1), 32, '0'),
    CASE WHEN n >= $3 THEN request ELSE '{}'::bytea END, '{}'::bytea,
    CASE WHEN n >= $3 THEN transcript ELSE '{}'::bytea END, 1500000000000 + n, 1500000000000 + n
FROM generate_series($1::bigint, $2::bigint - 1) AS made (n),
    (SELECT request, transcript FROM ceremony WHERE ring = 'records' AND transcript IS NOT NULL
        AND length(request) > 2 LIMIT 1) AS real_one";

const OBJECTS: &str = "INSERT INTO key_object
    (id, kind, device, label, place, location, ring, number, ceremony, state, kid, created_at, updated_at)
SELECT 'pkcs11/archive/' || n, kind, 'pkcs11/archive', 'archive/' || n, place, location, 'records', 1000 + n,
    lpad(to_hex(n + 1), 64, '0'), 'destroyed', lpad(n::text, 42, '0') || 'A', 1500000000000 + n, 1500000000000 + n
FROM generate_series($1::bigint, $2::bigint - 1) AS made (n),
    (SELECT kind, place, location FROM key_object WHERE ring = 'records' AND location IS NOT NULL LIMIT 1) AS real_one
WHERE $3::bigint = $3::bigint";

const KEYS: &str = "INSERT INTO signing_key
    (kid, ring, number, state, spki, object, published_at, activate_at, retire_at, activated_at,
    demoted_at, retired_at, archived_at, ceremony)
SELECT lpad(n::text, 42, '0') || 'A', 'records', 1000 + n, 'archived', convert_to(lpad(n::text, 91, '0'), 'UTF8'),
    'pkcs11/archive/' || n, 1500000000000 + n, 1500000000000 + n, 1510000000000 + n, 1500000000000 + n,
    1510000000000 + n, 1510000100000 + n, 1510000200000 + n, lpad(to_hex(n + 1), 64, '0')
FROM generate_series($1::bigint, $2::bigint - 1) AS made (n) WHERE $3::bigint = $3::bigint";
