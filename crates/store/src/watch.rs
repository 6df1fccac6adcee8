//! What a service asks so that it learns in time that its database was replaced, or that a clock is wrong; and what it
//! holds ready for that case.

use crate::database::{Store, on};
use crate::engine::{Connection, Engine};
use crate::error::Error;
use crate::fence::{Clock, Fence, Halted, Head};
use crate::kept::KeptLeaf;
use crate::log_head::no_head;

async fn look<E: Engine>(engine: &E, fence: &Fence) -> Result<Head, Error> {
    let before = fence.before();
    let sql = engine.head().look;
    let row = engine.reader().await?.fetch_optional(sql, &[]).await?;
    let head = Head::read(&row.ok_or_else(no_head)?)?;
    // What it finds, it keeps: `halted` tells.
    if fence.check(before, &head, head.size).is_ok() {
        fence.seen(head.size);
    }
    Ok(head)
}

impl Store {
    /// From now on commits compare the clock of this process with the database's, and with the latest leaf.
    pub fn compare_clocks(&self, clock: Clock, tolerance: std::time::Duration) {
        let tolerance = i64::try_from(tolerance.as_millis()).unwrap_or(i64::MAX);
        self.fence.compare_clocks(clock, tolerance);
    }

    /// How far the clocks may differ; nothing where they are not compared.
    pub fn clock_tolerance(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.fence.tolerance().unsigned_abs())
    }

    /// Reads the database's clock (milliseconds) and what it is known by, without writing. What is wrong with them
    /// is in [`Self::halted`] afterwards.
    pub async fn look(&self) -> Result<(i64, String), Error> {
        let head = on!(self, engine => look(engine, &self.fence))?;
        Ok((head.now, head.database))
    }

    /// Commits nothing any more: it is not the database that the log was written with.
    pub fn was_replaced(&self) {
        self.fence.was_replaced();
    }

    /// Commits nothing any more, for as long as this process lives: what is published has leaves that the database
    /// lacks, and any leaf, of a refusal too, would take the index of one of them.
    pub fn lacks_leaves(&self, why: &str) {
        self.fence.lacks_leaves(why.into());
    }

    /// Why nothing may be written, by the last commit or look.
    pub fn halted(&self) -> Option<Halted> {
        self.fence.halted()
    }

    /// A published checkpoint has so many leaves.
    pub fn covered(&self, size: i64) {
        self.kept.covered(size);
    }

    /// What this process answered and no published checkpoint covers yet, by index.
    pub fn kept(&self) -> Vec<KeptLeaf> {
        self.kept.leaves()
    }

    /// Rises with every leaf that is kept.
    pub fn kept_revision(&self) -> u64 {
        self.kept.revision()
    }

    /// While `held_back`, what is committed is kept and its caller is not told ([`Error::HeldBack`]). Then what
    /// [`Self::kept`] says holds everything that was answered.
    pub fn hold_back(&self, held_back: bool) {
        self.kept.hold_back(held_back);
    }

    pub fn is_held_back(&self) -> bool {
        self.kept.is_held_back()
    }

    /// How many there are, and whether they are all.
    pub fn kept_count(&self) -> (usize, bool) {
        self.kept.count()
    }
}
