//! How far the Merkle tree goes, who integrates, and which checkpoints were signed.
//!
//! Not part of [`Change`](super::Change): nothing here happens to a key, and what happens here is
//! itself what makes the trail evident.

use super::engine::{Columns, Connection, Engine, Value};
use super::error::{Error, Subject};
use super::reads;
use super::rows::{CheckpointRow, TreeRow};
use super::statements;

/// One statement in a transaction of its own; the number of rows it touched.
async fn write<E: Engine>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<u64, Error> {
    let mut tx = engine.begin().await?;
    match tx.execute(sql, values).await {
        Ok(rows) => engine.commit(tx).await.map(|()| rows),
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

pub(super) async fn tree<E: Engine>(engine: &E) -> Result<TreeRow, Error> {
    reads::one(engine, statements::TREE, &[])
        .await?
        .ok_or(Error::Corrupt {
            what: "no log tree",
            source: None,
        })
}

/// Takes the lease or renews it; false while another holder's runs.
pub(super) async fn lease<E: Engine>(
    engine: &E,
    holder: &str,
    now: i64,
    until: i64,
) -> Result<bool, Error> {
    let values = [Value::Text(holder), Value::Int(now), Value::Int(until)];
    Ok(write(engine, statements::LEASE, &values).await? == 1)
}

/// The swap: the tree becomes `new` if it is `old`; false if it is another by now. If we die before
/// COMMIT it has not happened; after it, it has, and whoever integrates next finds it.
pub(super) async fn swap<E: Engine>(
    engine: &E,
    old: &TreeRow,
    new: &TreeRow,
) -> Result<bool, Error> {
    let values = [
        Value::Int(old.size),
        Value::Text(&old.root),
        Value::Int(new.size),
        Value::Text(&new.root),
        Value::Int(new.clock),
        Value::Text(&new.origin),
    ];
    Ok(write(engine, statements::SWAP_TREE, &values).await? == 1)
}

/// Records a checkpoint before it is published, if the key that signed it may still sign (the
/// fence of a revoked log key). If there is one of this size already, that one stands. Returns
/// the one that stands.
pub(super) async fn add_checkpoint<E: Engine>(
    engine: &E,
    row: &CheckpointRow,
) -> Result<CheckpointRow, Error> {
    let mut tx = engine.begin().await?;
    let outcome = insert_checkpoint::<E>(&mut tx, row).await;
    match outcome {
        Ok(stands) => engine.commit(tx).await.map(|()| stands),
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn insert_checkpoint<E: Engine>(
    tx: &mut E::Transaction,
    row: &CheckpointRow,
) -> Result<CheckpointRow, Error> {
    // The log head first, as every writer: a revocation is before us or after us.
    tx.execute(statements::HEAD_LOCK, &[]).await?;
    let size = [Value::Int(row.size)];
    if let Some(before) = tx.fetch_optional(statements::CHECKPOINT, &size).await? {
        return super::decode::FromColumns::read(&before);
    }
    let state = tx
        .fetch_optional(statements::KEY_STATE, &[Value::Text(&row.kid)])
        .await?;
    let active = match &state {
        Some(columns) => columns.text(1)? == "active",
        None => false,
    };
    if !active {
        return Err(Error::conflict(Subject::KeyState));
    }
    let values = [
        Value::Int(row.size),
        Value::Text(&row.root),
        Value::Int(row.time),
        Value::Int(row.clock),
        Value::Text(&row.kid),
        Value::Text(&row.note),
    ];
    tx.execute(statements::INSERT_CHECKPOINT, &values).await?;
    Ok(row.clone())
}

/// Adds lines of witnesses to a checkpoint, if it has still the `known` ones.
pub(super) async fn cosign<E: Engine>(
    engine: &E,
    size: i64,
    known: &str,
    all: &str,
) -> Result<bool, Error> {
    let values = [Value::Int(size), Value::Text(known), Value::Text(all)];
    Ok(write(engine, statements::COSIGN, &values).await? == 1)
}

/// The first signature that has its body still; a run of [`prune`] that died half way left it below
/// the mark.
pub(super) async fn first_body<E: Engine>(engine: &E) -> Result<Option<i64>, Error> {
    let mut reader = engine.reader().await?;
    let found = reader.fetch_optional(statements::FIRST_BODY, &[]).await?;
    found.map(|row| row.int(0)).transpose()
}

/// Removes the bodies of signatures from `from` up to the mark that `Change::Prune` has set, page by
/// page, so that no other writer waits for long. How many went.
pub(super) async fn prune<E: Engine>(engine: &E, mut from: i64) -> Result<u64, Error> {
    const PAGE: i64 = 2_048;
    let mark = tree(engine).await?.pruned;
    let mut gone = 0;
    while from < mark {
        let to = (from + PAGE).min(mark);
        let page = [Value::Int(from), Value::Int(to)];
        gone += write(engine, statements::PRUNE, &page).await?;
        from = to;
    }
    Ok(gone)
}
