//! Under a standing order: whether there is one, and whether it permits just this.
//!
//! The order's transcript stands in the record of each ceremony under it, so that a key verifies by its own file. What
//! the file cannot show is that the order was not withdrawn and that a use was not taken twice: the log does.

use std::collections::BTreeSet;

use crate::chain::{Pin, Trusted};
use crate::digest::Sha256Digest;
use crate::error_chain::error_chain;
use crate::request::{Misfit, Operation, OrderUse, Request, StandingOrder};
use crate::roster::{Member, MemberId, Role};
use crate::time::Time;
use crate::transcript::{Transcript, verify_core};

use super::{Ceremony, Finished};
use crate::policy::Threshold;

/// Why a standing order does not permit a request, whoever signs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderObstacle {
    /// The request names an order and nothing shows it.
    #[error("the standing order's transcript is missing")]
    Missing,
    /// An order's transcript with a request that names none.
    #[error("the request is not under a standing order, but one is given")]
    NotUnder,
    /// Nobody proposes or approves what an order permits.
    #[error("a request under a standing order has no proposal and no approvals of its own")]
    Signed,
    /// The order's transcript does not hold.
    #[error("the standing order is invalid: {0}")]
    Transcript(String),
    /// The transcript is of something else, or of another order.
    #[error("the transcript is not of the standing order that the request names")]
    OtherOrder,
    /// Held under a chain of rosters of which this one is no continuation.
    #[error("the standing order was approved under a different chain of rosters")]
    OtherChain,
    /// Asked for before the order was.
    #[error("the request is older than the standing order")]
    TooEarly,
    /// Too few of those who approved it are active custodians.
    #[error("the standing order is paused: {active} of the {needed} approvers needed are active")]
    Paused {
        /// How many are.
        active: usize,
        /// How many have to be.
        needed: usize,
    },
    /// Its executor left, or has another key by now.
    #[error("{0} is not an active executor with the key that the standing order names")]
    Executor(MemberId),
    /// It differs from what was ordered.
    #[error("the standing order does not permit it: {0}")]
    Misfit(#[from] Misfit),
}

/// The standing order under which a ceremony happens.
#[derive(Clone, Debug)]
pub struct UnderOrder {
    /// The order.
    pub order: StandingOrder,
    /// Which use.
    pub used: OrderUse,
    /// The members who approved it and are active custodians.
    pub approved_by: Vec<MemberId>,
    /// The digest of the request that asked for the order.
    pub request_digest: Sha256Digest,
}

/// The order of a ceremony, if it is under one that permits it.
pub(super) fn under_order(
    trusted: &Trusted,
    request: &Request,
    ceremony: &Ceremony,
    suspended: &BTreeSet<MemberId>,
    now: Time,
) -> Result<Option<UnderOrder>, OrderObstacle> {
    let (used, text) = match (request.order, &ceremony.order) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(OrderObstacle::NotUnder),
        (Some(_), None) => return Err(OrderObstacle::Missing),
        (Some(used), Some(text)) => (used, text),
    };
    if ceremony.proposal.is_some() || !ceremony.approvals.is_empty() {
        return Err(OrderObstacle::Signed);
    }
    let told = |error: &dyn std::error::Error| OrderObstacle::Transcript(error_chain(error));
    let unverified = Transcript::decode(text.as_bytes()).map_err(|error| told(&error))?;
    let asked = Request::decode(unverified.record.request.as_bytes());
    let asked = asked.map_err(|error| told(&error))?;
    // Before anything is verified: no order stands under another, however deep a file is nested.
    if !matches!(asked.operation, Operation::Order(_))
        || asked.order.is_some()
        || unverified.record.order.is_some()
    {
        return Err(OrderObstacle::OtherOrder);
    }
    let pin = Pin {
        genesis: trusted.genesis(),
        service: trusted.service().clone(),
        environment: trusted.environment().clone(),
    };
    let verified = verify_core(text.as_bytes(), &pin).map_err(|error| told(&error))?;
    if !trusted.extends(verified.trusted()) {
        return Err(OrderObstacle::OtherChain);
    }
    let Finished::Ordered(order) = verified.finished() else {
        return Err(OrderObstacle::OtherOrder);
    };
    if order.id != used.id {
        return Err(OrderObstacle::OtherOrder);
    }
    if request.created_at < verified.statement().executed_at {
        return Err(OrderObstacle::TooEarly);
    }
    let order: StandingOrder = (**order).clone();
    let approved_by = still_active(trusted, verified.approved_by(), suspended);
    let needed = needed(trusted).get();
    if approved_by.len() < needed {
        let active = approved_by.len();
        return Err(OrderObstacle::Paused { active, needed });
    }
    if !executor_holds(trusted, &order, suspended) {
        return Err(OrderObstacle::Executor(order.executor.member));
    }
    match order.misfit(request, used.number.get(), now) {
        Some(misfit) => Err(misfit.into()),
        None => Ok(Some(UnderOrder {
            order,
            used,
            approved_by,
            request_digest: verified.statement().request_digest,
        })),
    }
}

/// How many of those who approved an order have to be active: as many as approve one today.
pub(super) fn needed(trusted: &Trusted) -> Threshold {
    trusted.policy().thresholds.of("order")
}

/// Who of those who approved an order would count today. Ids are not given away again, so whoever has one is the same.
pub fn still_active(
    trusted: &Trusted,
    approved_by: &[MemberId],
    suspended: &BTreeSet<MemberId>,
) -> Vec<MemberId> {
    let active = |id: &&MemberId| {
        let member = trusted.roster().member(id);
        let custodian = |member: &Member| member.active && member.roles.contains(&Role::Custodian);
        member.is_some_and(custodian) && !suspended.contains(*id)
    };
    approved_by.iter().filter(active).cloned().collect()
}

/// Whether the roster knows the executor that an order names, by the key that it names.
pub(super) fn executor_holds(
    trusted: &Trusted,
    order: &StandingOrder,
    suspended: &BTreeSet<MemberId>,
) -> bool {
    let named = &order.executor;
    let holds = |owner: &Member| {
        owner.id == named.member
            && owner.active
            && owner.roles.contains(&Role::Executor)
            && !suspended.contains(&owner.id)
    };
    trusted.roster().owner(&named.key).is_some_and(holds)
}
