//! One store, whichever engine it runs on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::error::Error;
use crate::fence::Fence;
use crate::kept::Kept;
use crate::log_head;
use crate::migrate::{self, Schema};
use crate::postgres::{self, PostgresEngine};
use crate::sqlite::{self, Found, SqliteEngine};
use crate::tail::Tail;

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file, which [`Store::found`] makes; one process at a time should serve from it.
    Sqlite { path: PathBuf },
    /// `postgres://user:password@host:port/name?sslmode=verify-full&sslrootcert=…`
    Postgres { url: SecretString, connections: u32 },
}

/// Clones share their connections; [`Store::for_visitors`] has some of its own.
#[derive(Clone)]
pub struct Store {
    pub(crate) engine: AnyEngine,
    pub(crate) tail: Arc<tokio::sync::Mutex<Tail>>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) kept: Arc<Kept>,
}

#[derive(Clone)]
pub(crate) enum AnyEngine {
    Sqlite(SqliteEngine),
    Postgres(PostgresEngine),
}

/// Runs one generic body on whichever engine it is.
macro_rules! on {
    ($store:expr, $engine:ident => $body:expr) => {
        match &$store.engine {
            $crate::database::AnyEngine::Sqlite($engine) => $body.await,
            $crate::database::AnyEngine::Postgres($engine) => $body.await,
        }
    };
}
pub(crate) use on;

impl Store {
    /// Opens the database; does not migrate it. Fails within seconds where it cannot be reached, and where its file is
    /// not there: it may be on a volume that is not mounted, and nothing is made in its place.
    pub async fn connect(database: &Database) -> Result<Self, Error> {
        Self::reach(database, Found::Only).await
    }

    /// The same, and a file that is not there is made: of an installation that begins, by `chancery migrate`.
    pub async fn found(database: &Database) -> Result<Self, Error> {
        Self::reach(database, Found::OrCreate).await
    }

    async fn reach(database: &Database, found: Found) -> Result<Self, Error> {
        let engine = match database {
            Database::Sqlite { path } => {
                AnyEngine::Sqlite(SqliteEngine::connect(path, found).await?)
            }
            Database::Postgres { url, connections } => {
                AnyEngine::Postgres(PostgresEngine::connect(url, *connections).await?)
            }
        };
        Ok(Self {
            engine,
            tail: Arc::default(),
            fence: Arc::default(),
            kept: Arc::default(),
        })
    }

    /// The same store for what anybody may ask: it reads by connections of its own, on PostgreSQL with
    /// shorter time-outs, so that however many ask, the service's own reads and commits do not wait behind
    /// them.
    pub fn for_visitors(&self) -> Self {
        let mut visitors = self.clone();
        match &mut visitors.engine {
            AnyEngine::Sqlite(engine) => engine.visiting = true,
            AnyEngine::Postgres(engine) => engine.visiting = true,
        }
        visitors
    }

    /// For a server that does not say which one it is: a fail-over is then noticed by an index that is given out
    /// again, and by nothing else.
    #[must_use]
    pub fn by_index_only(mut self) -> Self {
        if let AnyEngine::Postgres(engine) = &mut self.engine {
            engine.head = postgres::HEAD_BY_INDEX;
        }
        self
    }

    /// For an orderly end: waits for calls under way and refuses later ones. Nothing is lost
    /// without it; SQLite folds its WAL into the file here.
    pub async fn close(&self) {
        match &self.engine {
            AnyEngine::Sqlite(engine) => {
                engine.visitors.close().await;
                engine.readers.close().await;
                engine.writer.close().await;
            }
            AnyEngine::Postgres(engine) => postgres::close(engine).await,
        }
    }

    /// Between two parts of a long write: whoever waits for the file in another process looks for it only now and then, and
    /// would find it taken each time. Writers of one process, and those of a server, have their turn without this.
    pub async fn let_others_write(&self) {
        if let AnyEngine::Sqlite(_) = &self.engine {
            tokio::time::sleep(sqlite::LONGEST_POLL).await;
        }
    }

    /// Brings the schema up to this program; how many migrations that took. Safe to run from
    /// several replicas at once. If we die within one, that one has not happened.
    pub async fn migrate(&self) -> Result<u64, Error> {
        let before = self.schema().await?;
        match &self.engine {
            AnyEngine::Sqlite(engine) => migrate::sqlite(engine).await?,
            AnyEngine::Postgres(engine) => migrate::postgres(engine).await?,
        }
        let after = self.schema().await?;
        Ok(after.applied.abs_diff(before.applied))
    }

    pub async fn schema(&self) -> Result<Schema, Error> {
        on!(self, engine => migrate::schema(engine))
    }

    /// A round trip; succeeds on an empty database too.
    pub async fn ping(&self) -> Result<(), Error> {
        on!(self, engine => migrate::ping(engine))
    }

    /// Rises with every [`crate::Change`] but `Record`. A snapshot taken at this version or later is as
    /// new as this version says.
    pub async fn version(&self) -> Result<i64, Error> {
        on!(self, engine => log_head::number(engine, log_head::VERSION))
    }

    /// Returns as soon as the version is above `since`, or with what it is after `at_most`.
    pub async fn wait_for_change(&self, since: i64, at_most: Duration) -> Result<i64, Error> {
        match &self.engine {
            AnyEngine::Sqlite(engine) => sqlite::wait_for_change(engine, since, at_most).await,
            AnyEngine::Postgres(engine) => postgres::wait_for_change(engine, since, at_most).await,
        }
    }
}
