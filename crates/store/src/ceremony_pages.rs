//! Ceremonies page by page, without what was done and without transcripts, which are long.

use trust::word::Word;
use trust::{Name, Sha256Digest, Time};

use crate::ceremonies::CeremonyState;
use crate::ceremony_signatures::CeremonySignatureRow;
use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::{Columns, Connection, Engine, Value, json};
use crate::error::Error;
use crate::reads::{self, FromColumns, MAX_PAGE, Word as _};
use crate::rows::{self, Keyed, Rows};
use crate::statements::statements;

macro_rules! head_columns {
    () => {
        "id, operation, ring, state, request, created_at, updated_at, proposer"
    };
}

statements! {
    HEADS = concat!("SELECT ", head_columns!(), " FROM ceremony
        WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    /// The last condition says nothing new, but no other index serves it: a planner that knows of few rings would go through
    /// all ceremonies for one that nobody has. So with the next ones.
    HEADS_OF_RING = concat!("SELECT ", head_columns!(), " FROM ceremony
        WHERE ring = $4 AND (created_at, id) < ($1, $2)
        AND (ring, created_at, id) < ($4, $1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    HEADS_OF_OPERATION = concat!("SELECT ", head_columns!(), " FROM ceremony
        WHERE operation = $4 AND (created_at, id) < ($1, $2)
        AND (operation, created_at, id) < ($4, $1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    HEADS_OF_PROPOSER = concat!("SELECT ", head_columns!(), " FROM ceremony
        WHERE proposer = $4 AND (created_at, id) < ($1, $2)
        AND (proposer, created_at, id) < ($4, $1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    /// From the places in the line of a subject to their ceremonies: SQLite keeps this order.
    HEADS_OF_SUBJECT = "SELECT c.id, c.operation, c.ring, c.state, c.request, c.created_at, c.updated_at, c.proposer
        FROM ceremony_line AS l CROSS JOIN ceremony AS c
        WHERE c.id = l.ceremony AND l.subject = $4 AND (l.created_at, l.ceremony) < ($1, $2)
        ORDER BY l.created_at DESC, l.ceremony DESC LIMIT $3";
    /// In the words of the index of how ceremonies ended.
    HEADS_OF_END = concat!("SELECT ", head_columns!(), " FROM ceremony
        WHERE state IN ('closed', 'rejected', 'expired', 'cancelled', 'failed') AND state = $4 AND (created_at, id) < ($1, $2)
        AND (state, created_at, id) < ($4, $1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    /// In the words of the index of what has ended.
    HEADS_PAST = concat!("SELECT ", head_columns!(), " FROM ceremony
        WHERE state NOT IN ('proposed', 'approved', 'executing', 'executed')
        AND (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    STATE = "SELECT state FROM ceremony WHERE id = $1";
    HEAD = concat!("SELECT ", head_columns!(), " FROM ceremony WHERE id = $1");
    /// In the words of the index of what a member has open.
    OPEN_OF = "SELECT COUNT(*) FROM ceremony
        WHERE proposer = $1 AND state IN ('proposed', 'approved', 'executing', 'executed')";
    FILED_SINCE = "SELECT COUNT(*) FROM ceremony WHERE proposer = $1 AND filed_at > $2";
    /// In the words of the index of places that are taken.
    DONE_AT = "SELECT ceremony FROM ceremony_line WHERE subject = $1 AND seq = $2 AND done = 1";
    /// In the words of the index of what waits for somebody.
    HEADS_UNDER_WAY = concat!("SELECT ", head_columns!(), " FROM ceremony
        WHERE state IN ('proposed', 'approved', 'executing', 'executed')
        AND (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    /// In the words of the index of what waits for somebody.
    UNDER_WAY = "SELECT id, operation, ring, state, created_at, updated_at FROM ceremony
        WHERE state IN ('proposed', 'approved', 'executing', 'executed')
        ORDER BY created_at DESC, id DESC LIMIT $1";
}

/// A ceremony, as far as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeremonyHeadRow {
    pub id: Sha256Digest,
    pub operation: Word,
    pub ring: Option<Name>,
    pub state: CeremonyState,
    pub request: Vec<u8>,
    pub created_at: Time,
    pub updated_at: Time,
    /// As it was filed; whom the request names is in it alone. None of one of before this was kept.
    pub proposer: Option<Name>,
}

/// A ceremony that is not ended, without any of its documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeremonyUnderWay {
    pub id: Sha256Digest,
    pub operation: Word,
    pub ring: Option<Name>,
    pub state: CeremonyState,
    pub created_at: Time,
    pub updated_at: Time,
}

/// Which ceremonies are paged through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads<'a> {
    All,
    /// Proposed and not ended.
    UnderWay,
    Past,
    /// That ended in this state.
    EndedAs(CeremonyState),
    OfRing(&'a str),
    OfOperation(&'a str),
    OfProposer(&'a str),
    OfSubject(&'a str),
}

/// How much a member has proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProposalsOf {
    /// That are not ended.
    pub open: usize,
    /// Since an instant, however they ended.
    pub filed: usize,
}

impl Keyed for CeremonyHeadRow {
    const TABLE: &'static str = "ceremony";
}

impl FromColumns for CeremonyHeadRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.parsed(0, "ceremony.id")?,
            operation: row.parsed(1, "ceremony.operation")?,
            ring: row.maybe_parsed(2, "ceremony.ring")?,
            state: CeremonyState::read_word(row, 3)?,
            request: row.blob(4)?,
            created_at: row.time(5, "ceremony.created_at")?,
            updated_at: row.time(6, "ceremony.updated_at")?,
            proposer: row.maybe_parsed(7, "ceremony.proposer")?,
        })
    }
}

impl Keyed for CeremonyUnderWay {
    const TABLE: &'static str = "ceremony";
}

impl FromColumns for CeremonyUnderWay {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.parsed(0, "ceremony.id")?,
            operation: row.parsed(1, "ceremony.operation")?,
            ring: row.maybe_parsed(2, "ceremony.ring")?,
            state: CeremonyState::read_word(row, 3)?,
            created_at: row.time(4, "ceremony.created_at")?,
            updated_at: row.time(5, "ceremony.updated_at")?,
        })
    }
}

async fn signatures_of<E: Engine>(
    engine: &E,
    ids: &[String],
) -> Result<Vec<CeremonySignatureRow>, Error> {
    let asked = json(&ids)?;
    let sql = E::DIALECT.signatures_of;
    let rows = engine
        .reader()
        .await?
        .fetch(sql, &[Value::Text(&asked)])
        .await?;
    rows.iter().map(CeremonySignatureRow::read).collect()
}

async fn state<E: Engine>(engine: &E, id: &str) -> Result<Option<CeremonyState>, Error> {
    let mut reader = engine.reader().await?;
    let row = reader.fetch_optional(STATE, &[Value::Text(id)]).await?;
    row.map(|row| CeremonyState::read_word(&row, 0)).transpose()
}

async fn count<E: Engine>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<usize, Error> {
    let row = engine.reader().await?.fetch_optional(sql, values).await?;
    let count = row.map(|row| row.int(0)).transpose()?.unwrap_or(0);
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

async fn proposals_of<E: Engine>(
    engine: &E,
    member: &str,
    since: i64,
) -> Result<ProposalsOf, Error> {
    let values = [Value::Text(member), Value::Int(since)];
    Ok(ProposalsOf {
        open: count(engine, OPEN_OF, &values[..1]).await?,
        filed: count(engine, FILED_SINCE, &values).await?,
    })
}

async fn done_at<E: Engine>(
    engine: &E,
    subject: &str,
    seq: i64,
) -> Result<Option<Sha256Digest>, Error> {
    let values = [Value::Text(subject), Value::Int(seq)];
    let row = engine
        .reader()
        .await?
        .fetch_optional(DONE_AT, &values)
        .await?;
    row.map(|row| row.parsed(0, "ceremony_line.ceremony"))
        .transpose()
}

impl Store {
    pub async fn ceremony_state(&self, id: &str) -> Result<Option<CeremonyState>, Error> {
        on!(self, engine => state(engine, id))
    }

    /// Costs the same however many ceremonies there have been: as many rows as a member may propose within that time.
    pub async fn proposals_of(&self, member: &str, since: i64) -> Result<ProposalsOf, Error> {
        on!(self, engine => proposals_of(engine, member, since))
    }

    /// Without what was done and without its transcript, which are long.
    pub async fn ceremony_head(&self, id: &str) -> Result<Option<CeremonyHeadRow>, Error> {
        on!(self, engine => reads::one(engine, HEAD, &[Value::Text(id)]))
    }

    /// The ceremony that took this place of a line.
    pub async fn done_at(&self, subject: &str, seq: i64) -> Result<Option<Sha256Digest>, Error> {
        on!(self, engine => done_at(engine, subject, seq))
    }

    /// The newest that were proposed before this instant and id, from the newest on; at most [`MAX_PAGE`]. Costs the
    /// same however many there have been.
    pub async fn ceremony_heads(
        &self,
        which: Heads<'_>,
        (created_at, id): (i64, &str),
        limit: i64,
    ) -> Result<Rows<CeremonyHeadRow>, Error> {
        let before = [
            Value::Int(created_at),
            Value::Text(id),
            Value::Int(limit.clamp(0, MAX_PAGE)),
        ];
        let (sql, word) = match which {
            Heads::All => (HEADS, None),
            Heads::UnderWay => (HEADS_UNDER_WAY, None),
            Heads::Past => (HEADS_PAST, None),
            Heads::EndedAs(state) => (HEADS_OF_END, Some(state.as_str())),
            Heads::OfRing(ring) => (HEADS_OF_RING, Some(ring)),
            Heads::OfOperation(operation) => (HEADS_OF_OPERATION, Some(operation)),
            Heads::OfProposer(member) => (HEADS_OF_PROPOSER, Some(member)),
            Heads::OfSubject(subject) => (HEADS_OF_SUBJECT, Some(subject)),
        };
        let [at, id, limit] = before;
        match word {
            None => on!(self, engine => rows::each(engine, sql, &before)),
            Some(word) => {
                let values = [at, id, limit, Value::Text(word)];
                on!(self, engine => rows::each(engine, sql, &values))
            }
        }
    }

    /// The newest that are not ended, without their documents; at most [`MAX_PAGE`].
    pub async fn under_way(&self, limit: i64) -> Result<Rows<CeremonyUnderWay>, Error> {
        let limit = [Value::Int(limit.clamp(0, MAX_PAGE))];
        on!(self, engine => rows::each(engine, UNDER_WAY, &limit))
    }

    /// The signatures of these ceremonies, those of each in the order in which they came. One that cannot be read is
    /// an error: it may be a rejection.
    pub async fn signatures_of(&self, ids: &[String]) -> Result<Vec<CeremonySignatureRow>, Error> {
        on!(self, engine => signatures_of(engine, ids))
    }
}
