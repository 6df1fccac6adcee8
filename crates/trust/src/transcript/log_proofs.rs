//! The proofs in a transcript: the acts of the ceremony are in the log, before its end.

use std::collections::{BTreeMap, BTreeSet};

use crate::act::Act;
use crate::chain::{Pin, Trusted};
use crate::digest::Sha256Digest;
use crate::json::JsonError;
use crate::jwk::PublicKey;
use crate::leaf::{self, ActKind, ActLeaf, Leaf};
use crate::member_signature::MemberSignature;
use crate::name::LOG_RING;
use crate::order_log::LoggedUse;
use crate::proofs::{NotProven, Proofs, told};
use crate::request::{Operation, Request};
use crate::time::Time;
use crate::tlog::policy::WitnessPolicy;

use super::order_proofs::{OfOrder, OrderProofsError};
use super::{Transcript, TranscriptError, verify_core};

/// Proofs that do not hold, or are of other leaves.
#[derive(Debug, thiserror::Error)]
pub enum LogProofsError {
    /// Keys without proofs, or proofs without keys.
    #[error("log_keys and log_proofs must be given together")]
    Incomplete,
    /// The transcript of a log key does not hold, is none, or there twice.
    #[error("log_keys[{0}]: {1}")]
    Key(usize, String),
    /// A proof does not hold.
    #[error("log_proofs[{0}]: {1}")]
    Proof(usize, NotProven),
    /// A log key is not needed.
    #[error("{0}")]
    Keys(NotProven),
    /// Proofs of several logs, or not in log order.
    #[error("log_proofs[{0}]: of a different log, or not in log order")]
    Order(usize),
    /// The leaf is of something else than this ceremony.
    #[error("log_proofs[{0}]: the leaf does not belong to this ceremony")]
    OtherLeaf(usize),
    /// The end of the ceremony, or an approval that counted, is missing.
    #[error("no proof of {0}")]
    Missing(&'static str),
    /// Received in time by the service's word, and not by the log's.
    #[error("an approval was logged after approve_by")]
    Late,
    /// Of a key under a standing order: what the leaves about the order say.
    #[error("the use of the standing order: {0}")]
    Use(#[from] OrderProofsError),
    /// A signature cannot be written.
    #[error("a signature cannot be serialised")]
    Write(#[from] JsonError),
}

/// The log's keys by their transcripts, each of them once.
pub(crate) fn log_keys(texts: &[String], pin: &Pin) -> Result<Vec<PublicKey>, (usize, String)> {
    keys_within(texts, pin, None)
}

/// The same of a chain that is being walked: no key may be from a chain that split off, nor from
/// after the change that it is to prove.
pub(crate) fn log_keys_of_chain(
    texts: &[String],
    pin: &Pin,
    so_far: &Trusted,
) -> Result<Vec<PublicKey>, (usize, String)> {
    keys_within(texts, pin, Some(so_far))
}

fn keys_within(
    texts: &[String],
    pin: &Pin,
    so_far: Option<&Trusted>,
) -> Result<Vec<PublicKey>, (usize, String)> {
    let mut keys: Vec<PublicKey> = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let no = |why: String| (number, why);
        let verified = verify_core(text.as_bytes(), pin).map_err(|error| no(told(&error)))?;
        if so_far.is_some_and(|so_far| !so_far.extends(verified.trusted())) {
            return Err(no("a key of a different chain of rosters".to_owned()));
        }
        let accepted = verified.into_key().map_err(|error| no(told(&error)))?;
        if accepted.order().ring.as_str() != LOG_RING {
            return Err(no("a key of a ring other than the log's".to_owned()));
        }
        if keys.iter().any(|known| known.kid() == *accepted.kid()) {
            return Err(no("the same key twice".to_owned()));
        }
        keys.push(accepted.public_key().clone());
    }
    Ok(keys)
}

/// What proofs show that hold.
#[derive(Default)]
pub(super) struct Shown {
    /// When each approval, by its digest, was in the log.
    pub approved: BTreeMap<Sha256Digest, Time>,
    /// Whether there are leaves that bear out the use of a standing order.
    pub of_order: bool,
}

/// Checks the proofs.
pub(super) fn check(
    transcript: &Transcript,
    pin: &Pin,
    counted: &[&MemberSignature],
    used: Option<&LoggedUse>,
) -> Result<Shown, TranscriptError> {
    if transcript.log_keys.is_empty() != transcript.log_proofs.is_empty() {
        return Err(LogProofsError::Incomplete.into());
    }
    if transcript.log_proofs.is_empty() {
        return Ok(Shown::default());
    }
    let keys = log_keys(&transcript.log_keys, pin)
        .map_err(|(number, why)| LogProofsError::Key(number, why))?;
    let here = Here::of(transcript)?;
    let mut proofs = Proofs::new(&keys, WitnessPolicy::none());
    let mut before: Option<(u64, String)> = None;
    let mut approved = BTreeMap::new();
    let mut ends = Vec::new();
    let chains = &transcript.record.chains;
    let order = used.map(|used| OfOrder::new(chains, used)).transpose();
    let order = order.map_err(LogProofsError::Write)?;
    let (mut told, mut is_told) = (Vec::new(), false);
    for (number, logged) in transcript.log_proofs.iter().enumerate() {
        let proven = proofs
            .check(&logged.proof, &logged.leaf)
            .map_err(|error| LogProofsError::Proof(number, error))?;
        let follows =
            |(index, origin): &(u64, String)| *index < proven.index && *origin == proven.origin;
        if !before.as_ref().is_none_or(follows) {
            return Err(LogProofsError::Order(number).into());
        }
        before = Some((proven.index, proven.origin));
        let short = logged.leaf.len() <= leaf::MAX_LEN;
        let act = match Leaf::parse(logged.leaf.as_bytes()) {
            Ok(Leaf::Act(act)) if short => act,
            _ => return Err(LogProofsError::OtherLeaf(number).into()),
        };
        let of_order = order.as_ref().is_some_and(|order| order.tells(&act));
        if order.is_some() {
            told.push(Act {
                index: i64::try_from(proven.index).unwrap_or(i64::MAX),
                leaf: act.as_ref().clone(),
            });
        }
        if of_order {
            is_told = true;
            continue;
        }
        if !here.tells(&act) {
            return Err(LogProofsError::OtherLeaf(number).into());
        }
        match (act.action.as_str(), act.digest) {
            ("approve", Some(digest)) if ends.is_empty() => {
                approved.entry(digest).or_insert(act.time);
            }
            _ if here.is_end(&act) => ends.push(proven.index),
            _ => {}
        }
    }
    proofs.whole().map_err(LogProofsError::Keys)?;
    if ends.len() != 1 {
        return Err(LogProofsError::Missing("the end of the ceremony").into());
    }
    if let (Some(order), Some(end), true) = (&order, ends.first(), is_told) {
        let end = i64::try_from(*end).unwrap_or(i64::MAX);
        order.check(end, &told).map_err(LogProofsError::Use)?;
    }
    for signature in counted {
        let digest = signature.digest().map_err(LogProofsError::Write)?;
        match approved.get(&digest) {
            Some(at) if *at > here.approve_by => return Err(LogProofsError::Late.into()),
            // The log in which they would stand is halted.
            None if here.begins_a_log => {}
            None => return Err(LogProofsError::Missing("an approval before it").into()),
            Some(_) => {}
        }
    }
    Ok(Shown {
        approved,
        of_order: is_told,
    })
}

/// What a leaf of this ceremony can name.
struct Here {
    request: String,
    /// Of the act that ends it. What changes the log itself takes effect by that act.
    end: (ActKind, &'static str),
    core: Sha256Digest,
    approve_by: Time,
    begins_a_log: bool,
    signatures: BTreeMap<&'static str, BTreeSet<Sha256Digest>>,
}

impl Here {
    fn of(transcript: &Transcript) -> Result<Self, LogProofsError> {
        let record = &transcript.record;
        let objections = |list: &'_ [crate::approval::Objection]| {
            list.iter()
                .map(|each| each.signature.clone())
                .collect::<Vec<_>>()
        };
        let approvals = |list: &[crate::approval::Approval]| {
            list.iter()
                .map(|each| each.signature.clone())
                .collect::<Vec<_>>()
        };
        let places = [
            ("propose", approvals(record.proposal.as_slice())),
            ("approve", approvals(&record.approvals)),
            ("reject", objections(&record.rejections)),
            ("cancel", objections(&record.cancellations)),
            ("accept", transcript.acceptance.signatures.clone()),
        ];
        let mut signatures = BTreeMap::new();
        for (place, all) in places {
            let digests: Result<BTreeSet<_>, _> = all.iter().map(MemberSignature::digest).collect();
            signatures.insert(place, digests?);
        }
        let request = Request::decode(record.request.as_bytes()).map_err(LogProofsError::Write)?;
        let end = match request.operation.word() {
            word @ ("clock-correction" | "new-origin") => (ActKind::Log, word),
            "resume" => (ActKind::Emergency, leaf::RESUME),
            "ratification" => (ActKind::Emergency, leaf::RATIFY),
            _ => (ActKind::Ceremony, "accepted"),
        };
        Ok(Self {
            end,
            approve_by: request.approve_by,
            begins_a_log: matches!(request.operation, Operation::NewOrigin(_)),
            request: Sha256Digest::of(record.request.as_bytes()).to_string(),
            core: transcript.core_digest()?,
            signatures,
        })
    }

    fn is_end(&self, act: &ActLeaf) -> bool {
        (act.kind, act.action.as_str()) == self.end
    }

    fn tells(&self, act: &ActLeaf) -> bool {
        let of_it = (act.kind == ActKind::Ceremony || self.is_end(act))
            && act.reference.as_deref() == Some(self.request.as_str());
        let named = match self.signatures.get(act.action.as_str()) {
            Some(digests) => act.digest.is_some_and(|digest| digests.contains(&digest)),
            None if self.is_end(act) => act.digest == Some(self.core),
            None => true,
        };
        of_it && named
    }
}
