//! The database: what is kept, and in which transactions.
//!
//! Every write is one named [`Change`] together with the [`Leaf`] that tells of it, in one
//! transaction ([`Store::commit`]); signatures go through [`Store::commit_signatures`], which
//! also fences keys that may not sign any more. There is no third way to write.
//!
//! The database orders and keeps; it is not believed. Whoever reads a key from here tallies its
//! transcript again before using it.

mod changes;
mod decode;
mod engine;
mod error;
mod index;
mod migrate;
mod postgres;
mod radius;
mod reads;
mod rows;
mod signatures;
mod sqlite;
mod statements;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use engine::Value;
pub use error::{Error, Subject};
#[cfg(test)]
pub use index::MAX_INDEXED;
pub use migrate::Schema;
use postgres::PostgresEngine;
pub use radius::DayRow;
pub use reads::MAX_PAGE;
pub use rows::*;
pub use signatures::MAX_BATCH;
#[cfg(test)]
pub use signatures::MAX_LEAF;
use sqlite::SqliteEngine;

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file, made if it is not there; one process at a time should serve from it.
    Sqlite { path: PathBuf },
    /// `postgres://user:password@host:port/name?sslmode=verify-full&sslrootcert=…`
    Postgres { url: SecretString, connections: u32 },
}

/// Clones share their connections.
#[derive(Clone)]
pub struct Store {
    engine: AnyEngine,
    tail: Arc<tokio::sync::Mutex<index::Tail>>,
}

#[derive(Clone)]
enum AnyEngine {
    Sqlite(SqliteEngine),
    Postgres(PostgresEngine),
}

/// Runs one generic body on whichever engine it is.
macro_rules! on {
    ($store:expr, $engine:ident => $body:expr) => {
        match &$store.engine {
            AnyEngine::Sqlite($engine) => $body.await,
            AnyEngine::Postgres($engine) => $body.await,
        }
    };
}

impl Store {
    /// Opens the database; does not migrate it. Fails within seconds where it cannot be reached.
    pub async fn connect(database: &Database) -> Result<Self, Error> {
        let engine = match database {
            Database::Sqlite { path } => AnyEngine::Sqlite(SqliteEngine::connect(path).await?),
            Database::Postgres { url, connections } => {
                AnyEngine::Postgres(PostgresEngine::connect(url, *connections).await?)
            }
        };
        Ok(Self {
            engine,
            tail: Arc::default(),
        })
    }

    /// For an orderly end: waits for calls under way and refuses later ones. Nothing is lost
    /// without it; SQLite folds its WAL into the file here.
    pub async fn close(&self) {
        match &self.engine {
            AnyEngine::Sqlite(engine) => {
                engine.readers.close().await;
                engine.writer.close().await;
            }
            AnyEngine::Postgres(engine) => postgres::close(engine).await,
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

    /// Rises with every [`Change`] but `Record`. A snapshot taken at this version or later is as
    /// new as this version says.
    pub async fn version(&self) -> Result<i64, Error> {
        on!(self, engine => reads::head(engine, statements::VERSION))
    }

    /// Returns as soon as the version is above `since`, or with what it is after `at_most`.
    pub async fn wait_for_change(&self, since: i64, at_most: Duration) -> Result<i64, Error> {
        match &self.engine {
            AnyEngine::Sqlite(engine) => sqlite::wait_for_change(engine, since, at_most).await,
            AnyEngine::Postgres(engine) => postgres::wait_for_change(engine, since, at_most).await,
        }
    }

    pub async fn rings(&self) -> Result<Vec<RingRow>, Error> {
        on!(self, engine => reads::all(engine, statements::RINGS, &[]))
    }

    /// By ring and number.
    pub async fn keys(&self) -> Result<Vec<KeyRow>, Error> {
        on!(self, engine => reads::all(engine, statements::KEYS, &[]))
    }

    /// Oldest first.
    pub async fn ceremonies(&self) -> Result<Vec<CeremonyRow>, Error> {
        on!(self, engine => reads::all(engine, statements::CEREMONIES, &[]))
    }

    pub async fn ceremony(&self, id: &str) -> Result<Option<CeremonyRow>, Error> {
        on!(self, engine => reads::one(engine, statements::CEREMONY, &[Value::Text(id)]))
    }

    /// In the order in which they came.
    pub async fn ceremony_signatures(&self, id: &str) -> Result<Vec<CeremonySignatureRow>, Error> {
        let id = [Value::Text(id)];
        on!(self, engine => reads::all(engine, statements::CEREMONY_SIGNATURES, &id))
    }

    /// The signatures of all ceremonies, in the order in which they came.
    pub async fn votes(&self) -> Result<Vec<VoteRow>, Error> {
        on!(self, engine => reads::all(engine, statements::VOTES, &[]))
    }

    /// The signatures of one ceremony with their leaves, in the order in which they came.
    pub async fn votes_of(&self, ceremony: &str) -> Result<Vec<VoteRow>, Error> {
        let id = [Value::Text(ceremony)];
        on!(self, engine => reads::all(engine, statements::VOTES_OF, &id))
    }

    /// Of a closed ceremony.
    pub async fn transcript(&self, ceremony: &str) -> Result<Option<Vec<u8>>, Error> {
        on!(self, engine => reads::transcript(engine, ceremony))
    }

    /// Its places in the lines of its subjects.
    pub async fn lines(&self, ceremony: &str) -> Result<Vec<LineRow>, Error> {
        let id = [Value::Text(ceremony)];
        on!(self, engine => reads::all(engine, statements::LINES, &id))
    }

    /// The last ceremony of this line that was carried out.
    pub async fn line_head(&self, subject: &str) -> Result<Option<LineHeadRow>, Error> {
        let subject = [Value::Text(subject)];
        on!(self, engine => reads::one(engine, statements::LINE_HEAD, &subject))
    }

    /// Whether another ceremony that was carried out has this nonce.
    pub async fn nonce_used(&self, nonce: &str, ceremony: &str) -> Result<bool, Error> {
        let values = [Value::Text(nonce), Value::Text(ceremony)];
        on!(self, engine => reads::any(engine, statements::NONCE_USED, &values))
    }

    /// In the order of the chain.
    pub async fn documents(&self) -> Result<Vec<DocumentRow>, Error> {
        on!(self, engine => reads::all(engine, statements::DOCUMENTS, &[]))
    }

    pub async fn key_objects(&self) -> Result<Vec<KeyObjectRow>, Error> {
        on!(self, engine => reads::all(engine, statements::KEY_OBJECTS, &[]))
    }

    /// Withdrawn ones too.
    pub async fn credentials(&self) -> Result<Vec<CredentialRow>, Error> {
        on!(self, engine => reads::all(engine, statements::CREDENTIALS, &[]))
    }

    /// How many leaves there are, which is the index of the next.
    pub async fn log_size(&self) -> Result<i64, Error> {
        on!(self, engine => reads::head(engine, statements::LOG_SIZE))
    }

    pub async fn leaf(&self, index: i64) -> Result<Option<LeafRow>, Error> {
        on!(self, engine => reads::one(engine, statements::LEAF, &[Value::Int(index)]))
    }

    /// From this index on, without gaps, at most [`MAX_PAGE`].
    pub async fn leaves(&self, from: i64, limit: i64) -> Result<Vec<LeafRow>, Error> {
        let values = [Value::Int(from), Value::Int(limit.clamp(0, MAX_PAGE))];
        on!(self, engine => reads::all(engine, statements::LEAVES, &values))
    }

    pub async fn leaves_of(&self, filter: &LeafFilter, limit: i64) -> Result<Vec<LeafRow>, Error> {
        on!(self, engine => reads::leaves_of(engine, filter, limit))
    }

    /// Acts on keys, on the log and in ceremonies from this index on, at most [`MAX_PAGE`].
    pub async fn leaves_of_keys(&self, from: i64) -> Result<Vec<LeafRow>, Error> {
        let values = [Value::Int(from), Value::Int(MAX_PAGE)];
        on!(self, engine => reads::all(engine, statements::LEAVES_OF_KEYS, &values))
    }

    /// The latest time that any of these leaves tells.
    pub async fn latest_time(&self, first: i64, last: i64) -> Result<Option<i64>, Error> {
        let values = [Value::Int(first), Value::Int(last)];
        on!(self, engine => reads::latest_time(engine, &values))
    }

    /// The earliest leaf of each hash; hashes that are in no leaf are left out.
    pub async fn occurrences(&self, sig_hashes: &[String]) -> Result<Vec<Occurrence>, Error> {
        on!(self, engine => index::occurrences(engine, &self.tail, sig_hashes))
    }

    /// How many leaves [`Store::index_signatures`] has still to do.
    pub async fn unindexed(&self) -> Result<i64, Error> {
        on!(self, engine => index::unindexed(engine))
    }

    /// Puts the signatures among the next leaves into the index, at most 65 536 leaves; how
    /// many. Any replica may, any number of times.
    pub async fn index_signatures(&self, at_most: i64) -> Result<i64, Error> {
        on!(self, engine => index::index(engine, at_most))
    }

    /// What this caller was answered for this idempotency key.
    pub async fn idempotent(
        &self,
        principal: &str,
        key: &str,
    ) -> Result<Option<IdempotentAnswer>, Error> {
        let values = [Value::Text(principal), Value::Text(key)];
        on!(self, engine => reads::one(engine, statements::ANSWER, &values))
    }

    /// Forgets answers older than this; the leaves stay. How many went.
    pub async fn forget_answers(&self, before: i64) -> Result<u64, Error> {
        on!(self, engine => signatures::forget_answers(engine, before))
    }

    /// Gives every signature its leaf, or says why it must not leave; at most [`MAX_BATCH`] in one
    /// transaction, outcomes in the order of the batch. On any error none of them may leave.
    /// Call it from a task that is not dropped half way: a dropped call is an unknown outcome.
    pub async fn commit_signatures(
        &self,
        batch: &[SignatureRecord],
    ) -> Result<Vec<SignatureOutcome>, Error> {
        on!(self, engine => signatures::commit(engine, batch))
    }

    pub async fn tree(&self) -> Result<TreeRow, Error> {
        on!(self, engine => tree::tree(engine))
    }

    /// Makes `holder` the integrator until `until`, unless another one's lease still runs.
    pub async fn lease_tree(&self, holder: &str, now: i64, until: i64) -> Result<bool, Error> {
        on!(self, engine => tree::lease(engine, holder, now, until))
    }

    /// `new` instead of `old`; false if the tree is not `old` any more.
    pub async fn swap_tree(&self, old: &TreeRow, new: &TreeRow) -> Result<bool, Error> {
        on!(self, engine => tree::swap(engine, old, new))
    }

    /// Records a signed checkpoint and returns the one that stands for this size: the first.
    /// Refused when its key may not sign any more.
    pub async fn add_checkpoint(&self, row: &CheckpointRow) -> Result<CheckpointRow, Error> {
        on!(self, engine => tree::add_checkpoint(engine, row))
    }

    /// Adds witnesses' lines; false if somebody else added some meanwhile.
    pub async fn cosign(&self, size: i64, known: &str, all: &str) -> Result<bool, Error> {
        on!(self, engine => tree::cosign(engine, size, known, all))
    }

    pub async fn last_checkpoint(&self) -> Result<Option<CheckpointRow>, Error> {
        on!(self, engine => reads::one(engine, statements::LAST_CHECKPOINT, &[]))
    }

    /// The first checkpoint that covers the leaf.
    pub async fn checkpoint_over(&self, index: i64) -> Result<Option<CheckpointRow>, Error> {
        on!(self, engine => reads::one(engine, statements::CHECKPOINT_OVER, &[Value::Int(index)]))
    }

    /// The last checkpoint that does not cover the leaf.
    pub async fn checkpoint_before(&self, index: i64) -> Result<Option<CheckpointRow>, Error> {
        on!(self, engine => reads::one(engine, statements::CHECKPOINT_BEFORE, &[Value::Int(index)]))
    }

    /// Of this size or larger, at most [`MAX_PAGE`].
    pub async fn checkpoints(&self, from: i64, limit: i64) -> Result<Vec<CheckpointRow>, Error> {
        let values = [Value::Int(from), Value::Int(limit.clamp(0, MAX_PAGE))];
        on!(self, engine => reads::all(engine, statements::CHECKPOINTS, &values))
    }

    /// The first signature whose body is there.
    pub async fn first_body(&self) -> Result<Option<i64>, Error> {
        on!(self, engine => tree::first_body(engine))
    }

    /// Removes the bodies of signatures from this index up to where [`Change::Prune`] allows it; how
    /// many went. For the archivist alone: the service's own role may not.
    pub async fn prune(&self, from: i64) -> Result<u64, Error> {
        on!(self, engine => tree::prune(engine, from))
    }

    /// One change with its leaf; the index of the leaf.
    pub async fn commit(&self, change: &Change, leaf: &Leaf) -> Result<i64, Error> {
        on!(self, engine => changes::commit(engine, change, leaf))
    }
}
