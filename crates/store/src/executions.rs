//! Who carries out an approved ceremony, and until when: one row for each, by the database's clock. It permits nothing and
//! proves nothing; it keeps two executors from one ceremony, and tells of one that died.

use std::time::Duration;

use trust::{Sha256Digest, Time};

use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::{Columns, Connection, Engine, Value, write};
use crate::error::Error;
use crate::statements::statements;

statements! {
    /// Whether its time has run out or not: whoever has done it knows.
    GIVE_BACK = "UPDATE execution SET holder = '', until = 0 WHERE ceremony = $1 AND holder = $2";
    /// In the words of the index of what is under way.
    WAITING = "SELECT COUNT(*), MIN(updated_at) FROM ceremony
        WHERE state IN ('proposed', 'approved', 'executing', 'executed') AND state = 'approved'";
}

/// A ceremony that somebody carries out, or did when they died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldExecution {
    pub ceremony: Sha256Digest,
    pub holder: String,
    /// What is left of its time; none where it has run out.
    pub left: Option<Duration>,
}

/// Approved ceremonies, which wait for an executor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitingForExecutor {
    pub count: u64,
    /// When the oldest of them was approved.
    pub since: Option<Time>,
}

async fn waiting<E: Engine>(engine: &E) -> Result<WaitingForExecutor, Error> {
    let mut reader = engine.reader().await?;
    let Some(row) = reader.fetch_optional(WAITING, &[]).await? else {
        return Ok(WaitingForExecutor::default());
    };
    Ok(WaitingForExecutor {
        count: row.int(0)?.unsigned_abs(),
        since: row.maybe_int(1)?.map(Time::from_millis),
    })
}

async fn held<E: Engine>(engine: &E) -> Result<Vec<HeldExecution>, Error> {
    let mut reader = engine.reader().await?;
    let mut held = Vec::new();
    for row in reader.fetch(E::DIALECT.executions.held, &[]).await? {
        let left = u64::try_from(row.int(2)?).ok();
        held.push(HeldExecution {
            ceremony: row.parsed(0, "execution.ceremony")?,
            holder: row.text(1)?,
            left: left.filter(|left| *left > 0).map(Duration::from_millis),
        });
    }
    Ok(held)
}

async fn take<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<u64, Error> {
    write(engine, E::DIALECT.executions.take, values).await
}

async fn renew<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<u64, Error> {
    write(engine, E::DIALECT.executions.renew, values).await
}

async fn settle<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<u64, Error> {
    write(engine, E::DIALECT.executions.settle, values).await
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}

impl Store {
    /// Makes `holder` the one who carries the ceremony out, for so long by the database's clock; not where another one has
    /// it, nor where another one's time has run out and [`Self::settle_execution`] was not called.
    pub async fn take_execution(
        &self,
        ceremony: &str,
        holder: &str,
        time: Duration,
    ) -> Result<bool, Error> {
        let values = [ceremony, holder].map(Value::Text);
        let values = [values[0], values[1], Value::Int(millis(time))];
        Ok(on!(self, engine => take(engine, &values))? == 1)
    }

    /// From now on so long; false where it is not the holder's any more.
    pub async fn renew_execution(
        &self,
        ceremony: &str,
        holder: &str,
        time: Duration,
    ) -> Result<bool, Error> {
        let values = [ceremony, holder].map(Value::Text);
        let values = [values[0], values[1], Value::Int(millis(time))];
        Ok(on!(self, engine => renew(engine, &values))? == 1)
    }

    /// By its holder, who knows what came of it.
    pub async fn give_back_execution(&self, ceremony: &str, holder: &str) -> Result<bool, Error> {
        let values = [ceremony, holder].map(Value::Text);
        Ok(on!(self, engine => write(engine, GIVE_BACK, &values))? == 1)
    }

    /// One whose time has run out, after database and token were compared.
    pub async fn settle_execution(&self, ceremony: &str) -> Result<bool, Error> {
        let values = [Value::Text(ceremony)];
        Ok(on!(self, engine => settle(engine, &values))? == 1)
    }

    /// Costs the same however many ceremonies there have been.
    pub async fn waiting_for_executor(&self) -> Result<WaitingForExecutor, Error> {
        on!(self, engine => waiting(engine))
    }

    /// All that are held, those whose time has run out too.
    pub async fn held_executions(&self) -> Result<Vec<HeldExecution>, Error> {
        on!(self, engine => held(engine))
    }
}
