//! Transcripts: one file per finished ceremony, checkable with nothing but the pinned genesis.
//!
//! Every byte is covered. The custodians' acceptances sign the statement; the statement holds the
//! digest of the record (chains, request, signatures, steps); the file must equal its own canonical
//! form; no acceptance may be in it that does not count; and the log's proofs are of its own acts.
//!
//! What one transcript alone cannot show: that nothing else happened. Former custodians who still
//! hold their keys could make one under the roster of their time; [`verify_succession`] finds it
//! between the genuine ones, and [`Trusted::extends`] finds a chain that split off. Replicas ask the
//! second.

mod log_proofs;
mod order_proofs;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::approval::{Acceptance, Approval, Objection, Outcome, Statement};
use crate::chain::{ChainError, Chains, Pin, Trusted, walk_with};
use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::jwk::{Kid, PublicKey};
use crate::logged_quorum::{Decision, Quorum};
use crate::order_log::{LoggedUse, UseProof};
use crate::request::{Operation, Request};
use crate::roster::MemberId;
use crate::subject::Subject;
use crate::suspension::Suspension;
use crate::tally::{
    AcceptanceError, AcceptanceTally, Accepted, Ceremony, Finished, KnownOrders, NotAccepted,
    UnderOrder, WhyNot, statement_about, suspended, tally_statement,
};
use crate::time::Time;

pub use crate::logged::Logged;
pub use log_proofs::LogProofsError;
pub(crate) use log_proofs::{log_keys, log_keys_of_chain};
pub(crate) use order_proofs::OfOrder;
pub use order_proofs::OrderProofsError;

/// Everything about a ceremony up to its execution. Frozen when the statement is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Format version.
    pub v: V1,
    /// Roster and policy as they held then.
    pub chains: Chains,
    /// The canonical request, the very text that was signed.
    pub request: String,
    /// The standing order's transcript, under one.
    pub order: Option<String>,
    /// The proposer's signature over the request; absent under a standing order.
    pub proposal: Option<Approval>,
    /// Approvals, in the order received.
    pub approvals: Vec<Approval>,
    /// Rejections, in the order received. One that counts would have stopped the ceremony; one that
    /// does not is kept with it.
    pub rejections: Vec<Objection>,
    /// Cancellations, likewise.
    pub cancellations: Vec<Objection>,
    /// Suspensions of members that were known.
    pub suspensions: Vec<Suspension>,
    /// What happened, with witnesses' notes.
    pub steps: Vec<Step>,
}

/// One step of the ceremony.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When.
    pub at: Time,
    /// What, in words.
    pub what: String,
    /// What a witness noted, and who.
    pub witness: Option<WitnessNote>,
}

/// A witness's note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessNote {
    /// Who.
    pub name: String,
    /// What.
    pub note: String,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// Format version.
    pub v: V1,
    /// Up to the execution.
    pub record: Record,
    /// From then on.
    pub acceptance: Acceptance,
    /// Transcripts of the keys that signed the checkpoints of `log_proofs`, themselves without
    /// proofs.
    pub log_keys: Vec<String>,
    /// Acts of the ceremony with their proofs, in the order of the log.
    pub log_proofs: Vec<Logged>,
}

impl Record {
    /// What the tally needs of it.
    pub fn ceremony(&self) -> Ceremony {
        Ceremony {
            request: self.request.clone().into_bytes(),
            proposal: self.proposal.clone(),
            approvals: self.approvals.clone(),
            rejections: self.rejections.clone(),
            cancellations: self.cancellations.clone(),
            suspensions: self.suspensions.clone(),
            order: self.order.clone(),
        }
    }

    /// SHA-256 of the canonical form.
    pub fn digest(&self) -> Result<Sha256Digest, JsonError> {
        Ok(Sha256Digest::of(&json::canonical(self)?))
    }
}

impl Transcript {
    /// The file's bytes: canonical JSON.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// The transcript without the log's proofs: what the log names by its digest, and what is kept.
    pub fn core(&self) -> Self {
        Self {
            log_keys: Vec::new(),
            log_proofs: Vec::new(),
            ..self.clone()
        }
    }

    /// SHA-256 of the core's canonical form.
    pub fn core_digest(&self) -> Result<Sha256Digest, JsonError> {
        Ok(Sha256Digest::of(&self.core().encode()?))
    }

    /// SHA-256 of what the executor wrote: the core without acceptances of custodians.
    pub fn execution_digest(&self) -> Result<Sha256Digest, JsonError> {
        let mut executed = self.core();
        executed.acceptance.signatures.clear();
        Ok(Sha256Digest::of(&executed.encode()?))
    }

    /// Reads the file; nothing in it is verified by that.
    pub fn decode(bytes: &[u8]) -> Result<Self, JsonError> {
        json::require_canonical(bytes)
    }
}

/// A transcript that was refused.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// Not canonical JSON of its form.
    #[error("the transcript cannot be parsed")]
    Unreadable(#[source] JsonError),
    /// Its chain does not hold.
    #[error("the chain of rosters and policies is invalid")]
    Chain(#[from] ChainError),
    /// What was done cannot be accepted.
    #[error("the ceremony is invalid")]
    Ceremony(#[from] AcceptanceError),
    /// Not accepted by enough.
    #[error("the ceremony was not accepted")]
    NotAccepted(#[from] NotAccepted),
    /// An acceptance that does not count has no place in a transcript: nothing else covers it.
    #[error("acceptance {index} does not count: {why}")]
    Superfluous {
        /// Its place in the list, from 0.
        index: usize,
        /// Why.
        why: WhyNot,
    },
    /// The proofs do not hold, or are of something else.
    #[error("the log proofs are invalid")]
    LogProofs(#[from] LogProofsError),
    /// A transcript inside another file has no proofs of its own.
    #[error("the transcript must not contain log proofs here")]
    NotACore,
    /// It is not about a key's generation.
    #[error("the transcript does not concern the generation of a key")]
    NotAKey,
    /// It is about another key.
    #[error("the transcript concerns key {0}")]
    OtherKey(Kid),
}

/// A ceremony that holds.
#[derive(Debug)]
pub struct VerifiedTranscript {
    request: Request,
    statement: Statement,
    approved_by: Vec<MemberId>,
    by_passkey: Vec<MemberId>,
    accepted_by: Vec<MemberId>,
    accepted_by_passkey: Vec<MemberId>,
    digest: Sha256Digest,
    core_digest: Sha256Digest,
    logged_at: BTreeMap<Sha256Digest, Time>,
    finished: Finished,
    trusted: Trusted,
    under: Option<UnderOrder>,
    by_executor: Option<MemberId>,
    suspended: BTreeSet<MemberId>,
    approvals: Vec<usize>,
    logged_use: Option<Box<LoggedUse>>,
    use_shown: bool,
}

/// Verifies a transcript from its bytes and the pinned genesis alone: no network, no service.
pub fn verify_transcript(bytes: &[u8], pin: &Pin) -> Result<VerifiedTranscript, TranscriptError> {
    verify_transcript_knowing(bytes, pin, &KnownOrders::default())
}

/// The same of one of many transcripts, of which some are under the same standing orders.
pub fn verify_transcript_knowing(
    bytes: &[u8],
    pin: &Pin,
    orders: &KnownOrders,
) -> Result<VerifiedTranscript, TranscriptError> {
    let unverified = Transcript::decode(bytes).map_err(TranscriptError::Unreadable)?;
    verify(unverified, pin, orders)
}

/// Verifies a transcript inside another file, where it has no proofs of its own.
pub(crate) fn verify_core(bytes: &[u8], pin: &Pin) -> Result<VerifiedTranscript, TranscriptError> {
    let unverified = Transcript::decode(bytes).map_err(TranscriptError::Unreadable)?;
    if !unverified.log_keys.is_empty() || !unverified.log_proofs.is_empty() {
        return Err(TranscriptError::NotACore);
    }
    verify(unverified, pin, &KnownOrders::default())
}

fn verify(
    unverified: Transcript,
    pin: &Pin,
    orders: &KnownOrders,
) -> Result<VerifiedTranscript, TranscriptError> {
    let Transcript {
        record, acceptance, ..
    } = &unverified;
    let statement = statement_about(record, acceptance)?;
    let trusted = walk_with(&record.chains, pin, log_keys_of_chain)?;
    let tally = tally_statement(&trusted, record, acceptance, statement, orders)?;
    if let Some(each) = tally.not_counted.first() {
        return Err(TranscriptError::Superfluous {
            index: each.index,
            why: each.why.clone(),
        });
    }
    let counted: Vec<_> = tally
        .approvals()
        .iter()
        .filter_map(|index| record.approvals.get(*index))
        .map(|approval| &approval.signature)
        .collect();
    let core_digest = unverified
        .core_digest()
        .map_err(TranscriptError::Unreadable)?;
    let logged_use = logged_use(&unverified, &tally, core_digest)?;
    let shown = log_proofs::check(&unverified, pin, &counted, logged_use.as_ref())?;
    let verified = VerifiedTranscript {
        request: tally.request().clone(),
        statement: tally.statement().clone(),
        approved_by: tally.approved_by().to_vec(),
        by_passkey: tally.by_passkey().to_vec(),
        accepted_by: tally
            .counted
            .iter()
            .map(|counted| counted.member.clone())
            .collect(),
        accepted_by_passkey: tally
            .counted
            .iter()
            .filter(|counted| counted.is_by_passkey())
            .map(|counted| counted.member.clone())
            .collect(),
        digest: tally.transcript_digest(),
        core_digest,
        logged_at: shown.approved,
        use_shown: shown.of_order,
        logged_use: logged_use.map(Box::new),
        under: tally.under().cloned(),
        by_executor: tally.by_executor.clone(),
        suspended: suspended(&trusted, &record.suspensions),
        approvals: tally.approvals().to_vec(),
        finished: tally.into_finished()?,
        trusted,
    };
    Ok(verified)
}

/// What the log has to say of a key under a standing order.
fn logged_use(
    unverified: &Transcript,
    tally: &AcceptanceTally,
    core: Sha256Digest,
) -> Result<Option<LoggedUse>, TranscriptError> {
    let request = tally.request();
    let (Some(under), Operation::Generate(generate), Outcome::Generated(made)) = (
        tally.under(),
        &request.operation,
        &tally.statement().outcome,
    ) else {
        return Ok(None);
    };
    // Of every key under an order: the tally refuses one without.
    let Some(predecessor) = generate.predecessor.clone() else {
        return Ok(None);
    };
    let execution = unverified
        .execution_digest()
        .map_err(TranscriptError::Unreadable)?;
    Ok(Some(LoggedUse {
        used: under.used,
        request: tally.statement().request_digest,
        execution,
        core,
        kid: made.key.kid().clone(),
        ring: generate.ring.clone(),
        predecessor,
        executor: under.order.executor.member.clone(),
        approved: under.approved.clone(),
        by_executor: tally.by_executor.is_some(),
        earliest: under.order.earliest(under.used.number.get()),
        window: under.order.window.clone(),
        execute_by: request.execute_by,
        order: under.logged.clone(),
    }))
}

impl VerifiedTranscript {
    /// What was asked.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// What was done.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Who approved.
    pub fn approved_by(&self) -> &[MemberId] {
        &self.approved_by
    }

    /// Who of them approved by passkey.
    pub fn by_passkey(&self) -> &[MemberId] {
        &self.by_passkey
    }

    /// Who accepted.
    pub fn accepted_by(&self) -> &[MemberId] {
        &self.accepted_by
    }

    /// Whose signatures decided it, as the log has to bear out.
    pub fn decision(&self) -> Decision {
        let (operation, policy) = (&self.request.operation, self.trusted.policy());
        let needed = policy.to_approve(operation).get();
        Decision {
            proposer: self.request.proposer.clone(),
            approved: Quorum {
                members: self.approved_by.clone(),
                by_passkey: self.by_passkey.clone(),
                needed,
                // What lets signing go on is approved by no passkey.
                keys: match operation {
                    Operation::Resume(_) | Operation::Ratification(_) => needed,
                    _ => 1,
                },
            },
            accepted: Quorum {
                members: self.accepted_by.clone(),
                by_passkey: self.accepted_by_passkey.clone(),
                needed: policy.to_accept(operation).get(),
                keys: 1,
            },
        }
    }

    /// The standing order under which it happened, if it did under one.
    pub fn under(&self) -> Option<&UnderOrder> {
        self.under.as_ref()
    }

    /// What the log has to say of it, of a key under a standing order.
    pub fn logged_use(&self) -> Option<&LoggedUse> {
        self.logged_use.as_deref()
    }

    /// Whether the file brings the leaves that bear this out.
    pub fn use_proof(&self) -> Option<UseProof> {
        let used = self.logged_use.as_ref();
        used.map(|_| UseProof::of(self.use_shown))
    }

    /// The executor, where its signature over the result is acceptance enough.
    pub fn by_executor(&self) -> Option<&MemberId> {
        self.by_executor.as_ref()
    }

    /// The places of the approvals that counted, in the record.
    pub(crate) fn approvals(&self) -> &[usize] {
        &self.approvals
    }

    /// Members who were suspended when it was carried out.
    pub fn suspended(&self) -> &BTreeSet<MemberId> {
        &self.suspended
    }

    /// The digest that names the ceremony; the next request of the same line has it as `previous`.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// The digest of the transcript by which the log names it.
    pub fn core_digest(&self) -> Sha256Digest {
        self.core_digest
    }

    /// When approvals were in the log, by the digest of the signature; empty without proofs.
    pub fn logged_at(&self) -> &BTreeMap<Sha256Digest, Time> {
        &self.logged_at
    }

    /// What may take effect.
    pub fn finished(&self) -> &Finished {
        &self.finished
    }

    /// Roster and policy as they held then.
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// The keys it is about.
    pub fn kids(&self) -> Vec<&Kid> {
        match &self.finished {
            Finished::Generated(accepted) => vec![accepted.kid()],
            Finished::WrapKey(kid) | Finished::Revoked(kid) => vec![kid],
            Finished::Destroyed(kids) => kids.iter().collect(),
            Finished::EmergencyRotated(order) => vec![&order.standby, &order.kid],
            Finished::Ratified(order) => vec![&order.kid],
            Finished::Corrected(_)
            | Finished::NewOrigin
            | Finished::Ordered(_)
            | Finished::Resumed(_)
            | Finished::PolicySet(_) => Vec::new(),
        }
    }

    /// The new public key, if a pair was generated.
    pub fn public_key(&self) -> Option<&PublicKey> {
        match &self.finished {
            Finished::Generated(accepted) => Some(accepted.public_key()),
            _ => None,
        }
    }

    /// The proof that lets a new key be published.
    pub fn into_key(self) -> Result<Accepted, TranscriptError> {
        match self.finished {
            Finished::Generated(accepted) => Ok(*accepted),
            _ => Err(TranscriptError::NotAKey),
        }
    }

    /// The proof that lets `kid` be published. A replica calls it for every key it loads: a key
    /// whose transcript is another key's, or no generation, is refused.
    pub fn into_accepted(self, kid: &Kid) -> Result<Accepted, TranscriptError> {
        let accepted = self.into_key()?;
        match accepted.kid() == kid {
            true => Ok(accepted),
            false => Err(TranscriptError::OtherKey(accepted.kid().clone())),
        }
    }
}

/// Transcripts that do not hold together.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// A ceremony of a line is missing, repeated or out of order.
    #[error("transcript {index} has sequence {found} of {subject}, expected {expected}")]
    Sequence {
        /// Its place, from 0.
        index: usize,
        /// The line.
        subject: Subject,
        /// Its sequence number.
        found: u64,
        /// The one expected.
        expected: u64,
    },
    /// It follows another transcript than the one before it in its line.
    #[error("transcript {index} does not reference the previous ceremony on {subject}")]
    Previous {
        /// Its place, from 0.
        index: usize,
        /// The line.
        subject: Subject,
    },
    /// A nonce is used twice.
    #[error("transcript {index} reuses a nonce")]
    Nonce {
        /// Its place, from 0.
        index: usize,
    },
    /// A use of a standing order is taken twice.
    #[error("transcript {index} takes a use of a standing order again")]
    Use {
        /// Its place, from 0.
        index: usize,
    },
    /// Its chain is not a continuation of the chain before it in its line.
    #[error("transcript {index} has a chain that does not extend the previous one")]
    Chain {
        /// Its place, from 0.
        index: usize,
    },
}

/// Checks that transcripts, oldest first and complete, form one line per subject: what each request
/// claims about its past is what happened. The order across subjects is the log's. In the line of stops and resumes the
/// stops, which are no ceremonies, take places too; they are not looked at.
pub fn verify_succession(transcripts: &[VerifiedTranscript]) -> Result<(), SuccessionError> {
    let mut nonces = BTreeSet::new();
    let mut uses = BTreeSet::new();
    let mut heads: BTreeMap<&Subject, (u64, &VerifiedTranscript)> = BTreeMap::new();
    for (index, transcript) in transcripts.iter().enumerate() {
        let request = &transcript.request;
        if !nonces.insert(request.nonce) {
            return Err(SuccessionError::Nonce { index });
        }
        let used = request.order.map(|used| (used.id, used.number));
        if used.is_some_and(|used| !uses.insert(used)) {
            return Err(SuccessionError::Use { index });
        }
        for line in &request.lines {
            let before = heads.insert(&line.subject, (line.sequence, transcript));
            let expected = before.map_or(0, |(sequence, _)| sequence) + 1;
            let after_stops = matches!(line.subject, Subject::Stop(_)) && line.sequence > expected;
            if line.sequence != expected && !after_stops {
                return Err(SuccessionError::Sequence {
                    index,
                    subject: line.subject.clone(),
                    found: line.sequence,
                    expected,
                });
            }
            if !after_stops && line.previous != before.map(|(_, before)| before.digest) {
                return Err(SuccessionError::Previous {
                    index,
                    subject: line.subject.clone(),
                });
            }
            if before.is_some_and(|(_, before)| !transcript.trusted.extends(&before.trusted)) {
                return Err(SuccessionError::Chain { index });
            }
        }
    }
    Ok(())
}
