//! Where a signature stands in the log. The index is written behind the leaves, many signatures at
//! once and in the order of their hashes, because one that is kept with each leaf costs as much as
//! the leaf. It has parts of [`PART`] leaves, so that what is added touches the pages of one part
//! and not of the whole log (ADR 50). What it does not cover yet is looked for among the leaves
//! themselves, so no answer depends on how far it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::sync::Mutex;

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine, Value, json, write};
use crate::error::Error;
use crate::reads::FromColumns;
use crate::statements::statements;
use crate::tail::Tail;

statements! {
    INDEXED = "SELECT log_indexed.size, log_head.size FROM log_indexed CROSS JOIN log_head";
    /// The hash of each signature and its place, all in one row: a row of its own costs more to hand over.
    HASHES = "SELECT string_agg(sig_hash || idx, ' ') FROM log_leaf
        WHERE idx >= $1 AND idx < $2 AND kind = 'sign'";
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

/// Leaves that one call puts into the index at most.
pub const MAX_INDEXED: i64 = 65_536;

/// Signatures of one transaction: no other writer waits longer than for these.
const ROWS: usize = if cfg!(test) { 3 } else { 4_096 };

/// Leaves of one part of the index; the schema has the same number.
const PART: i64 = 2_097_152;

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

/// A signature on its way into the index: part, first eight bytes of its hash, place.
type Placed = (i64, [u8; 8], i64);

/// The signatures among these leaves, in the order of the index.
async fn signatures<E: Engine>(engine: &E, from: i64, to: i64) -> Result<Vec<Placed>, Error> {
    let mut reader = engine.reader().await?;
    let mut all = Vec::new();
    let mut at = from;
    while at < to {
        let end = to.min(at + LOOK);
        let text = hashes(&mut reader, at, end).await?;
        for word in text.split_terminator(' ') {
            let (hash, index) = placed(word)?;
            let prefix = hash.get(..16).ok_or_else(not_a_hash)?;
            let prefix = u64::from_str_radix(prefix, 16).map_err(|_| not_a_hash())?;
            all.push((index / PART, prefix.to_be_bytes(), index));
        }
        at = end;
    }
    all.sort_unstable();
    Ok(all)
}

async fn hashes<C: Connection>(reader: &mut C, from: i64, to: i64) -> Result<String, Error> {
    let values = [Value::Int(from), Value::Int(to)];
    match reader.fetch_optional(HASHES, &values).await? {
        Some(row) => Ok(row.maybe_text(0)?.unwrap_or_default()),
        None => Ok(String::new()),
    }
}

/// A word of [`HASHES`]: 64 hexadecimal digits and a number.
fn placed(word: &str) -> Result<(&str, i64), Error> {
    let (hash, index) = word.split_at_checked(64).ok_or_else(not_a_hash)?;
    Ok((hash, index.parse().map_err(|_| not_a_hash())?))
}

fn not_a_hash() -> Error {
    Error::Corrupt {
        what: "a signature without the hash of one",
        source: None,
    }
}

/// Puts the next leaves into the index; how many. What is there already stays, so it does no harm
/// that another replica does the same, or that we die in between: the mark moves with the last of
/// them, and the next call does all of them again.
pub(crate) async fn index<E: Engine>(engine: &E, at_most: i64) -> Result<i64, Error> {
    let Reach { indexed, head } = reach::<E>(&mut engine.reader().await?).await?;
    let to = head.min(indexed.saturating_add(at_most.clamp(0, MAX_INDEXED)));
    if to == indexed {
        return Ok(0);
    }
    let signatures = signatures(engine, indexed, to).await?;
    for some in signatures.chunks(ROWS) {
        let prefixes: Vec<u8> = some.iter().flat_map(|(_, prefix, _)| *prefix).collect();
        let places: Vec<i64> = some.iter().map(|(_, _, index)| *index).collect();
        let places = json(&places)?;
        let values = [Value::Blob(&prefixes), Value::Text(&places)];
        write(engine, E::DIALECT.fill_index, &values).await?;
    }
    let moved = [Value::Int(indexed), Value::Int(to)];
    match write(engine, MOVE_INDEXED, &moved).await? {
        // Another replica came first.
        0 => Ok(0),
        _ => Ok(to - indexed),
    }
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
        for word in hashes(reader, tail.to, to).await?.split_terminator(' ') {
            let (hash, index) = placed(word)?;
            let place = tail.places.entry(hash.into()).or_insert(index);
            *place = index.min(*place);
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
    let parts: Vec<i64> = (0..=(reach.indexed - 1).max(0) / PART).collect();
    let parts = json(&parts)?;
    let values = [Value::Text(&asked), Value::Text(&parts)];
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
