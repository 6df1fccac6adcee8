//! A use of a standing order held against the log. A transcript shows that the order permits it. That the use was not
//! taken before, that nobody had withdrawn the order, and when order and key really came into being, only the log shows.
//!
//! Times are those of the leaves, as they were written: what is permitted by a wrong clock is not taken back by the
//! correction of it.

#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::act::Act;
use crate::digest::Sha256Digest;
use crate::jwk::Kid;
use crate::leaf::{ActKind, ActLeaf};
use crate::logged_quorum::{Decision, Quorum, Undecided};
use crate::name::Name;
use crate::request::{OrderUse, OrderWindow};
use crate::roster::MemberId;
use crate::time::Time;
use crate::withdrawal::{is_use, is_withdrawal};

pub use crate::logged_quorum::Suspended;

/// The action of the leaf that ends a ceremony.
pub const ACCEPTED: &str = "accepted";

/// The action of the leaf by which an order is carried out.
pub const ORDERED: &str = "ordered";

/// The action of the leaf before a token makes a key.
const INTENT: &str = "intend-generation";

/// Actions of the leaves that tell of a new key.
const BIRTHS: [&str; 2] = ["generated", "adopted after a crash"];

/// Actions of the leaves of a ceremony that tell how a key was made.
pub const MAKING: [&str; 3] = [INTENT, BIRTHS[0], BIRTHS[1]];

/// What the log has to say about a key under a standing order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedUse {
    /// Order and number.
    pub used: OrderUse,
    /// SHA-256 of the request.
    pub request: Sha256Digest,
    /// SHA-256 of the transcript as the executor wrote it, without acceptances.
    pub execution: Sha256Digest,
    /// SHA-256 of the transcript.
    pub core: Sha256Digest,
    /// The key.
    pub kid: Kid,
    /// Its ring.
    pub ring: Name,
    /// The key of this ring before it.
    pub predecessor: Kid,
    /// Who made it.
    pub executor: MemberId,
    /// Who of those who approved the order counted for this use by the record, and how many had to.
    pub approved: Quorum,
    /// Whether the executor's signature accepts it.
    pub by_executor: bool,
    /// Before this instant it is not made.
    pub earliest: Time,
    /// When keys may be made.
    pub window: OrderWindow,
    /// After this instant it is not made, nor accepted by the executor. It is not after the end of the order.
    pub execute_by: Time,
    /// The order's own ceremony.
    pub order: LoggedOrder,
}

/// What the log has to say about the ceremony of a standing order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOrder {
    /// SHA-256 of the request that asked for it.
    pub request: Sha256Digest,
    /// SHA-256 of the transcript as it was carried out, without acceptances.
    pub execution: Sha256Digest,
    /// SHA-256 of the transcript.
    pub core: Sha256Digest,
    /// What is accepted under a former roster is accepted by then.
    pub execute_by: Time,
    /// How many documents the chain had under which it was held.
    pub documents: u64,
    /// Whose signatures decided it.
    pub decision: Decision,
}

/// Leaves of other things than the order, by which a use of it is judged.
#[derive(Clone, Copy, Debug)]
pub struct UsePlace<'a> {
    /// The leaf that tells of the key's acceptance.
    pub accepted: i64,
    /// The leaf that ended the chain under which the order was held; none if that is the chain of today.
    pub ended: Option<i64>,
    /// In the order of the log.
    pub suspensions: &'a [Suspended],
}

/// Whether a file brings the leaves that bear a use out. One of before they were in it has none, and so has one from which
/// somebody took them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UseProof {
    /// The leaves are there, and bear it out.
    Shown,
    /// They are not.
    NotShown,
}

impl UseProof {
    pub(crate) fn of(shown: bool) -> Self {
        match shown {
            true => Self::Shown,
            false => Self::NotShown,
        }
    }
}

/// What the log has against a use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UseFault {
    /// The leaf is of something else.
    #[error("leaf {0}: it does not tell of the key's acceptance under the standing order")]
    Unaccepted(i64),
    /// No leaf that tells of it before the key was accepted.
    #[error("the log does not tell of its use of the standing order")]
    Unlogged,
    /// More leaves about the order, or its ceremony, than are read: a withdrawal may stand behind them.
    #[error("the log tells more of its standing order than the order permits")]
    TooMany,
    /// Another ceremony took it first.
    #[error("leaf {0}: this use of the standing order was taken by another ceremony")]
    Taken(i64),
    /// Somebody withdrew the order before the key was accepted.
    #[error("leaf {0}: the standing order was withdrawn before the key was accepted")]
    Withdrawn(i64),
    /// By the log's time.
    #[error("leaf {index}: at {at} the standing order did not permit this use")]
    Time {
        /// The leaf that tells of the use, of the intent to make the key, of the key or of its acceptance.
        index: i64,
        /// Its time.
        at: Time,
    },
    /// The order was not accepted before it was used.
    #[error("the log does not tell of the acceptance of the standing order before its use")]
    OrderUnlogged,
    /// Another one than in the key's transcript.
    #[error("leaf {0}: another transcript of the standing order was accepted")]
    OtherOrder(i64),
    /// By people who may have left.
    #[error(
        "leaf {0}: the standing order was accepted under a roster or policy that did not hold any more"
    )]
    FormerRoster(i64),
    /// Of those who decided the order too few counted.
    #[error("leaf {0}: of the standing order: {1}")]
    Undecided(i64, Undecided),
    /// The key has no beginning in the log between the use and the acceptance.
    #[error("the log does not tell that the key was made under the standing order")]
    Unmade,
    /// It follows a key that the ring did not have.
    #[error("the key that it succeeds was not accepted in its ring before")]
    Predecessor,
    /// The executor did not count when the key was accepted.
    #[error("leaf {0}: the executor was suspended before the key was accepted")]
    Suspended(i64),
    /// Too few of those who approved the order counted when the key was made.
    #[error(
        "leaf {0}: too few of those who approved the standing order were not suspended before the key was made"
    )]
    Paused(i64),
}

/// Whether an act is one of those by which [`check_use`] judges and that a transcript shows: of the order and of the use,
/// of the key's making, and of the key before.
pub fn is_shown(expected: &LoggedUse, act: &ActLeaf) -> bool {
    let of_order = [
        (ORDERED, expected.order.execution),
        (ACCEPTED, expected.order.core),
    ]
    .into_iter()
    .any(|(action, digest)| {
        is_about(act, action, expected.order.request) && act.digest == Some(digest)
    });
    let of_use = is_use(act, expected.used.id, expected.used.number.get())
        && act.digest == Some(expected.request);
    let making = is_about(act, INTENT, expected.request)
        || BIRTHS
            .iter()
            .any(|how| is_about(act, how, expected.request));
    let before = (act.kind, act.action.as_str()) == (ActKind::Ceremony, ACCEPTED)
        && act.kid.as_ref() == Some(&expected.predecessor);
    of_order || of_use || making || before
}

/// Whether the acts of the log bear out a key under an order. `acts` has at least those of the kind `order` about the order,
/// those of its own ceremony and of the key's, and the acceptance of the key's predecessor; in any order. Those of
/// something else are passed over.
pub fn check_use<'a>(
    expected: &LoggedUse,
    place: &UsePlace<'_>,
    acts: impl IntoIterator<Item = &'a Act>,
) -> Result<(), UseFault> {
    let told = Told::up_to(place.accepted, acts);
    let accepted = told.first_from(place.accepted, |leaf| {
        is_about(leaf, ACCEPTED, expected.request)
            && leaf.kid.as_ref() == Some(&expected.kid)
            && leaf.digest == Some(expected.core)
    });
    let accepted = accepted.ok_or(UseFault::Unaccepted(place.accepted))?;
    let used = taken(expected, &told)?;
    ordered(&expected.order, place, used, &told)?;
    let born = made(expected, used, accepted, &told)?;
    let precedes = |leaf: &ActLeaf| {
        (leaf.kind, leaf.action.as_str()) == (ActKind::Ceremony, ACCEPTED)
            && leaf.kid.as_ref() == Some(&expected.predecessor)
            && leaf.ring.as_deref() == Some(expected.ring.as_str())
    };
    if told
        .first(precedes)
        .is_none_or(|act| act.index >= used.index)
    {
        return Err(UseFault::Predecessor);
    }
    let before = |leaf: i64| {
        let all = place.suspensions.iter();
        all.filter(move |each| each.holds(leaf, used.index))
    };
    let counts_no_more = |each: &&Suspended| {
        let executor = |member: &MemberId| *member == expected.executor;
        each.member.as_ref().is_none_or(executor)
    };
    if let Some(suspended) = before(accepted.index).find(counts_no_more) {
        return Err(UseFault::Suspended(suspended.index));
    }
    // As the service pauses the order: whoever makes a key without it leaves the suspension out of the record.
    match before(born.index).next_back() {
        Some(last) if !expected.approved.holds_without(before(born.index)) => {
            Err(UseFault::Paused(last.index))
        }
        _ => Ok(()),
    }
}

/// The leaf by which the use was taken, if nothing speaks against it.
fn taken<'a>(expected: &LoggedUse, told: &Told<'a>) -> Result<&'a Act, UseFault> {
    let (order, number) = (expected.used.id, expected.used.number.get());
    if let Some(withdrawn) = told.first(|leaf| is_withdrawal(leaf, order)) {
        return Err(UseFault::Withdrawn(withdrawn.index));
    }
    let first = told.first(|leaf| is_use(leaf, order, number));
    let first = first.ok_or(UseFault::Unlogged)?;
    if first.leaf.digest != Some(expected.request) {
        return Err(UseFault::Taken(first.index));
    }
    expected.in_time(first)?;
    Ok(first)
}

/// The order was accepted before it was used, and by people who were who they are in its transcript.
fn ordered(
    expected: &LoggedOrder,
    place: &UsePlace<'_>,
    used: &Act,
    told: &Told<'_>,
) -> Result<(), UseFault> {
    let accepted = told.first(|leaf| is_about(leaf, ACCEPTED, expected.request));
    let accepted = accepted
        .filter(|act| act.index < used.index)
        .ok_or(UseFault::OrderUnlogged)?;
    if accepted.leaf.digest != Some(expected.core) {
        return Err(UseFault::OtherOrder(accepted.index));
    }
    let carried_out = told.first(|leaf| {
        is_about(leaf, ORDERED, expected.request) && leaf.digest == Some(expected.execution)
    });
    let executed = carried_out.map(|act| act.index);
    let decided = expected
        .decision
        .check(executed, accepted.index, place.suspensions);
    decided.map_err(|why| UseFault::Undecided(accepted.index, why))?;
    let Some(ended) = place.ended.filter(|ended| *ended < accepted.index) else {
        return Ok(());
    };
    // As for every ceremony: what was carried out before is accepted under its own roster until its deadline.
    let in_time = carried_out.is_some_and(|act| act.index < ended)
        && accepted.leaf.time <= expected.execute_by;
    match in_time {
        true => Ok(()),
        false => Err(UseFault::FormerRoster(accepted.index)),
    }
}

/// The key was intended and made after its use was taken, when the order permitted it. Returns the leaf that tells of the
/// key.
fn made<'a>(
    expected: &LoggedUse,
    used: &Act,
    accepted: &Act,
    told: &Told<'a>,
) -> Result<&'a Act, UseFault> {
    let intent = told.first_from(used.index, |leaf| is_about(leaf, INTENT, expected.request));
    let intent = intent.ok_or(UseFault::Unmade)?;
    expected.in_time(intent)?;
    if !expected.window.contains(intent.leaf.time) {
        return Err(UseFault::time(intent));
    }
    let born = told.first_from(intent.index, |leaf| {
        BIRTHS
            .iter()
            .any(|how| is_about(leaf, how, expected.request))
            && leaf.kid.as_ref() == Some(&expected.kid)
            && leaf.digest == Some(expected.execution)
    });
    let born = born
        .filter(|act| act.index < accepted.index)
        .ok_or(UseFault::Unmade)?;
    expected.in_time(born)?;
    if expected.by_executor {
        expected.in_time(accepted)?;
    }
    Ok(born)
}

impl LoggedUse {
    /// An act that is not before the order permits it, nor after.
    fn in_time(&self, act: &Act) -> Result<(), UseFault> {
        match (self.earliest..=self.execute_by).contains(&act.leaf.time) {
            true => Ok(()),
            false => Err(UseFault::time(act)),
        }
    }
}

impl UseFault {
    fn time(act: &Act) -> Self {
        Self::Time {
            index: act.index,
            at: act.leaf.time,
        }
    }
}

/// Whether a leaf tells this of a ceremony.
fn is_about(leaf: &ActLeaf, action: &str, request: Sha256Digest) -> bool {
    leaf.kind == ActKind::Ceremony
        && leaf.action == action
        && leaf.reference.as_deref() == Some(request.to_string().as_str())
}

/// Acts up to a leaf, in the order of the log.
struct Told<'a>(Vec<&'a Act>);

impl<'a> Told<'a> {
    fn up_to(last: i64, acts: impl IntoIterator<Item = &'a Act>) -> Self {
        let until = acts.into_iter().filter(|act| act.index <= last);
        let mut acts: Vec<&Act> = until.collect();
        acts.sort_by_key(|act| act.index);
        Self(acts)
    }

    fn first(&self, is: impl Fn(&ActLeaf) -> bool) -> Option<&'a Act> {
        self.first_from(0, is)
    }

    fn first_from(&self, from: i64, is: impl Fn(&ActLeaf) -> bool) -> Option<&'a Act> {
        let mut acts = self.0.iter().copied();
        acts.find(|act| act.index >= from && is(&act.leaf))
    }
}
