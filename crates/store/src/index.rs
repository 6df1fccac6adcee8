//! Where a signature stands in the log. The index is written behind the leaves, many signatures at
//! once and in the order of their hashes, because one that is kept with each leaf costs as much as
//! the leaf. What it does not cover yet is looked for among the leaves themselves, so no answer
//! depends on how far it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::sync::Mutex;

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine, Value, json};
use crate::error::Error;
use crate::reads::FromColumns;
use crate::statements::statements;
use crate::tail::Tail;

statements! {
    INDEXED = "SELECT log_indexed.size, log_head.size FROM log_indexed CROSS JOIN log_head";
    HASHES = "SELECT idx, sig_hash FROM log_leaf
        WHERE idx >= $1 AND idx < $2 AND kind = 'sign' ORDER BY idx";
    MOVE_INDEXED = "UPDATE log_indexed SET size = $2 WHERE id = 1 AND size = $1";
}

/// Where a signature stands in the trail: the earliest leaf with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    pub sig_hash: String,
    pub index: i64,
    pub time: i64,
    pub kid: String,
}

impl FromColumns for Occurrence {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            sig_hash: row.text(0)?,
            index: row.int(1)?,
            time: row.int(2)?,
            kid: row.text(3)?,
        })
    }
}

/// Leaves that one transaction puts into the index at most.
pub const MAX_INDEXED: i64 = 65_536;

/// Leaves that one statement looks through.
const LOOK: i64 = if cfg!(test) { 7 } else { 20_000 };

/// Leaves outside the index that are kept in memory at most: some 15 MB.
const MAX_TAIL: i64 = if cfg!(test) { 60 } else { 100_000 };

/// How far leaves and index go.
struct Reach {
    indexed: i64,
    head: i64,
}

async fn reach<E: Engine>(reader: &mut E::Reader) -> Result<Reach, Error> {
    match reader.fetch_optional(INDEXED, &[]).await? {
        Some(row) => Ok(Reach {
            indexed: row.int(0)?,
            head: row.int(1)?,
        }),
        None => Err(Error::Corrupt {
            what: "no log index",
            source: None,
        }),
    }
}

/// How many leaves the index does not cover.
pub(crate) async fn unindexed<E: Engine>(engine: &E) -> Result<i64, Error> {
    let reach = reach::<E>(&mut engine.reader().await?).await?;
    Ok(reach.head - reach.indexed)
}

/// Puts the next leaves into the index; how many. Whoever comes second at the same ones does
/// nothing. If we die before COMMIT none of them is in it, and the next call does the same again.
pub(crate) async fn index<E: Engine>(engine: &E, at_most: i64) -> Result<i64, Error> {
    let Reach { indexed, head } = reach::<E>(&mut engine.reader().await?).await?;
    let to = head.min(indexed.saturating_add(at_most.clamp(0, MAX_INDEXED)));
    if to == indexed {
        return Ok(0);
    }
    let mut tx = engine.begin().await?;
    match fill::<E>(&mut tx, indexed, to).await {
        Ok(true) => engine.commit(tx).await.map(|()| to - indexed),
        Ok(false) => {
            engine.rollback(tx).await;
            Ok(0)
        }
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn fill<E: Engine>(tx: &mut E::Transaction, from: i64, to: i64) -> Result<bool, Error> {
    let values = [Value::Int(from), Value::Int(to)];
    if tx.execute(MOVE_INDEXED, &values).await? == 0 {
        return Ok(false);
    }
    tx.execute(E::DIALECT.fill_index, &values).await?;
    Ok(true)
}

/// Reads the leaves that were added since.
async fn extend<C: Connection>(
    tail: &mut Tail,
    reader: &mut C,
    reach: &Reach,
) -> Result<(), Error> {
    if tail.to < reach.indexed || tail.to > reach.head {
        *tail = Tail {
            from: reach.indexed,
            to: reach.indexed,
            places: HashMap::new(),
        };
    }
    if reach.indexed - tail.from > MAX_TAIL {
        // What the index has by now; it was asked first.
        tail.places.retain(|_, index| *index >= reach.indexed);
        tail.from = reach.indexed;
    }
    while tail.to < reach.head {
        let to = reach.head.min(tail.to + LOOK);
        let values = [Value::Int(tail.to), Value::Int(to)];
        for row in reader.fetch(HASHES, &values).await? {
            let hash = row.text(1)?.into_boxed_str();
            tail.places.entry(hash).or_insert(row.int(0)?);
        }
        tail.to = to;
    }
    Ok(())
}

/// First what the index knows, then, for the hashes it does not, the leaves that it did not cover
/// when we began: leaves never go, so it does not matter that it may have grown meanwhile.
pub(crate) async fn occurrences<E: Engine>(
    engine: &E,
    tail: &Mutex<Tail>,
    sig_hashes: &[String],
) -> Result<Vec<Occurrence>, Error> {
    if sig_hashes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = engine.reader().await?;
    let reach = reach::<E>(&mut reader).await?;
    let asked = json(&sig_hashes)?;
    let values = [Value::Text(&asked)];
    let mut found = BTreeMap::new();
    let rows = reader.fetch(E::DIALECT.occurrences, &values).await?;
    keep_earliest(&mut found, &rows)?;
    let mut missing: HashSet<&str> = sig_hashes.iter().map(String::as_str).collect();
    missing.retain(|hash| !found.contains_key(*hash));
    if missing.is_empty() || reach.indexed == reach.head {
        return Ok(found.into_values().collect());
    }
    if reach.head - reach.indexed <= MAX_TAIL {
        let mut tail = tail.lock().await;
        let mut reach = reach;
        if tail.to > reach.head {
            // Another reader came first, with a newer head. Only if it is newer than now the log went back.
            reach = self::reach::<E>(&mut reader).await?;
        }
        extend(&mut tail, &mut reader, &reach).await?;
        let places = missing.iter().filter_map(|hash| tail.places.get(*hash));
        let places: Vec<i64> = places.copied().collect();
        drop(tail);
        if !places.is_empty() {
            let places = json(&places)?;
            let values = [Value::Text(&places)];
            let rows = reader.fetch(E::DIALECT.occurrences_at, &values).await?;
            keep_earliest(&mut found, &rows)?;
        }
        return Ok(found.into_values().collect());
    }
    // Nobody fills the index: slow, and as right.
    let mut at = reach.indexed;
    while at < reach.head && !missing.is_empty() {
        let to = reach.head.min(at + LOOK);
        let asked = json(&missing)?;
        let values = [Value::Text(&asked), Value::Int(at), Value::Int(to)];
        let rows = reader.fetch(E::DIALECT.occurrences_in, &values).await?;
        keep_earliest(&mut found, &rows)?;
        missing.retain(|hash| !found.contains_key(*hash));
        at = to;
    }
    Ok(found.into_values().collect())
}

/// Rows come in the order of the log, so the first of a hash is its earliest.
fn keep_earliest(
    found: &mut BTreeMap<String, Occurrence>,
    rows: &[impl Columns],
) -> Result<(), Error> {
    for row in rows {
        let occurrence = Occurrence::read(row)?;
        found
            .entry(occurrence.sig_hash.clone())
            .or_insert(occurrence);
    }
    Ok(())
}

impl Store {
    /// The earliest leaf of each hash; hashes that are in no leaf are left out.
    pub async fn occurrences(&self, sig_hashes: &[String]) -> Result<Vec<Occurrence>, Error> {
        on!(self, engine => occurrences(engine, &self.tail, sig_hashes))
    }

    /// How many leaves [`Store::index_signatures`] has still to do.
    pub async fn unindexed(&self) -> Result<i64, Error> {
        on!(self, engine => unindexed(engine))
    }
}
