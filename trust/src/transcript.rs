//! Transcripts: one file per finished ceremony, checkable with nothing but the pinned genesis.
//!
//! Every byte is covered. The custodians' acceptances sign the statement; the statement holds the
//! digest of the record (chains, request, approvals, rejections, steps); the file must equal its
//! own canonical form; and no acceptance may be in it that does not count.
//!
//! What one transcript alone cannot show: that nothing else happened. Former custodians who still
//! hold their keys could make one under the roster of their time; [`verify_succession`] finds it
//! between the genuine ones, and [`Trusted::extends`] finds a chain that split off. Replicas ask the
//! second; the first has no caller yet but the tests.

use serde::{Deserialize, Serialize};

use crate::approval::{Acceptance, Approval, Rejection, Statement};
use crate::chain::{ChainError, Chains, Pin, Trusted, walk};
use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::jwk::{Kid, PublicKey};
use crate::request::Request;
use crate::roster::MemberId;
use crate::tally::{
    AcceptanceError, Accepted, Ceremony, Finished, NotAccepted, WhyNot, statement_about,
    tally_statement,
};
use crate::time::Time;

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
    /// Approvals, in the order received.
    pub approvals: Vec<Approval>,
    /// Rejections, in the order received. One that counts would have stopped the ceremony; one that
    /// does not is kept with it.
    pub rejections: Vec<Rejection>,
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
    /// Inclusion proofs of the log. Its place is kept; until the log exists it must be empty.
    pub log_proofs: Vec<String>,
}

impl Record {
    /// What the tally needs of it.
    pub fn ceremony(&self) -> Ceremony {
        Ceremony {
            request: self.request.clone().into_bytes(),
            approvals: self.approvals.clone(),
            rejections: self.rejections.clone(),
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

    /// Reads the file; nothing in it is verified by that.
    pub fn decode(bytes: &[u8]) -> Result<Self, JsonError> {
        json::require_canonical(bytes)
    }
}

/// A transcript that was refused.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// Not canonical JSON of its form.
    #[error("the transcript cannot be read")]
    Unreadable(#[source] JsonError),
    /// Its chain does not hold.
    #[error("the chain does not hold")]
    Chain(#[from] ChainError),
    /// What was done cannot be accepted.
    #[error("the ceremony does not hold")]
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
    /// There is no log yet whose proofs could be checked.
    #[error("log proofs cannot be checked yet and must be absent")]
    LogProofs,
    /// It is not about a key's generation.
    #[error("the transcript is not about the generation of a key")]
    NotAKey,
    /// It is about another key.
    #[error("the transcript is about key {0}")]
    OtherKey(Kid),
}

/// A ceremony that holds.
#[derive(Debug)]
pub struct VerifiedTranscript {
    request: Request,
    statement: Statement,
    approved_by: Vec<MemberId>,
    accepted_by: Vec<MemberId>,
    digest: Sha256Digest,
    finished: Finished,
    trusted: Trusted,
}

/// Verifies a transcript from its bytes and the pinned genesis alone: no network, no service.
pub fn verify_transcript(bytes: &[u8], pin: &Pin) -> Result<VerifiedTranscript, TranscriptError> {
    let unverified = Transcript::decode(bytes).map_err(TranscriptError::Unreadable)?;
    if !unverified.log_proofs.is_empty() {
        return Err(TranscriptError::LogProofs);
    }
    let Transcript {
        record, acceptance, ..
    } = unverified;
    let statement = statement_about(&record, &acceptance)?;
    let trusted = walk(&record.chains, pin)?;
    let tally = tally_statement(&trusted, &record, &acceptance, statement)?;
    if let Some(each) = tally.not_counted.first() {
        return Err(TranscriptError::Superfluous {
            index: each.index,
            why: each.why.clone(),
        });
    }
    Ok(VerifiedTranscript {
        request: tally.request().clone(),
        statement: tally.statement().clone(),
        approved_by: tally.approved_by().to_vec(),
        accepted_by: tally
            .counted
            .iter()
            .map(|counted| counted.member.clone())
            .collect(),
        digest: tally.transcript_digest(),
        finished: tally.into_finished()?,
        trusted,
    })
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

    /// Who accepted.
    pub fn accepted_by(&self) -> &[MemberId] {
        &self.accepted_by
    }

    /// The digest that names the ceremony; the next request has it as `previous_transcript`.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Roster and policy as they held then.
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// The key it is about.
    pub fn kid(&self) -> &Kid {
        match &self.finished {
            Finished::Generated(accepted) => accepted.kid(),
            Finished::Destroyed(kid) | Finished::Revoked(kid) => kid,
        }
    }

    /// The new public key, if a key was generated.
    pub fn public_key(&self) -> Option<&PublicKey> {
        match &self.finished {
            Finished::Generated(accepted) => Some(accepted.public_key()),
            Finished::Destroyed(_) | Finished::Revoked(_) => None,
        }
    }

    /// The proof that lets `kid` be published. A replica calls it for every key it loads: a key
    /// whose transcript is another key's, or no generation, is refused.
    pub fn into_accepted(self, kid: &Kid) -> Result<Accepted, TranscriptError> {
        match self.finished {
            Finished::Generated(accepted) if accepted.kid() == kid => Ok(*accepted),
            Finished::Generated(accepted) => Err(TranscriptError::OtherKey(accepted.kid().clone())),
            Finished::Destroyed(_) | Finished::Revoked(_) => Err(TranscriptError::NotAKey),
        }
    }
}

/// A line of transcripts that does not hold together.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// A ceremony is missing, repeated or out of order.
    #[error("transcript {index} has sequence {found}, expected {expected}")]
    Sequence {
        /// Its place, from 0.
        index: usize,
        /// Its sequence number.
        found: u64,
        /// The one expected.
        expected: u64,
    },
    /// It follows another transcript than the one before it.
    #[error("transcript {index} does not follow the one before it")]
    Previous {
        /// Its place, from 0.
        index: usize,
    },
    /// A nonce is used twice.
    #[error("transcript {index} uses a nonce again")]
    Nonce {
        /// Its place, from 0.
        index: usize,
    },
    /// Its chain is not a continuation of the chain before it.
    #[error("transcript {index} has a chain that does not continue the one before it")]
    Chain {
        /// Its place, from 0.
        index: usize,
    },
}

/// Checks that transcripts, oldest first and complete, form one line: what each request claims
/// about its past is what happened.
pub fn verify_succession(transcripts: &[VerifiedTranscript]) -> Result<(), SuccessionError> {
    let mut nonces = std::collections::BTreeSet::new();
    let mut before: Option<&VerifiedTranscript> = None;
    for (index, transcript) in transcripts.iter().enumerate() {
        let request = &transcript.request;
        let expected = before.map_or(1, |before| before.request.sequence + 1);
        if request.sequence != expected {
            return Err(SuccessionError::Sequence {
                index,
                found: request.sequence,
                expected,
            });
        }
        if request.previous_transcript != before.map(|before| before.digest) {
            return Err(SuccessionError::Previous { index });
        }
        if !nonces.insert(request.nonce) {
            return Err(SuccessionError::Nonce { index });
        }
        if before.is_some_and(|before| !transcript.trusted.extends(&before.trusted)) {
            return Err(SuccessionError::Chain { index });
        }
        before = Some(transcript);
    }
    Ok(())
}
