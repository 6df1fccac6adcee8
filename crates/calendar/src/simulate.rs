//! The simulator: the calendar over any horizon with a clock that is handed in, and everything that goes wrong with it.
//!
//! Planner and [`next_step`](crate::next_step::next_step) decide, as they do in the engine; the simulator carries the steps out
//! on facts in memory. What it did is then held against what verifiers hold in their caches, against due dates and against
//! limits by code of its own, which knows nothing of publish safety: see [`Finding`].
//!
//! Two runs of one world with one seed are equal.

mod carry_out;
mod engine;
mod findings;
mod jobs;
mod picture;
mod report;
mod verifiers;
mod world;

pub use findings::Finding;
pub use report::{Lived, PublishedSet, Report, TypeCounts};
pub use world::{Change, Fault, FaultKind, Verifier, What, World};

use crate::policy::Refused;
use crate::time::Span;

/// Most findings that a report lists; the others are counted.
pub const MOST_FINDINGS: usize = 1_000;

/// Runs `world` for `horizon` from its start. `Err` if its policies, or those that it changes to, are refused.
pub fn simulate(world: World, horizon: Span, seed: u64) -> Result<Report, Vec<Refused>> {
    let until = world.start + horizon.min(crate::plan::LONGEST_HORIZON);
    engine::Engine::new(world, until, seed)?.run()
}
