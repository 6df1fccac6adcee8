//! The tally of acceptances: may what was done take effect?

use std::ops::Deref;

use crate::alg::Algorithm;
use crate::approval::{
    Acceptance, Generated, NewKey, Outcome, Statement, possession_message, wrap_challenge, wrap_kid,
};
use crate::chain::Trusted;
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::json::{self, JsonError};
use crate::jwk::{Kid, PublicKey, PublicKeyError};
use crate::namespace::{Namespace, Purpose};
use crate::place::{Location, ReadBack, not_as_ordered};
use crate::policy::Threshold;
use crate::request::{
    ClockCorrection, EmergencyRotation, Generate, KeyPurpose, Operation, Ratification, Request,
    Resume, RotationPolicy, StandingOrder,
};
use crate::roster::MemberId;
use crate::signature::Verifier;
use crate::time::Time;
use crate::transcript::Record;

use super::{
    Accepted, Ballot, Counted, Electorate, Findings, History, KnownOrders, Last, NotCounted,
    Standing, UnderOrder, WhyNot, count, missing, suspended, tally_knowing, verify,
};

/// Why what was done cannot be accepted by any number of signatures.
#[derive(Debug, thiserror::Error)]
pub enum AcceptanceError {
    /// The statement is not canonical JSON of its form.
    #[error("the statement cannot be parsed")]
    Unreadable(#[source] JsonError),
    /// The record cannot be written as JSON.
    #[error("the record cannot be serialised")]
    Record(#[source] JsonError),
    /// The ceremony was not approved when it was carried out.
    #[error("the request was not approved when it was executed: {0:?}")]
    NotApproved(Standing),
    /// The statement is about another request.
    #[error("the statement refers to a different request")]
    OtherRequest,
    /// The statement is about another record: a step, a note or a time was changed.
    #[error("the statement refers to a different record")]
    OtherRecord,
    /// Carried out before it was asked for.
    #[error("executed at {0}, before the request was created")]
    TooEarly(Time),
    /// The outcome does not belong to the operation, or to its key.
    #[error("the outcome does not match the operation")]
    OtherOutcome,
    /// The public key cannot be read.
    #[error("the new public key is invalid")]
    PublicKey(#[from] PublicKeyError),
    /// Kid, SPKI digest and public key do not agree.
    #[error("{0} does not match the new public key")]
    KeyMismatch(&'static str),
    /// What the token told about the key is not what was ordered.
    #[error("read back from the token: {0} differs from the request")]
    ReadBack(&'static str),
    /// An executor's result without a standing order.
    #[error("the executor signed a result that is not under a standing order")]
    Order,
    /// Under a standing order, and the executor did not sign what was done. What was read back is
    /// the service's word alone then.
    #[error("the executor's signature over the result is missing")]
    NoResult,
    /// It is not a signature over this statement.
    #[error("the executor's signature over the result does not count: {0}")]
    Result(WhyNot),
    /// By a key that the order does not name.
    #[error("the result is not signed by the executor that the standing order names")]
    OtherExecutor,
    /// The key did not sign the challenge.
    #[error("the proof of possession of the new key is invalid")]
    Possession,
}

/// What the tally of acceptances found.
#[derive(Debug)]
pub struct AcceptanceFindings {
    /// Who counted, each member once.
    pub counted: Vec<Counted>,
    /// What did not count, and why.
    pub not_counted: Vec<NotCounted>,
    /// How many are needed.
    pub needed: Threshold,
    /// The executor whose signature over the result counts as acceptance: under a standing order,
    /// for a ring that the policy calls routine.
    pub by_executor: Option<MemberId>,
}

/// The tally of acceptances. Its findings can be read through it and by nobody be written.
#[derive(Debug)]
pub struct AcceptanceTally {
    findings: AcceptanceFindings,
    request: Request,
    approved_by: Vec<MemberId>,
    by_passkey: Vec<MemberId>,
    approvals: Vec<usize>,
    statement: Statement,
    digest: Sha256Digest,
    new_key: Option<Made>,
    under: Option<UnderOrder>,
}

/// A new key that was checked against its order.
#[derive(Debug)]
enum Made {
    Pair(PublicKey, Algorithm, Location),
    Secret(Kid),
}

impl Deref for AcceptanceTally {
    type Target = AcceptanceFindings;

    fn deref(&self) -> &AcceptanceFindings {
        &self.findings
    }
}

/// A finished ceremony.
#[derive(Debug)]
pub enum Finished {
    /// The key may be published.
    Generated(Box<Accepted>),
    /// The key may be used for wrapping. That the device has it is stated, not proven.
    WrapKey(Kid),
    /// The private halves are gone.
    Destroyed(Vec<Kid>),
    /// The key is revoked.
    Revoked(Kid),
    /// The times of leaves are corrected.
    Corrected(ClockCorrection),
    /// The log has a new origin.
    NewOrigin,
    /// Keys may be made under the standing order.
    Ordered(Box<StandingOrder>),
    /// What it names does not keep a ring from signing any more.
    Resumed(Resume),
    /// The ring signs with its standby key, and the key before it is revoked.
    EmergencyRotated(Box<EmergencyRotation>),
    /// The emergency rotation is agreed with.
    Ratified(Ratification),
    /// The rotation policy is in force.
    PolicySet(Box<RotationPolicy>),
}

/// Not enough custodians accepted.
#[derive(Debug, thiserror::Error)]
#[error("accepted by {counted} of {needed}")]
pub struct NotAccepted {
    /// How many did.
    pub counted: usize,
    /// How many are needed.
    pub needed: Threshold,
}

/// A statement that is about this record. Cheap, and it settles every change of the record: an
/// offline check does it before it verifies a single signature.
pub(crate) fn statement_about(
    record: &Record,
    acceptance: &Acceptance,
) -> Result<Statement, AcceptanceError> {
    let statement: Statement = json::require_canonical(acceptance.statement.as_bytes())
        .map_err(AcceptanceError::Unreadable)?;
    if statement.record_digest != record.digest().map_err(AcceptanceError::Record)? {
        return Err(AcceptanceError::OtherRecord);
    }
    Ok(statement)
}

/// Counts acceptances of what `acceptance` states about `record`. The approvals in the record are
/// tallied again, as of the time of execution, by the same function that permitted it.
pub fn tally_acceptance(
    trusted: &Trusted,
    record: &Record,
    acceptance: &Acceptance,
) -> Result<AcceptanceTally, AcceptanceError> {
    tally_statement(
        trusted,
        record,
        acceptance,
        statement_about(record, acceptance)?,
        &KnownOrders::default(),
    )
}

pub(crate) fn tally_statement(
    trusted: &Trusted,
    record: &Record,
    acceptance: &Acceptance,
    statement: Statement,
    orders: &KnownOrders,
) -> Result<AcceptanceTally, AcceptanceError> {
    let bytes = acceptance.statement.as_bytes();
    let ceremony = record.ceremony();
    let history = History::claimed_by(&ceremony.request);
    let approval = tally_knowing(trusted, &ceremony, &history, statement.executed_at, orders);
    let approved_digest = approval.digest;
    let under = approval.under;
    let Findings {
        counted, standing, ..
    } = approval.findings;
    let approvals = counted.iter().map(|counted| counted.index).collect();
    let by_passkey = counted.iter().filter(|counted| counted.is_by_passkey());
    let by_passkey = by_passkey.map(|counted| counted.member.clone()).collect();
    let (request, approved_by) = match (standing, approval.request) {
        (Standing::Approved, Some(request)) => {
            let by = match &under {
                Some(under) => under.approved_by.clone(),
                None => counted.into_iter().map(|counted| counted.member).collect(),
            };
            (request, by)
        }
        (standing, _) => return Err(AcceptanceError::NotApproved(standing)),
    };
    if statement.request_digest != approved_digest {
        return Err(AcceptanceError::OtherRequest);
    }
    if statement.executed_at < request.created_at {
        return Err(AcceptanceError::TooEarly(statement.executed_at));
    }
    let by_executor = result(trusted, under.as_ref(), acceptance)?;
    let new_key = check_outcome(&request, approved_digest, &statement.outcome)?;

    let namespace = Namespace::new(Purpose::Accept, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), bytes);
    let ballots = acceptance.signatures.iter().map(|signature| Ballot {
        signature,
        late: false,
    });
    let suspended = suspended(trusted, &record.suspensions);
    let electorate = Electorate::custodians(trusted.roster())
        .without(request.proposer.as_ref())
        .suspending(&suspended)
        .and_passkeys(request.operation.takes_passkeys());
    let (counted, not_counted) = count(&electorate, &namespace, &message, ballots);
    let needed = trusted.policy().to_accept(&request.operation);
    let digest = Sha256Digest::of(bytes);
    Ok(AcceptanceTally {
        findings: AcceptanceFindings {
            counted,
            not_counted,
            needed,
            by_executor,
        },
        request,
        approved_by,
        by_passkey,
        approvals,
        statement,
        digest,
        new_key,
        under,
    })
}

/// The executor's signature over what was done under a standing order. Returns the executor if it
/// is acceptance enough.
fn result(
    trusted: &Trusted,
    under: Option<&UnderOrder>,
    acceptance: &Acceptance,
) -> Result<Option<MemberId>, AcceptanceError> {
    let (order, result) = match (under, &acceptance.result) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(AcceptanceError::Order),
        (Some(_), None) => return Err(AcceptanceError::NoResult),
        (Some(under), Some(result)) => (&under.order, result),
    };
    let namespace = Namespace::new(Purpose::Result, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), acceptance.statement.as_bytes());
    let key = verify(result, &namespace, &message).map_err(AcceptanceError::Result)?;
    // That it is an active executor's is a condition of the approval.
    if key != order.executor.key {
        return Err(AcceptanceError::OtherExecutor);
    }
    let routine = trusted.policy().is_routine(&order.ring, order.usage);
    Ok(routine.then(|| order.executor.member.clone()))
}

/// Checks what was done against what was approved. Returns the new key, if there is one.
fn check_outcome(
    request: &Request,
    request_digest: Sha256Digest,
    outcome: &Outcome,
) -> Result<Option<Made>, AcceptanceError> {
    let as_ordered = match (&request.operation, outcome) {
        (Operation::Generate(order), Outcome::Generated(generated)) => {
            return check_generated(request, request_digest, order, generated).map(Some);
        }
        (Operation::Destroy(order), Outcome::Destroyed { kids }) => {
            order.keys.iter().map(|key| &key.kid).eq(kids)
        }
        (Operation::Revoke(order), Outcome::Revoked { kid }) => order.kid == *kid,
        (Operation::ClockCorrection(order), Outcome::Corrected(done)) => order == done,
        (Operation::NewOrigin(order), Outcome::NewOrigin { origin, root, size }) => {
            (&order.origin, &order.root, &order.size) == (origin, root, size)
        }
        (Operation::Order(order), Outcome::Ordered { id }) => order.id == *id,
        (Operation::Resume(order), Outcome::Resumed(done)) => order == done,
        (Operation::EmergencyRotation(order), Outcome::EmergencyRotated { kid, revoked }) => {
            (&order.standby, &order.kid) == (kid, revoked)
        }
        (Operation::Ratification(order), Outcome::Ratified { rotation }) => {
            order.rotation == *rotation
        }
        (Operation::RotationPolicy(order), Outcome::PolicySet(done)) => order.decided() == *done,
        _ => false,
    };
    match as_ordered {
        true => Ok(None),
        false => Err(AcceptanceError::OtherOutcome),
    }
}

fn check_generated(
    request: &Request,
    request_digest: Sha256Digest,
    order: &Generate,
    generated: &Generated,
) -> Result<Made, AcceptanceError> {
    let Generated {
        key,
        location,
        read_back,
        ..
    } = generated;
    let made = match (key, order.purpose) {
        (
            NewKey::Public {
                kid,
                possession,
                public_key,
                spki_digest,
            },
            KeyPurpose::Sign {
                algorithm,
                key_spec,
            },
        ) => {
            let key = PublicKey::from_spki_der(&public_key.0)?;
            if key.kid() != *kid {
                return Err(AcceptanceError::KeyMismatch("the kid"));
            }
            if key.spki_digest() != *spki_digest {
                return Err(AcceptanceError::KeyMismatch("the SPKI digest"));
            }
            if key.spec() != key_spec {
                return Err(AcceptanceError::ReadBack("the key attributes"));
            }
            as_ordered(order, location, read_back)?;
            let message = possession_message(request, request_digest, kid)
                .map_err(AcceptanceError::Record)?;
            let verifier =
                Verifier::new(&key, algorithm).map_err(|_| AcceptanceError::Possession)?;
            verifier
                .verify_message(&message, &possession.0)
                .map_err(|_| AcceptanceError::Possession)?;
            Made::Pair(key, algorithm, location.clone())
        }
        (
            NewKey::Check {
                challenge,
                check_value,
                kid,
            },
            KeyPurpose::Wrap { .. },
        ) => {
            let expected = wrap_challenge(request, order).map_err(AcceptanceError::Record)?;
            if *challenge != expected {
                return Err(AcceptanceError::KeyMismatch("the challenge"));
            }
            if *kid != wrap_kid(order, *check_value).map_err(AcceptanceError::Record)? {
                return Err(AcceptanceError::KeyMismatch("the kid"));
            }
            as_ordered(order, location, read_back)?;
            Made::Secret(kid.clone())
        }
        _ => return Err(AcceptanceError::OtherOutcome),
    };
    Ok(made)
}

fn as_ordered(
    order: &Generate,
    location: &Location,
    found: &ReadBack,
) -> Result<(), AcceptanceError> {
    let (used, key_spec) = (order.purpose.used(), order.purpose.key_spec());
    match not_as_ordered(&order.place, used, &key_spec, location, found) {
        Some(what) => Err(AcceptanceError::ReadBack(what)),
        None => Ok(()),
    }
}

impl AcceptanceTally {
    /// Whether enough custodians accepted, or the executor where that is enough.
    pub fn is_complete(&self) -> bool {
        self.missing() == 0
    }

    /// How many more custodians have to accept; one where enough did, and all by passkeys.
    pub fn missing(&self) -> usize {
        match self.by_executor {
            Some(_) => 0,
            None => missing(&self.counted, self.needed),
        }
    }

    /// The standing order under which it happened.
    pub fn under(&self) -> Option<&UnderOrder> {
        self.under.as_ref()
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Who approved it.
    pub fn approved_by(&self) -> &[MemberId] {
        &self.approved_by
    }

    /// Who of them approved by passkey.
    pub fn by_passkey(&self) -> &[MemberId] {
        &self.by_passkey
    }

    /// The places of the approvals that counted, from 0.
    pub fn approvals(&self) -> &[usize] {
        &self.approvals
    }

    /// What was stated.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The digest that names the finished ceremony: SHA-256 of the statement.
    pub fn transcript_digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Turns a complete tally into what may take effect.
    pub fn into_finished(self) -> Result<Finished, NotAccepted> {
        let refusal = NotAccepted {
            counted: self.counted.len(),
            needed: self.needed,
        };
        if !self.is_complete() {
            return Err(refusal);
        }
        let by = self
            .findings
            .counted
            .into_iter()
            .map(|counted| counted.member)
            .collect();
        match (self.request.operation, self.statement.outcome, self.new_key) {
            (Operation::Generate(order), _, Some(Made::Pair(public_key, algorithm, location))) => {
                Ok(Finished::Generated(Box::new(Accepted {
                    kid: public_key.kid(),
                    public_key,
                    algorithm,
                    location,
                    order,
                    transcript_digest: self.digest,
                    by,
                })))
            }
            (_, _, Some(Made::Secret(kid))) => Ok(Finished::WrapKey(kid)),
            (_, Outcome::Destroyed { kids }, _) => Ok(Finished::Destroyed(kids)),
            (_, Outcome::Revoked { kid }, _) => Ok(Finished::Revoked(kid)),
            (_, Outcome::Corrected(correction), _) => Ok(Finished::Corrected(correction)),
            (_, Outcome::NewOrigin { .. }, _) => Ok(Finished::NewOrigin),
            (Operation::Order(order), Outcome::Ordered { .. }, _) => Ok(Finished::Ordered(order)),
            (_, Outcome::Resumed(resume), _) => Ok(Finished::Resumed(resume)),
            (Operation::EmergencyRotation(order), _, _) => Ok(Finished::EmergencyRotated(order)),
            (Operation::Ratification(order), _, _) => Ok(Finished::Ratified(order)),
            (Operation::RotationPolicy(order), _, _) => Ok(Finished::PolicySet(order)),
            // The outcome was checked against the operation when the tally was made.
            _ => Err(refusal),
        }
    }
}

impl History {
    /// The history that a request claims for itself, for checking one transcript alone. Whether
    /// the claims of several transcripts agree is for [`crate::transcript::verify_succession`].
    pub fn claimed_by(request: &[u8]) -> Self {
        let lines = Request::decode(request).map(|request| request.lines);
        let lines = lines.unwrap_or_default().into_iter().filter_map(|line| {
            let last = Last {
                sequence: line.sequence.checked_sub(1)?,
                digest: line.previous?,
            };
            Some((line.subject, last))
        });
        Self {
            lines: lines.collect(),
            ..Self::default()
        }
    }
}
