//! Objects on devices.

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns, Word};
use crate::statements::statements;

macro_rules! object_columns {
    () => {
        "id, kind, device, label, place, location, ring, number, ceremony, state, kid, destruction, \
         created_at, updated_at"
    };
}

statements! {
    KEY_OBJECTS =
        concat!("SELECT ", object_columns!(), " FROM key_object ORDER BY ring, number, created_at");
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
    /// [`trust::Place::kind`].
    pub kind: String,
    /// [`trust::Place::device`].
    pub device: String,
    /// [`trust::Place::label`]; one on a device.
    pub label: String,
    /// [`trust::Place`] as canonical JSON.
    pub place: String,
    /// [`trust::Location`] as canonical JSON, once it is there.
    pub location: Option<String>,
    pub ring: String,
    pub number: i64,
    pub ceremony: String,
    pub state: ObjectState,
    pub kid: Option<String>,
    /// The ceremony that destroys it, or last meant to.
    pub destruction: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl FromColumns for KeyObjectRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.text(0)?,
            kind: row.text(1)?,
            device: row.text(2)?,
            label: row.text(3)?,
            place: row.text(4)?,
            location: row.maybe_text(5)?,
            ring: row.text(6)?,
            number: row.int(7)?,
            ceremony: row.text(8)?,
            state: ObjectState::read_word(row, 9)?,
            kid: row.maybe_text(10)?,
            destruction: row.maybe_text(11)?,
            created_at: row.int(12)?,
            updated_at: row.int(13)?,
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
    match object.destruction.as_deref() == Some(ceremony) {
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

impl Store {
    pub async fn key_objects(&self) -> Result<Vec<KeyObjectRow>, Error> {
        on!(self, engine => reads::all(engine, KEY_OBJECTS, &[]))
    }
}
