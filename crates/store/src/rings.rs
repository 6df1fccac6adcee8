//! Rings and their versions.

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns};
use crate::statements::statements;

statements! {
    RINGS = "SELECT name, algorithm, key_spec, usage, created_at, version
        FROM ring ORDER BY name";
    INSERT_RING = "INSERT INTO ring
        (name, algorithm, key_spec, usage, created_at, version)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING";
    RING_VERSION = "SELECT version FROM ring WHERE name = $1";
    TOUCH_RING = "UPDATE ring SET version = version + 1 WHERE name = $1";
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingRow {
    pub name: String,
    /// `ES256` … as [`trust::Algorithm`] writes it.
    pub algorithm: String,
    /// `P-256` … as [`trust::KeySpec`] writes it.
    pub key_spec: String,
    /// `structured` … as [`trust::Usage`] writes it; one for all of its keys.
    pub usage: String,
    pub created_at: i64,
    /// Rises with every change of the ring; a change names the version it was planned on.
    pub version: i64,
}

impl FromColumns for RingRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            name: row.text(0)?,
            algorithm: row.text(1)?,
            key_spec: row.text(2)?,
            usage: row.text(3)?,
            created_at: row.int(4)?,
            version: row.int(5)?,
        })
    }
}

pub(crate) async fn create_ring<C: Connection>(tx: &mut C, ring: &RingRow) -> Result<(), Error> {
    let values = [
        Value::Text(&ring.name),
        Value::Text(&ring.algorithm),
        Value::Text(&ring.key_spec),
        Value::Text(&ring.usage),
        Value::Int(ring.created_at),
        Value::Int(ring.version),
    ];
    guarded(tx, INSERT_RING, &values, Subject::Ring).await
}

pub(crate) async fn ring_version<C: Connection>(tx: &mut C, ring: &str) -> Result<i64, Error> {
    match tx
        .fetch_optional(RING_VERSION, &[Value::Text(ring)])
        .await?
    {
        Some(row) => row.int(0),
        None => Err(Error::NotFound {
            what: Subject::Ring,
        }),
    }
}

/// Of two replicas that planned on the same version exactly one gets through here.
pub(crate) async fn expect_ring_version<C: Connection>(
    tx: &mut C,
    ring: &str,
    expected: i64,
) -> Result<(), Error> {
    if ring_version(tx, ring).await? != expected {
        return Err(Error::conflict(Subject::RingVersion));
    }
    Ok(())
}

pub(crate) async fn touch<C: Connection>(tx: &mut C, ring: &str) -> Result<(), Error> {
    guarded(tx, TOUCH_RING, &[Value::Text(ring)], Subject::Ring).await
}

impl Store {
    pub async fn rings(&self) -> Result<Vec<RingRow>, Error> {
        on!(self, engine => reads::all(engine, RINGS, &[]))
    }
}
