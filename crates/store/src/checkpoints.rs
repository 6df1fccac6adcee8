//! Checkpoints that were signed, and the witnesses' lines under them.

use trust::{Kid, Sha256Digest, Time};

use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::Taken;
use crate::engine::{Columns, Connection, Engine, Value, write};
use crate::error::{Error, Subject};
use crate::fence::Fence;
use crate::keys::{self, KeyStatus};
use crate::log_head::take_head;
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::statements::statements;

macro_rules! checkpoint_columns {
    () => {
        "size, root, time, clock, kid, note, cosignatures"
    };
}

statements! {
    CHECKPOINT =
        concat!("SELECT ", checkpoint_columns!(), " FROM log_checkpoint WHERE size = $1");
    LAST_CHECKPOINT = concat!("SELECT ", checkpoint_columns!(), ", (SELECT origin FROM log_tree)
        FROM log_checkpoint ORDER BY size DESC LIMIT 1");
    /// The first that covers a leaf.
    CHECKPOINT_OVER = concat!("SELECT ", checkpoint_columns!(), " FROM log_checkpoint
        WHERE size > $1 ORDER BY size LIMIT 1");
    /// The last that does not cover it.
    CHECKPOINT_BEFORE = concat!("SELECT ", checkpoint_columns!(), " FROM log_checkpoint
        WHERE size <= $1 ORDER BY size DESC LIMIT 1");
    CHECKPOINTS = concat!("SELECT ", checkpoint_columns!(), " FROM log_checkpoint
        WHERE size >= $1 ORDER BY size LIMIT $2");
    INSERT_CHECKPOINT = "INSERT INTO log_checkpoint
        (size, root, time, clock, kid, note, cosignatures) VALUES ($1, $2, $3, $4, $5, $6, '')";
    COSIGN = "UPDATE log_checkpoint SET cosignatures = $3 WHERE size = $1 AND cosignatures = $2";
}

/// A checkpoint that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    pub size: i64,
    pub root: Sha256Digest,
    pub time: Time,
    /// The latest time of any leaf that it covers.
    pub clock: Time,
    /// The log's key that signed it.
    pub kid: Kid,
    /// The signed note with the log's own signature only.
    pub note: String,
    /// Lines of witnesses, in the order in which they came.
    pub cosignatures: String,
}

impl CheckpointRow {
    /// First line of the note.
    pub fn origin(&self) -> &str {
        self.note.lines().next().unwrap_or_default()
    }

    /// The note with all its signatures.
    pub fn signed(&self) -> String {
        format!("{}{}", self.note, self.cosignatures)
    }
}

impl FromColumns for CheckpointRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            size: row.int(0)?,
            root: row.parsed(1, "log_checkpoint.root")?,
            time: row.time(2, "log_checkpoint.time")?,
            clock: row.time(3, "log_checkpoint.clock")?,
            kid: row.parsed(4, "log_checkpoint.kid")?,
            note: row.text(5)?,
            cosignatures: row.text(6)?,
        })
    }
}

/// The newest of all, with the origin that the log has now.
struct Newest {
    row: CheckpointRow,
    origin: String,
}

impl FromColumns for Newest {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            row: CheckpointRow::read(row)?,
            origin: row.text(7)?,
        })
    }
}

/// Records a checkpoint before it is published, if the key that signed it may still sign (the
/// fence of a revoked log key). If there is one of this size already, that one stands. Returns
/// the one that stands.
pub(crate) async fn add_checkpoint<E: Engine>(
    engine: &E,
    fence: &Fence,
    row: &CheckpointRow,
) -> Result<CheckpointRow, Error> {
    let mut tx = engine.begin().await?;
    let outcome = insert_checkpoint(engine, &mut tx, fence, row).await;
    match outcome {
        Ok(stands) => engine.commit(tx).await.map(|()| stands),
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn insert_checkpoint<E: Engine>(
    engine: &E,
    tx: &mut E::Transaction,
    fence: &Fence,
    row: &CheckpointRow,
) -> Result<CheckpointRow, Error> {
    // The log head first, as every writer: a revocation is before us or after us.
    let before = fence.before();
    let head = take_head(tx, engine.head(), Taken::default()).await?;
    match fence.check(before, &head, head.size) {
        // No leaf: the log's own clock stays where it is.
        Err(Error::ClockAhead { .. }) => {}
        checked => checked?,
    }
    let size = [Value::Int(row.size)];
    if let Some(before) = tx.fetch_optional(CHECKPOINT, &size).await? {
        return CheckpointRow::read(&before);
    }
    let state = tx
        .fetch_optional(keys::KEY_STATE, &[Value::Text(row.kid.as_str())])
        .await?;
    let active = match &state {
        Some(columns) => KeyStatus::read(columns, 1)?.can_sign(),
        None => false,
    };
    if !active {
        return Err(Error::conflict(Subject::KeyState));
    }
    let root = row.root.to_string();
    let values = [
        Value::Int(row.size),
        Value::Text(&root),
        Value::Int(row.time.millis()),
        Value::Int(row.clock.millis()),
        Value::Text(row.kid.as_str()),
        Value::Text(&row.note),
    ];
    tx.execute(INSERT_CHECKPOINT, &values).await?;
    Ok(row.clone())
}

/// Adds lines of witnesses to a checkpoint, if it has still the `known` ones.
pub(crate) async fn cosign<E: Engine>(
    engine: &E,
    size: i64,
    known: &str,
    all: &str,
) -> Result<bool, Error> {
    let values = [Value::Int(size), Value::Text(known), Value::Text(all)];
    Ok(write(engine, COSIGN, &values).await? == 1)
}

impl Store {
    /// Records a signed checkpoint and returns the one that stands for this size: the first.
    /// Refused when its key may not sign any more.
    pub async fn add_checkpoint(&self, row: &CheckpointRow) -> Result<CheckpointRow, Error> {
        on!(self, engine => add_checkpoint(engine, &self.fence, row))
    }

    /// Adds witnesses' lines; false if somebody else added some meanwhile.
    pub async fn cosign(&self, size: i64, known: &str, all: &str) -> Result<bool, Error> {
        on!(self, engine => cosign(engine, size, known, all))
    }

    /// Of the log's present origin; one of an earlier origin is published no more.
    pub async fn last_checkpoint(&self) -> Result<Option<CheckpointRow>, Error> {
        let newest: Option<Newest> = on!(self, engine => reads::one(engine, LAST_CHECKPOINT, &[]))?;
        let present = newest.filter(|newest| newest.row.origin() == newest.origin);
        Ok(present.map(|newest| newest.row))
    }

    /// The first checkpoint that covers the leaf.
    pub async fn checkpoint_over(&self, index: i64) -> Result<Option<CheckpointRow>, Error> {
        on!(self, engine => reads::one(engine, CHECKPOINT_OVER, &[Value::Int(index)]))
    }

    /// The last checkpoint that does not cover the leaf.
    pub async fn checkpoint_before(&self, index: i64) -> Result<Option<CheckpointRow>, Error> {
        on!(self, engine => reads::one(engine, CHECKPOINT_BEFORE, &[Value::Int(index)]))
    }

    /// Of this size or larger, at most [`MAX_PAGE`].
    pub async fn checkpoints(&self, from: i64, limit: i64) -> Result<Vec<CheckpointRow>, Error> {
        let values = [Value::Int(from), Value::Int(limit.clamp(0, MAX_PAGE))];
        on!(self, engine => reads::all(engine, CHECKPOINTS, &values))
    }
}
