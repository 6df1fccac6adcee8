//! A private half goes from its device, and what reconciliation finds there.

use crate::ceremonies::{self, CeremonyState, advance, expect, standing};
use crate::ceremony_signatures::expect_unrejected;
use crate::engine::{Columns, Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::keys;
use crate::lines::{expect_next, give_back, lines};
use crate::objects::{self, ObjectState, expect_destruction, expect_idle, move_object, object};

/// Only for keys that have ended: retired, or revoked. If we die after this commit the objects may
/// or may not exist: reconciliation looks.
pub(crate) async fn intend_destruction<C: Connection>(
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
            .fetch_optional(keys::KEY_OF_OBJECT, &[Value::Text(id)])
            .await?
            .ok_or(Error::NotFound { what: Subject::Key })?;
        let ended = matches!(key.text(2)?.as_str(), "retired" | "revoked");
        if !ended || key.maybe_int(3)?.is_some() {
            return Err(Error::conflict(Subject::KeyState));
        }
        expect_idle(tx, &target.device, ceremony).await?;
        let values = [Value::Text(id), Value::Text(ceremony), Value::Int(at)];
        let sql = objects::OBJECT_DESTROYING;
        guarded(tx, sql, &values, Subject::KeyObjectState).await?;
    }
    Ok(())
}

/// What reconciliation may conclude, by where the object stood:
/// intended → `abandoned` or `destroyed`; present and never accepted → `destroyed`;
/// destroying → `present` (it is still there; the destruction has to be approved again).
pub(crate) async fn resolve_object<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    id: &str,
    state: ObjectState,
    at: i64,
) -> Result<(), Error> {
    use ObjectState as O;
    let standing = standing(tx, ceremony).await?;
    let object = object(tx, id).await?;
    if standing.operation != "generate" {
        expect_destruction(&object, ceremony)?;
    } else if object.ceremony.to_string() != ceremony {
        return Err(Error::conflict(Subject::KeyObject));
    }
    if standing.state == CeremonyState::Closed {
        return Err(Error::conflict(Subject::CeremonyState));
    }
    match (object.state, state, standing.operation.as_str()) {
        (O::Intended, O::Abandoned | O::Destroyed, "generate") => {}
        (O::Present, O::Destroyed, "generate") => {
            let key = tx
                .fetch_optional(keys::KEY_OF_OBJECT, &[Value::Text(id)])
                .await?;
            if key.is_some() {
                return Err(Error::conflict(Subject::Key));
            }
        }
        (O::Destroying, O::Present, "destroy") => {}
        _ => return Err(Error::conflict(Subject::KeyObjectState)),
    }
    move_object(tx, id, object.state, state, at).await?;
    // Already rejected, expired or cancelled: it stays so, and only the object is put right.
    let values = [Value::Text(ceremony), Value::Int(at)];
    if tx.execute(ceremonies::FAIL, &values).await? > 0 && standing.state == CeremonyState::Executed
    {
        give_back(tx, ceremony).await?;
    }
    Ok(())
}
