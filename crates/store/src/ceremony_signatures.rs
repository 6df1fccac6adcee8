//! Members' signatures in ceremonies, as they came in.

use trust::{Purpose, Sha256Digest, Time};

use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::{Columns, Connection, Value};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns, MAX_PAGE, Word};
use crate::rows::{self, Keyed, Page, PageStart};
use crate::statements::statements;

statements! {
    CEREMONY_SIGNATURES = "SELECT ceremony, purpose, body, signature, received_at
        FROM ceremony_signature WHERE ceremony = $1 ORDER BY idx";
    VOTES_OF = "SELECT ceremony, purpose, body, signature, received_at, idx
        FROM ceremony_signature WHERE ceremony = $1 ORDER BY idx";
    VOTES = "SELECT ceremony, purpose, body, signature, received_at, idx
        FROM ceremony_signature WHERE idx >= $1 ORDER BY idx LIMIT $2 OFFSET $3";
    REJECTED = "SELECT COUNT(*) FROM ceremony_signature
        WHERE ceremony = $1 AND purpose IN ('reject', 'cancel')";
    OF_PURPOSE = "SELECT COUNT(*) FROM ceremony_signature WHERE ceremony = $1 AND purpose = $2";
    INSERT_CEREMONY_SIGNATURE = "INSERT INTO ceremony_signature
        (ceremony, purpose, body, signature, received_at, idx)
        VALUES ($1, $2, $3, $4, $5, $6)";
}

/// A member's signature as it came in; verified at every tally, never here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeremonySignatureRow {
    pub ceremony: Sha256Digest,
    /// Propose, approve, reject, cancel, accept, note, exception or witness; of a statement roster, policy, suspend or reject.
    pub purpose: Purpose,
    /// The signed body for `reject`, `cancel`, `note`, `exception` and `witness`; empty where it is the request or the statement.
    pub body: Vec<u8>,
    /// [`trust::MemberSignature`] as canonical JSON; the trail has the digest of this text.
    pub signature: String,
    pub received_at: Time,
}

/// A custodian's signature with the leaf that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteRow {
    pub index: i64,
    pub vote: CeremonySignatureRow,
}

impl Word for Purpose {
    const COLUMN: &'static str = "ceremony_signature.purpose";
    const ALL: &'static [Self] = &[
        Self::Propose,
        Self::Approve,
        Self::Reject,
        Self::Cancel,
        Self::Accept,
        Self::Note,
        Self::Exception,
        Self::Witness,
        Self::Roster,
        Self::Policy,
        Self::Suspend,
        Self::RecoveryRoster,
        Self::Recover,
        Self::Veto,
    ];

    fn word(self) -> &'static str {
        Purpose::word(self)
    }
}

impl FromColumns for CeremonySignatureRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            ceremony: row.parsed(0, "ceremony_signature.ceremony")?,
            purpose: Purpose::read_word(row, 1)?,
            body: row.blob(2)?,
            signature: row.text(3)?,
            received_at: row.time(4, "ceremony_signature.received_at")?,
        })
    }
}

impl FromColumns for VoteRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            index: row.int(5)?,
            vote: CeremonySignatureRow::read(row)?,
        })
    }
}

impl Keyed for VoteRow {
    const TABLE: &'static str = "ceremony_signature";

    /// The leaf that tells of it.
    fn key(row: &impl Columns) -> Result<String, Error> {
        row.int(5).map(|index| index.to_string())
    }
}

/// A rejection and the beginning of the act may come at the same time; whichever commits first
/// wins, and a rejection that is in the trail is never passed over.
pub(crate) async fn expect_unrejected<C: Connection>(tx: &mut C, id: &str) -> Result<(), Error> {
    match tx.fetch_optional(REJECTED, &[Value::Text(id)]).await? {
        Some(row) if row.int(0)? > 0 => Err(Error::conflict(Subject::CeremonyState)),
        _ => Ok(()),
    }
}

/// Two that are submitted at the same time were both counted before either was there: the second is counted anew.
pub(crate) async fn expect_so_many<C: Connection>(
    tx: &mut C,
    row: &CeremonySignatureRow,
    before: i64,
) -> Result<(), Error> {
    let ceremony = row.ceremony.to_string();
    let values = [Value::Text(&ceremony), Value::Text(row.purpose.word())];
    let there = tx.fetch_optional(OF_PURPOSE, &values).await?;
    match there.map_or(Ok(0), |row| row.int(0))? == before {
        true => Ok(()),
        false => Err(Error::conflict(Subject::CeremonyRecord)),
    }
}

pub(crate) async fn insert_signature<C: Connection>(
    tx: &mut C,
    row: &CeremonySignatureRow,
    index: i64,
) -> Result<(), Error> {
    let ceremony = row.ceremony.to_string();
    let values = [
        Value::Text(&ceremony),
        Value::Text(row.purpose.word()),
        Value::Blob(&row.body),
        Value::Text(&row.signature),
        Value::Int(row.received_at.millis()),
        Value::Int(index),
    ];
    match tx.execute(INSERT_CEREMONY_SIGNATURE, &values).await {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::CeremonySignature,
            source,
        }),
        other => other.map(drop),
    }
}

impl Store {
    /// In the order in which they came. One that cannot be read is an error: it may be a rejection.
    pub async fn ceremony_signatures(&self, id: &str) -> Result<Vec<CeremonySignatureRow>, Error> {
        let id = [Value::Text(id)];
        on!(self, engine => reads::all(engine, CEREMONY_SIGNATURES, &id))
    }

    /// A page of the signatures of all ceremonies, in the order in which they came; at most [`MAX_PAGE`].
    pub async fn votes(&self, start: &PageStart, limit: i64) -> Result<Page<VoteRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let from = start.key.parse().unwrap_or(i64::MIN);
        let values = [from, limit, start.behind].map(Value::Int);
        on!(self, engine => rows::page(engine, VOTES, &values, (start, limit)))
    }

    /// The signatures of one ceremony with their leaves, in the order in which they came.
    pub async fn votes_of(&self, ceremony: &str) -> Result<Vec<VoteRow>, Error> {
        let id = [Value::Text(ceremony)];
        on!(self, engine => reads::all(engine, VOTES_OF, &id))
    }
}
