//! What witnesses attest of a ceremony that is closed: that they saw this one, by the digest of its transcript. It counts
//! towards nothing; whoever has taken part in the ceremony attests nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::note::NOTE_MAX;
use crate::roster::MemberId;
use crate::tally::{Ballot, Electorate, WhyNot, count};
use crate::text;
use crate::time::Time;
use crate::transcript::VerifiedTranscript;

/// Most attestations of a ceremony.
pub const MOST: usize = 20;

/// Most bytes of a file of attestations that are read: each has a note and a signature.
pub const MAX_LEN: usize = 512 * 1024;

/// What a witness signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationBody {
    /// SHA-256 of the core of the transcript, see [`VerifiedTranscript::core_digest`].
    pub core_digest: Sha256Digest,
    /// What else was seen, in words; `null` for nothing that differs from the transcript.
    pub note: Option<String>,
    /// SHA-256 of the request: the ceremony.
    pub request_digest: Sha256Digest,
    /// Format version.
    pub v: V1,
}

/// A witness's attestation, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Canonical JSON of an [`AttestationBody`].
    pub body: String,
    /// The room of its leaf and of the proof of it. Nothing covers it.
    pub log: NotShown,
    /// When the service received it; `null` in a file that no service has seen. Nothing covers it.
    pub received_at: Option<Time>,
    /// Over [`attestation_message`].
    pub signature: MemberSignature,
}

/// `null`, where a leaf and its proof may stand one day: that the log had the attestation before a certain head. Whoever
/// reads files of today refuses one that has it, rather than to leave a proof unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotShown;

/// The file: what was attested of one ceremony. It stands beside the transcript, whose bytes are complete without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestations {
    /// In the order received.
    pub attestations: Vec<Attestation>,
    /// SHA-256 of the request: the ceremony.
    pub request_digest: Sha256Digest,
    /// Format version.
    pub v: V1,
}

/// What holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The witness.
    pub witness: MemberId,
    /// What else was seen.
    pub note: Option<String>,
    /// When the service says that it received it.
    pub received_at: Option<Time>,
}

/// Why an attestation does not hold. The transcript is as valid as without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAttested {
    /// Not canonical JSON of its form.
    #[error("the attestation cannot be parsed: {0}")]
    Unreadable(#[from] JsonError),
    /// Of another ceremony, or of the same one with other acceptances.
    #[error("the attestation concerns a different transcript")]
    OtherTranscript,
    /// Empty, too long, or with characters that hide something.
    #[error("the note is not 1 to {NOTE_MAX} printable characters")]
    Text,
    /// The witness watches the service, which serves the page that would ask for it.
    #[error("a witness attests by an SSH key: a passkey signs what a page of the service shows")]
    Passkey,
    /// Nobody's signature whom the roster of the ceremony has as active.
    #[error("{0}")]
    Signature(WhyNot),
    /// A member, and no witness.
    #[error("{0} is not a witness")]
    Role(MemberId),
    /// The witness was suspended when the ceremony was carried out.
    #[error("{0} is suspended")]
    Suspended(MemberId),
    /// Who proposes, approves or accepts does not bear witness to it.
    #[error("{0} took part in the ceremony")]
    TookPart(MemberId),
    /// The same witness before.
    #[error("{0} has attested before")]
    Again(MemberId),
}

impl AttestationBody {
    /// Of this transcript.
    pub fn of(transcript: &VerifiedTranscript, note: Option<String>) -> Self {
        Self {
            core_digest: transcript.core_digest(),
            note,
            request_digest: transcript.statement().request_digest,
            v: V1,
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

impl Attestations {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// Reads the file; nothing in it is verified by that.
    pub fn decode(bytes: &[u8]) -> Result<Self, JsonError> {
        json::require_canonical(bytes)
    }
}

/// The file that a witness signs.
pub fn attestation_message(service: &Name, environment: &Name, body: &[u8]) -> Vec<u8> {
    let namespace = Namespace::new(Purpose::Witness, service, environment);
    dsse::pae(&namespace.to_string(), body)
}

/// Whether the attestation is a witness's, by the roster under which the ceremony was held, over this very transcript.
pub fn verify_attestation(
    transcript: &VerifiedTranscript,
    attestation: &Attestation,
) -> Result<Attested, NotAttested> {
    let trusted = transcript.trusted();
    let namespace = Namespace::new(Purpose::Witness, trusted.service(), trusted.environment());
    let body = attestation.body.as_bytes();
    let message = dsse::pae(&namespace.to_string(), body);
    let ballot = Ballot {
        signature: &attestation.signature,
        late: false,
    };
    let everybody = Electorate::everybody(trusted.roster());
    let (counted, not_counted) = count(&everybody, &namespace, &message, [ballot]);
    let Some(counted) = counted.into_iter().next() else {
        let why = not_counted.into_iter().next().map(|each| each.why);
        return Err(match why.unwrap_or(WhyNot::UnknownKey) {
            WhyNot::Kind => NotAttested::Passkey,
            why => NotAttested::Signature(why),
        });
    };
    let witness = counted.member;
    let listed = trusted.roster().member(&witness);
    if !listed.is_some_and(|member| member.may_attest()) {
        return Err(NotAttested::Role(witness));
    }
    if transcript.suspended().contains(&witness) {
        return Err(NotAttested::Suspended(witness));
    }
    let read: AttestationBody = json::require_canonical(body)?;
    if read != AttestationBody::of(transcript, read.note.clone()) {
        return Err(NotAttested::OtherTranscript);
    }
    if !(read.note.as_ref()).is_none_or(|note| text::is_plain(note, NOTE_MAX)) {
        return Err(NotAttested::Text);
    }
    let took_part = transcript.request().proposer.as_ref() == Some(&witness)
        || transcript.approved_by().contains(&witness)
        || transcript.accepted_by().contains(&witness);
    match took_part {
        true => Err(NotAttested::TookPart(witness)),
        false => Ok(Attested {
            witness,
            note: read.note,
            received_at: attestation.received_at,
        }),
    }
}

/// Each attestation by itself, in the order of the file; a witness attests once.
pub fn verify_attestations(
    transcript: &VerifiedTranscript,
    attestations: &[Attestation],
) -> Vec<Result<Attested, NotAttested>> {
    let mut seen = BTreeSet::new();
    let judged = attestations.iter().map(|attestation| {
        let attested = verify_attestation(transcript, attestation)?;
        match seen.insert(attested.witness.clone()) {
            true => Ok(attested),
            false => Err(NotAttested::Again(attested.witness)),
        }
    });
    judged.collect()
}
