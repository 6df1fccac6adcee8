//! Whom the database takes this program for, and by how many connections.

use crate::database::{AnyEngine, Store};
use crate::engine::{Columns, Connection, Engine};
use crate::error::Error;
use crate::log_head::no_head;
use crate::sqlite::writer::Writer;

/// The account that PostgreSQL knows this program by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    /// Nothing that the database forbids is forbidden to it.
    pub is_superuser: bool,
    /// It can lift the triggers that keep past records as they are.
    pub owns_tables: bool,
}

/// One pool of connections at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConnections {
    pub pool: &'static str,
    pub used: u32,
    pub idle: u32,
    /// More are never opened.
    pub limit: u32,
}

/// A member of the owner counts as the owner.
const ACCOUNT: &str = "SELECT current_user::text,
        (current_setting('is_superuser') = 'on')::int::bigint,
        EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass('log_leaf')
            AND pg_has_role(relowner, 'USAGE'))::int::bigint";

async fn account<E: Engine>(engine: &E) -> Result<Account, Error> {
    let mut reader = engine.reader().await?;
    let row = reader.fetch_optional(ACCOUNT, &[]).await?;
    let row = row.ok_or_else(no_head)?;
    Ok(Account {
        name: row.text(0)?,
        is_superuser: row.int(1)? == 1,
        owns_tables: row.int(2)? == 1,
    })
}

fn connections<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> PoolConnections {
    let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
    PoolConnections {
        pool: name,
        used: pool.size().saturating_sub(idle),
        idle,
        limit: pool.options().get_max_connections(),
    }
}

/// Its connection stays out of the pool between two transactions.
fn writer(writer: &Writer) -> PoolConnections {
    let pool = connections("writer", writer.pool());
    let kept = u32::from(writer.is_idle());
    PoolConnections {
        used: pool.used.saturating_sub(kept),
        idle: pool.idle + kept,
        ..pool
    }
}

impl Store {
    /// None where the engine has no accounts.
    pub async fn account(&self) -> Result<Option<Account>, Error> {
        match &self.engine {
            AnyEngine::Sqlite(_) => Ok(None),
            AnyEngine::Postgres(engine) => account(engine).await.map(Some),
        }
    }

    /// Of each pool: the service's own, and the one for strangers. SQLite's one writer is apart.
    pub fn connections(&self) -> Vec<PoolConnections> {
        match &self.engine {
            AnyEngine::Sqlite(engine) => vec![
                writer(&engine.writer),
                connections("service", &engine.readers),
                connections("visitors", &engine.visitors),
            ],
            AnyEngine::Postgres(engine) => vec![
                connections("service", &engine.pool),
                connections("visitors", &engine.visitors),
            ],
        }
    }
}
