//! Changes whose instant is decided under the log head: a key's end is not before a leaf that stands in
//! the log already, whatever the clock of who ends it says. Otherwise signatures that were released would
//! be of after its end (case S10).

use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;
use crate::statements::statements;

statements! {
    TREE_CLOCK =
        "SELECT log_tree.size, log_tree.clock, log_head.size FROM log_tree CROSS JOIN log_head";
    /// The latest time, and the latest that is not above a third value.
    LATEST_UP_TO = "SELECT MAX(time), MAX(CASE WHEN time <= $3 THEN time END)
        FROM log_leaf WHERE idx >= $1 AND idx < $2";
}

/// A leaf that is further ahead of the clock is of a clock that was wrong, not of one that differed.
const AHEAD: i64 = 5 * 60_000;

/// As far as the clocks of replicas may differ.
const TOLERANCE: i64 = 2_000;

/// Leaves that one statement looks through.
const LOOK: i64 = if cfg!(test) { 7 } else { 20_000 };

/// When a change may take place: not before `earliest`, and not before the latest leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterLatest {
    pub earliest: i64,
    /// By the clock of who commits.
    pub now: i64,
    /// Later than the latest leaf, where one of the same instant would be of after the change.
    pub strictly: bool,
}

/// What leaves tell, as far as it can be true.
#[derive(Debug, Clone, Copy, Default)]
struct Latest {
    believable: Option<i64>,
    /// There is one that cannot be true.
    ahead: bool,
}

impl Latest {
    fn note(&mut self, latest: Option<i64>, believable: Option<i64>) {
        self.ahead |= latest > believable;
        self.believable = self.believable.max(believable);
    }
}

impl AfterLatest {
    fn limit(&self) -> i64 {
        self.now.saturating_add(AHEAD)
    }

    fn instant(&self, latest: Latest) -> i64 {
        let after = latest.believable.map(|at| at + i64::from(self.strictly));
        let at = self.earliest.max(after.unwrap_or(i64::MIN));
        match latest.ahead {
            // Others' leaves of now may stand behind it.
            true => at.max(self.now.saturating_add(TOLERANCE)),
            false => at,
        }
    }
}

/// What was read beforehand, so that little is left to read under the head.
pub(crate) struct Undecided {
    when: AfterLatest,
    latest: Latest,
    /// The first leaf that was not read.
    next: i64,
}

impl Undecided {
    /// Under the head: `index` is the change's own leaf.
    pub async fn decide<C: Connection>(&self, tx: &mut C, index: i64) -> Result<i64, Error> {
        let mut latest = self.latest;
        look(tx, &mut latest, (self.next, index), self.when.limit()).await?;
        Ok(self.when.instant(latest))
    }
}

async fn look<C: Connection>(
    reader: &mut C,
    latest: &mut Latest,
    (from, to): (i64, i64),
    limit: i64,
) -> Result<(), Error> {
    let mut from = from;
    while from < to {
        let end = to.min(from + LOOK);
        let values = [Value::Int(from), Value::Int(end), Value::Int(limit)];
        if let Some(row) = reader.fetch_optional(LATEST_UP_TO, &values).await? {
            latest.note(row.maybe_int(0)?, row.maybe_int(1)?);
        }
        from = end;
    }
    Ok(())
}

/// Reads what stands in the log by now.
pub(crate) async fn look_ahead<E: Engine>(
    engine: &E,
    when: AfterLatest,
) -> Result<Undecided, Error> {
    let mut latest = Latest::default();
    let mut reader = engine.reader().await?;
    let row = reader.fetch_optional(TREE_CLOCK, &[]).await?;
    let row = row.ok_or(Error::Corrupt {
        what: "no tree of the log",
        source: None,
    })?;
    let (size, clock, head) = (row.int(0)?, row.int(1)?, row.int(2)?);
    let believable = (clock <= when.limit()).then_some(clock);
    latest.note(Some(clock), believable);
    // Of a tree with a wrong leaf only the last ones are looked at.
    let from = match believable {
        Some(_) => size,
        None => size.saturating_sub(LOOK).max(0),
    };
    look(&mut reader, &mut latest, (from, head), when.limit()).await?;
    Ok(Undecided {
        when,
        latest,
        next: head,
    })
}
