//! What witnesses attest of a ceremony, and what does not hold.

use trust::attestation::{Attestation, AttestationBody};
use trust::*;

use crate::support::{Custodian, World};

/// What a witness signs about a transcript.
pub fn attest(
    world: &World,
    transcript: &VerifiedTranscript,
    witness: &Custodian,
    note: Option<&str>,
) -> Attestation {
    let body = AttestationBody::of(transcript, note.map(str::to_owned));
    let body = body.encode().unwrap();
    Attestation {
        signature: world.signature(Purpose::Witness, &body, witness),
        body: String::from_utf8(body).unwrap(),
        received_at: None,
    }
}
