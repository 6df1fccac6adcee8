//! What witnesses attest of a ceremony that is closed. It stands beside the transcript and counts towards nothing.

use trust::attestation::{
    self, Attestation, AttestationBody, Attestations, NotAttested, NotShown, attestation_message,
    verify_attestation, verify_attestations,
};
use trust::format::V1;
use trust::tally::suspended;
use trust::{MemberSignature, Purpose, Sha256Digest, VerifiedTranscript, verify_transcript};

use super::error::Error;
use super::service::{CeremonyService, SigningPayload};
use super::vote::{normalized, require_state};
use log::suspensions;
use store::{CeremonySignatureRow, CeremonyState};

impl CeremonyService {
    /// The body of an attestation, and what is signed of it.
    pub async fn attestation_payload(
        &self,
        id: &str,
        note: Option<String>,
    ) -> Result<(String, SigningPayload), Error> {
        let verified = self.closed_transcript(id).await?.0;
        payload(&verified, note)
    }

    /// Takes the attestation of a witness. Whoever is no witness any more attests nothing anew; what holds is decided by
    /// the roster under which the ceremony was held.
    pub async fn attest(&self, id: &str, body: &str, signature: &str) -> Result<(), Error> {
        let signature = normalized(signature)?;
        // Each time another one was first; and there are not more of them.
        for _ in 0..=attestation::MOST {
            if self.attest_once(id, body, &signature).await? {
                return Ok(());
            }
        }
        Err(Error::Attestations(attestation::MOST))
    }

    /// Whether nobody else attested something while this one was judged.
    async fn attest_once(
        &self,
        id: &str,
        body: &str,
        signature: &MemberSignature,
    ) -> Result<bool, Error> {
        let facts = self.facts(id).await?;
        require_state(&facts, &[CeremonyState::Closed], "closed")?;
        let (verified, _) = self.closed_transcript(&facts.id).await?;
        let now = self.env.now();
        let attestation = Attestation {
            body: body.to_owned(),
            log: NotShown,
            received_at: Some(now),
            signature: signature.clone(),
        };
        let suspended = suspended(
            &facts.trusted,
            &suspensions(&self.store, &facts.trusted).await?,
        );
        let judged = verify_attestation(&verified, &attestation).and_then(|attested| {
            let now_listed = facts.trusted.roster().member(&attested.witness);
            if suspended.contains(&attested.witness) {
                return Err(NotAttested::Suspended(attested.witness));
            }
            match now_listed.is_some_and(|member| member.may_attest()) {
                true => Ok(attested),
                false => Err(NotAttested::Role(attested.witness)),
            }
        });
        let attested = match judged {
            Ok(attested) => attested,
            Err(error) => {
                let why = error.to_string();
                self.record_refusal("witness", &facts, &why).await?;
                return Err(Error::DoesNotCount(why));
            }
        };
        let before = self.unverified_attestations(&facts.id).await?;
        if before.len() >= attestation::MOST {
            return Err(Error::Attestations(attestation::MOST));
        }
        let mut holds = verify_attestations(&verified, &before)
            .into_iter()
            .flatten();
        if holds.any(|one| one.witness == attested.witness) {
            let why = NotAttested::Again(attested.witness).to_string();
            return Err(Error::DoesNotCount(why));
        }
        let note = attested.note.unwrap_or_default();
        let said = (note.as_str(), body.as_bytes().to_vec());
        let by = (Purpose::Witness, &attested.witness);
        self.add_to_record(&facts, by, said, (signature, now), before.len())
            .await
    }

    /// What was attested of a closed ceremony, as a file that stands beside its transcript; unverified.
    pub async fn attestations(&self, id: &str) -> Result<Attestations, Error> {
        let row = self.row(id).await?;
        if row.state != CeremonyState::Closed {
            return Err(Error::State {
                found: row.state.to_string(),
                needed: "closed",
            });
        }
        Ok(Attestations {
            attestations: self.unverified_attestations(&row.id.to_string()).await?,
            request_digest: row.id,
            v: V1,
        })
    }

    async fn unverified_attestations(&self, id: &str) -> Result<Vec<Attestation>, Error> {
        let rows = self.store.ceremony_signatures(id).await?;
        let rows = rows.into_iter();
        let attested = rows.filter(|row| row.purpose == Purpose::Witness);
        attested.take(attestation::MOST).map(read).collect()
    }

    async fn closed_transcript(&self, id: &str) -> Result<(VerifiedTranscript, Vec<u8>), Error> {
        let bytes = self.transcript(id).await?;
        Ok((verify_transcript(&bytes, &self.pin)?, bytes))
    }

    /// The record of a closed ceremony for paper, and what it is made of: the same digest is the same page.
    pub async fn printed(&self, id: &str) -> Result<Printed, Error> {
        let bytes = self.transcript(id).await?;
        let attested = self.attestations(id).await?;
        let mut of = bytes.clone();
        of.extend(attested.encode()?);
        Ok(Printed {
            ceremony: attested.request_digest,
            of: Sha256Digest::of(&of),
            transcript: bytes,
            attestations: attested.attestations,
            pin: self.pin.clone(),
        })
    }
}

/// What a page is made of.
pub struct Printed {
    pub ceremony: Sha256Digest,
    /// Of the transcript and the attestations.
    pub of: Sha256Digest,
    transcript: Vec<u8>,
    attestations: Vec<Attestation>,
    pin: trust::Pin,
}

impl Printed {
    /// The transcript, without proofs of the log.
    pub fn transcript(&self) -> &[u8] {
        &self.transcript
    }

    /// Verifies the transcript, which may have proofs, and writes the page.
    pub fn page(&self, transcript: &[u8]) -> Result<String, Error> {
        let page = trust::printed::print(transcript, &self.pin, &self.attestations);
        Ok(page?)
    }
}

/// What a witness signs of a transcript that verifies: the body and the message.
pub fn payload(
    verified: &VerifiedTranscript,
    note: Option<String>,
) -> Result<(String, SigningPayload), Error> {
    let body = AttestationBody::of(verified, note).encode()?;
    let trusted = verified.trusted();
    let (service, environment) = (trusted.service(), trusted.environment());
    let namespace = trust::Namespace::new(Purpose::Witness, service, environment);
    let payload = SigningPayload {
        namespace: namespace.to_string(),
        bytes: attestation_message(service, environment, &body),
    };
    let body = String::from_utf8(body);
    let body = body.map_err(|_| Error::Unfit("an attestation is not UTF-8".to_owned()))?;
    Ok((body, payload))
}

fn read(row: CeremonySignatureRow) -> Result<Attestation, Error> {
    let body = String::from_utf8(row.body);
    Ok(Attestation {
        body: body.map_err(|_| Error::Unfit("a stored attestation is not UTF-8".to_owned()))?,
        log: NotShown,
        received_at: Some(row.received_at),
        signature: MemberSignature::decode(row.signature.as_bytes())?,
    })
}
