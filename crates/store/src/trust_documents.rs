//! Genesis, rosters and policies, as signed.

use std::fmt;

use crate::asked::leaf_columns;
use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Value};
use crate::error::{Error, Subject};
use crate::leaves::LeafRow;
use crate::reads::{self, FromColumns, MAX_PAGE, Word};
use crate::statements::statements;

statements! {
    DOCUMENTS = "SELECT place, kind, version, body, idx FROM trust_document ORDER BY place";
    LAST_DOCUMENT = "SELECT COALESCE(MAX(version), 0) FROM trust_document WHERE kind = $1";
    NEXT_DOCUMENT = "SELECT COALESCE(MAX(place) + 1, 0) FROM trust_document";
    /// A page of the leaves that tell of documents, in the words of their index.
    INSTALLATIONS = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind = 'roster' AND substr(body, 1, 19) = '{\"action\":\"install-'
            AND idx >= $1 ORDER BY idx LIMIT $2");
    INSERT_DOCUMENT =
        "INSERT INTO trust_document (place, kind, version, body, idx) VALUES ($1, $2, $3, $4, $5)";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    Genesis,
    Roster,
    Policy,
    RecoveryRoster,
    /// The next roster, by the recovery roster.
    Recovery,
}

impl DocumentKind {
    /// As the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Roster => "roster",
            Self::Policy => "policy",
            Self::RecoveryRoster => "recovery-roster",
            Self::Recovery => "recovery",
        }
    }
}

impl Word for DocumentKind {
    const COLUMN: &'static str = "trust_document.kind";
    const ALL: &'static [Self] = &[
        Self::Genesis,
        Self::Roster,
        Self::Policy,
        Self::RecoveryRoster,
        Self::Recovery,
    ];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A version of the roster or the policy, as signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its place in the chain: the genesis has 0.
    pub place: i64,
    pub kind: DocumentKind,
    pub version: i64,
    /// The whole signed document as `trust` encodes it.
    pub body: Vec<u8>,
    /// The leaf that tells of its installation; not known of those that an earlier program installed.
    pub index: Option<i64>,
}

impl FromColumns for DocumentRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            place: row.int(0)?,
            kind: DocumentKind::read_word(row, 1)?,
            version: row.int(2)?,
            body: row.blob(3)?,
            index: row.maybe_int(4)?,
        })
    }
}

/// Documents are in one chain; versions of a kind follow each other without a gap. Genesis bundles
/// version 1 of roster and policy, so those may begin at 1 or, where genesis is there, at 2.
pub(crate) async fn install_documents<C: Connection>(
    tx: &mut C,
    documents: &[DocumentRow],
    index: i64,
) -> Result<(), Error> {
    for document in documents {
        let next = tx.fetch_optional(NEXT_DOCUMENT, &[]).await?;
        if next.map(|row| row.int(0)).transpose()? != Some(document.place) {
            return Err(Error::conflict(Subject::Document));
        }
        use DocumentKind as K;
        let last = match document.kind {
            // A roster is a roster, whoever put it in place.
            K::Roster | K::Recovery => {
                let recovered = last_version(tx, K::Recovery).await?;
                recovered.max(last_version(tx, K::Roster).await?)
            }
            kind => last_version(tx, kind).await?,
        };
        let follows = (document.version == last + 1
            && !(last == 0 && document.kind == K::Recovery))
            || (last == 0
                && document.kind != K::RecoveryRoster
                && document.version == 2
                && last_version(tx, DocumentKind::Genesis).await? == 1);
        if !follows {
            return Err(Error::conflict(Subject::Document));
        }
        let values = [
            Value::Int(document.place),
            Value::Text(document.kind.as_str()),
            Value::Int(document.version),
            Value::Blob(&document.body),
            Value::Int(index),
        ];
        tx.execute(INSERT_DOCUMENT, &values).await?;
    }
    Ok(())
}

async fn last_version<C: Connection>(tx: &mut C, kind: DocumentKind) -> Result<i64, Error> {
    match tx
        .fetch_optional(LAST_DOCUMENT, &[Value::Text(kind.as_str())])
        .await?
    {
        Some(row) => row.int(0),
        None => Ok(0),
    }
}

impl Store {
    /// In the order of the chain. One that cannot be read is an error: what comes after it rests on it.
    pub async fn documents(&self) -> Result<Vec<DocumentRow>, Error> {
        on!(self, engine => reads::all(engine, DOCUMENTS, &[]))
    }

    /// The leaves that tell of installations of documents, oldest first; as many as the chain is long.
    pub async fn installations(&self) -> Result<Vec<LeafRow>, Error> {
        let mut all: Vec<LeafRow> = Vec::new();
        loop {
            let start = all.last().map_or(0, |leaf| leaf.index + 1);
            let page = [Value::Int(start), Value::Int(MAX_PAGE)];
            let page: Vec<LeafRow> = on!(self, engine => reads::all(engine, INSTALLATIONS, &page))?;
            let full = page.len() as i64 == MAX_PAGE;
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }
}
