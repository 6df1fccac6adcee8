//! Keys as they are looked for: those of use today, the newest of a ring, one that somebody asks for, those of use at an
//! instant. None of it costs more for how many keys there ever were.

use std::collections::BTreeMap;

use crate::asked::of_keys;
use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine, Value, json};
use crate::error::Error;
use crate::keys::KeyRow;
use crate::rows::{self, Rows};
use crate::statements::statements;

/// When a key was of no use any more: its own end, or its revocation if that came first.
macro_rules! end {
    () => {
        "(CASE WHEN k.revoked_at IS NULL OR k.retired_at < k.revoked_at THEN k.retired_at ELSE k.revoked_at END)"
    };
}

/// The class of how long it was of use, in the words of the index `signing_key_life`.
macro_rules! life {
    () => {
        concat!(
            "(CASE WHEN ",
            end!(),
            " IS NULL THEN -1
                WHEN ",
            end!(),
            " - k.published_at < 3600000 THEN 0
                WHEN ",
            end!(),
            " - k.published_at < 28800000 THEN 1
                WHEN ",
            end!(),
            " - k.published_at < 230400000 THEN 2
                WHEN ",
            end!(),
            " - k.published_at < 1843200000 THEN 3
                WHEN ",
            end!(),
            " - k.published_at < 14745600000 THEN 4
                WHEN ",
            end!(),
            " - k.published_at < 117964800000 THEN 5
                WHEN ",
            end!(),
            " - k.published_at < 943718400000 THEN 6
                ELSE 7 END)"
        )
    };
}

statements! {
    /// Those that sign or are about to.
    IN_USE = concat!(of_keys!(), "WHERE k.state IN ('prepared', 'active') ORDER BY k.ring, k.number");
    OF_RING = concat!(of_keys!(), "WHERE k.ring = $1 ORDER BY k.number DESC LIMIT $2");
    OF_RING_BELOW = concat!(of_keys!(), "WHERE k.ring = $1 AND k.number < $2 ORDER BY k.number DESC LIMIT $3");
    /// The newest of those that ended before a place in their order.
    ENDED = concat!(of_keys!(), "WHERE k.ring = $1 AND k.retired_at IS NOT NULL
        AND (k.retired_at, k.number) < ($2, $3) ORDER BY k.retired_at DESC, k.number DESC LIMIT $4");
    /// The newest of those that ended before a place in their order and that nobody revoked, as long as they are in the sets.
    ENDED_PUBLISHED = concat!(of_keys!(), "WHERE k.ring = $1 AND k.retired_at IS NOT NULL AND k.revoked_at IS NULL
        AND k.unpublished_at IS NULL AND (k.retired_at, k.number) < ($2, $3) ORDER BY k.retired_at DESC, k.number DESC LIMIT $4");
    /// Those of one class that began within these instants and ended after the later one, or not at all.
    OF_USE = concat!(of_keys!(), "WHERE k.ring = $1 AND ", life!(), " = $2
        AND k.published_at > $3 AND k.published_at <= $4
        AND (", end!(), " > $4 OR ", end!(), " IS NULL) ORDER BY k.published_at");
    PLACE_OF_KEY = "SELECT ring, number FROM signing_key WHERE kid = $1";
    KEY = concat!(of_keys!(), "WHERE k.kid = $1");
    AFTER = concat!(of_keys!(), "WHERE (k.ring, k.number) > ($1, $2) ORDER BY k.ring, k.number LIMIT $3");
    /// Those that left the sets are among those that are retired or archived.
    COUNTS = "SELECT ring, state, keys FROM key_count WHERE state <> 'unpublished'";
    COUNT_UNPUBLISHED = "SELECT ring, keys FROM key_count WHERE state = 'unpublished'";
}

/// How long keys of each class were of use at most, in milliseconds; nobody knows of the others.
const CLASSES: [(i64, i64); 9] = [
    (-1, i64::MAX),
    (0, 3_600_000),
    (1, 28_800_000),
    (2, 230_400_000),
    (3, 1_843_200_000),
    (4, 14_745_600_000),
    (5, 117_964_800_000),
    (6, 943_718_400_000),
    (7, i64::MAX),
];

/// A place in the order of the ends of a ring's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedBefore {
    pub retired_at: i64,
    pub number: i64,
}

impl EndedBefore {
    /// All that have ended.
    pub const EVER: Self = Self {
        retired_at: i64::MAX,
        number: i64::MAX,
    };

    /// All that had ended at an instant, itself included.
    pub fn instant(at: i64) -> Self {
        Self {
            retired_at: at,
            number: i64::MAX,
        }
    }
}

async fn of_use_at<E: Engine>(engine: &E, ring: &str, at: i64) -> Result<Rows<KeyRow>, Error> {
    let mut all = Rows {
        read: Vec::new(),
        unreadable: Vec::new(),
    };
    for (class, longest) in CLASSES {
        let from = at.saturating_sub(longest).max(0) - 1;
        let values = [
            Value::Text(ring),
            Value::Int(class),
            Value::Int(from),
            Value::Int(at),
        ];
        let rows: Rows<KeyRow> = rows::each(engine, OF_USE, &values).await?;
        all.read.extend(rows.read);
        all.unreadable.extend(rows.unreadable);
    }
    Ok(all)
}

/// By ring, then by the state's word.
pub type KeyCounts = BTreeMap<String, BTreeMap<String, u64>>;

async fn counts<E: Engine>(engine: &E) -> Result<KeyCounts, Error> {
    let mut counts = KeyCounts::new();
    for row in engine.reader().await?.fetch(COUNTS, &[]).await? {
        let keys = u64::try_from(row.int(2)?).unwrap_or(0);
        counts
            .entry(row.text(0)?)
            .or_default()
            .insert(row.text(1)?, keys);
    }
    Ok(counts)
}

async fn unpublished<E: Engine>(engine: &E) -> Result<BTreeMap<String, u64>, Error> {
    let mut counts = BTreeMap::new();
    for row in engine.reader().await?.fetch(COUNT_UNPUBLISHED, &[]).await? {
        counts.insert(row.text(0)?, u64::try_from(row.int(1)?).unwrap_or(0));
    }
    Ok(counts)
}

impl Store {
    /// Keys that sign or are about to, by ring and number.
    pub async fn keys_in_use(&self) -> Result<Rows<KeyRow>, Error> {
        on!(self, engine => rows::each(engine, IN_USE, &[]))
    }

    /// The keys of a ring with the highest numbers, from the highest on.
    pub async fn newest_keys(&self, ring: &str, limit: i64) -> Result<Rows<KeyRow>, Error> {
        let values = [Value::Text(ring), Value::Int(limit)];
        on!(self, engine => rows::each(engine, OF_RING, &values))
    }

    /// The keys of a ring below a number, from the highest on.
    pub async fn keys_before(
        &self,
        ring: &str,
        number: i64,
        limit: i64,
    ) -> Result<Rows<KeyRow>, Error> {
        let values = [Value::Text(ring), Value::Int(number), Value::Int(limit)];
        on!(self, engine => rows::each(engine, OF_RING_BELOW, &values))
    }

    /// The keys of a ring that were retired before this place, the latest first; revoked ones among them.
    pub async fn ended_keys(
        &self,
        ring: &str,
        before: EndedBefore,
        limit: i64,
    ) -> Result<Rows<KeyRow>, Error> {
        let values = [
            Value::Text(ring),
            Value::Int(before.retired_at),
            Value::Int(before.number),
            Value::Int(limit),
        ];
        on!(self, engine => rows::each(engine, ENDED, &values))
    }

    /// The same without keys that were revoked or have left the key sets.
    pub async fn ended_published(
        &self,
        ring: &str,
        before: EndedBefore,
        limit: i64,
    ) -> Result<Rows<KeyRow>, Error> {
        let values = [
            Value::Text(ring),
            Value::Int(before.retired_at),
            Value::Int(before.number),
            Value::Int(limit),
        ];
        on!(self, engine => rows::each(engine, ENDED_PUBLISHED, &values))
    }

    /// Ring and number of a key, also of one whose row cannot be read.
    pub async fn place_of_key(&self, kid: &str) -> Result<Option<(String, i64)>, Error> {
        on!(self, engine => place_of_key(engine, kid))
    }

    /// The keys of a ring that were published at an instant and neither retired nor revoked.
    pub async fn keys_of_use_at(&self, ring: &str, at: i64) -> Result<Rows<KeyRow>, Error> {
        on!(self, engine => of_use_at(engine, ring, at))
    }

    pub async fn key(&self, kid: &str) -> Result<Rows<KeyRow>, Error> {
        on!(self, engine => rows::each(engine, KEY, &[Value::Text(kid)]))
    }

    /// Those of these keys that there are.
    pub async fn keys_of(&self, kids: &[String]) -> Result<Rows<KeyRow>, Error> {
        let asked = json(&kids)?;
        on!(self, engine => keys_of(engine, &asked))
    }

    /// A page of all keys, by ring and number, after this one.
    pub async fn keys_after(
        &self,
        ring: &str,
        number: i64,
        limit: i64,
    ) -> Result<Rows<KeyRow>, Error> {
        let values = [Value::Text(ring), Value::Int(number), Value::Int(limit)];
        on!(self, engine => rows::each(engine, AFTER, &values))
    }

    /// How many keys there are. Nothing is proven by it.
    pub async fn key_counts(&self) -> Result<KeyCounts, Error> {
        on!(self, engine => counts(engine))
    }

    /// How many keys of each ring have left the key sets and were not revoked. Nothing is proven by it.
    pub async fn unpublished_counts(&self) -> Result<BTreeMap<String, u64>, Error> {
        on!(self, engine => unpublished(engine))
    }
}

async fn keys_of<E: Engine>(engine: &E, asked: &str) -> Result<Rows<KeyRow>, Error> {
    rows::each(engine, E::DIALECT.keys_of, &[Value::Text(asked)]).await
}

async fn place_of_key<E: Engine>(engine: &E, kid: &str) -> Result<Option<(String, i64)>, Error> {
    let values = [Value::Text(kid)];
    let mut reader = engine.reader().await?;
    match reader.fetch_optional(PLACE_OF_KEY, &values).await? {
        Some(row) => Ok(Some((row.text(0)?, row.int(1)?))),
        None => Ok(None),
    }
}
