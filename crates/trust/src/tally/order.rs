//! Under a standing order: whether there is one, and whether it permits just this.
//!
//! The order's transcript stands in the record of each ceremony under it, so that a key verifies by its own file. What
//! the file cannot show is that the order was not withdrawn and that a use was not taken twice: the log does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::chain::{Pin, Trusted};
use crate::digest::Sha256Digest;
use crate::error_chain::error_chain;
use crate::logged_quorum::Quorum;
use crate::order_log::LoggedOrder;
use crate::request::{Misfit, Operation, OrderUse, Request, StandingOrder};
use crate::roster::{Member, MemberId, Role};
use crate::time::Time;
use crate::transcript::{Transcript, VerifiedTranscript, verify_core};

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
    /// Whoever approved it by another key than a passkey is no active custodian.
    #[error("the standing order is paused: all its approvers who are active signed by passkey")]
    PausedByPasskeys,
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
    /// The same, with how many of them have to be.
    pub approved: Quorum,
    /// The places of the approvals that counted for the order, in its own record.
    pub approvals: Vec<usize>,
    /// What the log has to say about the order's own ceremony.
    pub logged: LoggedOrder,
}

/// Most orders whose transcripts are kept.
const MOST_KNOWN: usize = 64;

/// Standing orders that were verified: all keys under one order have its transcript, which never says anything else. What
/// is kept is bounded.
#[derive(Debug, Default)]
pub struct KnownOrders {
    known: Mutex<BTreeMap<Sha256Digest, Arc<KnownOrder>>>,
    verified: AtomicU64,
}

/// What a verified transcript says.
#[derive(Debug)]
struct KnownOrder {
    pin: Pin,
    verified: VerifiedTranscript,
    order: StandingOrder,
    logged: LoggedOrder,
}

impl KnownOrders {
    /// How many transcripts of orders were verified, because they were not known.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// The order of this transcript. One that does not hold is not kept. Whoever asks meanwhile waits, so that none is
    /// verified twice.
    fn order(&self, text: &str, pin: &Pin) -> Result<Arc<KnownOrder>, OrderObstacle> {
        let digest = Sha256Digest::of(text.as_bytes());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&digest).filter(|known| known.pin == *pin) {
            return Ok(known.clone());
        }
        self.verified.fetch_add(1, Ordering::Relaxed);
        let order = Arc::new(KnownOrder::read(text, pin)?);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(digest, order.clone());
        Ok(order)
    }
}

impl KnownOrder {
    fn read(text: &str, pin: &Pin) -> Result<Self, OrderObstacle> {
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
        let verified = verify_core(text.as_bytes(), pin).map_err(|error| told(&error))?;
        let Finished::Ordered(order) = verified.finished() else {
            return Err(OrderObstacle::OtherOrder);
        };
        let logged = LoggedOrder {
            request: verified.statement().request_digest,
            execution: unverified
                .execution_digest()
                .map_err(|error| told(&error))?,
            core: verified.core_digest(),
            execute_by: verified.request().execute_by,
            documents: verified.trusted().length(),
            decision: verified.decision(),
        };
        Ok(Self {
            pin: pin.clone(),
            order: order.as_ref().clone(),
            logged,
            verified,
        })
    }
}

/// The order of a ceremony, if it is under one that permits it.
pub(super) fn under_order(
    trusted: &Trusted,
    (request, ceremony): (&Request, &Ceremony),
    suspended: &BTreeSet<MemberId>,
    now: Time,
    orders: &KnownOrders,
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
    let pin = Pin {
        genesis: trusted.genesis(),
        service: trusted.service().clone(),
        environment: trusted.environment().clone(),
    };
    let known = orders.order(text, &pin)?;
    let (order, verified) = (&known.order, &known.verified);
    if !trusted.extends(verified.trusted()) {
        return Err(OrderObstacle::OtherChain);
    }
    if order.id != used.id {
        return Err(OrderObstacle::OtherOrder);
    }
    if request.created_at < verified.statement().executed_at {
        return Err(OrderObstacle::TooEarly);
    }
    let approved_by = still_active(trusted, verified.approved_by(), suspended);
    let needed = needed(trusted).get();
    if approved_by.len() < needed {
        let active = approved_by.len();
        return Err(OrderObstacle::Paused { active, needed });
    }
    // As when it was approved: one of them by another key, whoever else has left.
    if (approved_by.iter()).all(|member| verified.by_passkey().contains(member)) {
        return Err(OrderObstacle::PausedByPasskeys);
    }
    if !executor_holds(trusted, order, suspended) {
        return Err(OrderObstacle::Executor(order.executor.member.clone()));
    }
    match order.misfit(request, used.number.get(), now) {
        Some(misfit) => Err(misfit.into()),
        None => Ok(Some(UnderOrder {
            order: order.clone(),
            used,
            approved: Quorum {
                members: approved_by.clone(),
                by_passkey: verified.by_passkey().to_vec(),
                needed,
                keys: 1,
            },
            approvals: verified.approvals().to_vec(),
            approved_by,
            logged: known.logged.clone(),
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
