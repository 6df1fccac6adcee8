//! Ceremonies and the objects they leave on devices.

use super::super::decode::FromColumns;
use super::super::engine::{Columns, Connection, Value};
use super::super::error::{Error, Subject};
use super::super::rows::{
    CeremonyRow, CeremonySignatureRow, CeremonyState, KeyObjectRow, LineRow, OrderUseRow,
};
use super::super::statements;
use super::guarded;

/// What a ceremony is about, read under the lock.
pub(super) struct Standing {
    pub operation: String,
    pub ring: Option<String>,
    pub state: CeremonyState,
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
        ring: row.maybe_text(1)?,
        state,
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

/// A ceremony has a place in the line of each of its subjects. Several may be proposed as the next
/// of a subject; the first that is carried out uses the place up. Other subjects do not matter.
async fn expect_next<C: Connection>(tx: &mut C, lines: &[LineRow]) -> Result<(), Error> {
    for line in lines {
        let values = [Value::Text(&line.subject)];
        let last = match tx.fetch_optional(statements::LAST_OF_LINE, &values).await? {
            Some(last) => last.int(0)?,
            None => 0,
        };
        if line.seq != last + 1 {
            return Err(Error::conflict(Subject::CeremonySequence));
        }
    }
    Ok(())
}

async fn lines<C: Connection>(tx: &mut C, ceremony: &str) -> Result<Vec<LineRow>, Error> {
    let rows = tx
        .fetch(statements::LINES, &[Value::Text(ceremony)])
        .await?;
    rows.iter().map(LineRow::read).collect()
}

/// One act on a device at a time: a new one on top of one whose outcome is unknown would leave two
/// unknowns. Reconciliation ends the other.
async fn expect_idle<C: Connection>(tx: &mut C, device: &str, ceremony: &str) -> Result<(), Error> {
    let values = [Value::Text(device), Value::Text(ceremony)];
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

pub(super) async fn propose<C: Connection>(
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
    expect_next(tx, lines).await?;
    if let Some(ring) = &row.ring {
        super::key::ring_version(tx, ring).await?;
    }
    let values = [
        Value::Text(&row.id),
        Value::Text(&row.operation),
        Value::MaybeText(row.ring.as_deref()),
        Value::Text(&row.nonce),
        Value::Blob(&row.request),
        Value::Int(row.created_at),
        Value::Int(row.updated_at),
    ];
    guarded(tx, statements::INSERT_CEREMONY, &values, Subject::Ceremony).await?;
    for line in lines {
        let values = [
            Value::Text(&row.id),
            Value::Text(&line.subject),
            Value::Int(line.seq),
        ];
        tx.execute(statements::INSERT_LINE, &values).await?;
    }
    if let Some(order) = order {
        let values = [
            Value::Text(&order.order),
            Value::Int(order.number),
            Value::Text(&row.id),
        ];
        match tx.execute(statements::INSERT_ORDER_USE, &values).await {
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
        Some(proposal) if proposal.ceremony == row.id && proposal.purpose == "propose" => {
            insert_signature(tx, proposal, index).await
        }
        Some(_) => Err(Error::Malformed {
            what: "the proposal belongs to a different ceremony",
        }),
        None => Ok(()),
    }
}

/// The same signature twice is refused here for order's sake; the tally would not count it twice.
pub(super) async fn add_signature<C: Connection>(
    tx: &mut C,
    row: &CeremonySignatureRow,
    index: i64,
) -> Result<(), Error> {
    let state = standing(tx, &row.ceremony).await?.state;
    let due = match row.purpose.as_str() {
        "approve" | "reject" | "cancel" => {
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
    insert_signature(tx, row, index).await
}

async fn insert_signature<C: Connection>(
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
/// that is being carried out ends together with its object, or its device would stay occupied; but
/// for a destruction that is done, and whose place in a line another took meanwhile.
pub(super) async fn move_by_hand<C: Connection>(
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
    if !by_hand || (from == S::Executing && !overtaken) {
        return Err(Error::Malformed {
            what: "a move of a ceremony that needs its own change",
        });
    }
    if overtaken {
        expect_all_gone(tx, id).await?;
    }
    advance(tx, id, from, to, at).await?;
    match from {
        S::Executed => give_back(tx, id).await,
        _ => Ok(()),
    }
}

/// A birth that nobody accepts gives its place back, as long as nothing was carried out after it.
async fn give_back<C: Connection>(tx: &mut C, id: &str) -> Result<(), Error> {
    match tx.execute(statements::LINES_BACK, &[Value::Text(id)]).await {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::CeremonySequence,
            source,
        }),
        other => other.map(drop),
    }
}

async fn expect_all_gone<C: Connection>(tx: &mut C, id: &str) -> Result<(), Error> {
    let left = tx
        .fetch_optional(statements::LEFT_TO_DESTROY, &[Value::Text(id)])
        .await?;
    match left {
        Some(row) if row.int(0)? > 0 => Err(Error::conflict(Subject::KeyObjectState)),
        _ => Ok(()),
    }
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
    let lines = lines(tx, id).await?;
    expect_next(tx, &lines).await?;
    let values = [
        Value::Text(id),
        Value::Text(from.as_str()),
        Value::Blob(execution),
        Value::Int(at),
    ];
    guarded(tx, statements::EXECUTED, &values, Subject::CeremonyState).await?;
    tx.execute(statements::LINES_DONE, &[Value::Text(id)])
        .await
        .map(drop)
}

/// For a destruction whose objects are all gone, and for what is carried out by its record alone.
pub(super) async fn execute<C: Connection>(
    tx: &mut C,
    id: &str,
    execution: &[u8],
    at: i64,
) -> Result<(), Error> {
    let standing = standing(tx, id).await?;
    let from = match standing.operation.as_str() {
        "generate" | "revoke" => return Err(Error::conflict(Subject::Ceremony)),
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
    object: &KeyObjectRow,
    at: i64,
) -> Result<(), Error> {
    let standing = expect(tx, ceremony, "generate", CeremonyState::Approved).await?;
    if object.ceremony != ceremony || Some(&object.ring) != standing.ring.as_ref() {
        return Err(Error::conflict(Subject::KeyObject));
    }
    if object.state != "intended" || object.kid.is_some() || object.location.is_some() {
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
        return Err(Error::conflict(Subject::KeyObject));
    }
    let lines = lines(tx, ceremony).await?;
    expect_next(tx, &lines).await?;
    expect_idle(tx, &object.device, ceremony).await?;
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
        Value::Text(&object.id),
        Value::Text(&object.kind),
        Value::Text(&object.device),
        Value::Text(&object.label),
        Value::Text(&object.place),
        Value::Text(&object.ring),
        Value::Int(object.number),
        Value::Text(&object.ceremony),
        Value::Int(object.created_at),
        Value::Int(object.updated_at),
    ];
    match tx.execute(statements::INSERT_OBJECT, &values).await {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::KeyObject,
            source,
        }),
        other => other.map(drop),
    }
}

pub(super) async fn object<C: Connection>(tx: &mut C, id: &str) -> Result<KeyObjectRow, Error> {
    let row = tx
        .fetch_optional(statements::OBJECT, &[Value::Text(id)])
        .await?
        .ok_or(Error::NotFound {
            what: Subject::KeyObject,
        })?;
    KeyObjectRow::read(&row)
}

/// What a generation made, and where.
pub(super) struct Made<'a> {
    pub object: &'a str,
    pub location: &'a str,
    pub kid: &'a str,
}

pub(super) async fn record_generation<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    made: &Made<'_>,
    execution: &[u8],
    at: i64,
) -> Result<(), Error> {
    expect(tx, ceremony, "generate", CeremonyState::Executing).await?;
    if object(tx, made.object).await?.ceremony != ceremony {
        return Err(Error::conflict(Subject::KeyObject));
    }
    let values = [
        Value::Text(made.object),
        Value::Text(made.kid),
        Value::Text(made.location),
        Value::Int(at),
    ];
    guarded(
        tx,
        statements::OBJECT_PRESENT,
        &values,
        Subject::KeyObjectState,
    )
    .await?;
    executed(tx, ceremony, CeremonyState::Executing, execution, at).await
}

/// Only for keys that have ended: retired, or revoked. If we die after this commit the objects may
/// or may not exist: reconciliation looks.
pub(super) async fn intend_destruction<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    objects: &[String],
    at: i64,
) -> Result<(), Error> {
    expect(tx, ceremony, "destroy", CeremonyState::Approved).await?;
    let lines = lines(tx, ceremony).await?;
    if lines.len() != objects.len() {
        return Err(Error::conflict(Subject::KeyObject));
    }
    expect_next(tx, &lines).await?;
    expect_unrejected(tx, ceremony).await?;
    let (from, to) = (CeremonyState::Approved, CeremonyState::Executing);
    advance(tx, ceremony, from, to, at).await?;
    for id in objects {
        let target = object(tx, id).await?;
        let key = tx
            .fetch_optional(statements::KEY_OF_OBJECT, &[Value::Text(id)])
            .await?
            .ok_or(Error::NotFound { what: Subject::Key })?;
        let ended = matches!(key.text(2)?.as_str(), "retired" | "revoked");
        if !ended || key.maybe_int(3)?.is_some() {
            return Err(Error::conflict(Subject::KeyState));
        }
        expect_idle(tx, &target.device, ceremony).await?;
        let values = [Value::Text(id), Value::Text(ceremony), Value::Int(at)];
        let sql = statements::OBJECT_DESTROYING;
        guarded(tx, sql, &values, Subject::KeyObjectState).await?;
    }
    Ok(())
}

/// Whether it is this ceremony that destroys the object, and no other.
pub(super) fn expect_destruction(object: &KeyObjectRow, ceremony: &str) -> Result<(), Error> {
    match object.destruction.as_deref() == Some(ceremony) {
        true => Ok(()),
        false => Err(Error::conflict(Subject::KeyObject)),
    }
}

pub(super) async fn move_object<C: Connection>(
    tx: &mut C,
    id: &str,
    from: &str,
    to: &str,
    at: i64,
) -> Result<(), Error> {
    let values = [
        Value::Text(id),
        Value::Text(from),
        Value::Text(to),
        Value::Int(at),
    ];
    guarded(
        tx,
        statements::MOVE_OBJECT,
        &values,
        Subject::KeyObjectState,
    )
    .await
}

/// What reconciliation may conclude, by where the object stood:
/// intended → `abandoned` or `destroyed`; present and never accepted → `destroyed`;
/// destroying → `present` (it is still there; the destruction has to be approved again).
pub(super) async fn resolve_object<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    id: &str,
    state: &str,
    at: i64,
) -> Result<(), Error> {
    let standing = standing(tx, ceremony).await?;
    let object = object(tx, id).await?;
    if standing.operation != "generate" {
        expect_destruction(&object, ceremony)?;
    } else if object.ceremony != ceremony {
        return Err(Error::conflict(Subject::KeyObject));
    }
    if standing.state == CeremonyState::Closed {
        return Err(Error::conflict(Subject::CeremonyState));
    }
    match (object.state.as_str(), state, standing.operation.as_str()) {
        ("intended", "abandoned" | "destroyed", "generate") => {}
        ("present", "destroyed", "generate") => {
            let key = tx
                .fetch_optional(statements::KEY_OF_OBJECT, &[Value::Text(id)])
                .await?;
            if key.is_some() {
                return Err(Error::conflict(Subject::Key));
            }
        }
        ("destroying", "present", "destroy") => {}
        _ => return Err(Error::conflict(Subject::KeyObjectState)),
    }
    move_object(tx, id, &object.state, state, at).await?;
    // Already rejected, expired or cancelled: it stays so, and only the object is put right.
    let values = [Value::Text(ceremony), Value::Int(at)];
    if tx.execute(statements::FAIL, &values).await? > 0 && standing.state == CeremonyState::Executed
    {
        give_back(tx, ceremony).await?;
    }
    Ok(())
}
