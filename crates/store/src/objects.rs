//! Objects on devices.

use trust::{Kid, Location, Name, Place, Sha256Digest, Time};

use crate::asked::object_columns;
use crate::database::{Store, on};
use crate::decode::{Decode, unreadable};
use crate::engine::{Columns, Connection, Engine, Value, guarded, json};
use crate::error::{Error, Subject};
use crate::reads::{FromColumns, Word};
use crate::rows::{self, Keyed, Rows};
use crate::statements::statements;

statements! {
    KEY_OBJECTS =
        concat!("SELECT ", object_columns!(), " FROM key_object ORDER BY ring, number, created_at");
    /// Those that a device has or may have.
    OBJECTS_ON = concat!("SELECT ", object_columns!(), " FROM key_object WHERE device = $1
        AND state IN ('intended', 'present', 'destroying') ORDER BY ring, number, created_at");
    HIGHEST_NUMBER = "SELECT COALESCE(MAX(number), 0) FROM key_object WHERE ring = $1";
    INSERT_OBJECT = "INSERT INTO key_object
        (id, kind, device, label, place, ring, number, ceremony, state, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'intended', $9, $10)";
    OBJECT = concat!("SELECT ", object_columns!(), " FROM key_object WHERE id = $1");
    OBJECT_PRESENT = "UPDATE key_object
        SET state = 'present', kid = $2, location = $3, updated_at = $4
        WHERE id = $1 AND state = 'intended'";
    OBJECT_DESTROYING = "UPDATE key_object
        SET state = 'destroying', destruction = $2, updated_at = $3
        WHERE id = $1 AND state = 'present'";
    /// Objects of a destruction that are not gone.
    LEFT_TO_DESTROY = "SELECT COUNT(*) FROM key_object
        WHERE destruction = $1 AND state <> 'destroyed'";
    /// Acts on a device under way by other ceremonies than this one.
    UNSETTLED = "SELECT COUNT(*) FROM key_object WHERE device = $1
        AND state IN ('intended', 'destroying')
        AND (state = 'intended' OR (state = 'destroying' AND destruction <> $2))";
    MOVE_OBJECT = "UPDATE key_object SET state = $3, updated_at = $4
        WHERE id = $1 AND state = $2";
}

/// Where an object on a device stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectState {
    /// The device may hold it: the token was asked, or is about to be.
    Intended,
    Present,
    /// The device may have lost it.
    Destroying,
    Destroyed,
    /// Never came to be, or will never be accepted.
    Abandoned,
}

impl ObjectState {
    /// As the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Present => "present",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Word for ObjectState {
    const COLUMN: &'static str = "key_object.state";
    const ALL: &'static [Self] = &[
        Self::Intended,
        Self::Present,
        Self::Destroying,
        Self::Destroyed,
        Self::Abandoned,
    ];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// A private half or a secret key on a device. Written before the device is touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyObjectRow {
    /// [`trust::Place::object`].
    pub id: String,
    /// [`trust::Place::kind`]; an open vocabulary.
    pub kind: trust::word::Word,
    /// [`trust::Place::device`].
    pub device: String,
    /// [`trust::Place::label`]; one on a device.
    pub label: String,
    pub place: Place,
    /// Once it is there.
    pub location: Option<Location>,
    pub ring: Name,
    pub number: u32,
    pub ceremony: Sha256Digest,
    pub state: ObjectState,
    pub kid: Option<Kid>,
    /// The ceremony that destroys it, or last meant to.
    pub destruction: Option<Sha256Digest>,
    pub created_at: Time,
    pub updated_at: Time,
}

impl Keyed for KeyObjectRow {
    const TABLE: &'static str = "key_object";
}

impl FromColumns for KeyObjectRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let place = row.maybe_json(4, "key_object.place")?;
        Ok(Self {
            id: row.text(0)?,
            kind: row.parsed(1, "key_object.kind")?,
            device: row.text(2)?,
            label: row.text(3)?,
            place: place.ok_or_else(|| unreadable("key_object.place", ""))?,
            location: row.maybe_json(5, "key_object.location")?,
            ring: row.parsed(6, "key_object.ring")?,
            number: row.number(7, "key_object.number")?,
            ceremony: row.parsed(8, "key_object.ceremony")?,
            state: ObjectState::read_word(row, 9)?,
            kid: row.maybe_parsed(10, "key_object.kid")?,
            destruction: row.maybe_parsed(11, "key_object.destruction")?,
            created_at: row.time(12, "key_object.created_at")?,
            updated_at: row.time(13, "key_object.updated_at")?,
        })
    }
}

pub(crate) async fn object<C: Connection>(tx: &mut C, id: &str) -> Result<KeyObjectRow, Error> {
    let row = tx
        .fetch_optional(OBJECT, &[Value::Text(id)])
        .await?
        .ok_or(Error::NotFound {
            what: Subject::KeyObject,
        })?;
    KeyObjectRow::read(&row)
}

/// One act on a device at a time: a new one on top of one whose outcome is unknown would leave two
/// unknowns. Reconciliation ends the other.
pub(crate) async fn expect_idle<C: Connection>(
    tx: &mut C,
    device: &str,
    ceremony: &str,
) -> Result<(), Error> {
    let values = [Value::Text(device), Value::Text(ceremony)];
    match tx.fetch_optional(UNSETTLED, &values).await? {
        Some(row) if row.int(0)? > 0 => Err(Error::conflict(Subject::OtherCeremony)),
        _ => Ok(()),
    }
}

pub(crate) async fn expect_all_gone<C: Connection>(tx: &mut C, id: &str) -> Result<(), Error> {
    let left = tx
        .fetch_optional(LEFT_TO_DESTROY, &[Value::Text(id)])
        .await?;
    match left {
        Some(row) if row.int(0)? > 0 => Err(Error::conflict(Subject::KeyObjectState)),
        _ => Ok(()),
    }
}

/// Whether it is this ceremony that destroys the object, and no other.
pub(crate) fn expect_destruction(object: &KeyObjectRow, ceremony: &str) -> Result<(), Error> {
    let destruction = object.destruction.map(|id| id.to_string());
    match destruction.as_deref() == Some(ceremony) {
        true => Ok(()),
        false => Err(Error::conflict(Subject::KeyObject)),
    }
}

pub(crate) async fn move_object<C: Connection>(
    tx: &mut C,
    id: &str,
    from: ObjectState,
    to: ObjectState,
    at: i64,
) -> Result<(), Error> {
    let values = [
        Value::Text(id),
        Value::Text(from.as_str()),
        Value::Text(to.as_str()),
        Value::Int(at),
    ];
    guarded(tx, MOVE_OBJECT, &values, Subject::KeyObjectState).await
}

async fn highest_number<E: Engine>(engine: &E, ring: &str) -> Result<u32, Error> {
    let mut reader = engine.reader().await?;
    let ring = [Value::Text(ring)];
    match reader.fetch_optional(HIGHEST_NUMBER, &ring).await? {
        Some(row) => row.number(0, "key_object.number"),
        None => Ok(0),
    }
}

impl Store {
    /// The highest number that a key of the ring was ever meant to have; 0 if there is none.
    pub async fn highest_number(&self, ring: &str) -> Result<u32, Error> {
        on!(self, engine => highest_number(engine, ring))
    }

    /// Those that a device has or may have. Costs the same however many were destroyed.
    pub async fn objects_on(&self, device: &str) -> Result<Rows<KeyObjectRow>, Error> {
        on!(self, engine => rows::each(engine, OBJECTS_ON, &[Value::Text(device)]))
    }

    /// Those of these ids that there are.
    pub async fn objects(&self, ids: &[String]) -> Result<Rows<KeyObjectRow>, Error> {
        let asked = json(&ids)?;
        on!(self, engine => objects(engine, &asked))
    }

    pub async fn key_objects(&self) -> Result<Rows<KeyObjectRow>, Error> {
        on!(self, engine => rows::each(engine, KEY_OBJECTS, &[]))
    }
}

async fn objects<E: Engine>(engine: &E, asked: &str) -> Result<Rows<KeyObjectRow>, Error> {
    rows::each(engine, E::DIALECT.objects, &[Value::Text(asked)]).await
}
