//! A person's signature, wherever one stands in a document: tagged by the kind of key.

use serde::{Deserialize, Serialize};

use crate::base64url::Base64Url;
use crate::digest::Sha256Digest;
use crate::json::{self, JsonError};
use crate::webauthn::AuthenticatorData;

/// A member's signature over the bytes that the place in which it stands names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MemberSignature {
    /// `ssh-keygen -Y sign`.
    Ssh {
        /// Armored, see [`crate::sshsig::normalize`].
        signature: String,
    },
    /// A passkey's assertion (WebAuthn Level 3 section 7.2), whose challenge is SHA-256 of the bytes.
    Webauthn {
        /// Section 6.1.
        authenticator_data: Base64Url,
        /// Section 5.8.1, the JSON as the browser wrote it.
        client_data: Base64Url,
        /// Names the key.
        credential_id: Base64Url,
        /// In DER for ECDSA (section 6.5.6).
        signature: Base64Url,
    },
}

impl MemberSignature {
    /// An armored SSH signature.
    pub fn ssh(armored: impl Into<String>) -> Self {
        Self::Ssh {
            signature: armored.into(),
        }
    }

    /// A passkey's id and how often it signed, as its authenticator says; unverified. `None` of other signatures, and where
    /// the authenticator data cannot be read.
    pub fn sign_count(&self) -> Option<(&Base64Url, u32)> {
        let Self::Webauthn {
            authenticator_data,
            credential_id,
            ..
        } = self
        else {
            return None;
        };
        let data = AuthenticatorData::parse(&authenticator_data.0).ok()?;
        Some((credential_id, data.sign_count))
    }

    /// Whether it was made in a browser, on a page that the service itself serves.
    pub fn is_passkey(&self) -> bool {
        matches!(self, Self::Webauthn { .. })
    }

    /// The canonical form, by whose digest the log names the signature.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// Reads the canonical form.
    pub fn decode(bytes: &[u8]) -> Result<Self, JsonError> {
        json::require_canonical(bytes)
    }

    /// SHA-256 of the canonical form.
    pub fn digest(&self) -> Result<Sha256Digest, JsonError> {
        Ok(Sha256Digest::of(&self.encode()?))
    }
}
