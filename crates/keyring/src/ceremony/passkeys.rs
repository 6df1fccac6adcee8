//! Passkeys in ceremonies: what a browser is asked for, and what is kept of a credential beside the roster.

use serde::Serialize;
use trust::browser::{RequestOptions, registration};
use trust::roster::MemberKey;
use trust::tally::WhyNot;
use trust::{
    Base64Url, MemberId, MemberSignature, Namespace, Purpose, Roster, Trusted, base64url, dsse,
    json,
};

use super::error::Error;
use super::service::CeremonyService;
use store::{PasskeyAttestationRow, StatementKind, StatementRow, Subject};

/// What came with a credential that a statement's signature proves; unverified.
#[derive(Debug, Clone, Serialize)]
pub struct PasskeyAttestation {
    /// The credential's id, base64url.
    pub credential_id: String,
    /// Of the attestation statement; `none` where there is none.
    pub format: String,
    /// The model, as the authenticator says, in hex.
    pub aaguid: String,
    /// The attestation object.
    pub attestation: Base64Url,
}

impl CeremonyService {
    /// What a browser needs for a member's signature in a ceremony: the challenge is SHA-256 of the very bytes that
    /// `ssh-keygen` would sign. `text` is the reason of a rejection.
    pub async fn passkey_options(
        &self,
        id: &str,
        purpose: Purpose,
        text: &str,
        member: Option<&MemberId>,
    ) -> Result<RequestOptions, Error> {
        let payload = match purpose {
            Purpose::Approve => self.approval_payload(id).await?,
            Purpose::Accept => self.acceptance_payload(id).await?,
            Purpose::Reject => self.objection_payload(id, purpose, text).await?,
            _ => return Err(Error::DoesNotCount(WhyNot::Kind.to_string())),
        };
        let (_, trusted) = self.trusted().await?;
        let own = member.map(std::slice::from_ref);
        RequestOptions::new(trusted.roster(), own, &payload.bytes).ok_or_else(no_passkeys)
    }

    /// The same for the proof of a passkey that is new on the next roster, as far as it did not sign yet.
    pub async fn enrolment_options(
        &self,
        id: &str,
        member: Option<&MemberId>,
    ) -> Result<RequestOptions, Error> {
        let (kind, body) = self.statement_body(id).await?;
        let (_, trusted) = self.trusted().await?;
        enrolment_options(&trusted, kind, &body, member)
    }

    /// What came with the new passkeys of a statement.
    pub async fn passkey_attestations(&self, id: &str) -> Result<Vec<PasskeyAttestation>, Error> {
        let rows = self.store.passkey_attestations(id).await?;
        let read = rows.into_iter().filter_map(|row| {
            // One that this program kept can be read.
            let read = registration::of_attestation(&row.attestation, None).ok()?;
            Some(PasskeyAttestation {
                credential_id: row.credential,
                format: read.format,
                aaguid: trust::hex::encode(&read.aaguid),
                attestation: Base64Url(row.attestation),
            })
        });
        Ok(read.collect())
    }
}

/// For the proof of the passkeys that a document would add, of one member or of all: over the document's bytes.
pub fn enrolment_options(
    trusted: &Trusted,
    kind: StatementKind,
    body: &[u8],
    member: Option<&MemberId>,
) -> Result<RequestOptions, Error> {
    let next = next_roster(kind, body)?;
    let passkeys = next.passkeys.as_ref().ok_or_else(no_passkeys)?;
    let namespace = Namespace::new(kind.purpose(), &next.service, &next.environment);
    let message = dsse::pae(&namespace.to_string(), body);
    let asked = |id: &MemberId| member.is_none_or(|member| member == id);
    let members = next
        .members
        .iter()
        .filter(|each| each.active && asked(&each.id));
    let keys = members.flat_map(|member| &member.keys);
    let new = keys.filter(|key| trusted.roster().owner_of(key).is_none());
    Ok(RequestOptions::by(passkeys, new, &message))
}

fn no_passkeys() -> Error {
    Error::Unfit("the roster has no passkeys".to_owned())
}

fn next_roster(kind: StatementKind, body: &[u8]) -> Result<Roster, Error> {
    match kind {
        StatementKind::Roster | StatementKind::Recovery => Ok(json::require_canonical(body)?),
        _ => Err(Error::Unfit("only a roster has passkeys".to_owned())),
    }
}

/// The attestation that came with a passkey's signature over the next roster: it is of that very credential. A passkey
/// that proves itself comes with one.
pub(super) fn attested(
    row: &StatementRow,
    signature: &MemberSignature,
    attestation: Option<Vec<u8>>,
) -> Result<Option<PasskeyAttestationRow>, Error> {
    let unfit = |why: &str| Err(Error::Unfit(why.to_owned()));
    let (credential_id, attestation) = match (signature, attestation) {
        (MemberSignature::Ssh { .. }, None) => return Ok(None),
        (MemberSignature::Ssh { .. }, Some(_)) => {
            return unfit("an attestation comes with a passkey's signature alone");
        }
        (MemberSignature::Webauthn { .. }, None) => {
            return unfit("a new passkey comes with the attestation of its registration");
        }
        (MemberSignature::Webauthn { credential_id, .. }, Some(attestation)) => {
            (credential_id, attestation)
        }
    };
    let roster = next_roster(row.kind, &row.body)?;
    let known: Option<&MemberKey> = roster.passkey(credential_id);
    let read = registration::of_attestation(&attestation, roster.passkeys.as_ref());
    let read = read.map_err(|error| Error::Unfit(format!("the attestation: {error}")))?;
    match known == Some(&read.key) {
        true => Ok(Some(PasskeyAttestationRow {
            credential: base64url::encode(&credential_id.0),
            attestation,
        })),
        false => unfit("the attestation is of another credential"),
    }
}

/// A counter that did not rise is a reason not to count the signature; everything else is the database's.
pub(super) fn counter(error: store::Error) -> Error {
    match error {
        store::Error::Already {
            what: what @ Subject::PasskeyCounter,
            why,
        } => Error::DoesNotCount(format!("{what} {why}")),
        error => Error::Store(error),
    }
}
