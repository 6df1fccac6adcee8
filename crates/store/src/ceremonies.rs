//! Ceremonies from proposal to transcript.

use std::collections::HashMap;

use trust::bytes16::Nonce;
use trust::{Name, Purpose, Request, Sha256Digest, Time};

use crate::asked::ceremony_columns;
use crate::ceremony_signatures::{CeremonySignatureRow, expect_unrejected, insert_signature};
use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::{Columns, Connection, Engine, Value, guarded, json};
use crate::error::{Error, Subject};
use crate::lines::{self, LineRow, OrderUseRow, expect_next, give_back, lines};
use crate::objects::expect_all_gone;
use crate::order_fence;
use crate::passkeys;
use crate::reads::{self, FromColumns, MAX_PAGE, Word};
use crate::rings;
use crate::rows::{self, Keyed, Page, PageStart, Rows};
use crate::statements::statements;

statements! {
    MARKS = "SELECT id, state, updated_at FROM ceremony WHERE id >= $1 ORDER BY id LIMIT $2 OFFSET $3";
    MARK = "SELECT id, state, updated_at FROM ceremony WHERE id = $1";
    PLACE_OF_CEREMONY = "SELECT created_at FROM ceremony WHERE id = $1";
    /// The newest of those that were proposed before.
    LATEST = concat!("SELECT ", ceremony_columns!(), " FROM ceremony
        WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    /// In the words of the index of what is under way.
    EXECUTED_CEREMONIES = concat!("SELECT ", ceremony_columns!(), " FROM ceremony
        WHERE state IN ('executing', 'executed') AND state = 'executed' ORDER BY created_at, id");
    /// In the words of the index of what is under way.
    EXECUTING = "SELECT id FROM ceremony WHERE state IN ('executing', 'executed') AND state = 'executing'
        ORDER BY id LIMIT $1";
    CEREMONY = concat!("SELECT ", ceremony_columns!(), " FROM ceremony WHERE id = $1");
    TRANSCRIPT = "SELECT transcript FROM ceremony WHERE id = $1";
    NONCE_USED = "SELECT COUNT(*) FROM ceremony
        WHERE nonce = $1 AND id <> $2 AND state IN ('executed', 'closed')";
    INSERT_CEREMONY = "INSERT INTO ceremony
        (id, operation, ring, state, nonce, request, created_at, updated_at, proposer, filed_at)
        VALUES ($1, $2, $3, 'proposed', $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
    CEREMONY_STATE = "SELECT operation, ring, state FROM ceremony WHERE id = $1";
    MOVE_CEREMONY = "UPDATE ceremony SET state = $3, updated_at = $4 WHERE id = $1 AND state = $2";
    EXECUTED = "UPDATE ceremony SET state = 'executed', execution = $3, updated_at = $4
        WHERE id = $1 AND state = $2";
    CLOSE = "UPDATE ceremony SET state = 'closed', transcript = $2, updated_at = $3
        WHERE id = $1 AND state = 'executed'";
    /// A ceremony that has ended otherwise already stays as it is.
    FAIL = "UPDATE ceremony SET state = 'failed', updated_at = $2
        WHERE id = $1 AND state IN ('approved', 'executing', 'executed')";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CeremonyState {
    Draft,
    Proposed,
    Approved,
    Executing,
    Executed,
    Closed,
    Rejected,
    Expired,
    Cancelled,
    Failed,
}

impl CeremonyState {
    /// The state of this word.
    pub fn of(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|state| state.as_str() == word)
    }

    /// As the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Executed => "executed",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl Word for CeremonyState {
    const COLUMN: &'static str = "ceremony.state";
    const ALL: &'static [Self] = &[
        Self::Draft,
        Self::Proposed,
        Self::Approved,
        Self::Executing,
        Self::Executed,
        Self::Closed,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Failed,
    ];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl std::fmt::Display for CeremonyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeremonyRow {
    /// Of the request.
    pub id: Sha256Digest,
    /// Of a [`trust::Operation`]; an open vocabulary.
    pub operation: trust::word::Word,
    /// Of operations on one ring.
    pub ring: Option<Name>,
    pub state: CeremonyState,
    /// Of the request; used once.
    pub nonce: Nonce,
    /// The exact bytes custodians sign.
    pub request: Vec<u8>,
    /// Written by the executor: what it did and read back, canonical JSON.
    pub execution: Option<Vec<u8>>,
    /// The transcript, once closed.
    pub transcript: Option<Vec<u8>>,
    pub created_at: Time,
    pub updated_at: Time,
}

impl Keyed for CeremonyRow {
    const TABLE: &'static str = "ceremony";
}

impl FromColumns for CeremonyRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.parsed(0, "ceremony.id")?,
            operation: row.parsed(1, "ceremony.operation")?,
            ring: row.maybe_parsed(2, "ceremony.ring")?,
            state: CeremonyState::read_word(row, 3)?,
            nonce: row.parsed(4, "ceremony.nonce")?,
            request: row.blob(5)?,
            execution: row.maybe_blob(6)?,
            transcript: row.maybe_blob(7)?,
            created_at: row.time(8, "ceremony.created_at")?,
            updated_at: row.time(9, "ceremony.updated_at")?,
        })
    }
}

/// A ceremony without its documents. They are written with a change of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CeremonyMark {
    pub id: Sha256Digest,
    pub state: CeremonyState,
    pub updated_at: Time,
}

impl Keyed for CeremonyMark {
    const TABLE: &'static str = CeremonyRow::TABLE;
}

impl FromColumns for CeremonyMark {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.parsed(0, "ceremony.id")?,
            state: CeremonyState::read_word(row, 1)?,
            updated_at: row.time(2, "ceremony.updated_at")?,
        })
    }
}

async fn ceremonies_of<E: Engine>(engine: &E, ids: &[String]) -> Result<Rows<CeremonyRow>, Error> {
    let asked = json(&ids)?;
    rows::each(engine, E::DIALECT.ceremonies_of, &[Value::Text(&asked)]).await
}

async fn place_of_ceremony<E: Engine>(engine: &E, id: &str) -> Result<Option<i64>, Error> {
    let mut reader = engine.reader().await?;
    let row = reader
        .fetch_optional(PLACE_OF_CEREMONY, &[Value::Text(id)])
        .await?;
    row.map(|row| row.int(0)).transpose()
}

async fn transcripts<E: Engine>(
    engine: &E,
    ids: &[String],
) -> Result<HashMap<String, Vec<u8>>, Error> {
    let asked = json(&ids)?;
    let sql = E::DIALECT.transcripts;
    let mut reader = engine.reader().await?;
    let rows = reader.fetch(sql, &[Value::Text(&asked)]).await?;
    rows.iter()
        .map(|row| Ok((row.text(0)?, row.blob(1)?)))
        .collect()
}

pub(crate) async fn transcript<E: Engine>(engine: &E, id: &str) -> Result<Option<Vec<u8>>, Error> {
    let sql = TRANSCRIPT;
    match engine
        .reader()
        .await?
        .fetch_optional(sql, &[Value::Text(id)])
        .await?
    {
        Some(row) => row.maybe_blob(0),
        None => Ok(None),
    }
}

/// What a ceremony is about, read under the lock.
pub(crate) struct Standing {
    pub operation: String,
    pub ring: Option<String>,
    pub state: CeremonyState,
}

pub(crate) async fn standing<C: Connection>(tx: &mut C, id: &str) -> Result<Standing, Error> {
    let row = tx
        .fetch_optional(CEREMONY_STATE, &[Value::Text(id)])
        .await?
        .ok_or(Error::NotFound {
            what: Subject::Ceremony,
        })?;
    let state = CeremonyState::read_word(&row, 2)?;
    Ok(Standing {
        operation: row.text(0)?,
        ring: row.maybe_text(1)?,
        state,
    })
}

/// The ceremony, if it is of this operation and stands where the change expects it.
pub(crate) async fn expect<C: Connection>(
    tx: &mut C,
    id: &str,
    operation: &str,
    state: CeremonyState,
) -> Result<Standing, Error> {
    let standing = standing(tx, id).await?;
    if standing.operation != operation {
        return Err(Error::conflict(Subject::Ceremony));
    }
    if standing.state != state {
        return Err(Error::conflict(Subject::CeremonyState));
    }
    Ok(standing)
}

pub(crate) async fn propose<C: Connection>(
    tx: &mut C,
    row: &CeremonyRow,
    lines: &[LineRow],
    proposal: Option<&CeremonySignatureRow>,
    order: Option<&OrderUseRow>,
    index: i64,
) -> Result<(), Error> {
    if row.state != CeremonyState::Proposed || row.execution.is_some() || row.transcript.is_some() {
        return Err(Error::Malformed {
            what: "a ceremony that does not begin as proposed",
        });
    }
    if lines.is_empty() || proposal.is_some() == order.is_some() {
        return Err(Error::Malformed {
            what: "a ceremony without a line, or not with one of proposal and order",
        });
    }
    if let Some(order) = order {
        order_fence::expect_permitted(tx, &order.order, order.number).await?;
    }
    file(tx, row, lines, proposal).await?;
    let id = row.id.to_string();
    if let Some(order) = order {
        let values = [
            Value::Text(&order.order),
            Value::Int(order.number),
            Value::Text(&id),
        ];
        match tx.execute(lines::INSERT_ORDER_USE, &values).await {
            Err(Error::Conflict { source, .. }) => {
                return Err(Error::Conflict {
                    what: Subject::OrderUse,
                    source,
                });
            }
            other => other.map(drop)?,
        }
    }
    match proposal {
        Some(proposal) if proposal.ceremony == row.id && proposal.purpose == Purpose::Propose => {
            insert_signature(tx, proposal, index).await
        }
        Some(_) => Err(Error::Malformed {
            what: "the proposal belongs to a different ceremony",
        }),
        None => Ok(()),
    }
}

/// The row, as proposed, with its places in the lines of its subjects.
pub(crate) async fn file<C: Connection>(
    tx: &mut C,
    row: &CeremonyRow,
    lines: &[LineRow],
    proposal: Option<&CeremonySignatureRow>,
) -> Result<(), Error> {
    expect_next(tx, lines).await?;
    if let Some(ring) = &row.ring {
        rings::ring_version(tx, ring.as_str()).await?;
    }
    let (id, nonce) = (row.id.to_string(), row.nonce.to_string());
    // Quotas and lists rest on it, and nothing else.
    let request = proposal.and_then(|_| Request::decode(&row.request).ok());
    let proposer = request.and_then(|request| request.proposer);
    let filed_at = proposal.map(|proposal| proposal.received_at.millis());
    let values = [
        Value::Text(&id),
        Value::Text(row.operation.as_str()),
        Value::MaybeText(row.ring.as_ref().map(Name::as_str)),
        Value::Text(&nonce),
        Value::Blob(&row.request),
        Value::Int(row.created_at.millis()),
        Value::Int(row.updated_at.millis()),
        Value::MaybeText(proposer.as_ref().map(Name::as_str)),
        Value::MaybeInt(filed_at),
    ];
    guarded(tx, INSERT_CEREMONY, &values, Subject::Ceremony).await?;
    for line in lines {
        let values = [
            Value::Text(&id),
            Value::Text(&line.subject),
            Value::Int(line.seq),
        ];
        tx.execute(lines::INSERT_LINE, &values).await?;
    }
    Ok(())
}

/// The same signature twice is refused here for order's sake; the tally would not count it twice.
pub(crate) async fn add_signature<C: Connection>(
    tx: &mut C,
    row: &CeremonySignatureRow,
    index: i64,
) -> Result<(), Error> {
    let state = standing(tx, &row.ceremony.to_string()).await?.state;
    let due = match row.purpose {
        Purpose::Approve
        | Purpose::Reject
        | Purpose::Cancel
        | Purpose::Note
        | Purpose::Exception => {
            matches!(state, CeremonyState::Proposed | CeremonyState::Approved)
        }
        Purpose::Accept => state == CeremonyState::Executed,
        Purpose::Witness => state == CeremonyState::Closed,
        _ => {
            return Err(Error::Malformed {
                what: "a purpose that no signature in a ceremony has",
            });
        }
    };
    if !due {
        return Err(Error::conflict(Subject::CeremonyState));
    }
    passkeys::count(tx, &row.signature).await?;
    insert_signature(tx, row, index).await
}

/// Only the moves that nothing else has to go with: the others have a change of their own. One
/// that is being carried out ends together with its object, or its device would stay occupied; but
/// for a destruction that is done, and whose place in a line another took meanwhile.
pub(crate) async fn move_by_hand<C: Connection>(
    tx: &mut C,
    id: &str,
    from: CeremonyState,
    to: CeremonyState,
    at: i64,
) -> Result<(), Error> {
    use CeremonyState as S;
    let standing = standing(tx, id).await?;
    let overtaken = from == S::Executing && to == S::Failed && standing.operation == "destroy";
    let by_hand = matches!(
        to,
        S::Approved | S::Rejected | S::Expired | S::Cancelled | S::Failed
    );
    if !by_hand || from == to || (from == S::Executing && !overtaken) {
        return Err(Error::Malformed {
            what: "a move of a ceremony that needs its own change",
        });
    }
    if overtaken {
        expect_all_gone(tx, id).await?;
    }
    advance(tx, id, from, to, at).await?;
    match from {
        // What came after a ratification or a policy in its line names it.
        S::Executed if !matches!(&*standing.operation, "ratification" | POLICY) => {
            give_back(tx, id).await
        }
        _ => Ok(()),
    }
}

pub(crate) async fn advance<C: Connection>(
    tx: &mut C,
    id: &str,
    from: CeremonyState,
    to: CeremonyState,
    at: i64,
) -> Result<(), Error> {
    let values = [
        Value::Text(id),
        Value::Text(from.as_str()),
        Value::Text(to.as_str()),
        Value::Int(at),
    ];
    guarded(tx, MOVE_CEREMONY, &values, Subject::CeremonyState).await
}

/// What was done is written down; custodians have yet to accept it.
pub(crate) async fn executed<C: Connection>(
    tx: &mut C,
    id: &str,
    from: CeremonyState,
    execution: &[u8],
    at: i64,
) -> Result<(), Error> {
    // Another may have been carried out while this one was stuck; then this one has lost its place.
    let lines = lines(tx, id).await?;
    expect_next(tx, &lines).await?;
    let values = [
        Value::Text(id),
        Value::Text(from.as_str()),
        Value::Blob(execution),
        Value::Int(at),
    ];
    guarded(tx, EXECUTED, &values, Subject::CeremonyState).await?;
    tx.execute(lines::LINES_DONE, &[Value::Text(id)])
        .await
        .map(drop)
}

/// For a destruction whose objects are all gone, and for what is carried out by its record alone.
pub(crate) async fn execute<C: Connection>(
    tx: &mut C,
    id: &str,
    execution: &[u8],
    at: i64,
) -> Result<(), Error> {
    let standing = standing(tx, id).await?;
    let from = match standing.operation.as_str() {
        "generate" | "revoke" | "emergency-rotation" => {
            return Err(Error::conflict(Subject::Ceremony));
        }
        "destroy" => {
            expect_all_gone(tx, id).await?;
            CeremonyState::Executing
        }
        _ => {
            expect_unrejected(tx, id).await?;
            CeremonyState::Approved
        }
    };
    executed(tx, id, from, execution, at).await
}

/// Ends a ceremony with its transcript.
pub(crate) async fn close<C: Connection>(
    tx: &mut C,
    id: &str,
    transcript: &[u8],
    at: i64,
) -> Result<(), Error> {
    let values = [Value::Text(id), Value::Blob(transcript), Value::Int(at)];
    guarded(tx, CLOSE, &values, Subject::CeremonyState).await
}

/// For what took effect when it was carried out; a generated key, a standing order and a policy are accepted instead.
pub(crate) async fn close_effective<C: Connection>(
    tx: &mut C,
    id: &str,
    transcript: &[u8],
    at: i64,
) -> Result<(), Error> {
    let operation = standing(tx, id).await?.operation;
    if matches!(&*operation, "generate" | "order" | POLICY) {
        return Err(Error::conflict(Subject::Ceremony));
    }
    close(tx, id, transcript, at).await
}

/// The operation of a ceremony on the policy of a critical key type.
const POLICY: &str = "rotation-policy";

/// For a rotation policy, which takes effect in the same transaction.
pub(crate) async fn close_policy<C: Connection>(
    tx: &mut C,
    id: &str,
    transcript: &[u8],
    at: i64,
) -> Result<(), Error> {
    match &*standing(tx, id).await?.operation {
        POLICY => close(tx, id, transcript, at).await,
        _ => Err(Error::conflict(Subject::Ceremony)),
    }
}

async fn executing<E: Engine>(engine: &E) -> Result<Vec<String>, Error> {
    let mut reader = engine.reader().await?;
    let rows = reader.fetch(EXECUTING, &[Value::Int(MAX_PAGE)]).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

impl Store {
    /// A page of all ceremonies by their ids, without their documents; at most [`MAX_PAGE`].
    pub async fn ceremony_marks(
        &self,
        start: &PageStart,
        limit: i64,
    ) -> Result<Page<CeremonyMark>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [
            Value::Text(&start.key),
            Value::Int(limit),
            Value::Int(start.behind),
        ];
        on!(self, engine => rows::page(engine, MARKS, &values, (start, limit)))
    }

    /// Where a ceremony stands.
    pub async fn ceremony_mark(&self, id: &str) -> Result<Option<CeremonyMark>, Error> {
        on!(self, engine => reads::one(engine, MARK, &[Value::Text(id)]))
    }

    /// Those of these ids that there are, in no order.
    pub async fn ceremonies_of(&self, ids: &[String]) -> Result<Rows<CeremonyRow>, Error> {
        on!(self, engine => ceremonies_of(engine, ids))
    }

    /// The newest that were proposed before this instant and id, from the newest on; at most [`MAX_PAGE`].
    pub async fn latest_ceremonies(
        &self,
        (created_at, id): (i64, &str),
        limit: i64,
    ) -> Result<Page<CeremonyRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [Value::Int(created_at), Value::Text(id), Value::Int(limit)];
        let start = PageStart::default();
        on!(self, engine => rows::page(engine, LATEST, &values, (&start, limit)))
    }

    /// When a ceremony was proposed, also of one whose row cannot be read.
    pub async fn place_of_ceremony(&self, id: &str) -> Result<Option<i64>, Error> {
        on!(self, engine => place_of_ceremony(engine, id))
    }

    /// Those that were carried out and are not closed, oldest first. Costs the same however many there have been.
    pub async fn executed_ceremonies(&self) -> Result<Rows<CeremonyRow>, Error> {
        on!(self, engine => rows::each(engine, EXECUTED_CEREMONIES, &[]))
    }

    /// Ids of those that were begun on a device and are not settled, at most [`MAX_PAGE`]. Costs the same
    /// however many there have been.
    pub async fn executing(&self) -> Result<Vec<String>, Error> {
        on!(self, engine => executing(engine))
    }

    pub async fn ceremony(&self, id: &str) -> Result<Option<CeremonyRow>, Error> {
        on!(self, engine => reads::one(engine, CEREMONY, &[Value::Text(id)]))
    }

    /// Of a closed ceremony.
    pub async fn transcript(&self, ceremony: &str) -> Result<Option<Vec<u8>>, Error> {
        on!(self, engine => transcript(engine, ceremony))
    }

    /// Of closed ceremonies, by their ids; the others are left out.
    pub async fn transcripts(&self, ids: &[String]) -> Result<HashMap<String, Vec<u8>>, Error> {
        on!(self, engine => transcripts(engine, ids))
    }

    /// Whether another ceremony that was carried out has this nonce.
    pub async fn nonce_used(&self, nonce: &str, ceremony: &str) -> Result<bool, Error> {
        let values = [Value::Text(nonce), Value::Text(ceremony)];
        on!(self, engine => reads::any(engine, NONCE_USED, &values))
    }
}
