//! What will be a trouble soon, or is one already, by what rows and requests say: facts in, conditions out.

use std::time::Duration;

use store::{CeremonyHeadRow, CeremonyState, OrderRow};
use trust::emergency::Unratified;
use trust::{MemberId, Operation, Request, Sha256Digest, Time};

use crate::event::EventKind;
use crate::facts::Facts;

/// An order that holds for less than a tenth of its time, and for less than this, runs out.
const LITTLE_TIME: Duration = Duration::from_secs(14 * 86_400);

/// A ceremony that ends soon or that no executor carries out, a standing order of which little is left, a rotation that does
/// not go on by itself.
#[derive(Clone)]
pub struct Near {
    pub kind: EventKind,
    pub key: String,
    /// The ceremony, rotation or whatever else it is about.
    pub subject: String,
    /// The ceremony whose approvals count.
    pub ceremony: Option<Sha256Digest>,
    pub proposer: Option<MemberId>,
    pub state: CeremonyState,
    pub facts: Facts,
    /// From when on it was near.
    pub since: Time,
}

/// Whether a ceremony ends soon: within the time of the setting or a third of its own, whichever is less.
pub fn near_end(row: &CeremonyHeadRow, within: Duration, now: Time) -> Option<Near> {
    if Sha256Digest::of(&row.request) != row.id {
        return None;
    }
    let request = Request::decode(&row.request).ok()?;
    let until = match row.state {
        CeremonyState::Proposed => request.approve_by,
        CeremonyState::Approved => request.execute_by,
        _ => return None,
    };
    let within = within.min(until.since(row.created_at) / 3);
    if now > until || until.since(now) > within {
        return None;
    }
    let state = row.state.as_str();
    let within = i64::try_from(within.as_millis()).unwrap_or(0);
    Some(Near {
        kind: EventKind::DeadlineNear,
        key: format!("deadline/{}/{state}", row.id),
        subject: row.id.to_string(),
        ceremony: Some(row.id),
        proposer: request.proposer.clone(),
        state: row.state,
        since: Time::from_millis(until.millis() - within),
        facts: Facts {
            until: Some(until),
            state: state.to_owned(),
            ..Facts::of_request(row.id, &request, now)
        },
    })
}

/// Whether an approved ceremony has waited for its executor for so long that there is none.
pub fn executor_late(row: &CeremonyHeadRow, late: Duration, now: Time) -> Option<Near> {
    let waits = row.state == CeremonyState::Approved && now.since(row.updated_at) >= late;
    if !waits || Sha256Digest::of(&row.request) != row.id {
        return None;
    }
    let request = Request::decode(&row.request).ok()?;
    Some(Near {
        kind: EventKind::ExecutorLate,
        key: format!("executor/{}", row.id),
        subject: row.id.to_string(),
        ceremony: Some(row.id),
        proposer: request.proposer.clone(),
        state: row.state,
        since: row.updated_at + late,
        facts: Facts {
            until: Some(request.execute_by),
            state: row.state.as_str().to_owned(),
            why: Some("executor".to_owned()),
            ..Facts::of_request(row.id, &request, now)
        },
    })
}

/// Whether little is left of a standing order: a tenth of its uses or the last one, or a tenth of its time. Each is told once.
pub fn running_out(row: &OrderRow, taken: i64, request: &Request, now: Time) -> Option<Near> {
    let Operation::Order(order) = &request.operation else {
        return None;
    };
    let left = u32::try_from(taken).map_or(0, |taken| order.uses.saturating_sub(taken));
    let time = (row.not_after.since(row.not_before) / 10).min(LITTLE_TIME);
    let few = left <= (order.uses / 10).max(1) && taken > 0;
    let soon = row.not_after.since(now) <= time;
    let (what, since) = match (few, soon) {
        (true, _) => ("uses", now),
        (_, true) => ("time", row.not_after - time),
        _ => return None,
    };
    Some(Near {
        kind: EventKind::OrderRunningOut,
        key: format!("order/{}/{what}", row.id),
        subject: row.ceremony.to_string(),
        ceremony: Some(row.ceremony),
        proposer: request.proposer.clone(),
        state: CeremonyState::Closed,
        since,
        facts: Facts {
            until: Some(row.not_after),
            why: Some(format!("{left} of {} uses are left", order.uses)),
            ..Facts::of_request(row.ceremony, request, now)
        },
    })
}

/// Whether an emergency rotation has to be ratified soon, or should have been.
pub fn ratification(each: &Unratified, within: Duration, now: Time) -> Option<Near> {
    let within = within.min(each.until.since(each.since) / 3);
    let missed = now > each.until;
    if !missed && each.until.since(now) > within {
        return None;
    }
    let (kind, word) = match missed {
        true => (EventKind::RatificationMissed, "missed"),
        false => (EventKind::RatificationDue, "due"),
    };
    let due =
        Time::from_millis(each.until.millis() - i64::try_from(within.as_millis()).unwrap_or(0));
    Some(Near {
        kind,
        key: format!("ratification/{}/{word}", each.rotation),
        subject: each.rotation.to_string(),
        ceremony: Some(each.rotation),
        proposer: None,
        state: CeremonyState::Executed,
        since: if missed { each.until } else { due },
        facts: Facts::of_unratified(each, now),
    })
}
