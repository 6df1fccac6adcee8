//! The planner: what rotates when, by what, with whose consent, and what stands in the way. Pure and deterministic.
//!
//! Each rotation is given an hour, its *slot*. The slot follows from facts, policies and orders alone; `now` decides only
//! which of them are due or overdue, and when those can still begin. So replicas whose clocks find the same overdue, and one
//! that plans again from what it has written, find the same slots:
//! 1. events keep theirs, emergencies take theirs at once;
//! 2. the others are taken in the order of the hour that they would like (as late as possible, less the jitter's part by
//!    the asset's name), those of one hour by priority and then by what is due first, and get the nearest hour with room for
//!    the token, the team and the owner: earlier within the jitter, then later up to the last that is in time, then later
//!    still, which is late by `capacity`;
//! 3. what is overdue by now begins in the first hours that have room, emergencies first, then by priority, then by what is
//!    due first;
//! 4. what follows from the overdue comes last.

mod due;
pub(crate) mod ledger;
mod orders;
mod picture;
mod place;
mod planned;
mod view;

pub use due::WORK;
pub use ledger::{Conflict, Resource};
pub use planned::{Late, Plan, Rotation, Unplanned, Why};
pub use view::First;

use crate::facts::{AssetFacts, Facts, Order};
use crate::policy::{Policies, Policy};
use crate::time::{Span, Time};

/// The longest horizon: ten years.
pub const LONGEST_HORIZON: Span = Span::days(3_660);

/// What rotates from `now` on for `horizon`, and what is overdue. In O(n log n) of the rotations.
pub fn plan(
    facts: &Facts,
    policies: &Policies,
    orders: &[Order],
    now: Time,
    horizon: Span,
) -> Plan {
    let until = now + horizon.min(LONGEST_HORIZON);
    place::Planner::new(facts, policies, orders, now, until).run()
}

/// When the asset's next version has to be the primary, if anything in its policy has a date for it.
pub fn due_at(asset: &AssetFacts, policy: &Policy) -> Option<Time> {
    let basis = due::Basis::of(asset).ok()?;
    basis.due(policy).map(|due| due.at)
}
