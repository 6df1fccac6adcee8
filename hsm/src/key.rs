//! What names a key, and what can be asked of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeySpec {
    P256,
    P384,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    Ed25519,
}

/// How a key signs. One key signs in one way only: the scheme belongs to the ring and is never read off a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scheme {
    EcdsaP256Sha256,
    EcdsaP384Sha384,
    RsaPssSha256,
    RsaPkcs1Sha256,
    Ed25519,
}

impl Scheme {
    /// Bytes of digest that this scheme signs; `None` for Ed25519, which takes the message.
    ///
    /// Checked before the token is asked: SoftHSM and kryoptic both accept a 64-byte "digest" for P-256 and cut it.
    pub fn digest_len(self) -> Option<usize> {
        match self {
            Scheme::EcdsaP256Sha256 | Scheme::RsaPssSha256 | Scheme::RsaPkcs1Sha256 => Some(32),
            Scheme::EcdsaP384Sha384 => Some(48),
            Scheme::Ed25519 => None,
        }
    }

    /// Whether a key of `spec` can sign in this way.
    pub fn allows(self, spec: KeySpec) -> bool {
        match self {
            Scheme::EcdsaP256Sha256 => spec == KeySpec::P256,
            Scheme::EcdsaP384Sha384 => spec == KeySpec::P384,
            Scheme::RsaPssSha256 | Scheme::RsaPkcs1Sha256 => {
                matches!(spec, KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096)
            }
            Scheme::Ed25519 => spec == KeySpec::Ed25519,
        }
    }
}

/// `CKA_ID`: sixteen random bytes chosen before generation, so that a key whose birth was interrupted can be found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CkaId(pub [u8; 16]);

impl fmt::Display for CkaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", base16ct::HexDisplay(&self.0))
    }
}

impl fmt::Debug for CkaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CkaId({self})")
    }
}

/// A key as the caller knows it. Its identity is the public key; `CKA_ID` is only where to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    pub cka_id: CkaId,
    /// DER `SubjectPublicKeyInfo`. Every signature is verified against it before it leaves the worker.
    pub spki: Vec<u8>,
    pub scheme: Scheme,
}

/// A signature that has been verified against [`KeyRef::spki`]. ECDSA is r‖s (P1363), RSA as long as the modulus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature(pub(crate) Vec<u8>);

impl Signature {
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
