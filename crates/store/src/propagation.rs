//! Verifiers who say that they have a key.

use trust::Time;

use crate::database::{Store, on};
use crate::decode::Decode as _;
use crate::engine::{Columns, Value, write};
use crate::error::Error;
use crate::reads::{self, FromColumns};
use crate::statements::statements;

statements! {
    ACKNOWLEDGE = "INSERT INTO propagation_ack (kid, principal, at) VALUES ($1, $2, $3)
        ON CONFLICT (kid, principal) DO UPDATE SET at = excluded.at";
    /// Of one key, by as many as have the role.
    ACKNOWLEDGEMENTS = "SELECT principal, at FROM propagation_ack WHERE kid = $1 ORDER BY principal LIMIT 1000";
}

/// A verifier that says that it has a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgementRow {
    pub principal: String,
    /// The last time that it said so.
    pub at: Time,
}

impl FromColumns for AcknowledgementRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            principal: row.text(0)?,
            at: row.time(1, "propagation_ack.at")?,
        })
    }
}

impl Store {
    /// A principal says that it has the key.
    pub async fn acknowledge_key(&self, kid: &str, principal: &str, at: Time) -> Result<(), Error> {
        let values = [
            Value::Text(kid),
            Value::Text(principal),
            Value::Int(at.millis()),
        ];
        on!(self, engine => write(engine, ACKNOWLEDGE, &values)).map(drop)
    }

    /// Who says so, by name.
    pub async fn acknowledgements(&self, kid: &str) -> Result<Vec<AcknowledgementRow>, Error> {
        on!(self, engine => reads::all(engine, ACKNOWLEDGEMENTS, &[Value::Text(kid)]))
    }
}
