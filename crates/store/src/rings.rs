//! Rings and their versions.

use trust::{Algorithm, KeySpec, Name, Time, Usage};

use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::{Columns, Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::reads::FromColumns;
use crate::rows::{self, Keyed, Rows};
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
    pub name: Name,
    pub algorithm: Algorithm,
    pub key_spec: KeySpec,
    /// One for all of its keys.
    pub usage: Usage,
    pub created_at: Time,
    /// Rises with every change of the ring; a change names the version it was planned on.
    pub version: i64,
}

impl FromColumns for RingRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            name: row.parsed(0, "ring.name")?,
            algorithm: row.parsed(1, "ring.algorithm")?,
            key_spec: row.parsed(2, "ring.key_spec")?,
            usage: row.parsed(3, "ring.usage")?,
            created_at: row.time(4, "ring.created_at")?,
            version: row.int(5)?,
        })
    }
}

impl Keyed for RingRow {
    const TABLE: &'static str = "ring";
}

pub(crate) async fn create_ring<C: Connection>(tx: &mut C, ring: &RingRow) -> Result<(), Error> {
    let algorithm = ring.algorithm.to_string();
    let key_spec = ring.key_spec.to_string();
    let values = [
        Value::Text(ring.name.as_str()),
        Value::Text(&algorithm),
        Value::Text(&key_spec),
        Value::Text(ring.usage.name()),
        Value::Int(ring.created_at.millis()),
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
    /// By name.
    pub async fn rings(&self) -> Result<Rows<RingRow>, Error> {
        on!(self, engine => rows::each(engine, RINGS, &[]))
    }
}
