//! A key comes to be on a device: the intent before, the record after.

use crate::ceremonies::{CeremonyState, advance, executed, expect};
use crate::ceremony_signatures::expect_unrejected;
use crate::engine::{Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::keys;
use crate::lines::{expect_next, lines};
use crate::objects::{self, KeyObjectRow, expect_idle, object};

/// If we die after this commit the object may or may not exist: reconciliation looks.
pub(crate) async fn intend_generation<C: Connection>(
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
        .fetch_optional(keys::KEY_NUMBERED, &number)
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
    match tx.execute(objects::INSERT_OBJECT, &values).await {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::KeyObject,
            source,
        }),
        other => other.map(drop),
    }
}

/// What a generation made, and where.
pub(crate) struct Made<'a> {
    pub object: &'a str,
    pub location: &'a str,
    pub kid: &'a str,
}

pub(crate) async fn record_generation<C: Connection>(
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
        objects::OBJECT_PRESENT,
        &values,
        Subject::KeyObjectState,
    )
    .await?;
    executed(tx, ceremony, CeremonyState::Executing, execution, at).await
}
