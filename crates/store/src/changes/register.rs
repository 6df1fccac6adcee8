//! Documents, rings and credentials.

use super::super::engine::{Columns, Connection, Value};
use super::super::error::{Error, Subject};
use super::super::rows::{CredentialRow, DocumentRow, RingRow};
use super::super::statements;
use super::guarded;

/// Documents are in one chain; versions of a kind follow each other without a gap. Genesis bundles
/// version 1 of roster and policy, so those may begin at 1 or, where genesis is there, at 2.
pub(super) async fn install_documents<C: Connection>(
    tx: &mut C,
    documents: &[DocumentRow],
) -> Result<(), Error> {
    for document in documents {
        let next = tx.fetch_optional(statements::NEXT_DOCUMENT, &[]).await?;
        if next.map(|row| row.int(0)).transpose()? != Some(document.place) {
            return Err(Error::conflict(Subject::Document));
        }
        let last = last_version(tx, &document.kind).await?;
        let follows = document.version == last + 1
            || (last == 0 && document.version == 2 && last_version(tx, "genesis").await? == 1);
        if !follows {
            return Err(Error::conflict(Subject::Document));
        }
        let values = [
            Value::Int(document.place),
            Value::Text(&document.kind),
            Value::Int(document.version),
            Value::Blob(&document.body),
        ];
        tx.execute(statements::INSERT_DOCUMENT, &values).await?;
    }
    Ok(())
}

async fn last_version<C: Connection>(tx: &mut C, kind: &str) -> Result<i64, Error> {
    match tx
        .fetch_optional(statements::LAST_DOCUMENT, &[Value::Text(kind)])
        .await?
    {
        Some(row) => row.int(0),
        None => Ok(0),
    }
}

pub(super) async fn create_ring<C: Connection>(tx: &mut C, ring: &RingRow) -> Result<(), Error> {
    let values = [
        Value::Text(&ring.name),
        Value::Text(&ring.algorithm),
        Value::Text(&ring.key_spec),
        Value::Text(&ring.usage),
        Value::Int(ring.created_at),
        Value::Int(ring.version),
    ];
    guarded(tx, statements::INSERT_RING, &values, Subject::Ring).await
}

pub(super) async fn grant<C: Connection>(
    tx: &mut C,
    credential: &CredentialRow,
) -> Result<(), Error> {
    if credential.withdrawn_at.is_some() {
        return Err(Error::Malformed {
            what: "a credential that is granted as withdrawn",
        });
    }
    let values = [
        Value::Text(&credential.kind),
        Value::Text(&credential.value),
        Value::Text(&credential.principal),
        Value::Text(&credential.roles),
        Value::Int(credential.created_at),
        Value::MaybeInt(credential.expires_at),
    ];
    guarded(
        tx,
        statements::GRANT_CREDENTIAL,
        &values,
        Subject::Credential,
    )
    .await
}

pub(super) async fn withdraw<C: Connection>(
    tx: &mut C,
    kind: &str,
    value: &str,
    at: i64,
) -> Result<(), Error> {
    let name = [Value::Text(kind), Value::Text(value)];
    if tx
        .fetch_optional(statements::CREDENTIAL_EXISTS, &name)
        .await?
        .is_none()
    {
        return Err(Error::NotFound {
            what: Subject::Credential,
        });
    }
    let values = [name[0], name[1], Value::Int(at)];
    guarded(
        tx,
        statements::WITHDRAW_CREDENTIAL,
        &values,
        Subject::Credential,
    )
    .await
}

/// Sets the mark; of what the tree has not got no body may go.
pub(super) async fn allow_pruning<C: Connection>(tx: &mut C, below: i64) -> Result<(), Error> {
    let below = [Value::Int(below)];
    match tx.execute(statements::PRUNE_MARK, &below).await? {
        1 => Ok(()),
        _ => Err(Error::conflict(Subject::Tree)),
    }
}
