//! The first answer to a request that may be repeated.

use crate::database::{Store, on};
use crate::engine::{AnswerColumns, Columns, Connection as _, Engine, Value};
use crate::error::Error;
use crate::kept::KeptLeaf;
use crate::leaves::uncovered;
use crate::reads::FromColumns;
use crate::statements::statements;

statements! {
    ANSWER = "SELECT request_hash, response, idx, time FROM idempotency
        WHERE principal = $1 AND key = $2";
}

/// What makes a repeated request return the first answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub principal: String,
    pub key: String,
    /// SHA-256 of the request that the key was first used for, hex.
    pub request_hash: String,
    /// The answer as JSON, without the index (the index is the leaf's).
    pub response: String,
}

impl Idempotency {
    pub(crate) fn columns(&self, index: i64, time: i64) -> AnswerColumns<'_> {
        [
            Value::Text(&self.principal),
            Value::Text(&self.key),
            Value::Text(&self.request_hash),
            Value::Text(&self.response),
            Value::Int(index),
            Value::Int(time),
        ]
    }
}

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentAnswer {
    pub request_hash: String,
    pub response: String,
    pub index: i64,
    pub time: i64,
}

impl FromColumns for IdempotentAnswer {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            request_hash: row.text(0)?,
            response: row.text(1)?,
            index: row.int(2)?,
            time: row.int(3)?,
        })
    }
}

/// The answer, and its leaf if no published checkpoint is known to cover it.
async fn answered<E: Engine>(
    engine: &E,
    principal: &str,
    key: &str,
    covered: i64,
) -> Result<Option<(IdempotentAnswer, Vec<KeptLeaf>)>, Error> {
    let values = [Value::Text(principal), Value::Text(key)];
    let mut reader = engine.reader().await?;
    let Some(row) = reader.fetch_optional(ANSWER, &values).await? else {
        return Ok(None);
    };
    let answer = IdempotentAnswer::read(&row)?;
    let leaves = uncovered(&mut reader, std::iter::once(answer.index), covered).await?;
    Ok(Some((answer, leaves)))
}

impl Store {
    /// What this caller was answered for this idempotency key, perhaps by another replica. Its leaf is kept here too.
    pub async fn idempotent(
        &self,
        principal: &str,
        key: &str,
    ) -> Result<Option<IdempotentAnswer>, Error> {
        let covered = self.kept.covered_size();
        let found = on!(self, engine => answered(engine, principal, key, covered))?;
        let Some((answer, leaves)) = found else {
            return Ok(None);
        };
        match self.kept.keep(leaves.into_iter()) || answer.index < covered {
            true => Ok(Some(answer)),
            false => Err(Error::HeldBack),
        }
    }
}
