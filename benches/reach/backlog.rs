//! Leaves by the hundred thousand, written past the service: for what a large log costs it does not matter who wrote
//! them. They go through the schema's own tables and triggers and have the size of real ones.

pub mod archive;
pub mod postgres;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::installation::Installation;

/// Leaves of one transaction.
const CHUNK: i64 = 20_000;

/// Of so many leaves one is a refusal where there are any: five million of a hundred.
pub const REFUSAL_EVERY: i64 = 20;

/// A database beside the installation's own, of whichever engine: filled past the service, served by its environment.
pub trait Backlog {
    fn environment(&self) -> &BTreeMap<String, String>;

    /// One integer.
    fn number(&self, sql: &'static str) -> Result<i64>;

    fn text(&self, sql: &'static str) -> Result<String>;

    /// So many leaves more, signatures and refusals.
    fn append_mixed(&self, count: i64) -> Result<()>;

    /// Archived keys of these numbers.
    fn archive_more(&self, from: i64, to: i64) -> Result<()>;

    /// What the database would have done by itself in the time that the leaves would have taken.
    fn settle(&self) -> Result<()>;

    /// The same again under another name; the service is stopped for it.
    fn copy(&self, installation: &mut Installation, name: &str) -> Result<Box<dyn Backlog>>;

    /// For the service's own statements without the service.
    fn store(&self) -> store::Database;

    /// Seconds of CPU of the database's own processes so far.
    fn cpu(&self) -> Result<f64>;

    /// Bytes of the database.
    fn bytes(&self) -> Result<i64>;

    /// Its room is wanted for others.
    fn remove(&self) -> Result<()>;

    /// How many leaves there are.
    fn size(&self) -> Result<i64> {
        self.number("SELECT size FROM log_head")
    }

    /// How many of them are in the tree.
    fn integrated(&self) -> Result<i64> {
        self.number("SELECT size FROM log_tree")
    }

    /// How many of them are in the tree and in what is written behind the leaves.
    fn indexed(&self) -> Result<i64> {
        self.number(
            "SELECT MIN(size) FROM (SELECT size FROM log_tree UNION ALL SELECT size FROM log_indexed
                UNION ALL SELECT size FROM log_counted UNION ALL SELECT size FROM log_acted) AS places",
        )
    }
}

/// A second database beside the installation's own, with a log of its own, for `serve` by its environment.
pub struct Aside {
    pub environment: BTreeMap<String, String>,
    database: PathBuf,
    tiles: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Aside {
    /// A copy of the installation as it stands; the service is stopped for it.
    pub fn new(installation: &mut Installation, name: &str) -> Result<Self> {
        // The service folds its WAL into the file when it ends.
        installation.stop();
        let from = (installation.file("chancery.db"), installation.file("log"));
        Self::of(installation, from, name)
    }

    fn of(installation: &Installation, from: (PathBuf, PathBuf), name: &str) -> Result<Self> {
        let (file, directory) = (format!("{name}.db"), format!("{name}-log"));
        let aside = Self {
            database: installation.file(&file),
            tiles: installation.file(&directory),
            environment: BTreeMap::from([
                ("CHANCERY_STORE__URL".to_owned(), format!("sqlite:{file}")),
                ("CHANCERY_LOG__TILES".to_owned(), directory),
                // Leaves that one of them answered are not missing from the others.
                ("CHANCERY_LOG__KEPT".to_owned(), format!("{name}-kept")),
            ]),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        };
        fs::copy(&from.0, &aside.database)?;
        said_copy(&from.1, &aside.tiles)?;
        Ok(aside)
    }

    pub fn tiles(&self) -> &PathBuf {
        &self.tiles
    }

    /// Runs statements; each is followed by its integers.
    pub fn run(&self, statements: &[(&'static str, &[i64])]) -> Result<()> {
        self.with(async |database| {
            for (sql, values) in statements {
                let query = values
                    .iter()
                    .fold(sqlx::query(*sql), |q, value| q.bind(*value));
                query.execute(&mut *database).await.context(*sql)?;
            }
            Ok(())
        })
    }

    pub fn with<T>(&self, work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        let options = SqliteConnectOptions::new()
            .filename(&self.database)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(10));
        self.runtime.block_on(async {
            let mut database = options.connect().await?;
            let done = work(&mut database).await;
            database.close().await?;
            done
        })
    }

    /// `count` signatures more; the size after them.
    pub fn append(&self, count: i64) -> Result<i64> {
        self.append_with(count, 0)
    }

    /// Of every so many one is a refusal; of 0 none.
    fn append_with(&self, count: i64, refusal_every: i64) -> Result<i64> {
        let mut at = self.size()?;
        let end = at + count;
        while at < end {
            let to = (at + CHUNK).min(end);
            self.run(&[
                ("BEGIN IMMEDIATE", &[]),
                ("UPDATE log_head SET size = $1", &[to]),
                (LEAVES, &[at, to, refusal_every]),
                ("COMMIT", &[]),
            ])?;
            at = to;
        }
        Ok(end)
    }
}

impl Backlog for Aside {
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
        self.append_with(count, REFUSAL_EVERY).map(drop)
    }

    fn archive_more(&self, from: i64, to: i64) -> Result<()> {
        self.archive_between(from, to)
    }

    /// The WAL is folded in.
    fn settle(&self) -> Result<()> {
        self.run(&[("PRAGMA wal_checkpoint(TRUNCATE)", &[])])
    }

    fn copy(&self, installation: &mut Installation, name: &str) -> Result<Box<dyn Backlog>> {
        installation.stop();
        self.settle()?;
        let from = (self.database.clone(), self.tiles.clone());
        Ok(Box::new(Self::of(installation, from, name)?))
    }

    fn store(&self) -> store::Database {
        store::Database::Sqlite {
            path: self.database.clone(),
        }
    }

    fn cpu(&self) -> Result<f64> {
        Ok(0.0)
    }

    fn bytes(&self) -> Result<i64> {
        Ok(fs::metadata(&self.database)?.len().cast_signed())
    }

    fn remove(&self) -> Result<()> {
        fs::remove_file(&self.database)?;
        fs::remove_dir_all(&self.tiles)?;
        Ok(())
    }
}

/// What the leaves of a signature and of a refusal say (docs/LOG.md), with digests of nothing. `idx % 0` is NULL.
const LEAVES: &str = "WITH RECURSIVE leaf (idx, hash, input, time) AS (
    SELECT $1, lower(hex(randomblob(32))), lower(hex(randomblob(32))), unixepoch() * 1000
    UNION ALL
    SELECT idx + 1, lower(hex(randomblob(32))), lower(hex(randomblob(32))), time FROM leaf WHERE idx + 1 < $2)
INSERT INTO log_leaf (idx, time, kind, ring, kid, sig_hash, body)
SELECT idx, time, CASE WHEN idx % $3 = 0 THEN 'refusal' ELSE 'sign' END, 'records',
    CASE WHEN idx % $3 = 0 THEN NULL ELSE kid END, CASE WHEN idx % $3 = 0 THEN NULL ELSE hash END,
    CASE WHEN idx % $3 = 0 THEN '{\"action\":\"sign\",\"actor\":\"bench\",\"kind\":\"refusal\",\"reason\":\"forbidden\",'
        || '\"ring\":\"records\",\"time\":\"'
    ELSE '{\"actor\":\"bench\",\"alg\":\"ES256\",\"input_commit\":\"' || input || '\",\"kid\":\"' || kid
        || '\",\"kind\":\"sign\",\"ring\":\"records\",\"sig_hash\":\"' || hash || '\",\"time\":\"' END
    || strftime('%Y-%m-%dT%H:%M:%fZ', time / 1000.0, 'unixepoch') || '\",\"v\":1}'
FROM leaf, (SELECT kid FROM signing_key WHERE ring = 'records' AND role = 'primary') ORDER BY idx";

fn said_copy(from: &PathBuf, to: &PathBuf) -> Result<()> {
    let mut copy = std::process::Command::new("cp");
    testkit::process::done(copy.arg("-r").arg(from).arg(to)).map(drop)
}
