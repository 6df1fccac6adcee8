//! What a browser hands out when a credential is made (WebAuthn Level 3 section 7.1): which credential, by which key.
//!
//! It is read when a roster is drafted, and kept by the service. The attestation statement in it, which names the model
//! of the authenticator, is not verified, and nothing depends on it: whether somebody has the key is shown by an assertion
//! over the roster, and whether the person may have it is what the custodians who sign the roster decide.

use crate::base64url::Base64Url;
use crate::roster::{MemberKey, Passkeys};
use crate::webauthn::cbor::{self, Value};
use crate::webauthn::{
    Attested, AuthenticatorData, CborError, ClientData, PasskeyError, PasskeyKey, PasskeyKeyError,
};

/// The `type` of a registration's client data.
pub const CREATE: &str = "webauthn.create";

/// Most bytes of an attestation object. With a chain of certificates it has a few thousand.
pub const MAX_ATTESTATION: usize = 16 * 1024;

/// A new credential.
pub struct Registration {
    /// The key as a roster has it.
    pub key: MemberKey,
    /// The format of the attestation statement; `none` where there is none.
    pub format: String,
    /// The model, as the authenticator says; zeros where it does not.
    pub aaguid: [u8; 16],
    /// The credential may be copied to other devices.
    pub backup_eligible: bool,
}

/// A registration that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// Over 16 KiB.
    #[error("the attestation object has more than {MAX_ATTESTATION} bytes")]
    Length,
    /// No CBOR.
    #[error("the attestation object: {0}")]
    Cbor(#[from] CborError),
    /// Not a map of `fmt`, `attStmt` and `authData`, or with something after it.
    #[error("the attestation object has an unexpected form")]
    Form,
    /// No new credential in it.
    #[error("the registration contains no credential")]
    NoCredential,
    /// Shorter or longer than a roster has them.
    #[error("the credential's id must have 16 to 1023 bytes, this one has {0}")]
    CredentialId(usize),
    /// Not for this roster, or without the user.
    #[error("{0}")]
    Passkey(#[from] PasskeyError),
    /// A key of another kind.
    #[error("{0}")]
    Key(#[from] PasskeyKeyError),
}

/// Reads a registration for the relying party of a roster. The challenge in it is the page's own and proves nothing.
pub fn read(
    passkeys: &Passkeys,
    client_data: &[u8],
    attestation_object: &[u8],
) -> Result<Registration, RegistrationError> {
    let client = ClientData::parse(client_data).map_err(PasskeyError::ClientData)?;
    client.is_from(passkeys, CREATE, &client.challenge)?;
    let registration = of_attestation(attestation_object, Some(passkeys))?;
    Ok(registration)
}

/// Reads the credential out of an attestation object alone, as it is kept.
pub fn of_attestation(
    object: &[u8],
    passkeys: Option<&Passkeys>,
) -> Result<Registration, RegistrationError> {
    if object.len() > MAX_ATTESTATION {
        return Err(RegistrationError::Length);
    }
    let (object, rest) = cbor::read(object)?;
    let member = |name: &str| object.get(&Value::Text(name.to_owned()));
    let (Some(Value::Text(format)), Some(Value::Map(_)), Some(Value::Bytes(data)), true) = (
        member("fmt"),
        member("attStmt"),
        member("authData"),
        rest.is_empty(),
    ) else {
        return Err(RegistrationError::Form);
    };
    let data = AuthenticatorData::parse(data).map_err(PasskeyError::AuthenticatorData)?;
    if let Some(passkeys) = passkeys {
        data.is_for(passkeys)?;
    }
    let Some(Attested {
        aaguid,
        credential_id,
        public_key,
    }) = data.attested
    else {
        return Err(RegistrationError::NoCredential);
    };
    if !(16..=1023).contains(&credential_id.len()) {
        return Err(RegistrationError::CredentialId(credential_id.len()));
    }
    let key = PasskeyKey::from_cose(&public_key)?;
    Ok(Registration {
        key: MemberKey::Webauthn {
            algorithm: key.algorithm(),
            credential_id: Base64Url(credential_id),
            public_key: Base64Url(key.to_spki_der()),
        },
        format: format.clone(),
        aaguid,
        backup_eligible: data.backup_eligible,
    })
}
