//! How far the Merkle tree goes.
//!
//! Not part of [`Change`](crate::Change): nothing here happens to a key, and what happens here is
//! itself what makes the trail evident.

use trust::{Sha256Digest, Time};

use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::{Columns, Connection, Engine, Value, write};
use crate::error::{Error, Subject};
use crate::leaves;
use crate::reads::{self, FromColumns};
use crate::statements::statements;

statements! {
    TREE = "SELECT size, root, clock, origin, pruned, emptied FROM log_tree
        WHERE id = 1";
    SWAP_TREE = "UPDATE log_tree SET size = $3, root = $4, clock = $5, origin = $6
        WHERE id = 1 AND size = $1 AND root = $2";
    PRUNE_MARK = "UPDATE log_tree SET pruned = $1
        WHERE id = 1 AND pruned < $1 AND size >= $1";
    EMPTIED = "UPDATE log_tree SET emptied = $2 WHERE id = 1 AND emptied >= $1 AND emptied < $2";
}

/// How far the Merkle tree goes. `size` and `root` change together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeRow {
    pub size: i64,
    pub root: Sha256Digest,
    /// The latest time of any leaf in the tree.
    pub clock: Time,
    /// First line of every checkpoint; empty until the first swap.
    pub origin: String,
    /// Bodies of signatures below this index may be gone.
    pub pruned: i64,
    /// Bodies of signatures below this index are gone.
    pub emptied: i64,
}

impl FromColumns for TreeRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            size: row.int(0)?,
            root: row.parsed(1, "log_tree.root")?,
            clock: row.time(2, "log_tree.clock")?,
            origin: row.text(3)?,
            pruned: row.int(4)?,
            emptied: row.int(5)?,
        })
    }
}

pub(crate) async fn tree<E: Engine>(engine: &E) -> Result<TreeRow, Error> {
    reads::one(engine, TREE, &[]).await?.ok_or(Error::Corrupt {
        what: "no log tree",
        source: None,
    })
}

/// The swap: the tree becomes `new` if it is `old`; false if it is another by now. If we die before
/// COMMIT it has not happened; after it, it has, and whoever integrates next finds it.
pub(crate) async fn swap<E: Engine>(
    engine: &E,
    old: &TreeRow,
    new: &TreeRow,
) -> Result<bool, Error> {
    let (before, after) = (old.root.to_string(), new.root.to_string());
    let values = [
        Value::Int(old.size),
        Value::Text(&before),
        Value::Int(new.size),
        Value::Text(&after),
        Value::Int(new.clock.millis()),
        Value::Text(&new.origin),
    ];
    Ok(write(engine, SWAP_TREE, &values).await? == 1)
}

/// Sets the mark; of what the tree has not got no body may go.
pub(crate) async fn allow_pruning<C: Connection>(tx: &mut C, below: i64) -> Result<(), Error> {
    let below = [Value::Int(below)];
    match tx.execute(PRUNE_MARK, &below).await? {
        1 => Ok(()),
        _ => Err(Error::conflict(Subject::Tree)),
    }
}

/// Removes the bodies of signatures that the mark of `Change::Prune` allows to go, page by page, so that no
/// other writer waits for long. How many went. A run that dies is gone on with by the next.
pub(crate) async fn prune<E: Engine>(engine: &E) -> Result<u64, Error> {
    const PAGE: i64 = 2_048;
    let TreeRow {
        pruned: mark,
        emptied: mut from,
        ..
    } = tree(engine).await?;
    let mut gone = 0;
    while from < mark {
        let to = (from + PAGE).min(mark);
        let page = [Value::Int(from), Value::Int(to)];
        gone += write(engine, leaves::PRUNE, &page).await?;
        write(engine, EMPTIED, &page).await?;
        from = to;
    }
    Ok(gone)
}

impl Store {
    pub async fn tree(&self) -> Result<TreeRow, Error> {
        on!(self, engine => tree(engine))
    }

    /// `new` instead of `old`; false if the tree is not `old` any more.
    pub async fn swap_tree(&self, old: &TreeRow, new: &TreeRow) -> Result<bool, Error> {
        on!(self, engine => swap(engine, old, new))
    }

    /// Removes the bodies of signatures up to where [`crate::Change::Prune`] allows it; how many went. For the
    /// archivist alone: the service's own role may not.
    pub async fn prune(&self) -> Result<u64, Error> {
        on!(self, engine => prune(engine))
    }
}
