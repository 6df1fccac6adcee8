//! What is next for one rotation: the engine asks, does it, writes what happened, and asks again.
//!
//! The answer follows from what was written and from nothing else, so that any replica can go on with any event. A step that
//! was begun and has no end is answered again: drivers find out what a lost attempt has done, and do not do it twice. An attempt
//! that came to a wait has done nothing yet: whoever holds or pauses it meanwhile keeps it from being gone on with, and a promotion
//! is held against windows and probes again.

mod facts;

pub use facts::{EventFacts, OldUse, Outcome, Propagation, StepRecord};

use crate::key_type::{Grace, KeyClass};
use crate::policy::Policy;
use crate::time::{Span, Time};
use crate::words::{EventState, Reason, Step};

/// How far a clock may go back before nothing is done by it.
pub const CLOCK_TOLERANCE: Span = Span::seconds(2);

/// After so many failures of one step a person decides.
pub const MOST_ATTEMPTS: u32 = 10;

/// The first pause after a failure; each further one is twice as long, up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Span = Span::seconds(30);

/// The longest pause between two attempts.
pub const LONGEST_PAUSE: Span = Span::hours(1);

/// What an event needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This step is to be done, or to be gone on with.
    Step(Step),
    /// The old version becomes the primary again.
    RollBack,
    /// Nothing was promoted, and nothing shall be: the new version is taken back.
    Cancel,
    /// Nothing before then.
    WaitUntil(Time),
    /// Nothing until this has changed.
    Waiting(Reason),
    /// Nothing any more.
    Done,
}

/// What `event` needs next under `policy` at `now`, by the database's clock.
pub fn next_step(event: &EventFacts, policy: &Policy, now: Time) -> Next {
    match event.state {
        EventState::Done | EventState::RolledBack | EventState::Cancelled => return Next::Done,
        EventState::Failed => return Next::Waiting(Reason::Person),
        _ => {}
    }
    // What was written lies ahead: the clock jumped back, or another's is wrong. Nothing is judged by such a clock.
    if event
        .last_written()
        .is_some_and(|last| last > now + CLOCK_TOLERANCE)
    {
        return Next::Waiting(Reason::Clock);
    }
    if event.roll_back || event.cancel {
        match (event.promoted_at, event.is_done(Step::Retire)) {
            (None, _) if !event.in_use => return Next::Cancel,
            (Some(_), false) if event.roll_back => return Next::RollBack,
            // Too late: the old version can do nothing new any more. The rotation goes on.
            _ => {}
        }
    }
    let Some(step) = Step::ALL.iter().copied().find(|step| !event.is_done(*step)) else {
        return Next::Done;
    };
    if let Some(next) = after_failure(event, step, now) {
        return next;
    }
    // What is in use already is written, whatever holds what is not.
    if event.is_under_way(step) || event.in_use && event.promoted_at.is_none() {
        return Next::Step(step);
    }
    if !event.is_emergency() {
        if event.held {
            return Next::Waiting(Reason::Held);
        }
        if event.paused {
            return Next::Waiting(Reason::Paused);
        }
    }
    // What was asked for is waited for, whatever the hour.
    if event.is_begun(step) && step != Step::Promote {
        return Next::Step(step);
    }
    match gate(event, policy, step, now) {
        Ok(()) => Next::Step(step),
        Err(next) => next,
    }
}

/// A failed step waits, ends at a person, or is free to be tried again.
fn after_failure(event: &EventFacts, step: Step, now: Time) -> Option<Next> {
    let record = event.record(step)?;
    match record.outcome {
        Some(Outcome::Failed { transient: true }) if record.attempts < MOST_ATTEMPTS => {
            let until = record.ended_at? + pause_after(record.attempts);
            (now < until).then_some(Next::WaitUntil(until))
        }
        Some(Outcome::Failed { .. }) => Some(Next::Waiting(Reason::Person)),
        _ => None,
    }
}

/// How long after this many failures a step is tried again.
pub fn pause_after(attempts: u32) -> Span {
    let doubled = FIRST_PAUSE
        .as_seconds()
        .saturating_mul(1 << attempts.saturating_sub(1).min(20));
    Span::seconds(doubled).min(LONGEST_PAUSE)
}

/// What holds a step that was not begun.
fn gate(event: &EventFacts, policy: &Policy, step: Step, now: Time) -> Result<(), Next> {
    let emergency = event.is_emergency();
    match step {
        Step::PreCheck => {
            // Where there are windows, people are told a day before.
            let notice = !policy.open_hours().is_always() && !emergency;
            let from = if notice {
                event.slot - Span::days(1)
            } else {
                event.slot
            };
            not_before(from, now)
        }
        Step::Generate => {
            not_before(event.slot, now)?;
            match event.consent_missing {
                Some(reason) => Err(Next::Waiting(reason)),
                None => in_window(policy, emergency, now),
            }
        }
        Step::Publish | Step::Test => Ok(()),
        Step::Promote => promote(event, policy, now),
        Step::Watch => {
            let Some(promoted_at) = event.promoted_at else {
                return Err(Next::Waiting(Reason::Person));
            };
            let overlap = if emergency {
                Span::ZERO
            } else {
                policy.overlap()
            };
            not_before(promoted_at + overlap, now)?;
            // Whatever a campaign has not moved yet still needs the old version.
            match event.campaign_running {
                true => Err(Next::Waiting(Reason::Campaign)),
                false => Ok(()),
            }
        }
        Step::Retire => Ok(()),
        Step::Archive => archive(event, policy, now),
    }
}

/// Promotion waits for the caches and for the probes: propagation is proven, not assumed. An emergency takes a version that
/// was published long ago, and is held to the same.
fn promote(event: &EventFacts, policy: &Policy, now: Time) -> Result<(), Next> {
    let Some(published_at) = event.published_at else {
        return Err(Next::Waiting(Reason::Propagation));
    };
    let published = policy.key_type().published;
    if published || !event.is_emergency() {
        not_before(published_at + policy.publish_safety(), now)?;
    }
    match event.propagation {
        Propagation::Proven | Propagation::NotAsked => {}
        Propagation::Missing => return Err(Next::Waiting(Reason::Propagation)),
        Propagation::Contradicted => return Err(Next::Waiting(Reason::ProbeContradicts)),
    }
    in_window(policy, event.is_emergency(), now)
}

fn archive(event: &EventFacts, policy: &Policy, now: Time) -> Result<(), Next> {
    let Some(promoted_at) = event.promoted_at else {
        return Err(Next::Waiting(Reason::Person));
    };
    let grace = match policy.grace() {
        // Ended by a ceremony that collects many; the event is done.
        Grace::Forever => return Err(Next::Done),
        Grace::For(_) if event.is_emergency() => Span::ZERO,
        Grace::For(grace) => grace,
    };
    not_before(promoted_at + grace, now)?;
    // The grace of what encrypts ends only when nothing is encrypted under it any more.
    let encrypts = matches!(
        policy.key_type().class,
        KeyClass::DataEncryption | KeyClass::KeyWrapping
    );
    match event.old_use {
        OldUse::Needed if encrypts => Err(Next::Waiting(Reason::OldStillUsed)),
        _ => Ok(()),
    }
}

fn not_before(from: Time, now: Time) -> Result<(), Next> {
    if now < from {
        Err(Next::WaitUntil(from))
    } else {
        Ok(())
    }
}

fn in_window(policy: &Policy, emergency: bool, now: Time) -> Result<(), Next> {
    if emergency {
        return Ok(());
    }
    match policy.open_hours().open_from(now) {
        Some(open) => not_before(open, now),
        None => Err(Next::Waiting(Reason::Window)),
    }
}
