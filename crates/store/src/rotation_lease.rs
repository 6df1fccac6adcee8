//! What rotations and runs of jobs have in common: a lease with an epoch, by the database's clock.

use std::time::Duration;

use crate::engine::{Columns as _, Connection as _, Engine, Value};
use crate::error::Error;

/// Longest text of why something waits, in characters.
const MAX_DETAIL: usize = 500;

/// A run of a rotation: whose writes are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationLease {
    pub event: String,
    pub epoch: i64,
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
