//! The one tally: may this happen?
//!
//! Used by the service when it acts, by every replica when it loads a key, and by the offline
//! check. It walks no chain itself; it takes [`Trusted`], which only the walk makes.

mod accept;
mod count;
mod emergency;
mod order;
mod proof;
mod suspended;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use crate::approval::{Approval, Objection, ObjectionBody};
use crate::chain::Trusted;
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::namespace::{Namespace, Purpose};
use crate::policy::Threshold;
use crate::request::{Operation, Request, RequestError, request_digest};
use crate::roster::{Member, MemberId, Role};
use crate::subject::Subject;
use crate::suspension::Suspension;
use crate::time::Time;

pub use accept::{
    AcceptanceError, AcceptanceFindings, AcceptanceTally, Finished, NotAccepted, tally_acceptance,
};
pub(crate) use accept::{statement_about, tally_statement};
pub(crate) use count::{Ballot, Electorate, count, verify};
pub use count::{Counted, NotCounted, WhyNot, missing, verify_by};
pub use emergency::roles_without_member;
pub use order::{KnownOrders, OrderObstacle, UnderOrder, still_active};
pub use proof::{Accepted, Approved, ApprovedOperation};
pub use suspended::{SuspensionError, SuspensionTally, suspended, tally_suspension};

/// What is kept about a ceremony before it is carried out. Everything in it is unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceremony {
    /// The request's bytes exactly as they were proposed.
    pub request: Vec<u8>,
    /// The proposer's signature; absent under a standing order.
    pub proposal: Option<Approval>,
    /// Approvals, in the order received.
    pub approvals: Vec<Approval>,
    /// Rejections, in the order received.
    pub rejections: Vec<Objection>,
    /// Cancellations, in the order received.
    pub cancellations: Vec<Objection>,
    /// Suspensions of members, in the order received.
    pub suspensions: Vec<Suspension>,
    /// The standing order's transcript, under one.
    pub order: Option<String>,
}

/// The last ceremony of a line that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its sequence number.
    pub sequence: u64,
    /// Digest of its statement.
    pub digest: Sha256Digest,
}

/// What happened before, as far as it forbids something now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The last ceremony of each line that the request is in; absent where there was none.
    pub lines: BTreeMap<Subject, Last>,
    /// Whether another ceremony that was carried out has the request's nonce.
    pub nonce_used: bool,
    /// The newest roster version ever acted under. An older chain is a roll-back.
    pub roster_version: u64,
    /// The newest policy version ever acted under.
    pub policy_version: u64,
}

/// Why a request cannot be approved by any number of signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The bytes are not a canonical request.
    #[error("the request cannot be parsed: {0}")]
    Unreadable(#[from] JsonError),
    /// It asks for what no quorum can approve.
    #[error("{0}")]
    Content(#[from] RequestError),
    /// For another service or environment.
    #[error("the request is for a different service or environment")]
    Elsewhere,
    /// Not written under the current roster.
    #[error("the request names roster {found}, but the current one is {current}")]
    Roster {
        /// Version named.
        found: u64,
        /// Version that holds.
        current: u64,
    },
    /// Not written under the current policy.
    #[error("the request names policy {found}, but the current one is {current}")]
    Policy {
        /// Version named.
        found: u64,
        /// Version that holds.
        current: u64,
    },
    /// The chain is older than one acted under before.
    #[error(
        "the {what} chain was rolled back: version {seen} was used before, but the chain now ends at {found}"
    )]
    RolledBack {
        /// `roster` or `policy`.
        what: &'static str,
        /// Newest version ever acted under.
        seen: u64,
        /// Version the chain ends at.
        found: u64,
    },
    /// The roster has expired.
    #[error("the roster expired at {0}")]
    RosterExpired(Time),
    /// Not the next ceremony of its line.
    #[error("the request has sequence {found} of {subject}, expected {expected}")]
    Sequence {
        /// The line.
        subject: Subject,
        /// The request's.
        found: u64,
        /// The next.
        expected: u64,
    },
    /// Written after another ceremony than the last of its line.
    #[error("the request does not reference the last ceremony of {0}")]
    Previous(Subject),
    /// Used before.
    #[error("the request's nonce was used before")]
    NonceUsed,
    /// Nobody the roster knows, an executor, or suspended.
    #[error("{0} is not an active member with permission to propose")]
    Proposer(MemberId),
    /// Not signed by the member it names as its proposer.
    #[error("the proposal is not signed by {0}")]
    Proposal(MemberId),
    /// Under a standing order that does not permit it, or not as one is used.
    #[error("{0}")]
    Order(#[from] OrderObstacle),
    /// Of a standing order: nobody could sign its results.
    #[error("{0} is not an active executor with the key that the order names")]
    Executor(MemberId),
}

/// Where a ceremony stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Enough approvals, in time, and nothing against it.
    Approved,
    /// Not yet enough.
    Waiting {
        /// How many more; one where enough count, and all by passkeys.
        missing: usize,
    },
    /// A custodian rejected it.
    Rejected {
        /// Who.
        by: MemberId,
        /// Why.
        reason: String,
    },
    /// The proposer withdrew it.
    Cancelled {
        /// Who.
        by: MemberId,
        /// Why.
        reason: String,
    },
    /// A deadline has passed.
    Expired {
        /// `approve_by` or `execute_by`.
        deadline: &'static str,
        /// When that was.
        at: Time,
    },
    /// Cannot be approved by any number of signatures.
    Refused(Vec<Obstacle>),
}

/// What the tally found: who counted, who did not and why.
#[derive(Debug)]
pub struct Findings {
    /// Who counted, each member once.
    pub counted: Vec<Counted>,
    /// What did not count, and why.
    pub not_counted: Vec<NotCounted>,
    /// How many are needed; unknown if the request cannot be read.
    pub needed: Option<Threshold>,
    /// Where the ceremony stands.
    pub standing: Standing,
    /// While an emergency rotation waits: the roles in which one more approval brings it nearer. Else empty.
    pub wanting: Vec<Role>,
}

/// The result of the tally. Its findings can be read through it and by nobody be written: a
/// standing that another crate could set would be an approval that another crate could make.
///
/// ```compile_fail,E0594
/// fn forge(mut tally: trust::Tally) {
///     tally.standing = trust::tally::Standing::Approved;
/// }
/// ```
#[derive(Debug)]
pub struct Tally {
    findings: Findings,
    /// Kept so that the approved value is made of exactly what was tallied.
    request: Option<Request>,
    digest: Sha256Digest,
    under: Option<UnderOrder>,
}

impl Deref for Tally {
    type Target = Findings;

    fn deref(&self) -> &Findings {
        &self.findings
    }
}

/// A tally that does not permit the operation.
#[derive(Debug, thiserror::Error)]
#[error("not approved: {standing:?}")]
pub struct NotApproved {
    /// Where the ceremony stands.
    pub standing: Standing,
}

/// Counts. `now` is the log's time.
pub fn tally(trusted: &Trusted, ceremony: &Ceremony, history: &History, now: Time) -> Tally {
    tally_knowing(trusted, ceremony, history, now, &KnownOrders::default())
}

/// The same where standing orders were verified before.
pub(crate) fn tally_knowing(
    trusted: &Trusted,
    ceremony: &Ceremony,
    history: &History,
    now: Time,
    orders: &KnownOrders,
) -> Tally {
    let digest = request_digest(&ceremony.request);
    let request = match Request::decode(&ceremony.request) {
        Ok(request) => request,
        Err(error) => {
            let findings = Findings {
                counted: Vec::new(),
                not_counted: Vec::new(),
                needed: None,
                standing: Standing::Refused(vec![error.into()]),
                wanting: Vec::new(),
            };
            return Tally {
                findings,
                request: None,
                digest,
                under: None,
            };
        }
    };
    let needed = match request.order {
        Some(_) => order::needed(trusted),
        None => trusted.policy().to_approve(&request.operation),
    };
    let namespace = Namespace::new(Purpose::Approve, trusted.service(), trusted.environment());
    // The bytes that were stored, not the request written anew.
    let message = dsse::pae(&namespace.to_string(), &ceremony.request);
    let ballots = ceremony.approvals.iter().map(|approval| Ballot {
        signature: &approval.signature,
        // After its deadline, or after the instant this tally is about.
        late: approval.received_at > request.approve_by || approval.received_at > now,
    });
    let suspended = suspended(trusted, &ceremony.suspensions);
    let electorate = emergency::electorate(trusted.roster(), &request.operation)
        .without(request.proposer.as_ref())
        .suspending(&suspended)
        .and_passkeys(request.operation.takes_passkeys());
    let (counted, not_counted) = count(&electorate, &namespace, &message, ballots);
    let missing = emergency::missing(trusted, &request.operation, &counted, needed);

    let mut obstacles = obstacles(trusted, &request, history, now);
    obstacles.extend(executor(trusted, &request, &suspended));
    let under = match order::under_order(trusted, (&request, ceremony), &suspended, now, orders) {
        Ok(under) => under,
        Err(obstacle) => {
            obstacles.push(obstacle.into());
            None
        }
    };
    // A request that names neither is refused already.
    if request.order.is_none() {
        obstacles.extend(proposal(trusted, &request, ceremony, &suspended));
    }
    let standing = if !obstacles.is_empty() {
        Standing::Refused(obstacles)
    } else if let Some((by, reason)) = rejection(trusted, digest, &ceremony.rejections) {
        Standing::Rejected { by, reason }
    } else if let Some((by, reason)) = cancellation(trusted, &request, digest, ceremony) {
        Standing::Cancelled { by, reason }
    } else if now > request.execute_by {
        Standing::Expired {
            deadline: "execute_by",
            at: request.execute_by,
        }
    } else if under.is_some() || missing == 0 {
        Standing::Approved
    } else if now > request.approve_by {
        Standing::Expired {
            deadline: "approve_by",
            at: request.approve_by,
        }
    } else {
        Standing::Waiting { missing }
    };
    let wanting = match standing {
        Standing::Waiting { .. } => emergency::wanting(trusted, &request.operation, &counted),
        _ => Vec::new(),
    };
    let findings = Findings {
        counted,
        not_counted,
        needed: Some(needed),
        standing,
        wanting,
    };
    Tally {
        findings,
        request: Some(request),
        digest,
        under,
    }
}

impl Tally {
    /// Turns the tally into the value that the dangerous call takes; only [`Standing::Approved`]
    /// permits it.
    pub fn into_approved(self) -> Result<ApprovedOperation, NotApproved> {
        let Findings {
            counted, standing, ..
        } = self.findings;
        match (standing, self.request) {
            (Standing::Approved, Some(request)) => {
                let by = match self.under {
                    Some(under) => under.approved_by,
                    None => counted.into_iter().map(|counted| counted.member).collect(),
                };
                Ok(proof::approved(request, self.digest, by))
            }
            (standing, _) => Err(NotApproved { standing }),
        }
    }

    /// Where the ceremony stands, for keeping.
    pub fn into_standing(self) -> Standing {
        self.findings.standing
    }

    /// The digest of the request that was tallied.
    pub fn request_digest(&self) -> Sha256Digest {
        self.digest
    }

    /// The standing order that permits it, if it is under one.
    pub fn under(&self) -> Option<&UnderOrder> {
        self.under.as_ref()
    }
}

fn obstacles(trusted: &Trusted, request: &Request, history: &History, now: Time) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if let Err(error) = request.check() {
        found.push(error.into());
    }
    if (&request.service, &request.environment) != (trusted.service(), trusted.environment()) {
        found.push(Obstacle::Elsewhere);
    }
    let (roster, policy) = (trusted.roster_ref(), trusted.policy_ref());
    if request.roster != roster {
        found.push(Obstacle::Roster {
            found: request.roster.version,
            current: roster.version,
        });
    }
    if request.policy != policy {
        found.push(Obstacle::Policy {
            found: request.policy.version,
            current: policy.version,
        });
    }
    for (what, seen, found_version) in [
        ("roster", history.roster_version, roster.version),
        ("policy", history.policy_version, policy.version),
    ] {
        if found_version < seen {
            found.push(Obstacle::RolledBack {
                what,
                seen,
                found: found_version,
            });
        }
    }
    if let Some(at) = trusted.roster().expires_at.filter(|at| now > *at) {
        found.push(Obstacle::RosterExpired(at));
    }
    for line in &request.lines {
        let last = history.lines.get(&line.subject);
        let expected = last.map_or(0, |last| last.sequence).saturating_add(1);
        if line.sequence != expected {
            found.push(Obstacle::Sequence {
                subject: line.subject.clone(),
                found: line.sequence,
                expected,
            });
        }
        if line.previous != last.map(|last| last.digest) {
            found.push(Obstacle::Previous(line.subject.clone()));
        }
    }
    if history.nonce_used {
        found.push(Obstacle::NonceUsed);
    }
    found
}

/// Of a standing order: its executor can sign results. Whether still, is asked at each use.
fn executor(
    trusted: &Trusted,
    request: &Request,
    suspended: &BTreeSet<MemberId>,
) -> Option<Obstacle> {
    let Operation::Order(order) = &request.operation else {
        return None;
    };
    let holds = order::executor_holds(trusted, order, suspended);
    (!holds).then(|| Obstacle::Executor(order.executor.member.clone()))
}

/// The proposer is a member who may propose, and has signed the very request.
fn proposal(
    trusted: &Trusted,
    request: &Request,
    ceremony: &Ceremony,
    suspended: &BTreeSet<MemberId>,
) -> Option<Obstacle> {
    // Without one, the content is refused already.
    let proposer = request.proposer.as_ref()?;
    let may = trusted
        .roster()
        .member(proposer)
        .is_some_and(Member::may_propose);
    if !may || suspended.contains(proposer) {
        return Some(Obstacle::Proposer(proposer.clone()));
    }
    let namespace = Namespace::new(Purpose::Propose, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), &ceremony.request);
    let signed = ceremony.proposal.as_ref().is_some_and(|proposal| {
        let key = verify(&proposal.signature, &namespace, &message);
        let owner = key.ok().and_then(|key| trusted.roster().owner(&key));
        owner.is_some_and(|owner| owner.id == *proposer)
    });
    (!signed).then(|| Obstacle::Proposal(proposer.clone()))
}

/// The first rejection that is really a custodian's. The proposer may reject too: withdrawing is
/// not counting.
fn rejection(
    trusted: &Trusted,
    digest: Sha256Digest,
    rejections: &[Objection],
) -> Option<(MemberId, String)> {
    // Whatever is asked, a passkey is good enough to say no.
    let electorate = Electorate::custodians(trusted.roster()).and_passkeys(true);
    let mut found = objections(trusted, Purpose::Reject, &electorate, digest, rejections);
    found.next()
}

/// The first cancellation that is really the proposer's.
fn cancellation(
    trusted: &Trusted,
    request: &Request,
    digest: Sha256Digest,
    ceremony: &Ceremony,
) -> Option<(MemberId, String)> {
    let everybody = Electorate::everybody(trusted.roster());
    let all = &ceremony.cancellations;
    let mut found = objections(trusted, Purpose::Cancel, &everybody, digest, all);
    found.find(|(by, _)| Some(by) == request.proposer.as_ref())
}

/// The custodian who signed a rejection of what its body names, if it is one who is not suspended. Of the next roster or
/// policy, which has no other record of it.
pub fn objector(
    trusted: &Trusted,
    body: &[u8],
    signature: &MemberSignature,
    suspended: &BTreeSet<MemberId>,
) -> Option<MemberId> {
    let namespace = Namespace::new(Purpose::Reject, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), body);
    let electorate = Electorate::custodians(trusted.roster()).suspending(suspended);
    let ballot = Ballot {
        signature,
        late: false,
    };
    let (counted, _) = count(&electorate, &namespace, &message, [ballot]);
    counted.into_iter().next().map(|counted| counted.member)
}

/// Who really objected to the request with this digest, and why.
fn objections<'a>(
    trusted: &'a Trusted,
    purpose: Purpose,
    electorate: &'a Electorate<'_>,
    digest: Sha256Digest,
    objections: &'a [Objection],
) -> impl Iterator<Item = (MemberId, String)> + 'a {
    let namespace = Namespace::new(purpose, trusted.service(), trusted.environment());
    objections.iter().filter_map(move |objection| {
        let message = dsse::pae(&namespace.to_string(), objection.body.as_bytes());
        let ballot = Ballot {
            signature: &objection.signature,
            late: false,
        };
        let (counted, _) = count(electorate, &namespace, &message, [ballot]);
        let body: ObjectionBody = json::require_canonical(objection.body.as_bytes()).ok()?;
        let by = counted.into_iter().next()?.member;
        (body.request_digest == digest).then_some((by, body.reason))
    })
}
