//! What rotations and runs of jobs have in common: a lease with an epoch, by the database's clock.

use std::time::Duration;

use crate::engine::{Columns as _, Connection, Engine, Value, guarded};
use crate::error::{Error, Subject};
use crate::statements::statements;

statements! {
    /// Nobody takes the rotation, marks it or ends it before the transaction that wrote this is over: a read would not keep
    /// them from it.
    EXPECT_STEP = "UPDATE rotation_event SET lease_epoch = $2
        WHERE id = $1 AND lease_epoch = $2 AND lease_owner <> '' AND ended_at IS NULL
            AND (cancel = 0 OR promoted_at IS NOT NULL)
            AND (roll_back = 0 OR promoted_at IS NULL OR retired_at IS NOT NULL)";
    EXPECT_ROLL_BACK = "UPDATE rotation_event SET lease_epoch = $2
        WHERE id = $1 AND lease_epoch = $2 AND lease_owner <> '' AND ended_at IS NULL
            AND roll_back = 1 AND promoted_at IS NOT NULL AND retired_at IS NULL";
}

/// Longest text of why something waits, in characters.
const MAX_DETAIL: usize = 500;

/// A run of a rotation: whose writes are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationLease {
    pub event: String,
    pub epoch: i64,
}

/// What has to hold of a rotation for what is done for it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationFence {
    /// Whoever does it has the rotation, and nobody wants it cancelled or rolled back.
    Step(RotationLease),
    /// Whoever does it has the rotation, and it is wanted rolled back.
    RollBack(RotationLease),
}

impl RotationFence {
    /// The rotation.
    pub fn event(&self) -> &str {
        match self {
            Self::Step(lease) | Self::RollBack(lease) => &lease.event,
        }
    }
}

/// In the transaction that does it: a conflict where another one took the rotation, or where a mark came meanwhile.
pub(crate) async fn expect<C: Connection>(tx: &mut C, fence: &RotationFence) -> Result<(), Error> {
    let (sql, lease) = match fence {
        RotationFence::Step(lease) => (EXPECT_STEP, lease),
        RotationFence::RollBack(lease) => (EXPECT_ROLL_BACK, lease),
    };
    let values = [Value::Text(&lease.event), Value::Int(lease.epoch)];
    guarded(tx, sql, &values, Subject::Rotation).await
}

pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(MAX_DETAIL).collect()
}

/// A statement that answers with the epoch of a lease that it took.
pub(crate) async fn taken<E: Engine>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Option<i64>, Error> {
    let mut tx = engine.begin().await?;
    match tx.fetch_optional(sql, values).await {
        Ok(row) => {
            let epoch = row.map(|row| row.int(0)).transpose()?;
            engine.commit(tx).await.map(|()| epoch)
        }
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}
