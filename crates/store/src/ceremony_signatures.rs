//! Members' signatures in ceremonies, as they came in.

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Value};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns};
use crate::statements::statements;

statements! {
    CEREMONY_SIGNATURES = "SELECT ceremony, purpose, body, signature, received_at
        FROM ceremony_signature WHERE ceremony = $1 ORDER BY idx";
    VOTES_OF = "SELECT ceremony, purpose, body, signature, received_at, idx
        FROM ceremony_signature WHERE ceremony = $1 ORDER BY idx";
    VOTES = "SELECT ceremony, purpose, body, signature, received_at, idx
        FROM ceremony_signature ORDER BY idx";
    REJECTED = "SELECT COUNT(*) FROM ceremony_signature
        WHERE ceremony = $1 AND purpose IN ('reject', 'cancel')";
    INSERT_CEREMONY_SIGNATURE = "INSERT INTO ceremony_signature
        (ceremony, purpose, body, signature, received_at, idx)
        VALUES ($1, $2, $3, $4, $5, $6)";
}

/// A member's signature as it came in; verified at every tally, never here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeremonySignatureRow {
    pub ceremony: String,
    /// `propose`, `approve`, `reject`, `cancel`, `accept`.
    pub purpose: String,
    /// The signed body for `reject` and `cancel`; empty where it is the request or the statement.
    pub body: Vec<u8>,
    /// [`trust::MemberSignature`] as canonical JSON.
    pub signature: String,
    pub received_at: i64,
}

/// A custodian's signature with the leaf that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteRow {
    pub index: i64,
    pub vote: CeremonySignatureRow,
}

impl FromColumns for CeremonySignatureRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            ceremony: row.text(0)?,
            purpose: row.text(1)?,
            body: row.blob(2)?,
            signature: row.text(3)?,
            received_at: row.int(4)?,
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

/// A rejection and the beginning of the act may come at the same time; whichever commits first
/// wins, and a rejection that is in the trail is never passed over.
pub(crate) async fn expect_unrejected<C: Connection>(tx: &mut C, id: &str) -> Result<(), Error> {
    match tx.fetch_optional(REJECTED, &[Value::Text(id)]).await? {
        Some(row) if row.int(0)? > 0 => Err(Error::conflict(Subject::CeremonyState)),
        _ => Ok(()),
    }
}

pub(crate) async fn insert_signature<C: Connection>(
    tx: &mut C,
    row: &CeremonySignatureRow,
    index: i64,
) -> Result<(), Error> {
    let values = [
        Value::Text(&row.ceremony),
        Value::Text(&row.purpose),
        Value::Blob(&row.body),
        Value::Text(&row.signature),
        Value::Int(row.received_at),
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
    /// In the order in which they came.
    pub async fn ceremony_signatures(&self, id: &str) -> Result<Vec<CeremonySignatureRow>, Error> {
        let id = [Value::Text(id)];
        on!(self, engine => reads::all(engine, CEREMONY_SIGNATURES, &id))
    }

    /// The signatures of all ceremonies, in the order in which they came.
    pub async fn votes(&self) -> Result<Vec<VoteRow>, Error> {
        on!(self, engine => reads::all(engine, VOTES, &[]))
    }

    /// The signatures of one ceremony with their leaves, in the order in which they came.
    pub async fn votes_of(&self, ceremony: &str) -> Result<Vec<VoteRow>, Error> {
        let id = [Value::Text(ceremony)];
        on!(self, engine => reads::all(engine, VOTES_OF, &id))
    }
}
