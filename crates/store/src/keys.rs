//! Keys and the pointer of their ring. Every change of one raises the version of the ring.

use trust::life::Revocation as KeyRevocation;
use trust::{Kid, Location, Name, Sha256Digest, Time};

use crate::asked::key_columns;
use crate::ceremonies::{CeremonyState, close, executed, expect, standing};
use crate::ceremony_signatures::expect_unrejected;
use crate::database::{Store, on};
use crate::decode::{Decode, unreadable};
use crate::engine::{Columns, Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::objects::{ObjectState, expect_destruction, move_object, object};
use crate::order_fence::expect_not_withdrawn;
use crate::reads::FromColumns;
use crate::rings::touch;
use crate::rows::{self, Keyed, Rows};
use crate::statements::statements;

statements! {
    KEYS = concat!("SELECT ", key_columns!(), " FROM signing_key k
        LEFT JOIN key_object o ON o.id = k.object ORDER BY k.ring, k.number");
    KEY_OF_OBJECT = "SELECT kid, ring, state, archived_at FROM signing_key WHERE object = $1";
    KEY_NUMBERED = "SELECT kid FROM signing_key WHERE ring = $1 AND number = $2";
    KEY_STATE = "SELECT ring, state, role FROM signing_key WHERE kid = $1";
    PRIMARY = "SELECT kid FROM signing_key WHERE ring = $1 AND role = 'primary'";
    INSERT_KEY = "INSERT INTO signing_key
        (kid, ring, number, state, spki, object, published_at, activate_at, retire_at, ceremony)
        VALUES ($1, $2, $3, 'prepared', $4, $5, $6, $7, $8, $9)";
    DEMOTE = "UPDATE signing_key SET role = 'secondary', demoted_at = $3
        WHERE kid = $1 AND ring = $2 AND role = 'primary'";
    /// After a roll-back it is as if it had never been demoted.
    PROMOTE = "UPDATE signing_key SET state = 'active', role = 'primary',
            activated_at = COALESCE(activated_at, $3), demoted_at = NULL
        WHERE kid = $1 AND ring = $2 AND (state = 'prepared' OR role = 'secondary')";
    RETIRE = "UPDATE signing_key SET state = 'retired', role = NULL, retired_at = $3
        WHERE kid = $1 AND ring = $2 AND role = 'secondary'";
    /// A revoked key stays revoked when its private half is destroyed.
    ARCHIVE = "UPDATE signing_key SET archived_at = $3,
            state = CASE state WHEN 'retired' THEN 'archived' ELSE state END
        WHERE kid = $1 AND ring = $2 AND state IN ('retired', 'revoked') AND archived_at IS NULL";
    REVOKE = "UPDATE signing_key SET state = 'revoked', role = NULL, revoked_at = $3,
            revocation_reason = $4, compromised_since = $5,
            demoted_at = CASE role WHEN 'primary' THEN $3 ELSE demoted_at END
        WHERE kid = $1 AND ring = $2 AND state <> 'revoked'";
    /// For good: out of the sets that verifiers fetch.
    UNPUBLISH = "UPDATE signing_key SET unpublished_at = $3
        WHERE kid = $1 AND ring = $2 AND state IN ('retired', 'archived') AND unpublished_at IS NULL";
    /// Only to a more severe revocation, which stays as old as the first. Without a beginning a key is
    /// compromised from the beginning.
    REVOKE_MORE_SEVERELY = "UPDATE signing_key SET revocation_reason = $3, compromised_since = $4
        WHERE kid = $1 AND ring = $2 AND state = 'revoked' AND $3 = 'compromised'
            AND (revocation_reason <> 'compromised'
                OR compromised_since > $4 OR (compromised_since IS NOT NULL AND $4 IS NULL))";
}

/// Where a key stands, as its row says: state and role in one. Whether its instants say the same is
/// found out above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    Prepared,
    /// Active, and the one that signs.
    Primary,
    /// Active, and was primary before.
    Secondary,
    Retired,
    Archived,
    Revoked,
}

impl KeyStatus {
    const ALL: [Self; 6] = [
        Self::Prepared,
        Self::Primary,
        Self::Secondary,
        Self::Retired,
        Self::Archived,
        Self::Revoked,
    ];

    /// The one of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }

    /// In one word, with the role of an active key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Retired => "retired",
            Self::Archived => "archived",
            Self::Revoked => "revoked",
        }
    }

    /// Whether a signature by it may be recorded.
    pub(crate) fn can_sign(self) -> bool {
        matches!(self, Self::Primary | Self::Secondary)
    }

    /// Columns `state` and `role`.
    fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Primary | Self::Secondary => ("active", Some(self.as_str())),
            other => (other.as_str(), None),
        }
    }

    /// From two columns, the state first.
    pub(crate) fn read(row: &impl Columns, at: usize) -> Result<Self, Error> {
        let (state, role) = (row.text(at)?, row.maybe_text(at + 1)?);
        let words = (state.as_str(), role.as_deref());
        let known = Self::ALL.into_iter().find(|one| one.words() == words);
        known.ok_or_else(
            || match Self::ALL.iter().any(|one| one.words().0 == state) {
                true => unreadable("signing_key.role", role.as_deref().unwrap_or_default()),
                false => unreadable("signing_key.state", &state),
            },
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub kid: Kid,
    pub ring: Name,
    pub number: u32,
    pub status: KeyStatus,
    /// SPKI, DER.
    pub spki: Vec<u8>,
    /// Where it was made, by [`crate::KeyObjectRow::id`].
    pub object: String,
    /// Where that is.
    pub location: Location,
    pub published_at: Time,
    /// From the approved request: not before, and until.
    pub activate_at: Time,
    pub retire_at: Time,
    pub activated_at: Option<Time>,
    /// When it stopped being the primary the last time.
    pub demoted_at: Option<Time>,
    pub retired_at: Option<Time>,
    pub archived_at: Option<Time>,
    /// When it left the key sets, at the end of its ring's grace.
    pub unpublished_at: Option<Time>,
    pub revocation: Option<KeyRevocation>,
    /// The ceremony that bore it.
    pub ceremony: Sha256Digest,
}

impl FromColumns for KeyRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let location = row.maybe_json(7, "key_object.location")?;
        Ok(Self {
            kid: row.parsed(0, "signing_key.kid")?,
            ring: row.parsed(1, "signing_key.ring")?,
            number: row.number(2, "signing_key.number")?,
            status: KeyStatus::read(row, 3)?,
            spki: row.blob(5)?,
            object: row.text(6)?,
            location: location.ok_or_else(|| unreadable("key_object.location", ""))?,
            published_at: row.time(8, "signing_key.published_at")?,
            activate_at: row.time(9, "signing_key.activate_at")?,
            retire_at: row.time(10, "signing_key.retire_at")?,
            activated_at: row.maybe_time(11, "signing_key.activated_at")?,
            demoted_at: row.maybe_time(12, "signing_key.demoted_at")?,
            retired_at: row.maybe_time(13, "signing_key.retired_at")?,
            archived_at: row.maybe_time(14, "signing_key.archived_at")?,
            revocation: revocation(row)?,
            ceremony: row.parsed(18, "signing_key.ceremony")?,
            unpublished_at: row.maybe_time(19, "signing_key.unpublished_at")?,
        })
    }
}

fn revocation(row: &impl Columns) -> Result<Option<KeyRevocation>, Error> {
    let revoked_at = row.maybe_time(15, "signing_key.revoked_at")?;
    let reason = row.maybe_parsed(16, "signing_key.revocation_reason")?;
    let compromised_since = row.maybe_time(17, "signing_key.compromised_since")?;
    match (revoked_at, reason, compromised_since) {
        (Some(revoked_at), Some(reason), compromised_since) => Ok(Some(KeyRevocation {
            reason,
            revoked_at,
            compromised_since,
        })),
        (None, None, None) => Ok(None),
        (None, ..) => Err(unreadable("signing_key.revoked_at", "")),
        (Some(_), None, _) => Err(unreadable("signing_key.revocation_reason", "")),
    }
}

impl Keyed for KeyRow {
    const TABLE: &'static str = "signing_key";
}

async fn expect_key_row<C: Connection>(
    tx: &mut C,
    ring: &str,
    kid: &str,
) -> Result<KeyStatus, Error> {
    let row = tx
        .fetch_optional(KEY_STATE, &[Value::Text(kid)])
        .await?
        .ok_or(Error::NotFound { what: Subject::Key })?;
    if row.text(0)? != ring {
        return Err(Error::conflict(Subject::Key));
    }
    KeyStatus::read(&row, 1)
}

async fn expect_key<C: Connection>(tx: &mut C, ring: &str, kid: &str) -> Result<(), Error> {
    expect_key_row(tx, ring, kid).await.map(drop)
}

/// The row must tell what its object and its ceremony tell; the transcript is tallied above.
pub(crate) async fn accept<C: Connection>(
    tx: &mut C,
    ceremony: &str,
    key: &KeyRow,
    transcript: &[u8],
    at: i64,
) -> Result<(), Error> {
    let standing = expect(tx, ceremony, "generate", CeremonyState::Executed).await?;
    expect_not_withdrawn(tx, ceremony).await?;
    let object = object(tx, &key.object).await?;
    if object.state != ObjectState::Present {
        return Err(Error::conflict(Subject::KeyObjectState));
    }
    let agrees = key.ceremony.to_string() == ceremony
        && object.ceremony == key.ceremony
        && standing.ring.as_deref() == Some(key.ring.as_str())
        && object.ring == key.ring
        && object.number == key.number
        && object.kid.as_ref() == Some(&key.kid)
        && object.location.as_ref() == Some(&key.location);
    if !agrees {
        return Err(Error::conflict(Subject::KeyObject));
    }
    if key.status != KeyStatus::Prepared {
        return Err(Error::Malformed {
            what: "a key that does not begin as prepared",
        });
    }
    let values = [
        Value::Text(key.kid.as_str()),
        Value::Text(key.ring.as_str()),
        Value::Int(key.number.into()),
        Value::Blob(&key.spki),
        Value::Text(&key.object),
        Value::Int(key.published_at.millis()),
        Value::Int(key.activate_at.millis()),
        Value::Int(key.retire_at.millis()),
        Value::Text(ceremony),
    ];
    match tx.execute(INSERT_KEY, &values).await {
        Err(Error::Conflict { source, .. }) => {
            return Err(Error::Conflict {
                what: Subject::Key,
                source,
            });
        }
        other => other.map(drop)?,
    }
    close(tx, ceremony, transcript, at).await?;
    touch(tx, key.ring.as_str()).await
}

/// Nobody sees the ring without a primary: both rows change in the one transaction.
pub(crate) async fn switch_primary<C: Connection>(
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
        guarded(tx, DEMOTE, &values, Subject::Primary).await?;
    }
    promote(tx, ring, new, at).await?;
    touch(tx, ring).await
}

pub(crate) async fn primary<C: Connection>(
    tx: &mut C,
    ring: &str,
) -> Result<Option<String>, Error> {
    tx.fetch_optional(PRIMARY, &[Value::Text(ring)])
        .await?
        .map(|row| row.text(0))
        .transpose()
}

async fn promote<C: Connection>(tx: &mut C, ring: &str, kid: &str, at: i64) -> Result<(), Error> {
    expect_key(tx, ring, kid).await?;
    let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
    guarded(tx, PROMOTE, &values, Subject::KeyState).await
}

pub(crate) async fn retire<C: Connection>(
    tx: &mut C,
    ring: &str,
    kid: &str,
    at: i64,
) -> Result<(), Error> {
    expect_key(tx, ring, kid).await?;
    let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
    guarded(tx, RETIRE, &values, Subject::KeyState).await?;
    touch(tx, ring).await
}

/// It signs no more, and verifiers find it in the archive alone from now on.
pub(crate) async fn unpublish<C: Connection>(
    tx: &mut C,
    ring: &str,
    kid: &str,
    at: i64,
) -> Result<(), Error> {
    expect_key(tx, ring, kid).await?;
    let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
    guarded(tx, UNPUBLISH, &values, Subject::KeyState).await?;
    touch(tx, ring).await
}

/// The private half is gone; the public half stays for ever. The last one of a destruction lets it
/// be recorded as carried out. One that has failed, because another of its objects is still there,
/// is told all the same what became of the rest.
pub(crate) async fn archive<C: Connection>(
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
    if object.ring.as_str() != ring || object.kid.as_ref().map(Kid::as_str) != Some(kid) {
        return Err(Error::conflict(Subject::KeyObject));
    }
    expect_destruction(&object, ceremony)?;
    archived(tx, ring, kid, at).await?;
    move_object(tx, id, ObjectState::Destroying, ObjectState::Destroyed, at).await
}

async fn archived<C: Connection>(tx: &mut C, ring: &str, kid: &str, at: i64) -> Result<(), Error> {
    expect_key(tx, ring, kid).await?;
    let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
    guarded(tx, ARCHIVE, &values, Subject::KeyState).await?;
    touch(tx, ring).await
}

pub(crate) struct Revocation<'a> {
    pub kid: &'a str,
    pub reason: &'a str,
    pub since: Option<i64>,
    pub at: i64,
}

/// After this commit no signature by the key can be released: whoever commits one takes the log
/// head after us and reads `revoked`. A revoked key is revoked again only more severely.
pub(crate) async fn revoke<C: Connection>(
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
    let standing = standing(tx, ceremony).await?;
    // An emergency rotation revokes the primary and makes its successor the primary: never one without the other.
    match standing.operation.as_str() {
        "revoke" => {}
        "emergency-rotation" if successor.is_some() => {}
        _ => return Err(Error::conflict(Subject::Ceremony)),
    }
    if standing.state != CeremonyState::Approved {
        return Err(Error::conflict(Subject::CeremonyState));
    }
    if standing.ring.as_deref() != Some(ring) {
        return Err(Error::conflict(Subject::Ring));
    }
    expect_unrejected(tx, ceremony).await?;
    let before = expect_key_row(tx, ring, kid).await?;
    let was_primary = before == KeyStatus::Primary;
    let (key, ring_name) = (Value::Text(kid), Value::Text(ring));
    let (reason, since) = (Value::Text(reason), Value::MaybeInt(since));
    match before {
        KeyStatus::Revoked => {
            let values = [key, ring_name, reason, since];
            let sql = REVOKE_MORE_SEVERELY;
            guarded(tx, sql, &values, Subject::KeyState).await?;
        }
        _ => {
            let values = [key, ring_name, Value::Int(at), reason, since];
            guarded(tx, REVOKE, &values, Subject::KeyState).await?;
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

impl Store {
    /// By ring and number.
    pub async fn keys(&self) -> Result<Rows<KeyRow>, Error> {
        on!(self, engine => rows::each(engine, KEYS, &[]))
    }
}
