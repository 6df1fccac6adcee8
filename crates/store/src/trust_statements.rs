//! The next roster or policy, and suspensions, while members sign them.

use trust::{Purpose, Sha256Digest, Time};

use crate::ceremony_signatures::{CeremonySignatureRow, VoteRow};
use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::{Columns, Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::passkeys;
use crate::reads::{self, FromColumns, MAX_PAGE, Word};
use crate::rows::{self, Keyed, Page, PageStart, Rows};
use crate::statements::statements;
use crate::trust_documents::{self, DocumentRow};

macro_rules! statement_columns {
    () => {
        "id, kind, state, follows, opened_by, body, created_at, closes_at, updated_at, announced, effect"
    };
}

statements! {
    STATEMENT = concat!("SELECT ", statement_columns!(), " FROM trust_statement WHERE id = $1");
    STATEMENTS_BEFORE = concat!("SELECT ", statement_columns!(), " FROM trust_statement
        WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    /// In the words of the index of what is open.
    OPEN_STATEMENTS = concat!("SELECT ", statement_columns!(), " FROM trust_statement
        WHERE state IN ('open', 'announced') ORDER BY created_at, id LIMIT $1");
    /// In the words of the index of what is open; without the documents, which are long.
    OPEN_MARKS = "SELECT s.id, s.kind, s.state, s.opened_by, s.created_at, s.closes_at, s.announced, s.effect,
            (SELECT COUNT(*) FROM trust_statement_signature AS g WHERE g.statement = s.id)
        FROM trust_statement AS s
        WHERE s.state IN ('open', 'announced') ORDER BY s.created_at DESC, s.id DESC LIMIT $1";
    /// In the words of the index of what suspends.
    SUSPENSIONS = concat!("SELECT ", statement_columns!(), " FROM trust_statement
        WHERE kind = 'suspension' AND state = 'effective' AND follows = $1 ORDER BY id LIMIT $2");
    ALL_STATEMENTS = concat!("SELECT ", statement_columns!(), " FROM trust_statement
        WHERE id >= $1 ORDER BY id LIMIT $2 OFFSET $3");
    STATEMENT_SIGNATURES = "SELECT statement, purpose, body, signature, received_at
        FROM trust_statement_signature WHERE statement = $1 ORDER BY idx";
    ALL_STATEMENT_SIGNATURES = "SELECT statement, purpose, body, signature, received_at, idx
        FROM trust_statement_signature WHERE idx >= $1 ORDER BY idx LIMIT $2 OFFSET $3";
    INSERT_STATEMENT = "INSERT INTO trust_statement
        (id, kind, state, follows, opened_by, body, created_at, closes_at, updated_at)
        VALUES ($1, $2, 'open', $3, $4, $5, $6, $7, $6) ON CONFLICT DO NOTHING";
    INSERT_STATEMENT_SIGNATURE = "INSERT INTO trust_statement_signature
        (statement, purpose, body, signature, received_at, idx) VALUES ($1, $2, $3, $4, $5, $6)";
    OPEN_STATEMENT = "SELECT state FROM trust_statement WHERE id = $1";
    END_STATEMENT = "UPDATE trust_statement SET state = $2, updated_at = $3
        WHERE id = $1 AND state IN ('open', 'announced')";
    ANNOUNCE = "UPDATE trust_statement SET state = 'announced', announced = $2, updated_at = $3
        WHERE id = $1 AND state = 'open' AND kind = 'recovery'";
    EFFECT = "UPDATE trust_statement SET effect = $2, updated_at = $3
        WHERE id = $1 AND state = 'announced' AND effect IS NULL AND NOT EXISTS (SELECT 1
        FROM trust_statement_signature WHERE statement = $1 AND purpose = 'veto')";
    /// Not once somebody objected, or anything about whom to trust changed, since it was decided.
    INSTALL = "UPDATE trust_statement SET state = 'effective', updated_at = $2
        WHERE id = $1 AND state IN ('open', 'announced') AND NOT EXISTS (SELECT 1
        FROM trust_statement_signature WHERE statement = $1 AND purpose IN ('reject', 'veto') AND idx >= $3)
        AND (SELECT value FROM version WHERE subject = 'trust') = $4";
    /// What was signed after the leaf $2, which installs a document, is not of before it.
    VOID_DOCUMENTS = "UPDATE trust_statement SET state = 'void', updated_at = $1
        WHERE state IN ('open', 'announced') AND kind <> 'suspension' AND NOT EXISTS (SELECT 1
        FROM trust_statement_signature s WHERE s.statement = trust_statement.id AND s.idx > $2)";
    VOID_SUSPENSIONS = "UPDATE trust_statement SET state = 'void', updated_at = $1
        WHERE state IN ('open', 'announced') AND kind = 'suspension' AND NOT EXISTS (SELECT 1
        FROM trust_statement_signature s WHERE s.statement = trust_statement.id AND s.idx > $2)";
    /// In the words of the index of what is under way.
    VOID_CEREMONIES = "UPDATE ceremony SET state = 'cancelled', updated_at = $1
        WHERE state IN ('proposed', 'approved', 'executing', 'executed')
        AND state IN ('proposed', 'approved') AND NOT EXISTS (SELECT 1
        FROM ceremony_signature s WHERE s.ceremony = ceremony.id AND s.idx > $2)";
}

/// Most suspensions under one roster that are read.
pub const SUSPENSIONS_MAX: i64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    Roster,
    Policy,
    Suspension,
    RecoveryRoster,
    /// The next roster, by the recovery roster.
    Recovery,
}

impl StatementKind {
    /// The kind of this word.
    pub fn of(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|kind| kind.as_str() == word)
    }

    /// The purpose of a signature that agrees.
    pub fn purpose(self) -> Purpose {
        match self {
            Self::Roster => Purpose::Roster,
            Self::Policy => Purpose::Policy,
            Self::Suspension => Purpose::Suspend,
            Self::RecoveryRoster => Purpose::RecoveryRoster,
            Self::Recovery => Purpose::Recover,
        }
    }

    /// As the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Roster => "roster",
            Self::Policy => "policy",
            Self::Suspension => "suspension",
            Self::RecoveryRoster => "recovery-roster",
            Self::Recovery => "recovery",
        }
    }
}

impl Word for StatementKind {
    const COLUMN: &'static str = "trust_statement.kind";
    const ALL: &'static [Self] = &[
        Self::Roster,
        Self::Policy,
        Self::Suspension,
        Self::RecoveryRoster,
        Self::Recovery,
    ];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementState {
    Open,
    /// A recovery that has its signatures and waits for its delay.
    Announced,
    Effective,
    /// Or vetoed.
    Rejected,
    /// Another document came first.
    Void,
    Expired,
}

impl StatementState {
    /// As the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Announced => "announced",
            Self::Effective => "effective",
            Self::Rejected => "rejected",
            Self::Void => "void",
            Self::Expired => "expired",
        }
    }
}

impl Word for StatementState {
    const COLUMN: &'static str = "trust_statement.state";
    const ALL: &'static [Self] = &[
        Self::Open,
        Self::Announced,
        Self::Effective,
        Self::Rejected,
        Self::Void,
        Self::Expired,
    ];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// What an installation was decided by, read before anything else of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecidedBy {
    /// Objections of leaves below were looked at.
    pub log_size: i64,
    /// [`crate::Versions::trust`]: documents and suspensions were read at it or later.
    pub trust: i64,
}

/// A document that the database lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredDocument {
    pub row: DocumentRow,
    /// The statement that it was.
    pub statement: String,
    /// The leaf that tells of its installation.
    pub index: i64,
}

/// What members sign about whom to trust; unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementRow {
    /// Of the body.
    pub id: Sha256Digest,
    pub kind: StatementKind,
    pub state: StatementState,
    /// The newest document of the chain when it was opened; of a suspension the roster.
    pub follows: Sha256Digest,
    /// The member whose signature came with it.
    pub opened_by: String,
    /// The exact bytes that members sign.
    pub body: Vec<u8>,
    pub created_at: Time,
    /// Nobody signs it later.
    pub closes_at: Time,
    pub updated_at: Time,
    /// Of a recovery: the leaf that announced it.
    pub announced: Option<i64>,
    /// The leaf with which it took effect.
    pub effect: Option<i64>,
}

/// A statement that can be signed, without its document, and how many signatures it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementMark {
    pub id: Sha256Digest,
    pub kind: StatementKind,
    pub state: StatementState,
    pub opened_by: String,
    pub created_at: Time,
    pub closes_at: Time,
    pub announced: Option<i64>,
    pub effect: Option<i64>,
    /// Stored ones, of every purpose; they are only added.
    pub signatures: i64,
}

impl Keyed for StatementMark {
    const TABLE: &'static str = StatementRow::TABLE;
}

impl FromColumns for StatementMark {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.parsed(0, "trust_statement.id")?,
            kind: StatementKind::read_word(row, 1)?,
            state: StatementState::read_word(row, 2)?,
            opened_by: row.text(3)?,
            created_at: row.time(4, "trust_statement.created_at")?,
            closes_at: row.time(5, "trust_statement.closes_at")?,
            announced: row.maybe_int(6)?,
            effect: row.maybe_int(7)?,
            signatures: row.int(8)?,
        })
    }
}

impl Keyed for StatementRow {
    const TABLE: &'static str = "trust_statement";
}

impl FromColumns for StatementRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.parsed(0, "trust_statement.id")?,
            kind: StatementKind::read_word(row, 1)?,
            state: StatementState::read_word(row, 2)?,
            follows: row.parsed(3, "trust_statement.follows")?,
            opened_by: row.text(4)?,
            body: row.blob(5)?,
            created_at: row.time(6, "trust_statement.created_at")?,
            closes_at: row.time(7, "trust_statement.closes_at")?,
            updated_at: row.time(8, "trust_statement.updated_at")?,
            announced: row.maybe_int(9)?,
            effect: row.maybe_int(10)?,
        })
    }
}

/// A statement with its first signature.
pub(crate) async fn open<C: Connection>(
    tx: &mut C,
    row: &StatementRow,
    signature: &CeremonySignatureRow,
    index: i64,
) -> Result<(), Error> {
    if row.state != StatementState::Open || signature.ceremony != row.id {
        return Err(Error::Malformed {
            what: "a statement that does not begin as open, with a signature of its own",
        });
    }
    let (id, follows) = (row.id.to_string(), row.follows.to_string());
    let values = [
        Value::Text(&id),
        Value::Text(row.kind.as_str()),
        Value::Text(&follows),
        Value::Text(&row.opened_by),
        Value::Blob(&row.body),
        Value::Int(row.created_at.millis()),
        Value::Int(row.closes_at.millis()),
    ];
    guarded(tx, INSERT_STATEMENT, &values, Subject::Statement).await?;
    insert(tx, signature, index).await
}

/// Only while it is open; a veto also while it waits for its delay.
pub(crate) async fn sign<C: Connection>(
    tx: &mut C,
    row: &CeremonySignatureRow,
    index: i64,
) -> Result<(), Error> {
    let id = row.ceremony.to_string();
    let found = tx
        .fetch_optional(OPEN_STATEMENT, &[Value::Text(&id)])
        .await?;
    let state = found
        .map(|row| StatementState::read_word(&row, 0))
        .transpose()?;
    match (state, row.purpose) {
        (Some(StatementState::Open), _) | (Some(StatementState::Announced), Purpose::Veto) => {
            passkeys::count(tx, &row.signature).await?;
            insert(tx, row, index).await
        }
        _ => Err(Error::conflict(Subject::Statement)),
    }
}

/// By this very leaf.
pub(crate) async fn announce<C: Connection>(
    tx: &mut C,
    id: &str,
    at: i64,
    index: i64,
) -> Result<(), Error> {
    let values = [Value::Text(id), Value::Int(index), Value::Int(at)];
    guarded(tx, ANNOUNCE, &values, Subject::Statement).await
}

/// By this very leaf; not once somebody vetoed.
pub(crate) async fn effect<C: Connection>(
    tx: &mut C,
    id: &str,
    at: i64,
    index: i64,
) -> Result<(), Error> {
    let values = [Value::Text(id), Value::Int(index), Value::Int(at)];
    guarded(tx, EFFECT, &values, Subject::Statement).await
}

async fn insert<C: Connection>(
    tx: &mut C,
    row: &CeremonySignatureRow,
    index: i64,
) -> Result<(), Error> {
    let statement = row.ceremony.to_string();
    let values = [
        Value::Text(&statement),
        Value::Text(row.purpose.word()),
        Value::Blob(&row.body),
        Value::Text(&row.signature),
        Value::Int(row.received_at.millis()),
        Value::Int(index),
    ];
    match tx.execute(INSERT_STATEMENT_SIGNATURE, &values).await {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::CeremonySignature,
            source,
        }),
        other => other.map(drop),
    }
}

/// Open, and not any more.
pub(crate) async fn end<C: Connection>(
    tx: &mut C,
    id: &str,
    to: StatementState,
    at: i64,
) -> Result<(), Error> {
    let values = [Value::Text(id), Value::Text(to.as_str()), Value::Int(at)];
    match tx.execute(END_STATEMENT, &values).await? {
        1 => Ok(()),
        _ => Err(Error::conflict(Subject::Statement)),
    }
}

/// The next document takes effect, unless something came meanwhile by which it might not. What was written under the one
/// before it, and is not carried out, is void: each request and each document names what it was written under.
pub(crate) async fn install<C: Connection>(
    tx: &mut C,
    statement: &str,
    (document, decided): (&DocumentRow, &DecidedBy),
    at: i64,
    index: i64,
) -> Result<(), Error> {
    let values = [
        Value::Text(statement),
        Value::Int(at),
        Value::Int(decided.log_size),
        Value::Int(decided.trust),
    ];
    guarded(tx, INSTALL, &values, Subject::Statement).await?;
    succeed(tx, document, at, index).await
}

/// The document is the newest, and what it makes void is void.
async fn succeed<C: Connection>(
    tx: &mut C,
    document: &DocumentRow,
    at: i64,
    index: i64,
) -> Result<(), Error> {
    trust_documents::install_documents(tx, std::slice::from_ref(document), index).await?;
    use trust_documents::DocumentKind as K;
    if document.kind == K::Genesis {
        return Ok(());
    }
    let values = [at, index].map(Value::Int);
    tx.execute(VOID_DOCUMENTS, &values).await?;
    if matches!(document.kind, K::Roster | K::Recovery) {
        tx.execute(VOID_SUSPENSIONS, &values).await?;
    }
    tx.execute(VOID_CEREMONIES, &values).await?;
    Ok(())
}

/// Documents that the database lost come back, each with the leaf that tells of it.
pub(crate) async fn restore<C: Connection>(
    tx: &mut C,
    documents: &[RestoredDocument],
    at: i64,
) -> Result<(), Error> {
    for document in documents {
        // Its statement may be there as it was before.
        let to = StatementState::Effective;
        let values = [
            Value::Text(&document.statement),
            Value::Text(to.as_str()),
            Value::Int(at),
        ];
        tx.execute(END_STATEMENT, &values).await?;
        succeed(tx, &document.row, at, document.index).await?;
    }
    Ok(())
}

impl Store {
    /// To be read before anything that an installation is decided by.
    pub async fn decided_by(&self) -> Result<DecidedBy, Error> {
        Ok(DecidedBy {
            log_size: self.log_size().await?,
            trust: self.versions().await?.trust,
        })
    }

    pub async fn statement(&self, id: &str) -> Result<Option<StatementRow>, Error> {
        let id = [Value::Text(id)];
        on!(self, engine => reads::one(engine, STATEMENT, &id))
    }

    /// The newest that were opened before this instant and id, from the newest on; at most [`MAX_PAGE`].
    pub async fn statements_before(
        &self,
        (created_at, id): (i64, &str),
        limit: i64,
    ) -> Result<Rows<StatementRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Int(created_at), Value::Text(id), limit];
        on!(self, engine => rows::each(engine, STATEMENTS_BEFORE, &values))
    }

    /// Those that can be signed, the oldest first; at most [`MAX_PAGE`].
    pub async fn open_statements(&self, limit: i64) -> Result<Rows<StatementRow>, Error> {
        let limit = [Value::Int(limit.clamp(1, MAX_PAGE))];
        on!(self, engine => rows::each(engine, OPEN_STATEMENTS, &limit))
    }

    /// Those that can be signed, the newest first and without their documents; at most [`MAX_PAGE`].
    pub async fn open_statement_marks(&self, limit: i64) -> Result<Rows<StatementMark>, Error> {
        let limit = [Value::Int(limit.clamp(1, MAX_PAGE))];
        on!(self, engine => rows::each(engine, OPEN_MARKS, &limit))
    }

    /// A page of all statements by their ids; at most [`MAX_PAGE`].
    pub async fn all_statements(
        &self,
        start: &PageStart,
        limit: i64,
    ) -> Result<Page<StatementRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [
            Value::Text(&start.key),
            Value::Int(limit),
            Value::Int(start.behind),
        ];
        on!(self, engine => rows::page(engine, ALL_STATEMENTS, &values, (start, limit)))
    }

    /// Suspensions under the roster with this digest; at most [`SUSPENSIONS_MAX`]. One that cannot be read is an error:
    /// whoever it suspends would count.
    pub async fn suspensions(&self, roster: &Sha256Digest) -> Result<Vec<StatementRow>, Error> {
        let roster = roster.to_string();
        let values = [Value::Text(&roster), Value::Int(SUSPENSIONS_MAX)];
        on!(self, engine => reads::all(engine, SUSPENSIONS, &values))
    }

    /// A page of the signatures of all statements, in the order in which they came; at most [`MAX_PAGE`].
    pub async fn all_statement_signatures(
        &self,
        start: &PageStart,
        limit: i64,
    ) -> Result<Page<VoteRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let from = start.key.parse().unwrap_or(i64::MIN);
        let values = [from, limit, start.behind].map(Value::Int);
        on!(self, engine => rows::page(engine, ALL_STATEMENT_SIGNATURES, &values, (start, limit)))
    }

    /// In the order in which they came.
    pub async fn statement_signatures(&self, id: &str) -> Result<Vec<CeremonySignatureRow>, Error> {
        let id = [Value::Text(id)];
        on!(self, engine => reads::all(engine, STATEMENT_SIGNATURES, &id))
    }
}
