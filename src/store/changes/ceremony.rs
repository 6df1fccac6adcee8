//! Ceremonies and the objects they leave on a token.

use super::super::decode::FromColumns;
use super::super::engine::{Columns, Connection, Value};
use super::super::error::{Error, Subject};
use super::super::rows::{CeremonyRow, CeremonySignatureRow, CeremonyState, TokenObjectRow};
use super::super::statements;
use super::guarded;

/// What a ceremony is about, read under the lock.
pub(super) struct Standing {
    pub operation: String,
    pub ring: String,
    pub state: CeremonyState,
    pub seq: i64,
}

pub(super) async fn standing<C: Connection>(tx: &mut C, id: &str) -> Result<Standing, Error> {
    let row = tx
        .fetch_optional(statements::CEREMONY_STATE, &[Value::Text(id)])
        .await?
        .ok_or(Error::NotFound {
            what: Subject::Ceremony,
        })?;
    let state = CeremonyState::parse(&row.text(2)?).ok_or(Error::Corrupt {
        what: "an unknown state of a ceremony",
        source: None,
    })?;
    Ok(Standing {
        operation: row.text(0)?,
        ring: row.text(1)?,
        state,
        seq: row.int(3)?,
    })
}

/// The ceremony, if it is of this operation and stands where the change expects it.
pub(super) async fn expect<C: Connection>(
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

/// One sequence for all rings, because a request names the transcript before it. Several may be
/// proposed as the next; the first that is carried out uses the number up.
pub(super) async fn expect_next<C: Connection>(tx: &mut C, seq: i64) -> Result<(), Error> {
    if !is_next(tx, seq).await? {
        return Err(Error::conflict(Subject::CeremonySequence));
    }
    Ok(())
}

async fn is_next<C: Connection>(tx: &mut C, seq: i64) -> Result<bool, Error> {
    let last = match tx.fetch_optional(statements::LAST_SEQ, &[]).await? {
        Some(last) => last.int(0)?,
        None => 0,
    };
    Ok(seq == last + 1)
}

/// One act on a token at a time: a new one on top of one whose outcome is unknown would leave two
/// unknowns. Reconciliation ends the other.
async fn expect_idle<C: Connection>(tx: &mut C, token_serial: &str) -> Result<(), Error> {
    let values = [Value::Text(token_serial)];
    match tx.fetch_optional(statements::UNSETTLED, &values).await? {
        Some(row) if row.int(0)? > 0 => Err(Error::conflict(Subject::OtherCeremony)),
        _ => Ok(()),
    }
}

/// A rejection and the beginning of the act may come at the same time; whichever commits first
/// wins, and a rejection that is in the trail is never passed over.
pub(super) async fn expect_unrejected<C: Connection>(tx: &mut C, id: &str) -> Result<(), Error> {
    match tx
        .fetch_optional(statements::REJECTED, &[Value::Text(id)])
        .await?
    {
        Some(row) if row.int(0)? > 0 => Err(Error::conflict(Subject::CeremonyState)),
        _ => Ok(()),
    }
}

pub(super) async fn propose<C: Connection>(tx: &mut C, row: &CeremonyRow) -> Result<(), Error> {
    expect_next(tx, row.seq).await?;
    if row.state != CeremonyState::Proposed || row.execution.is_some() || row.transcript.is_some() {
        return Err(Error::Malformed {
            what: "a ceremony that does not begin as proposed",
        });
    }
    super::key::ring_version(tx, &row.ring).await?;
    let values = [
        Value::Text(&row.id),
        Value::Int(row.seq),
        Value::Text(&row.operation),
        Value::Text(&row.ring),
        Value::Blob(&row.request),
        Value::Int(row.created_at),
        Value::Int(row.updated_at),
    ];
    guarded(tx, statements::INSERT_CEREMONY, &values, Subject::Ceremony).await
}

/// The same signature twice is refused here for order's sake; the tally would not count it twice.
pub(super) async fn add_signature<C: Connection>(
    tx: &mut C,
    row: &CeremonySignatureRow,
    index: i64,
) -> Result<(), Error> {
    let state = standing(tx, &row.ceremony).await?.state;
    let due = match row.purpose.as_str() {
        "approve" | "reject" => {
            matches!(state, CeremonyState::Proposed | CeremonyState::Approved)
        }
        "accept" => state == CeremonyState::Executed,
        _ => {
            return Err(Error::Malformed {
                what: "an unknown purpose of a signature",
            });
        }
    };
    if !due {
        return Err(Error::conflict(Subject::CeremonyState));
    }
    let values = [
        Value::Text(&row.ceremony),
        Value::Text(&row.purpose),
        Value::Blob(&row.body),
        Value::Text(&row.signature),
        Value::Int(row.received_at),
        Value::Int(index),
    ];
    match tx
        .execute(statements::INSERT_CEREMONY_SIGNATURE, &values)
        .await
    {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::CeremonySignature,
            source,
        }),
        other => other.map(drop),
    }
}

/// Only the moves that nothing else has to go with: the others have a change of their own. One
/// that is being carried out ends together with its object, or its token would stay occupied.
pub(super) async fn move_by_hand<C: Connection>(
    tx: &mut C,
    id: &str,
    from: CeremonyState,
    to: CeremonyState,
    at: i64,
) -> Result<(), Error> {
    use CeremonyState as S;
    if !matches!(
        to,
        S::Approved | S::Rejected | S::Expired | S::Cancelled | S::Failed
    ) || from == S::Executing
    {
        return Err(Error::Malformed {
            what: "a move of a ceremony that needs its own change",
        });
    }
    standing(tx, id).await?;
    advance(tx, id, from, to, at).await
}

async fn advance<C: Connection>(
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
    guarded(
        tx,
        statements::MOVE_CEREMONY,
        &values,
        Subject::CeremonyState,
    )
    .await
}

/// What was done is written down; custodians have yet to accept it.
pub(super) async fn executed<C: Connection>(
    tx: &mut C,
    id: &str,
    from: CeremonyState,
    execution: &[u8],
    at: i64,
) -> Result<(), Error> {
    // Another may have been carried out while this one was stuck; then this one has lost its place.
    let standing = standing(tx, id).await?;
    expect_next(tx, standing.seq).await?;
    let values = [
        Value::Text(id),
        Value::Text(from.as_str()),
        Value::Blob(execution),
        Value::Int(at),
    ];
    guarded(tx, statements::EXECUTED, &values, Subject::CeremonyState).await
}

/// Ends a ceremony with its transcript.
pub(super) async fn close<C: Connection>(
    tx: &mut C,
    id: &str,
    transcript: &[u8],
    at: i64,
) -> Result<(), Error> {
    let values = [Value::Text(id), Value::Blob(transcript), Value::Int(at)];
    guarded(tx, statements::CLOSE, &values, Subject::CeremonyState).await
}

/// For what took effect when it was carried out; a generated key is accepted instead.
pub(super) async fn close_effective<C: Connection>(
    tx: &mut C,
    id: &str,
    transcript: &[u8],
    at: i64,
) -> Result<(), Error> {
    if standing(tx, id).await?.operation == "generate" {
        return Err(Error::conflict(Subject::Ceremony));
    }
    close(tx, id, transcript, at).await
}

/// If we die after this commit the object may or may not exist: reconciliation looks.
pub(super) async fn intend_generation<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    object: &TokenObjectRow,
    at: i64,
) -> Result<(), Error> {
    let standing = expect(tx, ceremony, "generate", CeremonyState::Approved).await?;
    if object.ceremony != ceremony || object.ring != standing.ring {
        return Err(Error::conflict(Subject::TokenObject));
    }
    if object.state != "intended" || object.kid.is_some() {
        return Err(Error::Malformed {
            what: "an object that does not begin as intended",
        });
    }
    let number = [Value::Text(&object.ring), Value::Int(object.number)];
    if tx
        .fetch_optional(statements::KEY_NUMBERED, &number)
        .await?
        .is_some()
    {
        return Err(Error::conflict(Subject::TokenObject));
    }
    expect_next(tx, standing.seq).await?;
    expect_idle(tx, &object.token_serial).await?;
    expect_unrejected(tx, ceremony).await?;
    advance(
        tx,
        ceremony,
        CeremonyState::Approved,
        CeremonyState::Executing,
        at,
    )
    .await?;
    let values = [
        Value::Text(&object.cka_id),
        Value::Text(&object.token_serial),
        Value::Text(&object.token_label),
        Value::Text(&object.label),
        Value::Text(&object.ring),
        Value::Int(object.number),
        Value::Text(&object.ceremony),
        Value::Int(object.created_at),
        Value::Int(object.updated_at),
    ];
    match tx.execute(statements::INSERT_OBJECT, &values).await {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::TokenObject,
            source,
        }),
        other => other.map(drop),
    }
}

pub(super) async fn object<C: Connection>(
    tx: &mut C,
    cka_id: &str,
) -> Result<TokenObjectRow, Error> {
    let row = tx
        .fetch_optional(statements::OBJECT, &[Value::Text(cka_id)])
        .await?
        .ok_or(Error::NotFound {
            what: Subject::TokenObject,
        })?;
    TokenObjectRow::read(&row)
}

pub(super) async fn record_generation<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    cka_id: &str,
    kid: &str,
    execution: &[u8],
    at: i64,
) -> Result<(), Error> {
    expect(tx, ceremony, "generate", CeremonyState::Executing).await?;
    if object(tx, cka_id).await?.ceremony != ceremony {
        return Err(Error::conflict(Subject::TokenObject));
    }
    let values = [Value::Text(cka_id), Value::Text(kid), Value::Int(at)];
    guarded(
        tx,
        statements::OBJECT_PRESENT,
        &values,
        Subject::TokenObjectState,
    )
    .await?;
    executed(tx, ceremony, CeremonyState::Executing, execution, at).await
}

/// Only for a key that has ended: retired, or revoked. If we die after this commit the object may
/// or may not exist: reconciliation looks.
pub(super) async fn intend_destruction<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    cka_id: &str,
    at: i64,
) -> Result<(), Error> {
    let standing = expect(tx, ceremony, "destroy", CeremonyState::Approved).await?;
    let target = object(tx, cka_id).await?;
    let key = tx
        .fetch_optional(statements::KEY_OF_OBJECT, &[Value::Text(cka_id)])
        .await?
        .ok_or(Error::NotFound { what: Subject::Key })?;
    if key.text(1)? != standing.ring {
        return Err(Error::conflict(Subject::Key));
    }
    if !matches!(key.text(2)?.as_str(), "retired" | "revoked") {
        return Err(Error::conflict(Subject::KeyState));
    }
    expect_next(tx, standing.seq).await?;
    expect_idle(tx, &target.token_serial).await?;
    expect_unrejected(tx, ceremony).await?;
    advance(
        tx,
        ceremony,
        CeremonyState::Approved,
        CeremonyState::Executing,
        at,
    )
    .await?;
    let values = [Value::Text(cka_id), Value::Text(ceremony), Value::Int(at)];
    guarded(
        tx,
        statements::OBJECT_DESTROYING,
        &values,
        Subject::TokenObjectState,
    )
    .await
}

/// Whether it is this ceremony that destroys the object, and no other of the same ring.
pub(super) async fn expect_destruction<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    cka_id: &str,
) -> Result<(), Error> {
    let row = tx
        .fetch_optional(statements::DESTRUCTION, &[Value::Text(cka_id)])
        .await?
        .ok_or(Error::NotFound {
            what: Subject::TokenObject,
        })?;
    if row.maybe_text(0)?.as_deref() != Some(ceremony) {
        return Err(Error::conflict(Subject::TokenObject));
    }
    Ok(())
}

pub(super) async fn move_object<C: Connection>(
    tx: &mut C,
    cka_id: &str,
    from: &str,
    to: &str,
    at: i64,
) -> Result<(), Error> {
    let values = [
        Value::Text(cka_id),
        Value::Text(from),
        Value::Text(to),
        Value::Int(at),
    ];
    guarded(
        tx,
        statements::MOVE_OBJECT,
        &values,
        Subject::TokenObjectState,
    )
    .await
}

/// What reconciliation may conclude, by where the object stood:
/// intended → `abandoned` or `destroyed`; present and never accepted → `destroyed`;
/// destroying → `present` (it is still there; the destruction has to be approved again), or
/// `destroyed` where `ArchiveKey` came too late for its place in the line, and only there.
pub(super) async fn resolve_object<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    cka_id: &str,
    state: &str,
    at: i64,
) -> Result<(), Error> {
    let standing = standing(tx, ceremony).await?;
    let object = object(tx, cka_id).await?;
    if standing.operation != "generate" {
        expect_destruction(tx, ceremony, cka_id).await?;
    } else if object.ceremony != ceremony {
        return Err(Error::conflict(Subject::TokenObject));
    }
    if standing.state == CeremonyState::Closed {
        return Err(Error::conflict(Subject::CeremonyState));
    }
    match (object.state.as_str(), state, standing.operation.as_str()) {
        ("intended", "abandoned" | "destroyed", "generate") => {}
        ("present", "destroyed", "generate") => {
            let key = tx
                .fetch_optional(statements::KEY_OF_OBJECT, &[Value::Text(cka_id)])
                .await?;
            if key.is_some() {
                return Err(Error::conflict(Subject::Key));
            }
        }
        ("destroying", "present", "destroy") => {}
        // Destroyed, but another ceremony has taken this one's place in the line: the fact is
        // written down, the transcript will never be.
        ("destroying", "destroyed", "destroy") => {
            if is_next(tx, standing.seq).await? {
                return Err(Error::conflict(Subject::CeremonySequence));
            }
            let kid = object.kid.as_deref().unwrap_or_default();
            super::key::archived(tx, &object.ring, kid, at).await?;
        }
        _ => return Err(Error::conflict(Subject::TokenObjectState)),
    }
    move_object(tx, cka_id, &object.state, state, at).await?;
    // Already rejected, expired or cancelled: it stays so, and only the object is put right.
    tx.execute(statements::FAIL, &[Value::Text(ceremony), Value::Int(at)])
        .await
        .map(drop)
}
