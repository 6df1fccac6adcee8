//! The calendar as its callers use it; each fault that is a question of facts and time.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends"
)]

mod admissions;
mod alerts;
mod escalation;
mod next_steps;
mod pictures;
mod planner;
mod planner_faults;
mod policies;
mod properties;
mod simulations;
mod support;
