//! The leaves of the log.

use crate::asked::leaf_columns;
use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine, LeafColumns, Value, json};
use crate::error::Error;
use crate::kept::KeptLeaf;
use crate::log_head;
use crate::reads::{self, FromColumns, MAX_PAGE, all};
use crate::statements::statements;

statements! {
    LEAF = concat!("SELECT ", leaf_columns!(), " FROM log_leaf WHERE idx = $1");
    LEAVES =
        concat!("SELECT ", leaf_columns!(), " FROM log_leaf WHERE idx >= $1 ORDER BY idx LIMIT $2");
    /// What the tree is made of: a line for each leaf, all in one row, because a row of its own costs more to hand
    /// over than a leaf. A body is canonical JSON, which has no line break.
    LEAF_BODIES = "SELECT string_agg(idx || ' ' || time || ' ' || body, '\n')
        FROM (SELECT idx, time, body FROM log_leaf WHERE idx >= $1 ORDER BY idx LIMIT $2) AS page";
    LEAVES_OF_RING = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE ring = $1 AND idx >= $2 AND time >= $3 AND time <= $4 ORDER BY idx LIMIT $5");
    /// Everything but signatures.
    LEAVES_OF_ACTS = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind <> 'sign' AND idx >= $1 AND time >= $2 AND time <= $3 ORDER BY idx LIMIT $4");
    /// Acts that may tell of a key.
    LEAVES_OF_KEYS = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind IN ('key', 'ceremony', 'log') AND idx >= $1 ORDER BY idx LIMIT $2");
    /// Acts about rosters, policies and suspensions, in the words of their index.
    LEAVES_OF_TRUST = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind IN ('roster', 'policy', 'suspension') AND idx >= $1 ORDER BY idx LIMIT $2");
    /// Acts of emergencies, in the words of their index.
    LEAVES_OF_EMERGENCIES = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind = 'emergency' AND idx >= $1 ORDER BY idx LIMIT $2");
    /// Withdrawals of standing orders, in the words of their index.
    LEAVES_OF_WITHDRAWALS = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind = 'order' AND substr(body, 1, 20) = '{\"action\":\"withdraw\"' AND idx >= $1 ORDER BY idx LIMIT $2");
    /// Decisions that an audience outside is told, in the words of their index.
    LEAVES_OF_NOTICES = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind = 'alert' AND substr(body, 1, 18) = '{\"action\":\"notify\"' AND idx >= $1 ORDER BY idx LIMIT $2");
    /// Refusals of passkeys that may be copied, in the words of their index.
    LEAVES_OF_CLONES = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind = 'refusal' AND substr(body, 1, 26) = '{\"action\":\"cloned-passkey\"'
            AND idx >= $1 ORDER BY idx LIMIT $2");
    /// Suspensions that took effect, in the words of their index.
    SUSPENDED = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind = 'suspension' AND substr(body, 1, 20) = '{\"action\":\"suspend\",'
            AND idx >= $1 ORDER BY idx LIMIT $2");
    LATEST_TIME = "SELECT MAX(time) FROM log_leaf WHERE idx >= $1 AND idx <= $2";
    LEAVES_OF_TIME = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE idx >= $1 AND time >= $2 AND time <= $3 ORDER BY idx LIMIT $4");
    LEAVES_OF_SEVERAL = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE (CAST($1 AS TEXT) IS NULL OR kid = $1) AND (CAST($2 AS TEXT) IS NULL OR ring = $2)
            AND ($3 = 0 OR kind <> 'sign')
            AND idx >= $4 AND time >= $5 AND time <= $6 ORDER BY idx LIMIT $7");
    PRUNE = "UPDATE log_leaf SET body = ''
        WHERE idx >= $1 AND idx < $2 AND kind = 'sign' AND body <> ''";
}

/// The longest body of a leaf in bytes; the schema checks it too.
pub const MAX_LEAF: usize = 1024;

/// One entry of the audit trail, and later one leaf of the Merkle log: canonical JSON of at most
/// 1 KiB in `body`, the other members repeated beside it so that SQL can find them.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub time: i64,
    /// `sign`, or the word of a [`trust::leaf::ActKind`].
    pub kind: &'static str,
    pub ring: Option<String>,
    pub kid: Option<String>,
    /// SHA-256 of the signature in its canonical form, hex; only on `sign`.
    pub sig_hash: Option<String>,
    pub body: String,
}

impl Leaf {
    pub(crate) fn columns(&self) -> LeafColumns<'_> {
        [
            Value::Int(self.time),
            Value::Text(self.kind),
            Value::MaybeText(self.ring.as_deref()),
            Value::MaybeText(self.kid.as_deref()),
            Value::MaybeText(self.sig_hash.as_deref()),
            Value::Text(&self.body),
        ]
    }
}

/// A leaf with its place. Its columns stay as they are written: the check of the log compares them
/// with the body, and no wrong one may keep anybody from the leaves after it.
#[derive(Debug, Clone)]
pub struct LeafRow {
    pub index: i64,
    pub time: i64,
    pub kind: String,
    pub ring: Option<String>,
    pub kid: Option<String>,
    pub sig_hash: Option<String>,
    pub body: String,
}

/// What the tree is made of: a leaf's place, its time and its bytes.
#[derive(Debug, Clone)]
pub struct LeafBody {
    pub index: i64,
    pub time: i64,
    pub body: String,
}

impl LeafBody {
    /// A line of [`LEAF_BODIES`].
    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        Some(Self {
            index: words.next()?.parse().ok()?,
            time: words.next()?.parse().ok()?,
            body: words.next()?.to_owned(),
        })
    }
}

async fn leaf_bodies<E: Engine>(engine: &E, from: i64, limit: i64) -> Result<Vec<LeafBody>, Error> {
    let values = [Value::Int(from), Value::Int(limit.clamp(0, MAX_PAGE))];
    let mut reader = engine.reader().await?;
    let text = match reader.fetch_optional(LEAF_BODIES, &values).await? {
        Some(row) => row.maybe_text(0)?.unwrap_or_default(),
        None => String::new(),
    };
    let read = |line| {
        LeafBody::read(line).ok_or(Error::Corrupt {
            what: "a leaf that is not a line of canonical JSON",
            source: None,
        })
    };
    let lines = text.split_terminator('\n');
    let mut leaves = lines.map(read).collect::<Result<Vec<_>, _>>()?;
    // An aggregate promises no order.
    leaves.sort_by_key(|leaf| leaf.index);
    Ok(leaves)
}

/// Which leaves to read, oldest first. `kid` is served by an index, `acts_only` too; a ring alone
/// is searched for along the log, so give it bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafFilter {
    pub kid: Option<String>,
    pub ring: Option<String>,
    /// Everything but signatures.
    pub acts_only: bool,
    pub from_index: i64,
    /// Both ends count.
    pub since: i64,
    pub until: i64,
}

impl Default for LeafFilter {
    fn default() -> Self {
        Self {
            kid: None,
            ring: None,
            acts_only: false,
            from_index: 0,
            since: i64::MIN,
            until: i64::MAX,
        }
    }
}

impl FromColumns for LeafRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            index: row.int(0)?,
            time: row.int(1)?,
            kind: row.text(2)?,
            ring: row.maybe_text(3)?,
            kid: row.maybe_text(4)?,
            sig_hash: row.maybe_text(5)?,
            body: row.text(6)?,
        })
    }
}

/// Here and not by the schema alone, whose error would not say so. One long leaf fails its whole
/// batch either way; principals and texts are bounded so that there is none.
pub(crate) fn check_leaf(leaf: &Leaf) -> Result<(), Error> {
    if leaf.body.len() > MAX_LEAF {
        return Err(Error::Malformed {
            what: "a leaf of more than 1 KiB",
        });
    }
    Ok(())
}

/// Of an act: signatures go through the fence.
pub(crate) fn check_act(leaf: &Leaf) -> Result<(), Error> {
    check_leaf(leaf)?;
    match leaf.kind {
        "sign" => Err(Error::Malformed {
            what: "a signature that passes by the fence",
        }),
        _ => Ok(()),
    }
}

/// Those of these leaves that no published checkpoint covers, as far as this process knows.
pub(crate) async fn uncovered<C: Connection>(
    reader: &mut C,
    indexes: impl Iterator<Item = i64>,
    covered: i64,
) -> Result<Vec<KeptLeaf>, Error> {
    let mut leaves = Vec::new();
    for index in indexes.filter(|index| *index >= covered) {
        if let Some(row) = reader.fetch_optional(LEAF, &[Value::Int(index)]).await? {
            leaves.push((index, LeafRow::read(&row)?.body));
        }
    }
    Ok(leaves)
}

pub(crate) async fn latest_time<E: Engine>(
    engine: &E,
    leaves: &[Value<'_>],
) -> Result<Option<i64>, Error> {
    let sql = LATEST_TIME;
    match engine.reader().await?.fetch_optional(sql, leaves).await? {
        Some(row) => row.maybe_int(0),
        None => Ok(None),
    }
}

/// Page by page, until there are as many leaves within the two instants as were asked for.
async fn of_key_within<E: Engine>(
    engine: &E,
    kid: &str,
    filter: &LeafFilter,
    limit: i64,
) -> Result<Vec<LeafRow>, Error> {
    let mut found = Vec::new();
    let mut from = filter.from_index;
    loop {
        let values = [Value::Text(kid), Value::Int(from), Value::Int(MAX_PAGE)];
        let page: Vec<LeafRow> = all(engine, E::DIALECT.leaves_of_kid, &values).await?;
        let last = page.last().map(|leaf| leaf.index);
        let full = page.len() as i64 == MAX_PAGE;
        let within = page
            .into_iter()
            .filter(|leaf| (filter.since..=filter.until).contains(&leaf.time));
        let room = limit - found.len() as i64;
        found.extend(within.take(room.unsigned_abs() as usize));
        match last {
            Some(last) if full && (found.len() as i64) < limit => from = last + 1,
            _ => return Ok(found),
        }
    }
}

async fn leaves_of_key<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<Vec<LeafRow>, Error> {
    all(engine, E::DIALECT.leaves_of_kid, values).await
}

async fn leaves_of_ceremony<E: Engine>(
    engine: &E,
    values: &[Value<'_>],
) -> Result<Vec<LeafRow>, Error> {
    all(engine, E::DIALECT.leaves_of_ceremony, values).await
}

async fn leaves_at<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<Vec<LeafRow>, Error> {
    all(engine, E::DIALECT.leaves_at, values).await
}

pub(crate) async fn leaves_of<E: Engine>(
    engine: &E,
    filter: &LeafFilter,
    limit: i64,
) -> Result<Vec<LeafRow>, Error> {
    let from = Value::Int(filter.from_index);
    let (since, until) = (Value::Int(filter.since), Value::Int(filter.until));
    let limit = limit.clamp(0, MAX_PAGE);
    match (&filter.kid, &filter.ring, filter.acts_only) {
        (Some(kid), None, false) => of_key_within(engine, kid, filter, limit).await,
        (None, Some(ring), false) => {
            let values = [Value::Text(ring), from, since, until, Value::Int(limit)];
            all(engine, LEAVES_OF_RING, &values).await
        }
        (None, None, acts_only) => {
            let sql = match acts_only {
                true => LEAVES_OF_ACTS,
                false => LEAVES_OF_TIME,
            };
            all(engine, sql, &[from, since, until, Value::Int(limit)]).await
        }
        (kid, ring, acts_only) => {
            let flag = Value::Int(i64::from(acts_only));
            let (kid, ring) = (
                Value::MaybeText(kid.as_deref()),
                Value::MaybeText(ring.as_deref()),
            );
            let values = [kid, ring, flag, from, since, until, Value::Int(limit)];
            all(engine, LEAVES_OF_SEVERAL, &values).await
        }
    }
}

impl Store {
    /// How many leaves there are, which is the index of the next.
    pub async fn log_size(&self) -> Result<i64, Error> {
        on!(self, engine => log_head::number(engine, log_head::LOG_SIZE))
    }

    pub async fn leaf(&self, index: i64) -> Result<Option<LeafRow>, Error> {
        on!(self, engine => reads::one(engine, LEAF, &[Value::Int(index)]))
    }

    /// From this index on, without gaps, at most [`MAX_PAGE`].
    pub async fn leaves(&self, from: i64, limit: i64) -> Result<Vec<LeafRow>, Error> {
        let values = [Value::Int(from), Value::Int(limit.clamp(0, MAX_PAGE))];
        on!(self, engine => reads::all(engine, LEAVES, &values))
    }

    /// The same leaves as [`Store::leaves`], without the columns that repeat what their bodies say.
    pub async fn leaf_bodies(&self, from: i64, limit: i64) -> Result<Vec<LeafBody>, Error> {
        on!(self, engine => leaf_bodies(engine, from, limit))
    }

    pub async fn leaves_of(&self, filter: &LeafFilter, limit: i64) -> Result<Vec<LeafRow>, Error> {
        on!(self, engine => leaves_of(engine, filter, limit))
    }

    /// The next leaves of one key from this index on, at most [`MAX_PAGE`].
    pub async fn leaves_of_key(
        &self,
        kid: &str,
        from: i64,
        limit: i64,
    ) -> Result<Vec<LeafRow>, Error> {
        let limit = Value::Int(limit.clamp(0, MAX_PAGE));
        let values = [Value::Text(kid), Value::Int(from), limit];
        on!(self, engine => leaves_of_key(engine, &values))
    }

    /// Acts on keys, on the log and in ceremonies from this index on, at most [`MAX_PAGE`].
    pub async fn leaves_of_keys(&self, from: i64) -> Result<Vec<LeafRow>, Error> {
        let values = [Value::Int(from), Value::Int(MAX_PAGE)];
        on!(self, engine => reads::all(engine, LEAVES_OF_KEYS, &values))
    }

    /// The next leaves of one ceremony from this index on, but for what was done to a key or to the log; at most
    /// [`MAX_PAGE`].
    pub async fn leaves_of_ceremony(
        &self,
        ceremony: &str,
        from: i64,
        limit: i64,
    ) -> Result<Vec<LeafRow>, Error> {
        let limit = Value::Int(limit.clamp(0, MAX_PAGE));
        let values = [Value::Text(ceremony), Value::Int(from), limit];
        on!(self, engine => leaves_of_ceremony(engine, &values))
    }

    /// The leaves at these places that are there, in order.
    pub async fn leaves_at(&self, indexes: &[i64]) -> Result<Vec<LeafRow>, Error> {
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let asked = json(&indexes)?;
        on!(self, engine => leaves_at(engine, &[Value::Text(&asked)]))
    }

    /// Suspensions that took effect from this index on, at most [`MAX_PAGE`].
    pub async fn leaves_of_suspensions(&self, from: i64) -> Result<Vec<LeafRow>, Error> {
        let values = [Value::Int(from), Value::Int(MAX_PAGE)];
        on!(self, engine => reads::all(engine, SUSPENDED, &values))
    }

    /// The same with rosters, policies, suspensions, emergencies, withdrawals of orders and refusals of passkeys that may be
    /// copied, at most so many.
    pub async fn acts_from(&self, from: i64, limit: i64) -> Result<Vec<LeafRow>, Error> {
        let limit = limit.clamp(0, MAX_PAGE);
        let values = [Value::Int(from), Value::Int(limit)];
        // Two statements see two moments: what came after the first of them is for the next time, or it could be passed over.
        let size = self.log_size().await?;
        let mut acts: Vec<LeafRow> =
            on!(self, engine => reads::all(engine, LEAVES_OF_KEYS, &values))?;
        let trust: Vec<LeafRow> =
            on!(self, engine => reads::all(engine, LEAVES_OF_TRUST, &values))?;
        acts.extend(trust);
        let emergencies: Vec<LeafRow> =
            on!(self, engine => reads::all(engine, LEAVES_OF_EMERGENCIES, &values))?;
        acts.extend(emergencies);
        let withdrawals: Vec<LeafRow> =
            on!(self, engine => reads::all(engine, LEAVES_OF_WITHDRAWALS, &values))?;
        acts.extend(withdrawals);
        let clones: Vec<LeafRow> =
            on!(self, engine => reads::all(engine, LEAVES_OF_CLONES, &values))?;
        acts.extend(clones);
        let notices: Vec<LeafRow> =
            on!(self, engine => reads::all(engine, LEAVES_OF_NOTICES, &values))?;
        acts.extend(notices);
        acts.retain(|leaf| leaf.index < size);
        acts.sort_by_key(|leaf| leaf.index);
        acts.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(acts)
    }

    /// The latest time that any of these leaves tells.
    pub async fn latest_time(&self, first: i64, last: i64) -> Result<Option<i64>, Error> {
        let values = [Value::Int(first), Value::Int(last)];
        on!(self, engine => latest_time(engine, &values))
    }
}
