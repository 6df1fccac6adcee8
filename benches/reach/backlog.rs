//! Leaves by the hundred thousand, written past the service: for what a large log costs it does not matter who wrote
//! them. They go through the schema's own tables and triggers and have the size of real ones.

pub mod archive;

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
        installation.stop();
        let (file, directory) = (format!("{name}.db"), format!("{name}-log"));
        let aside = Self {
            database: installation.file(&file),
            tiles: installation.file(&directory),
            environment: BTreeMap::from([
                ("CHANCERY_STORE__URL".to_owned(), format!("sqlite:{file}")),
                ("CHANCERY_LOG__TILES".to_owned(), directory),
            ]),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        };
        // The service has folded its WAL into the file when it ended.
        fs::copy(installation.file("chancery.db"), &aside.database)?;
        said_copy(&installation.file("log"), &aside.tiles)?;
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

    /// How many leaves there are.
    pub fn size(&self) -> Result<i64> {
        self.with(async |database| {
            let size = sqlx::query_scalar("SELECT size FROM log_head");
            Ok(size.fetch_one(database).await?)
        })
    }

    /// How many of them are in the tree.
    pub fn integrated(&self) -> Result<i64> {
        self.with(async |database| {
            let size = sqlx::query_scalar("SELECT size FROM log_tree");
            Ok(size.fetch_one(database).await?)
        })
    }

    /// `count` signatures more; the size after them.
    pub fn append(&self, count: i64) -> Result<i64> {
        let mut at = self.size()?;
        let end = at + count;
        while at < end {
            let to = (at + CHUNK).min(end);
            self.run(&[
                ("BEGIN IMMEDIATE", &[]),
                ("UPDATE log_head SET size = $1", &[to]),
                (LEAVES, &[at, to]),
                ("COMMIT", &[]),
            ])?;
            at = to;
        }
        Ok(end)
    }
}

/// What a signature's leaf says (docs/LOG.md), with digests of nothing.
const LEAVES: &str = "WITH RECURSIVE leaf (idx, hash, input, time) AS (
    SELECT $1, lower(hex(randomblob(32))), lower(hex(randomblob(32))), unixepoch() * 1000
    UNION ALL
    SELECT idx + 1, lower(hex(randomblob(32))), lower(hex(randomblob(32))), time FROM leaf WHERE idx + 1 < $2)
INSERT INTO log_leaf (idx, time, kind, ring, kid, sig_hash, body)
SELECT idx, time, 'sign', 'records', kid, hash, '{\"actor\":\"bench\",\"alg\":\"ES256\",\"input_commit\":\"' || input
    || '\",\"kid\":\"' || kid || '\",\"kind\":\"sign\",\"ring\":\"records\",\"sig_hash\":\"' || hash || '\",\"time\":\"'
    || strftime('%Y-%m-%dT%H:%M:%fZ', time / 1000.0, 'unixepoch') || '\",\"v\":1}'
FROM leaf, (SELECT MIN(kid) AS kid FROM signing_key WHERE ring = 'records') ORDER BY idx";

fn said_copy(from: &PathBuf, to: &PathBuf) -> Result<()> {
    let mut copy = std::process::Command::new("cp");
    testkit::process::done(copy.arg("-r").arg(from).arg(to)).map(drop)
}
