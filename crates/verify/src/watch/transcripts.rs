//! Transcripts that a stranger was shown, verified from the pinned genesis: of keys, and of what was
//! done to the log.

use trust::{Kid, Pin, PublicKey, Request, Sha256Digest, Time, Transcript, VerifiedTranscript};

use trust::acts::Act;
use trust::error_chain;
use trust::log_acts::LogAct;
use trust::order_log::LoggedUse;

/// A key by its verified transcript.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub public: PublicKey,
    pub ring: String,
    pub prepared_at: Time,
    /// SHA-256 of the transcript without the log's proofs, as the log names it.
    pub digest: Sha256Digest,
    /// What the log has to say of it, of a key under a standing order.
    pub used: Option<LoggedUse>,
}

impl Certificate {
    /// Verifies a transcript from the pinned genesis, for the installation that it is of.
    pub fn verify(bytes: &[u8], genesis: Sha256Digest, kid: &Kid) -> Result<Self, String> {
        let verified = trust::verify_transcript(bytes, &pin(bytes, genesis)?);
        let verified: VerifiedTranscript = verified.map_err(|error| error_chain(&error))?;
        let prepared_at = verified.statement().executed_at;
        let digest = verified.core_digest();
        let used = verified.logged_use().cloned();
        let accepted = verified
            .into_accepted(kid)
            .map_err(|error| error_chain(&error))?;
        Ok(Self {
            public: accepted.public_key().clone(),
            ring: accepted.order().ring.to_string(),
            prepared_at,
            digest,
            used,
        })
    }
}

/// An act on the log, and what it did by its ceremony, or why that does not hold.
#[derive(Debug, Clone)]
pub struct CheckedAct {
    pub act: Act,
    pub effect: Result<LogAct, String>,
}

impl CheckedAct {
    /// By the transcript that the act names, if there is one to be had.
    pub fn by(act: Act, transcript: Option<&[u8]>, genesis: Sha256Digest) -> Self {
        let effect = match transcript {
            None => Err("its transcript is not available".to_owned()),
            Some(bytes) => pin(bytes, genesis)
                .and_then(|pin| LogAct::read(act.index.unsigned_abs(), &act.leaf, bytes, &pin)),
        };
        Self { act, effect }
    }
}

/// Whom a transcript says it is for; the genesis says whether that is so.
fn pin(bytes: &[u8], genesis: Sha256Digest) -> Result<Pin, String> {
    let request = Transcript::decode(bytes)
        .and_then(|transcript| Request::decode(transcript.record.request.as_bytes()))
        .map_err(|error| error.to_string())?;
    Ok(Pin {
        genesis,
        service: request.service,
        environment: request.environment,
    })
}
