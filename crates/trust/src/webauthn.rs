//! Passkeys as signers: what a WebAuthn assertion says, and whether it is one over given bytes.
//!
//! Stateless. The challenge is SHA-256 of the very bytes that an SSH signature would be over, so an assertion is a
//! signature over them and over nothing else: replayed anywhere else its challenge is another. Nothing of a session,
//! and no counter, is asked here; counters are judged once, when an assertion is submitted.
//!
//! Source: W3C Web Authentication Level 3, section 7.2 steps 8 to 24 in their order, with user verification required
//! and no page in a frame expected.

mod authenticator_data;
pub(crate) mod cbor;
mod client_data;
mod public_key;
#[cfg(test)]
mod tests;

use crate::base64url;
use crate::digest::Sha256Digest;
use crate::relying_party::Passkeys;

pub use authenticator_data::{Attested, AuthenticatorData, AuthenticatorDataError};
pub use cbor::CborError;
pub use client_data::{ClientData, ClientDataError, MAX_CLIENT_DATA};
pub use public_key::{PasskeyKey, PasskeyKeyError};

/// The `type` of an assertion's client data.
pub const GET: &str = "webauthn.get";

/// What an authenticator and a browser made, unverified.
#[derive(Clone, Copy, Debug)]
pub struct Assertion<'a> {
    /// Section 6.1.
    pub authenticator_data: &'a [u8],
    /// The JSON as the browser wrote it.
    pub client_data: &'a [u8],
    /// By the credential's key over authenticator data and SHA-256 of the client data.
    pub signature: &'a [u8],
}

/// Why an assertion is no signature over the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// The roster has no relying party.
    #[error("the roster has no passkeys")]
    NotUsed,
    /// The public key on the roster cannot be used.
    #[error("{0}")]
    Key(#[from] PasskeyKeyError),
    /// The browser's JSON cannot be read.
    #[error("client data: {0}")]
    ClientData(#[from] ClientDataError),
    /// Made to register a credential, or for something else.
    #[error("the client data is of type {0:?}, expected {GET:?}")]
    Type(String),
    /// Over other bytes: another request, another purpose, or made before.
    #[error("the challenge is not the SHA-256 of the bytes to be signed")]
    Challenge,
    /// Made on a page that the roster does not name.
    #[error("the origin {0:?} is not on the roster")]
    Origin(String),
    /// Made in a frame of another site's page.
    #[error("the assertion was made in a cross-origin frame")]
    CrossOrigin,
    /// The authenticator's part cannot be read.
    #[error("authenticator data: {0}")]
    AuthenticatorData(#[from] AuthenticatorDataError),
    /// Made for another relying party.
    #[error("the assertion is for a different relying party")]
    RpId,
    /// Nobody touched the authenticator.
    #[error("the user was not present")]
    NotPresent,
    /// The authenticator did not ask who it is.
    #[error("the user was not verified")]
    NotVerified,
    /// Backed up, and not eligible to be: no such state exists.
    #[error("the credential is backed up but not eligible for backup")]
    BackupState,
    /// An assertion has no attested credential (section 6.1).
    #[error("an assertion must not contain attested credential data")]
    Attested,
    /// It does not verify with the credential's public key.
    #[error("the signature is invalid")]
    Signature,
}

/// The challenge that an assertion over `message` has to answer, as an authenticator is given it.
pub fn challenge(message: &[u8]) -> Sha256Digest {
    Sha256Digest::of(message)
}

/// Verifies an assertion over `message` by one credential's key. Returns what the authenticator said.
pub fn verify(
    passkeys: &Passkeys,
    key: &PasskeyKey,
    message: &[u8],
    assertion: Assertion<'_>,
) -> Result<AuthenticatorData, PasskeyError> {
    answers(passkeys, key, challenge(message).as_bytes(), assertion)
}

/// Whether an assertion answers this challenge.
fn answers(
    passkeys: &Passkeys,
    key: &PasskeyKey,
    challenge: &[u8],
    assertion: Assertion<'_>,
) -> Result<AuthenticatorData, PasskeyError> {
    let client = ClientData::parse(assertion.client_data)?;
    client.is_from(passkeys, GET, &base64url::encode(challenge))?;
    let authenticator = AuthenticatorData::parse(assertion.authenticator_data)?;
    authenticator.is_for(passkeys)?;
    if authenticator.attested.is_some() {
        return Err(PasskeyError::Attested);
    }
    let hash = Sha256Digest::of(assertion.client_data);
    let signed = [assertion.authenticator_data, hash.as_bytes()].concat();
    match key.verifies(&signed, assertion.signature) {
        true => Ok(authenticator),
        false => Err(PasskeyError::Signature),
    }
}

impl ClientData {
    /// Steps 10 to 14: type, challenge, origin, and no frame of another site.
    pub(crate) fn is_from(
        &self,
        passkeys: &Passkeys,
        kind: &str,
        challenge: &str,
    ) -> Result<(), PasskeyError> {
        if self.kind != kind {
            return Err(PasskeyError::Type(self.kind.clone()));
        }
        if self.challenge != challenge {
            return Err(PasskeyError::Challenge);
        }
        if !passkeys.origins.contains(&self.origin) {
            return Err(PasskeyError::Origin(self.origin.clone()));
        }
        if self.cross_origin || self.top_origin.is_some() {
            return Err(PasskeyError::CrossOrigin);
        }
        Ok(())
    }
}

impl AuthenticatorData {
    /// Steps 15 to 18: the relying party, the person, and a backup state that exists.
    pub(crate) fn is_for(&self, passkeys: &Passkeys) -> Result<(), PasskeyError> {
        if self.rp_id_hash != Sha256Digest::of(passkeys.rp_id.as_bytes()) {
            return Err(PasskeyError::RpId);
        }
        if !self.user_present {
            return Err(PasskeyError::NotPresent);
        }
        if !self.user_verified {
            return Err(PasskeyError::NotVerified);
        }
        if self.backed_up && !self.backup_eligible {
            return Err(PasskeyError::BackupState);
        }
        Ok(())
    }
}
