//! Leaves are put back into a database that lacks them, each at its own index, with what they did to keys.
//!
//! No fence here: this is what ends its halt. What a leaf did is done in the transaction that writes it, as far as the
//! database has the key; what it has not got is told to the caller, and stays fail closed: a ring whose new primary is
//! unknown has none.

use crate::checkpoints::{COSIGN, CheckpointRow, INSERT_CHECKPOINT};
use crate::commit::record;
use crate::database::{Store, on};
use crate::engine::{Connection, Engine, Value, expect_rows};
use crate::error::{Error, Subject};
use crate::key_effects::{KeyEffect, take_effect};
use crate::leaves::{Leaf, check_leaf};
use crate::statements::statements;

statements! {
    PUT_BACK = "UPDATE log_head SET size = $2, version = version + 1,
            clock = CASE WHEN clock < $3 THEN $3 ELSE clock END
        WHERE id = 1 AND size = $1";
}

/// A leaf that the database lacks.
#[derive(Debug, Clone)]
pub struct LostLeaf {
    pub leaf: Leaf,
    pub effect: Option<KeyEffect>,
    /// What the log's clock is not behind afterwards: its time, but for a correction.
    pub clock: i64,
}

/// Indexes (from the first of the page) of leaves whose effect the database could not take, because it lacks the key.
pub type NotTaken = Vec<usize>;

async fn put_back<E: Engine>(engine: &E, from: i64, page: &[LostLeaf]) -> Result<NotTaken, Error> {
    let mut tx = engine.begin().await?;
    match write::<E>(&mut tx, from, page).await {
        Ok(left) => engine.commit(tx).await.map(|()| left),
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn write<E: Engine>(
    tx: &mut E::Transaction,
    from: i64,
    page: &[LostLeaf],
) -> Result<NotTaken, Error> {
    let latest = page.iter().map(|lost| lost.clock).max();
    let values = [
        Value::Int(from),
        Value::Int(from + page.len() as i64),
        Value::Int(latest.unwrap_or_default()),
    ];
    if tx.execute(PUT_BACK, &values).await? != 1 {
        return Err(Error::conflict(Subject::Tree));
    }
    let mut at = from;
    for some in page.chunks(crate::MAX_BATCH) {
        for lost in some {
            check_leaf(&lost.leaf)?;
        }
        let rows: Vec<_> = some.iter().map(|lost| lost.leaf.columns()).collect();
        expect_rows(E::insert_leaves(tx, at, &rows).await?, rows.len())?;
        at += some.len() as i64;
    }
    let mut left = NotTaken::new();
    for (place, lost) in page.iter().enumerate() {
        if let Some(effect) = &lost.effect
            && !take_effect(tx, effect, lost.leaf.time).await?
        {
            left.push(place);
        }
    }
    Ok(left)
}

async fn put_back_checkpoint<E: Engine>(engine: &E, row: &CheckpointRow) -> Result<(), Error> {
    let root = row.root.to_string();
    let values = [
        Value::Int(row.size),
        Value::Text(&root),
        Value::Int(row.time.millis()),
        Value::Int(row.clock.millis()),
        Value::Text(row.kid.as_str()),
        Value::Text(&row.note),
    ];
    crate::engine::write(engine, INSERT_CHECKPOINT, &values).await?;
    let lines = [
        Value::Int(row.size),
        Value::Text(""),
        Value::Text(&row.cosignatures),
    ];
    crate::engine::write(engine, COSIGN, &lines).await.map(drop)
}

impl Store {
    /// The checkpoint of the tree that is published, whichever key signed it.
    pub async fn put_back_checkpoint(&self, row: &CheckpointRow) -> Result<(), Error> {
        on!(self, engine => put_back_checkpoint(engine, row))
    }

    /// Puts leaves back from index `from` on, which must be the size of the log, in one transaction; nothing of them is
    /// there if we die before. Which of them the database could not follow.
    pub async fn put_back(&self, from: i64, page: &[LostLeaf]) -> Result<NotTaken, Error> {
        on!(self, engine => put_back(engine, from, page))
    }

    /// The leaf that tells of a recovery, in the database that was recovered.
    pub async fn commit_recovery(&self, leaf: &Leaf) -> Result<i64, Error> {
        let unfenced = crate::fence::Fence::default();
        on!(self, engine => record(engine, &unfenced, leaf))
    }
}
