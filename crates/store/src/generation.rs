//! A key comes to be on a device: the intent before, the record after.

use trust::{Kid, Location};

use crate::ceremonies::{CeremonyState, advance, executed, expect};
use crate::ceremony_signatures::expect_unrejected;
use crate::decode::canonical;
use crate::engine::{Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::keys;
use crate::lines::{expect_next, lines};
use crate::objects::{self, KeyObjectRow, ObjectState, expect_idle, object};
use crate::order_fence::expect_not_withdrawn;

/// If we die after this commit the object may or may not exist: reconciliation looks.
pub(crate) async fn intend_generation<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    object: &KeyObjectRow,
    at: i64,
) -> Result<(), Error> {
    let standing = expect(tx, ceremony, "generate", CeremonyState::Approved).await?;
    let of_ring = standing.ring.as_deref() == Some(object.ring.as_str());
    if object.ceremony.to_string() != ceremony || !of_ring {
        return Err(Error::conflict(Subject::KeyObject));
    }
    if object.state != ObjectState::Intended || object.kid.is_some() || object.location.is_some() {
        return Err(Error::Malformed {
            what: "an object that does not begin as intended",
        });
    }
    let (ring, number) = (Value::Text(object.ring.as_str()), object.number.into());
    let number = [ring, Value::Int(number)];
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
    expect_not_withdrawn(tx, ceremony).await?;
    advance(
        tx,
        ceremony,
        CeremonyState::Approved,
        CeremonyState::Executing,
        at,
    )
    .await?;
    let place = canonical(&object.place)?;
    let values = [
        Value::Text(&object.id),
        Value::Text(object.kind.as_str()),
        Value::Text(&object.device),
        Value::Text(&object.label),
        Value::Text(&place),
        Value::Text(object.ring.as_str()),
        Value::Int(object.number.into()),
        Value::Text(ceremony),
        Value::Int(object.created_at.millis()),
        Value::Int(object.updated_at.millis()),
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
    pub location: &'a Location,
    pub kid: &'a Kid,
}

pub(crate) async fn record_generation<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    made: &Made<'_>,
    execution: &[u8],
    at: i64,
) -> Result<(), Error> {
    expect(tx, ceremony, "generate", CeremonyState::Executing).await?;
    if object(tx, made.object).await?.ceremony.to_string() != ceremony {
        return Err(Error::conflict(Subject::KeyObject));
    }
    let location = canonical(made.location)?;
    let values = [
        Value::Text(made.object),
        Value::Text(made.kid.as_str()),
        Value::Text(&location),
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
