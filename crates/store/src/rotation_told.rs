//! Open rotations of which people are told, and how many there are: each page by an index of what it is asked for, so that
//! what only waits for a time costs nothing, however much of it there is.

use trust::Time;

use crate::database::{Store, on};
use crate::decode::Decode as _;
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;
use crate::reads::{self, MAX_PAGE};
use crate::rotation_events::{RotationEventRow, event_columns};
use crate::statements::statements;

statements! {
    /// In the words of the index.
    NEED_PEOPLE = concat!("SELECT ", event_columns!(), " FROM rotation_event
        WHERE ended_at IS NULL AND (state = 'failed' OR waits IN ('approval', 'order-used-up', 'order-ended', 'order-paused',
            'held', 'person', 'propagation', 'probe-contradicts', 'old-still-used'))
            AND (due, id) > ($1, $2) ORDER BY due, id LIMIT $3");
    LATE = concat!("SELECT ", event_columns!(), " FROM rotation_event
        WHERE ended_at IS NULL AND promoted_at IS NULL AND (due, id) > ($1, $2) AND due < $4 ORDER BY due, id LIMIT $3");
    DECLARED = concat!("SELECT ", event_columns!(), " FROM rotation_event
        WHERE ended_at IS NULL AND cause = 'event' AND (due, id) > ($1, $2) ORDER BY due, id LIMIT $3");
    /// Those whose hour has come; asked while the scheduler is paused.
    PAUSED = concat!("SELECT ", event_columns!(), " FROM rotation_event
        WHERE ended_at IS NULL AND promoted_at IS NULL AND cause <> 'event' AND slot <= $4 AND (due, id) > ($1, $2)
        ORDER BY due, id LIMIT $3");
    /// Of what is open, which is at most two or three for each asset.
    OPEN_BY_STATE = "SELECT state, COUNT(*) FROM rotation_event WHERE ended_at IS NULL GROUP BY state";
    /// The same by what they wait for as well, with the earliest hour of each.
    OPEN_SUMMARY = "SELECT state, waits, COUNT(*), MIN(slot), MIN(CASE WHEN promoted_at IS NULL THEN slot END)
        FROM rotation_event WHERE ended_at IS NULL GROUP BY state, waits";
}

/// Open rotations of one state that wait for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRotations {
    pub state: String,
    pub waits: Option<String>,
    pub count: u64,
    /// The earliest hour that one of them was given.
    pub slot: Time,
    /// The same of those whose new version is not in use.
    pub unpromoted_slot: Option<Time>,
}

/// Which of the open rotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// They failed for good, or wait for people or for a probe.
    NeedPeople,
    /// Their new version should have been the primary before this instant, and is not.
    LateAt(Time),
    /// Emergencies.
    Declared,
    /// The scheduler's pause holds them: by this instant they should have begun.
    HeldAt(Time),
}

async fn counts<E: Engine>(engine: &E) -> Result<Vec<(String, u64)>, Error> {
    let rows = engine.reader().await?.fetch(OPEN_BY_STATE, &[]).await?;
    rows.iter()
        .map(|row| Ok((row.text(0)?, row.number(1, "rotations that are open")?)))
        .collect()
}

async fn summary<E: Engine>(engine: &E) -> Result<Vec<OpenRotations>, Error> {
    let rows = engine.reader().await?.fetch(OPEN_SUMMARY, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(OpenRotations {
                state: row.text(0)?,
                waits: row.maybe_text(1)?,
                count: row.number(2, "rotations that are open")?,
                slot: row.time(3, "rotation_event.slot")?,
                unpromoted_slot: row.maybe_time(4, "rotation_event.slot")?,
            })
        })
        .collect()
}

impl Store {
    /// Open rotations behind this due date and id, in their order, at most [`MAX_PAGE`].
    pub async fn rotations_told(
        &self,
        which: Told,
        (due, id): (i64, &str),
        limit: i64,
    ) -> Result<Vec<RotationEventRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let mut values = vec![Value::Int(due), Value::Text(id), limit];
        let sql = match which {
            Told::NeedPeople => NEED_PEOPLE,
            Told::Declared => DECLARED,
            Told::LateAt(at) => {
                values.push(Value::Int(at.millis()));
                LATE
            }
            Told::HeldAt(at) => {
                values.push(Value::Int(at.millis()));
                PAUSED
            }
        };
        on!(self, engine => reads::all(engine, sql, &values))
    }

    /// How many are open, by their state; none of a state of which there is none.
    pub async fn open_rotations_by_state(&self) -> Result<Vec<(String, u64)>, Error> {
        on!(self, engine => counts(engine))
    }

    /// How many are open, by their state and by what they wait for; none where there is none.
    pub async fn open_rotations_summary(&self) -> Result<Vec<OpenRotations>, Error> {
        on!(self, engine => summary(engine))
    }
}
