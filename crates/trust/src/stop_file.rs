//! A stop of signing as a file that is checked with nothing but the pinned genesis: the chain of rosters up to the one
//! under which it was signed, the statement, and, once a checkpoint covers it, the proof that the log tells of it.

use serde::{Deserialize, Serialize};

use crate::chain::{ChainError, Chains, Pin, walk};
use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::leaf::{self, ActKind, ActLeaf, Leaf, STOP};
use crate::logged::Logged;
use crate::member_signature::MemberSignature;
use crate::name::Name;
use crate::proofs::{NotProven, Proofs};
use crate::stop::{StopError, VerifiedStop, verify_stop};
use crate::time::Time;
use crate::tlog::policy::WitnessPolicy;
use crate::transcript::log_keys;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopFile {
    /// Canonical JSON of a [`crate::stop::StopBody`].
    pub body: String,
    /// Up to the roster that the body names.
    pub chains: Chains,
    /// Transcripts of the keys that signed the checkpoint of the proof, themselves without proofs.
    pub log_keys: Vec<String>,
    /// None, or the one leaf that tells of the stop.
    pub log_proofs: Vec<Logged>,
    /// Of a custodian, or of a member on call.
    pub signature: MemberSignature,
    /// Format version.
    pub v: V1,
}

/// A file that was refused.
#[derive(Debug, thiserror::Error)]
pub enum StopFileError {
    /// Not canonical JSON of its form.
    #[error("the file cannot be parsed")]
    Unreadable(#[source] JsonError),
    /// Its chain does not hold.
    #[error("the chain of rosters and policies is invalid")]
    Chain(#[from] ChainError),
    /// The stop does not hold.
    #[error("the stop is invalid")]
    Stop(#[from] StopError),
    /// The proof does not hold, or is of something else.
    #[error("the log proofs are invalid: {0}")]
    LogProofs(String),
}

/// A stop that holds, and when the log was told of it, where the file shows it.
#[derive(Clone, Debug)]
pub struct VerifiedStopFile {
    /// The stop.
    pub stop: VerifiedStop,
    /// The time of its leaf.
    pub logged_at: Option<Time>,
}

impl StopFile {
    /// The file's bytes: canonical JSON.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

/// Verifies a stop from the file's bytes and the pinned genesis alone.
pub fn verify_stop_file(bytes: &[u8], pin: &Pin) -> Result<VerifiedStopFile, StopFileError> {
    let file: StopFile = json::require_canonical(bytes).map_err(StopFileError::Unreadable)?;
    let trusted = walk(&file.chains, pin)?;
    let stop = verify_stop(&trusted, file.body.as_bytes(), &file.signature)?;
    let logged_at = logged_at(&file, &stop, pin)?;
    Ok(VerifiedStopFile { stop, logged_at })
}

fn logged_at(
    file: &StopFile,
    stop: &VerifiedStop,
    pin: &Pin,
) -> Result<Option<Time>, StopFileError> {
    let no = |what: &str| StopFileError::LogProofs(what.to_owned());
    let logged = match (file.log_proofs.as_slice(), file.log_keys.is_empty()) {
        ([], true) => return Ok(None),
        ([logged], false) => logged,
        _ => return Err(no("expected one proof with the log's keys, or neither")),
    };
    let keys = log_keys(&file.log_keys, pin)
        .map_err(|(number, why)| StopFileError::LogProofs(format!("log_keys[{number}]: {why}")))?;
    let mut proofs = Proofs::new(&keys, WitnessPolicy::none());
    let not = |error: NotProven| StopFileError::LogProofs(error.to_string());
    proofs.check(&logged.proof, &logged.leaf).map_err(not)?;
    proofs.whole().map_err(not)?;
    let act = match Leaf::parse(logged.leaf.as_bytes()) {
        Ok(Leaf::Act(act)) if logged.leaf.len() <= leaf::MAX_LEN => act,
        _ => return Err(no("the leaf is no act")),
    };
    let signature = file.signature.digest();
    let signature = signature.map_err(StopFileError::Unreadable)?;
    match tells(&act, stop, signature) {
        false => Err(no("the leaf tells of another stop")),
        true if act.time > stop.body.expires_at => {
            Err(no("the stop is in the log after its expiry"))
        }
        true => Ok(Some(act.time)),
    }
}

/// Whether a leaf tells of just this stop.
pub fn tells(act: &ActLeaf, stop: &VerifiedStop, signature: Sha256Digest) -> bool {
    (act.kind, act.action.as_str()) == (ActKind::Emergency, STOP)
        && act.reference.as_deref() == Some(&*stop.digest.to_string())
        && act.digest == Some(signature)
        && act.ring.as_deref() == stop.scope.ring().map(Name::as_str)
        && act.version == Some(stop.body.line.sequence)
}
