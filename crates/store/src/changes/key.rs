//! Keys and the pointer of their ring. Every one of these raises the version of the ring.

use super::super::engine::{Columns, Connection, Value};
use super::super::error::{Error, Subject};
use super::super::rows::{CeremonyState, KeyRow};
use super::super::statements;
use super::ceremony::{
    close, executed, expect, expect_destruction, expect_unrejected, move_object, object, standing,
};
use super::guarded;

pub(super) async fn ring_version<C: Connection>(tx: &mut C, ring: &str) -> Result<i64, Error> {
    match tx
        .fetch_optional(statements::RING_VERSION, &[Value::Text(ring)])
        .await?
    {
        Some(row) => row.int(0),
        None => Err(Error::NotFound {
            what: Subject::Ring,
        }),
    }
}

/// Of two replicas that planned on the same version exactly one gets through here.
pub(super) async fn expect_ring_version<C: Connection>(
    tx: &mut C,
    ring: &str,
    expected: i64,
) -> Result<(), Error> {
    if ring_version(tx, ring).await? != expected {
        return Err(Error::conflict(Subject::RingVersion));
    }
    Ok(())
}

async fn touch<C: Connection>(tx: &mut C, ring: &str) -> Result<(), Error> {
    guarded(
        tx,
        statements::TOUCH_RING,
        &[Value::Text(ring)],
        Subject::Ring,
    )
    .await
}

struct Before {
    state: String,
    role: String,
}

async fn expect_key_row<C: Connection>(tx: &mut C, ring: &str, kid: &str) -> Result<Before, Error> {
    let row = tx
        .fetch_optional(statements::KEY_STATE, &[Value::Text(kid)])
        .await?
        .ok_or(Error::NotFound { what: Subject::Key })?;
    if row.text(0)? != ring {
        return Err(Error::conflict(Subject::Key));
    }
    Ok(Before {
        state: row.text(1)?,
        role: row.maybe_text(2)?.unwrap_or_default(),
    })
}

async fn expect_key<C: Connection>(tx: &mut C, ring: &str, kid: &str) -> Result<(), Error> {
    expect_key_row(tx, ring, kid).await.map(drop)
}

/// The row must tell what its object and its ceremony tell; the transcript is tallied above.
pub(super) async fn accept<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    key: &KeyRow,
    transcript: &[u8],
    at: i64,
) -> Result<(), Error> {
    let standing = expect(tx, ceremony, "generate", CeremonyState::Executed).await?;
    let object = object(tx, &key.object).await?;
    if object.state != "present" {
        return Err(Error::conflict(Subject::KeyObjectState));
    }
    let agrees = key.ceremony == ceremony
        && object.ceremony == ceremony
        && Some(&key.ring) == standing.ring.as_ref()
        && object.ring == key.ring
        && object.number == key.number
        && object.kid.as_deref() == Some(key.kid.as_str())
        && object.location.as_ref() == Some(&key.location);
    if !agrees {
        return Err(Error::conflict(Subject::KeyObject));
    }
    if key.state != "prepared" || key.role.is_some() {
        return Err(Error::Malformed {
            what: "a key that does not begin as prepared",
        });
    }
    let values = [
        Value::Text(&key.kid),
        Value::Text(&key.ring),
        Value::Int(key.number),
        Value::Blob(&key.spki),
        Value::Text(&key.object),
        Value::Int(key.published_at),
        Value::Int(key.activate_at),
        Value::Int(key.retire_at),
        Value::Text(ceremony),
    ];
    match tx.execute(statements::INSERT_KEY, &values).await {
        Err(Error::Conflict { source, .. }) => {
            return Err(Error::Conflict {
                what: Subject::Key,
                source,
            });
        }
        other => other.map(drop)?,
    }
    close(tx, ceremony, transcript, at).await?;
    touch(tx, &key.ring).await
}

/// Nobody sees the ring without a primary: both rows change in the one transaction.
pub(super) async fn switch_primary<C: Connection>(
    tx: &mut C,
    ring: &str,
    old: Option<&str>,
    new: &str,
    at: i64,
) -> Result<(), Error> {
    if primary(tx, ring).await?.as_deref() != old || old == Some(new) {
        return Err(Error::conflict(Subject::Primary));
    }
    if let Some(old) = old {
        let values = [Value::Text(old), Value::Text(ring), Value::Int(at)];
        guarded(tx, statements::DEMOTE, &values, Subject::Primary).await?;
    }
    promote(tx, ring, new, at).await?;
    touch(tx, ring).await
}

async fn primary<C: Connection>(tx: &mut C, ring: &str) -> Result<Option<String>, Error> {
    tx.fetch_optional(statements::PRIMARY, &[Value::Text(ring)])
        .await?
        .map(|row| row.text(0))
        .transpose()
}

async fn promote<C: Connection>(tx: &mut C, ring: &str, kid: &str, at: i64) -> Result<(), Error> {
    expect_key(tx, ring, kid).await?;
    let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
    guarded(tx, statements::PROMOTE, &values, Subject::KeyState).await
}

pub(super) async fn retire<C: Connection>(
    tx: &mut C,
    ring: &str,
    kid: &str,
    at: i64,
) -> Result<(), Error> {
    expect_key(tx, ring, kid).await?;
    let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
    guarded(tx, statements::RETIRE, &values, Subject::KeyState).await?;
    touch(tx, ring).await
}

/// The private half is gone; the public half stays for ever. The last one of a destruction lets it
/// be recorded as carried out. One that has failed, because another of its objects is still there,
/// is told all the same what became of the rest.
pub(super) async fn archive<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    ring: &str,
    (kid, id): (&str, &str),
    at: i64,
) -> Result<(), Error> {
    let standing = standing(tx, ceremony).await?;
    if standing.operation != "destroy" {
        return Err(Error::conflict(Subject::Ceremony));
    }
    if !matches!(
        standing.state,
        CeremonyState::Executing | CeremonyState::Failed
    ) {
        return Err(Error::conflict(Subject::CeremonyState));
    }
    let object = object(tx, id).await?;
    if object.ring != ring || object.kid.as_deref() != Some(kid) {
        return Err(Error::conflict(Subject::KeyObject));
    }
    expect_destruction(&object, ceremony)?;
    archived(tx, ring, kid, at).await?;
    move_object(tx, id, "destroying", "destroyed", at).await
}

async fn archived<C: Connection>(tx: &mut C, ring: &str, kid: &str, at: i64) -> Result<(), Error> {
    expect_key(tx, ring, kid).await?;
    let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
    guarded(tx, statements::ARCHIVE, &values, Subject::KeyState).await?;
    touch(tx, ring).await
}

pub(super) struct Revocation<'a> {
    pub kid: &'a str,
    pub reason: &'a str,
    pub since: Option<i64>,
    pub at: i64,
}

/// After this commit no signature by the key can be released: whoever commits one takes the log
/// head after us and reads `revoked`. A revoked key is revoked again only more severely.
pub(super) async fn revoke<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    ring: &str,
    revocation: &Revocation<'_>,
    successor: Option<&str>,
    execution: &[u8],
) -> Result<(), Error> {
    let Revocation {
        kid,
        reason,
        since,
        at,
    } = *revocation;
    let standing = expect(tx, ceremony, "revoke", CeremonyState::Approved).await?;
    if standing.ring.as_deref() != Some(ring) {
        return Err(Error::conflict(Subject::Ring));
    }
    expect_unrejected(tx, ceremony).await?;
    let before = expect_key_row(tx, ring, kid).await?;
    let was_primary = before.role == "primary";
    let (key, ring_name) = (Value::Text(kid), Value::Text(ring));
    let (reason, since) = (Value::Text(reason), Value::MaybeInt(since));
    match before.state.as_str() {
        "revoked" => {
            let values = [key, ring_name, reason, since];
            let sql = statements::REVOKE_MORE_SEVERELY;
            guarded(tx, sql, &values, Subject::KeyState).await?;
        }
        _ => {
            let values = [key, ring_name, Value::Int(at), reason, since];
            guarded(tx, statements::REVOKE, &values, Subject::KeyState).await?;
        }
    }
    match successor {
        Some(_) if !was_primary => return Err(Error::conflict(Subject::Primary)),
        Some(successor) => promote(tx, ring, successor, at).await?,
        None => {}
    }
    executed(tx, ceremony, CeremonyState::Approved, execution, at).await?;
    touch(tx, ring).await
}
