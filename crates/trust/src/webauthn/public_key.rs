//! The public keys of credentials: SubjectPublicKeyInfo as the roster has them, COSE_Key as authenticators write them.

use super::cbor::Value;
use crate::alg::{Algorithm, KeySpec};
use crate::jwk::{Curve, PublicKey, PublicKeyError};
use crate::signature::{Verifier, der_to_p1363};

/// A credential's key, ready to verify.
pub struct PasskeyKey {
    public: PublicKey,
    verifier: Verifier,
}

/// A public key that no passkey of a roster may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyKeyError {
    /// Not a key of a known shape in its one encoding.
    #[error("the passkey's public key is invalid: {0}")]
    Invalid(String),
    /// The algorithm does not take such a key, or passkeys do not sign with it.
    #[error("the passkey's public key is not one of {0}")]
    Algorithm(Algorithm),
    /// Not a COSE_Key for ES256, Ed25519 or RS256.
    #[error("the credential's key is not for ES256, Ed25519 or RS256")]
    Cose,
}

impl From<PublicKeyError> for PasskeyKeyError {
    fn from(error: PublicKeyError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl PasskeyKey {
    /// Reads DER SubjectPublicKeyInfo in its one encoding. RSA keys have 2048, 3072 or 4096 bits and the exponent 65537,
    /// Ed25519 points are none of small order, P-256 points are on the curve.
    pub fn from_spki(algorithm: Algorithm, spki: &[u8]) -> Result<Self, PasskeyKeyError> {
        Self::new(algorithm, PublicKey::from_spki_der(spki)?)
    }

    fn new(algorithm: Algorithm, public: PublicKey) -> Result<Self, PasskeyKeyError> {
        let used = matches!(
            algorithm,
            Algorithm::Es256 | Algorithm::Ed25519 | Algorithm::Rs256
        );
        if !used || !algorithm.allows(public.spec()) {
            return Err(PasskeyKeyError::Algorithm(algorithm));
        }
        let verifier = Verifier::new(&public, algorithm)
            .map_err(|error| PasskeyKeyError::Invalid(error.to_string()))?;
        Ok(Self { public, verifier })
    }

    /// Reads a COSE_Key with its `alg` (RFC 9053, RFC 8230; WebAuthn section 5.8.5: -7 on P-256 with a whole point, -8 on
    /// Ed25519, -257).
    pub(crate) fn from_cose(key: &Value) -> Result<Self, PasskeyKeyError> {
        let value = |label: i128| key.get(&Value::Int(label));
        let number = |label: i128| match value(label) {
            Some(Value::Int(number)) => Ok(*number),
            _ => Err(PasskeyKeyError::Cose),
        };
        let bytes = |label: i128| {
            value(label)
                .and_then(Value::bytes)
                .ok_or(PasskeyKeyError::Cose)
        };
        match (number(1)?, number(3)?) {
            (2, -7) if number(-1)? == 1 => {
                let public = PublicKey::ec(Curve::P256, bytes(-2)?, bytes(-3)?)?;
                Self::new(Algorithm::Es256, public)
            }
            (1, -8) if number(-1)? == 6 => {
                Self::new(Algorithm::Ed25519, PublicKey::ed25519(bytes(-2)?)?)
            }
            (3, -257) => Self::new(Algorithm::Rs256, PublicKey::rsa(bytes(-1)?, bytes(-2)?)?),
            _ => Err(PasskeyKeyError::Cose),
        }
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.verifier.algorithm()
    }

    /// DER SubjectPublicKeyInfo.
    pub fn to_spki_der(&self) -> Vec<u8> {
        self.public.to_spki_der()
    }

    /// The bytes that make two keys the same key, in the form of [`crate::sshkey::SshKey::material`].
    pub(crate) fn material(&self) -> Vec<u8> {
        self.public.material()
    }

    /// ECDSA signatures are in DER (section 6.5.6), of which one encoding is taken.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let fixed = match self.public.spec() {
            KeySpec::P256 => der_to_p1363(signature, 32),
            _ => Ok(signature.to_vec()),
        };
        fixed.is_ok_and(|signature| self.verifier.verify_message(message, &signature).is_ok())
    }
}
