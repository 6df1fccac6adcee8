//! What ceremonies say of leaves that a wrong clock wrote, and the log's own clock without those leaves.

use trust::leaf::{ActKind, Leaf};

use crate::checkpoints::{CHECKPOINT_BEFORE, CheckpointRow};
use crate::database::{Store, on};
use crate::engine::{Columns as _, Connection, Engine, Value, write};
use crate::error::Error;
use crate::leaves::{self, LATEST_TIME};
use crate::log_head;
use crate::reads;
use crate::statements::statements;

/// The operation of such a ceremony, and the action of its leaf.
pub(crate) const CORRECTION: &str = "clock-correction";

/// Leaves that one statement looks through.
const LOOK: i64 = if cfg!(test) { 7 } else { 20_000 };

statements! {
    CLOCK_SET = "UPDATE log_head SET clock = $1 WHERE id = 1";
    CLOCK_BACK = "UPDATE log_head SET clock = $2 WHERE id = 1 AND size = $1 AND clock > $2";
}

/// Leaves of which a ceremony says that they are not younger than `bound`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrected {
    pub first: i64,
    pub last: i64,
    pub bound: i64,
}

impl Corrected {
    /// What the leaf at this index says, if it is of a correction; only leaves before it are corrected by it.
    pub fn told_by(index: i64, body: &[u8]) -> Option<Self> {
        let Ok(Leaf::Act(act)) = Leaf::parse(body) else {
            return None;
        };
        if act.kind != ActKind::Log || act.action != CORRECTION {
            return None;
        }
        let (first, last) = (act.first?.try_into().ok()?, i64::try_from(act.last?).ok()?);
        Some(Self {
            first,
            last: last.min(index - 1),
            bound: act.bound?.millis(),
        })
    }

    /// The time of a leaf, as far as these corrections speak of it.
    pub fn time(all: &[Self], index: i64, time: i64) -> i64 {
        let of = all.iter().filter(|one| one.covers(index));
        of.map(|one| one.bound).fold(time, i64::min)
    }

    fn covers(&self, index: i64) -> bool {
        (self.first..=self.last).contains(&index)
    }
}

/// What the leaves tell, without those that corrections speak of; read beforehand, so that little is left to read
/// under the head.
pub(crate) struct Reckoned {
    corrections: Vec<Corrected>,
    clock: i64,
    /// The first leaf that was not read.
    next: i64,
}

impl Reckoned {
    /// Page by page, up to the leaf at `to`.
    async fn read<C: Connection>(&mut self, reader: &mut C, to: i64) -> Result<(), Error> {
        while self.next < to {
            let from = self.next;
            if let Some(one) = self.corrections.iter().find(|one| one.covers(from)) {
                self.next = one.last.saturating_add(1).min(to);
                continue;
            }
            let ahead = self.corrections.iter().map(|one| one.first);
            let nearest = ahead.filter(|first| *first > from).min();
            let end = nearest.unwrap_or(to).min(to).min(from + LOOK);
            let values = [from, end - 1].map(Value::Int);
            if let Some(row) = reader.fetch_optional(LATEST_TIME, &values).await? {
                self.clock = self.clock.max(row.maybe_int(0)?.unwrap_or(i64::MIN));
            }
            self.next = end;
        }
        Ok(())
    }

    /// Under the head: the log's clock is what the other leaves tell up to this index, the bounds, and the leaf of
    /// the correction itself.
    pub async fn set_back<C: Connection>(
        mut self,
        tx: &mut C,
        index: i64,
        time: i64,
    ) -> Result<(), Error> {
        self.read(tx, index).await?;
        let clock = [Value::Int(self.clock.max(time))];
        tx.execute(CLOCK_SET, &clock).await.map(drop)
    }
}

/// The corrections that leaves tell of, oldest first.
async fn told<E: Engine>(engine: &E) -> Result<Vec<Corrected>, Error> {
    let mut all = Vec::new();
    let mut from = 0;
    loop {
        let values = [Value::Int(from), Value::Int(reads::MAX_PAGE)];
        let page: Vec<leaves::LeafRow> =
            reads::all(engine, leaves::LEAVES_OF_KEYS, &values).await?;
        let told = page
            .iter()
            .filter_map(|row| Corrected::told_by(row.index, row.body.as_bytes()));
        all.extend(told);
        match page.last() {
            Some(last) if page.len() as i64 == reads::MAX_PAGE => from = last.index + 1,
            _ => return Ok(all),
        }
    }
}

/// Reads what stands in the log by now. `more` are corrections that no leaf here tells of yet.
pub(crate) async fn reckon<E: Engine>(engine: &E, more: &[Corrected]) -> Result<Reckoned, Error> {
    let mut corrections = told(engine).await?;
    corrections.extend(more);
    let clock = corrections.iter().map(|one| one.bound).max();
    let mut reckoned = Reckoned {
        clock: clock.unwrap_or_default(),
        next: 0,
        corrections,
    };
    // What a checkpoint covers that was signed before the first wrong leaf and tells no later time than the bound
    // needs no look.
    let first = reckoned.corrections.iter().map(|one| one.first).min();
    if let Some(first) = first
        && let values = [Value::Int(first)]
        && let Some(row) =
            reads::one::<_, CheckpointRow>(engine, CHECKPOINT_BEFORE, &values).await?
        && row.clock.millis() <= reckoned.clock
    {
        reckoned.next = row.size;
    }
    let head = log_head::number(engine, log_head::LOG_SIZE).await?;
    let mut reader = engine.reader().await?;
    reckoned.read(&mut reader, head).await?;
    Ok(reckoned)
}

async fn correct_clock<E: Engine>(engine: &E, more: &[Corrected]) -> Result<(), Error> {
    let reckoned = reckon(engine, more).await?;
    let values = [reckoned.next, reckoned.clock].map(Value::Int);
    write(engine, CLOCK_BACK, &values).await.map(drop)
}

impl Store {
    /// The corrections of the log's times that its leaves tell of, oldest first. Whether their ceremonies hold is the
    /// caller's question.
    pub async fn corrections(&self) -> Result<Vec<Corrected>, Error> {
        on!(self, engine => told(engine))
    }

    /// Takes the log's clock back to what the leaves tell that are not corrected, by leaves of the log and by `more`,
    /// which are about to be put back.
    pub async fn correct_clock(&self, more: &[Corrected]) -> Result<(), Error> {
        on!(self, engine => correct_clock(engine, more))
    }
}
