//! How many alerts there are, by rule, level and state.

use calendar::alerts::AlertName;
use trust::Time;

use crate::database::{Store, on};
use crate::decode::Decode as _;
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;
use crate::statements::statements;

statements! {
    /// Of what is open, which is bounded for each rule.
    OPEN_ALERTS_COUNTED = "SELECT name, level, CASE WHEN phase = 'firing' AND silenced_until > $1 THEN 'silenced'
            WHEN phase = 'firing' AND acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE phase END AS state, COUNT(*)
        FROM alert WHERE resolved_at IS NULL AND id > '' GROUP BY name, level, state";
}

/// Open alerts of one rule, level and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedAlerts {
    /// None of rules that this program does not know.
    pub name: Option<AlertName>,
    pub level: u8,
    /// `pending`, `firing`, `acknowledged` or `silenced`; one that is silenced is that, whether or not it is acknowledged.
    pub state: String,
    pub count: u64,
}

async fn counted<E: Engine>(engine: &E, now: Time) -> Result<Vec<CountedAlerts>, Error> {
    let mut reader = engine.reader().await?;
    let rows = reader
        .fetch(OPEN_ALERTS_COUNTED, &[Value::Int(now.millis())])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(CountedAlerts {
                name: AlertName::of(&row.text(0)?),
                level: row.number(1, "alert.level")?,
                state: row.text(2)?,
                count: row.number(3, "alerts that are open")?,
            })
        })
        .collect()
}

impl Store {
    /// How many alerts are open at this instant, by rule, level and state; none where there is none.
    pub async fn open_alerts_counted(&self, now: Time) -> Result<Vec<CountedAlerts>, Error> {
        on!(self, engine => counted(engine, now))
    }
}
