//! The tally of acceptances: may what was done take effect?

use std::ops::Deref;

use crate::alg::Algorithm;
use crate::approval::{Acceptance, Generated, Outcome, Statement, possession_message};
use crate::chain::Trusted;
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::json::{self, JsonError};
use crate::jwk::{Kid, PublicKey, PublicKeyError};
use crate::namespace::{Namespace, Purpose};
use crate::policy::Threshold;
use crate::request::{Generate, Operation, Request};
use crate::roster::MemberId;
use crate::signature::Verifier;
use crate::template::ReadBack;
use crate::time::Time;
use crate::transcript::Record;

use super::{
    Accepted, Ballot, Counted, Electorate, Findings, History, NotCounted, Standing, count, tally,
};

/// Why what was done cannot be accepted by any number of signatures.
#[derive(Debug, thiserror::Error)]
pub enum AcceptanceError {
    /// The statement is not canonical JSON of its form.
    #[error("the statement cannot be read")]
    Unreadable(#[source] JsonError),
    /// The record cannot be written as JSON.
    #[error("the record cannot be written")]
    Record(#[source] JsonError),
    /// The ceremony was not approved when it was carried out.
    #[error("the request was not approved when it was carried out: {0:?}")]
    NotApproved(Standing),
    /// The statement is about another request.
    #[error("the statement is about another request")]
    OtherRequest,
    /// The statement is about another record: a step, a note or a time was changed.
    #[error("the statement is about another record")]
    OtherRecord,
    /// Carried out before it was asked for.
    #[error("carried out at {0}, before the request was written")]
    TooEarly(Time),
    /// The outcome does not belong to the operation, or to its key.
    #[error("the outcome is not that of the operation")]
    OtherOutcome,
    /// The public key cannot be read.
    #[error("the new public key is not acceptable")]
    PublicKey(#[from] PublicKeyError),
    /// Kid, SPKI digest and public key do not agree.
    #[error("{0} does not belong to the new public key")]
    KeyMismatch(&'static str),
    /// What the token told about the key is not what was ordered.
    #[error("read back from the token: {0} is not as ordered")]
    ReadBack(&'static str),
    /// The key did not sign the challenge.
    #[error("the new key has not shown that it can sign")]
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
}

/// The tally of acceptances. Its findings can be read through it and by nobody be written.
#[derive(Debug)]
pub struct AcceptanceTally {
    findings: AcceptanceFindings,
    request: Request,
    approved_by: Vec<MemberId>,
    statement: Statement,
    digest: Sha256Digest,
    public_key: Option<PublicKey>,
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
    /// The private half is gone.
    Destroyed(Kid),
    /// The key is revoked.
    Revoked(Kid),
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
    )
}

pub(crate) fn tally_statement(
    trusted: &Trusted,
    record: &Record,
    acceptance: &Acceptance,
    statement: Statement,
) -> Result<AcceptanceTally, AcceptanceError> {
    let bytes = acceptance.statement.as_bytes();
    let ceremony = record.ceremony();
    let history = History::claimed_by(&ceremony.request);
    let approval = tally(trusted, &ceremony, &history, statement.executed_at);
    let approved_digest = approval.digest;
    let Findings {
        counted, standing, ..
    } = approval.findings;
    let (request, approved_by) = match (standing, approval.request) {
        (Standing::Approved, Some(request)) => {
            let by: Vec<_> = counted.into_iter().map(|counted| counted.member).collect();
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
    let public_key = check_outcome(&request, approved_digest, &statement.outcome)?;

    let namespace = Namespace::new(Purpose::Accept, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), bytes);
    let ballots = acceptance.signatures.iter().map(|signature| Ballot {
        signature,
        late: false,
    });
    let electorate = Electorate::custodians(trusted.roster()).without(&request.proposer);
    let (counted, not_counted) = count(&electorate, &namespace, &message, ballots);
    let needed = trusted.policy().to_accept(&request.operation);
    let digest = Sha256Digest::of(bytes);
    Ok(AcceptanceTally {
        findings: AcceptanceFindings {
            counted,
            not_counted,
            needed,
        },
        request,
        approved_by,
        statement,
        digest,
        public_key,
    })
}

/// Checks what was done against what was approved. Returns the new public key, if there is one.
fn check_outcome(
    request: &Request,
    request_digest: Sha256Digest,
    outcome: &Outcome,
) -> Result<Option<PublicKey>, AcceptanceError> {
    match (&request.operation, outcome) {
        (Operation::Generate(order), Outcome::Generated(generated)) => {
            check_generated(request, request_digest, order, generated).map(Some)
        }
        (Operation::Destroy(order), Outcome::Destroyed { kid }) if order.kid == *kid => Ok(None),
        (Operation::Revoke(order), Outcome::Revoked { kid }) if order.kid == *kid => Ok(None),
        _ => Err(AcceptanceError::OtherOutcome),
    }
}

fn check_generated(
    request: &Request,
    request_digest: Sha256Digest,
    order: &Generate,
    generated: &Generated,
) -> Result<PublicKey, AcceptanceError> {
    let key = PublicKey::from_spki_der(&generated.public_key.0)?;
    if key.kid() != generated.kid {
        return Err(AcceptanceError::KeyMismatch("the kid"));
    }
    if key.spki_digest() != generated.spki_digest {
        return Err(AcceptanceError::KeyMismatch("the SPKI digest"));
    }
    if key.spec() != order.key_spec {
        return Err(AcceptanceError::ReadBack("the key's shape"));
    }
    check_read_back(order, &generated.read_back)?;
    let message = possession_message(request, request_digest, &generated.kid)
        .map_err(AcceptanceError::Record)?;
    let verifier = Verifier::new(&key, order.algorithm).map_err(|_| AcceptanceError::Possession)?;
    verifier
        .verify_message(&message, &generated.possession.0)
        .map_err(|_| AcceptanceError::Possession)?;
    Ok(key)
}

/// PCI DSS 3.7.7, prevention of key substitution: the object on the token is the one ordered.
fn check_read_back(order: &Generate, found: &ReadBack) -> Result<(), AcceptanceError> {
    // A token may stay silent about these three, but it may not deny them.
    let not_denied = |attribute: Option<bool>| attribute != Some(false);
    let checks = [
        (
            "the token's serial number",
            found.token_serial == order.token_serial,
        ),
        ("the token's label", found.token_label == order.token_label),
        ("CKA_ID", found.cka_id == order.cka_id),
        ("CKA_LABEL", found.label == order.label),
        ("the key's shape", found.key_spec == order.key_spec),
        ("the template", found.template == order.template),
        ("CKA_ALWAYS_SENSITIVE", not_denied(found.always_sensitive)),
        ("CKA_NEVER_EXTRACTABLE", not_denied(found.never_extractable)),
        ("CKA_LOCAL", not_denied(found.local)),
    ];
    match checks.into_iter().find(|(_, good)| !good) {
        Some((what, _)) => Err(AcceptanceError::ReadBack(what)),
        None => Ok(()),
    }
}

impl AcceptanceTally {
    /// Whether enough custodians accepted.
    pub fn is_complete(&self) -> bool {
        self.counted.len() >= self.needed.get()
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Who approved it.
    pub fn approved_by(&self) -> &[MemberId] {
        &self.approved_by
    }

    /// What was stated.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The digest that names the finished ceremony: SHA-256 of the statement.
    pub fn transcript_digest(&self) -> Sha256Digest {
        self.digest
    }

    /// The algorithm of the new key, if a key was generated.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match &self.request.operation {
            Operation::Generate(order) => Some(order.algorithm),
            Operation::Destroy(_) | Operation::Revoke(_) => None,
        }
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
        match (
            self.request.operation,
            self.statement.outcome,
            self.public_key,
        ) {
            (Operation::Generate(order), Outcome::Generated(generated), Some(public_key)) => {
                Ok(Finished::Generated(Box::new(Accepted {
                    kid: generated.kid,
                    public_key,
                    order,
                    transcript_digest: self.digest,
                    by,
                })))
            }
            (_, Outcome::Destroyed { kid }, _) => Ok(Finished::Destroyed(kid)),
            (_, Outcome::Revoked { kid }, _) => Ok(Finished::Revoked(kid)),
            // The outcome was checked against the operation when the tally was made.
            (_, Outcome::Generated(_), _) => Err(refusal),
        }
    }
}

impl History {
    /// The history that a request claims for itself, for checking one transcript alone. Whether
    /// the claims of several transcripts agree is for [`crate::transcript::verify_succession`] to
    /// say, which no program calls yet.
    pub fn claimed_by(request: &[u8]) -> Self {
        match Request::decode(request) {
            Ok(request) => Self {
                last_sequence: request.sequence.saturating_sub(1),
                last_transcript: request.previous_transcript,
                ..Self::default()
            },
            Err(_) => Self::default(),
        }
    }
}
