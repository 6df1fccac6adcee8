//! Which key a signature names: what it says itself, before anything is verified. It tells whom to look up, and no more.

use crate::base64url::Base64Url;
use crate::member_signature::MemberSignature;
use crate::sshkey::SshKey;
use crate::sshsig::{self, SshSigError};

/// A key as a signature names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyName {
    /// An SSH signature contains the key.
    Ssh(SshKey),
    /// An assertion contains the credential's id.
    Passkey(Base64Url),
}

impl KeyName {
    /// Of a signature that nobody verified yet.
    pub fn unverified(signature: &MemberSignature) -> Result<Self, SshSigError> {
        match signature {
            MemberSignature::Ssh { signature } => Ok(Self::Ssh(sshsig::unverified_key(signature)?)),
            MemberSignature::Webauthn { credential_id, .. } => {
                Ok(Self::Passkey(credential_id.clone()))
            }
        }
    }

    /// Whether it names a passkey.
    pub fn is_passkey(&self) -> bool {
        matches!(self, Self::Passkey(_))
    }
}
