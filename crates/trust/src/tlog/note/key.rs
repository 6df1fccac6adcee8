//! The keys that notes are checked with, and their text form, the vkey.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::alg::{Algorithm, KeySpec};
use crate::digest::Sha256Digest;
use crate::jwk::{PublicKey, PublicKeyError};
use crate::signature::{BadSignature, UnusableKey, Verifier, der_to_p1363};
use crate::tlog::spelling::{base64, unbase64};

/// How a key signs notes: the assigned signature types of c2sp.org/signed-note that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureType {
    /// 0x01: a log's Ed25519 signature over the text.
    Ed25519,
    /// 0x02: a log's ECDSA signature on P-256, over the SHA-256 of the text, in DER.
    Ecdsa,
    /// 0x04: a witness's Ed25519 cosignature with its time (c2sp.org/tlog-cosignature).
    Cosignature,
}

/// The public key of a log or a witness, with the name and the id that its signatures bear.
#[derive(Clone)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: SignatureType,
    public: PublicKey,
    verifier: Arc<Verifier>,
}

/// A key that notes cannot be checked with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A name is not empty and has no white space, no plus and no control characters.
    #[error("{0:?} is not a valid key name")]
    Name(String),
    /// Not name, id and base64 joined by plus.
    #[error("expected a key like name+0123abcd+base64")]
    Form,
    /// The id is not the one that the name and the key have.
    #[error("the key id is {found:08x}, expected {expected:08x}")]
    Id {
        /// The id of this name and key.
        expected: u32,
        /// The id that was given.
        found: u32,
    },
    /// A signature type or a kind of key that is not used here.
    #[error("keys of signature type {0:#04x} are not supported")]
    Type(u8),
    /// Logs sign with Ed25519 or ECDSA on P-256.
    #[error("logs do not support {0} keys")]
    Shape(KeySpec),
    /// The bytes are no public key.
    #[error("the key is malformed")]
    Public(#[from] PublicKeyError),
    /// For instance a point that is not on the curve.
    #[error("the key is unusable")]
    Unusable(#[from] UnusableKey),
}

/// Whether a text can be the name of a key: not empty, no Unicode white space, no plus, no control
/// characters.
pub fn is_key_name(text: &str) -> bool {
    let foreign = |c: char| c.is_whitespace() || c == '+' || c < ' ';
    !text.is_empty() && !text.contains(foreign)
}

impl SignatureType {
    /// The signature type identifier byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Ecdsa => 2,
            Self::Cosignature => 4,
        }
    }

    /// Whether it is a log's own signature, not a witness's.
    pub fn is_log(self) -> bool {
        self != Self::Cosignature
    }
}

impl VerifierKey {
    /// The key of a log. Its name is the log's origin; its type follows from its shape.
    pub fn for_log(origin: &str, key: &PublicKey) -> Result<Self, KeyError> {
        let kind = match key.spec() {
            KeySpec::Ed25519 => SignatureType::Ed25519,
            KeySpec::P256 => SignatureType::Ecdsa,
            other => return Err(KeyError::Shape(other)),
        };
        Self::new(origin, kind, key.clone())
    }

    /// The Ed25519 key of a witness.
    pub fn cosigner(name: &str, key: &[u8; 32]) -> Result<Self, KeyError> {
        let key = PublicKey::ed25519(key)?;
        Self::new(name, SignatureType::Cosignature, key)
    }

    fn new(name: &str, kind: SignatureType, public: PublicKey) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        let algorithm = match kind {
            SignatureType::Ecdsa => Algorithm::Es256,
            SignatureType::Ed25519 | SignatureType::Cosignature => Algorithm::Ed25519,
        };
        let verifier = Arc::new(Verifier::new(&public, algorithm)?);
        let id = id(name, kind, &public);
        Ok(Self {
            name: name.to_owned(),
            id,
            kind,
            public,
            verifier,
        })
    }

    /// The name; of a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How the key signs.
    pub fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The key itself.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Checks what stands in a signature line after the id, over `message`. For a cosignature that is
    /// the bytes after the time, over [`cosignature::message`](crate::tlog::cosignature::message).
    pub(in crate::tlog) fn check(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        match self.kind {
            SignatureType::Ecdsa => {
                let fixed = der_to_p1363(signature, 32)?;
                self.verifier.verify_message(message, &fixed)
            }
            SignatureType::Ed25519 | SignatureType::Cosignature => {
                self.verifier.verify_message(message, signature)
            }
        }
    }
}

impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        // The id and the verifier follow from these.
        (&self.name, self.kind, &self.public) == (&other.name, other.kind, &other.public)
    }
}

impl Eq for VerifierKey {}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// The key as it stands in a vkey, without the type byte.
fn material(kind: SignatureType, public: &PublicKey) -> Vec<u8> {
    let spki = public.to_spki_der();
    match kind {
        SignatureType::Ecdsa => spki,
        // The key is what the SubjectPublicKeyInfo ends in (RFC 8410 section 4).
        SignatureType::Ed25519 | SignatureType::Cosignature => {
            spki[spki.len().saturating_sub(32)..].to_vec()
        }
    }
}

fn id(name: &str, kind: SignatureType, public: &PublicKey) -> u32 {
    let key = material(kind, public);
    let digest = match kind {
        SignatureType::Ecdsa => Sha256Digest::of(&key),
        SignatureType::Ed25519 | SignatureType::Cosignature => {
            Sha256Digest::of(&[name.as_bytes(), b"\n", &[kind.byte()], &key].concat())
        }
    };
    let [a, b, c, d, ..] = *digest.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()][..], &material(self.kind, &self.public)].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, base64(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    /// Reads a vkey in its one spelling.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Form)?;
        let found = crate::hex::decode(id)
            .and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)))
            .ok_or(KeyError::Form)?;
        let bytes = unbase64(key).ok_or(KeyError::Form)?;
        let (kind, bytes) = bytes.split_first().ok_or(KeyError::Form)?;
        let key = match kind {
            1 => Self::for_log(name, &PublicKey::ed25519(bytes)?)?,
            2 => match PublicKey::from_spki_der(bytes)? {
                key if key.spec() == KeySpec::P256 => Self::for_log(name, &key)?,
                other => return Err(KeyError::Shape(other.spec())),
            },
            4 => Self::new(name, SignatureType::Cosignature, PublicKey::ed25519(bytes)?)?,
            other => return Err(KeyError::Type(*other)),
        };
        if key.id == found {
            Ok(key)
        } else {
            Err(KeyError::Id {
                expected: key.id,
                found,
            })
        }
    }
}
