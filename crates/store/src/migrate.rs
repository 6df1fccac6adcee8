//! The schema: forward only, numbered, checked against what was applied.

use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};

use crate::engine::{Columns, Connection, Engine};
use crate::error::Error;
use crate::postgres::PostgresEngine;
use crate::sqlite::SqliteEngine;

/// Same numbers and names for both engines. A file that was changed after it landed fails with
/// its checksum.
pub(crate) static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");
pub(crate) static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Numbers of the last migration applied and of the last one this program knows. Serve only
/// while they are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    pub applied: i64,
    pub expected: i64,
}

impl Schema {
    pub fn check(self) -> Result<(), Error> {
        if self.applied == self.expected {
            return Ok(());
        }
        Err(Error::Schema {
            applied: self.applied,
            expected: self.expected,
        })
    }
}

/// sqlx locks nothing on SQLite, so two processes that start at once would both apply the first
/// migration: the write lock is taken around all of them, which also makes them one transaction.
pub(crate) async fn sqlite(engine: &SqliteEngine) -> Result<(), Error> {
    let (mut connection, _turn) = engine.writer.acquire().await.map_err(failed)?;
    let begin = connection.begin_with("BEGIN IMMEDIATE");
    let mut transaction = begin.await.map_err(failed)?;
    SQLITE.run(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// On a connection without time-outs, because a migration may take longer than a statement may.
/// Replicas that start at once queue at the migrator's advisory lock.
pub(crate) async fn postgres(engine: &PostgresEngine) -> Result<(), Error> {
    let mut connection = engine.without_timeouts().await?;
    POSTGRES.run(&mut connection).await.map_err(failed)
}

fn failed(source: impl Into<MigrateError>) -> Error {
    Error::Migration {
        source: source.into(),
    }
}

pub(crate) async fn schema<E: Engine>(engine: &E) -> Result<Schema, Error> {
    let expected = SQLITE
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0);
    let mut reader = engine.reader().await?;
    let there = reader
        .fetch_optional(E::DIALECT.has_migrations, &[])
        .await?;
    let applied = match there {
        None => 0,
        Some(_) => match reader.fetch_optional(LAST_MIGRATION, &[]).await? {
            Some(row) => row.int(0)?,
            None => 0,
        },
    };
    Ok(Schema { applied, expected })
}

const LAST_MIGRATION: &str = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success";

pub(crate) async fn ping<E: Engine>(engine: &E) -> Result<(), Error> {
    engine
        .reader()
        .await?
        .fetch("SELECT 1", &[])
        .await
        .map(drop)
}
