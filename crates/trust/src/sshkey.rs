//! OpenSSH public keys as members are known by them: `type base64`, one spelling.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ssh_key::public::{EcdsaPublicKey, KeyData};

use crate::ed25519;

/// An OpenSSH public key in its one spelling: type, space, base64; no comment.
///
/// Kinds: `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ecdsa-sha2-nistp384`, `ssh-rsa` with 2048 to 8192
/// bits, `sk-ssh-ed25519@openssh.com`, `sk-ecdsa-sha2-nistp256@openssh.com`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshKey {
    text: String,
    data: KeyData,
}

/// A public key that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshKeyError {
    /// Not `type base64`.
    #[error("not an OpenSSH public key")]
    Malformed,
    /// A comment, white space or another spelling of the same key.
    #[error("expected the OpenSSH public key as `type base64` without a comment")]
    Spelling,
    /// The kind of key is not allowed.
    #[error("OpenSSH keys of type {0} are not allowed")]
    Kind(String),
    /// RSA under 2048 or over 8192 bits.
    #[error("RSA keys must have 2048 to 8192 bits, this one has {0}")]
    RsaSize(usize),
    /// RSA with an exponent other than 65537.
    #[error("RSA keys must have the exponent 65537")]
    RsaExponent,
    /// A compressed EC point: a second spelling of the same key.
    #[error("EC keys must be uncompressed points, 04 || x || y")]
    Point,
    /// An Ed25519 point with which anybody can sign, or in a second spelling.
    #[error("the Ed25519 key is a point of small order or not canonically encoded")]
    SmallOrder,
}

impl SshKey {
    /// Reads a public key, with or without a comment, as people paste it from a `.pub` file.
    pub fn from_pub_file(text: &str) -> Result<Self, SshKeyError> {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some(kind), Some(base64)) => format!("{kind} {base64}").parse(),
            _ => Err(SshKeyError::Malformed),
        }
    }

    /// The wire form (RFC 4253 section 6.6).
    pub(crate) fn from_wire(blob: &[u8]) -> Result<Self, SshKeyError> {
        let key = ssh_key::PublicKey::from_bytes(blob).map_err(|_| SshKeyError::Malformed)?;
        if key.to_bytes().ok().as_deref() != Some(blob) {
            return Err(SshKeyError::Spelling);
        }
        Self::from_key(key)
    }

    fn from_key(mut key: ssh_key::PublicKey) -> Result<Self, SshKeyError> {
        key.set_comment("");
        let text = key.to_openssh().map_err(|_| SshKeyError::Malformed)?;
        let data = key.key_data().clone();
        match &data {
            KeyData::Ed25519(key) => strong(&key.0)?,
            KeyData::SkEd25519(key) => strong(&key.public_key().0)?,
            KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => whole(point.as_bytes(), 32)?,
            KeyData::Ecdsa(EcdsaPublicKey::NistP384(point)) => whole(point.as_bytes(), 48)?,
            KeyData::SkEcdsaSha2NistP256(key) => whole(key.ec_point().as_bytes(), 32)?,
            KeyData::Rsa(rsa) => {
                let n = rsa.n.as_positive_bytes().ok_or(SshKeyError::Malformed)?;
                let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
                if !(2048..=8192).contains(&bits) {
                    return Err(SshKeyError::RsaSize(bits));
                }
                // ssh-keygen's exponent. With an exponent of 1 everybody could sign.
                if rsa.e.as_positive_bytes() != Some(&[1, 0, 1]) {
                    return Err(SshKeyError::RsaExponent);
                }
            }
            other => return Err(SshKeyError::Kind(other.algorithm().to_string())),
        }
        Ok(Self { text, data })
    }

    /// The one spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same in its wire form.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let base64 = self.text.split(' ').nth(1).unwrap_or_default();
        Base64::decode_vec(base64).unwrap_or_default()
    }

    pub(crate) fn data(&self) -> &KeyData {
        &self.data
    }

    /// The bytes that make two keys the same key whatever type they are listed under: the point,
    /// or the modulus.
    pub fn material(&self) -> Vec<u8> {
        match &self.data {
            KeyData::Ed25519(key) => key.0.to_vec(),
            KeyData::SkEd25519(key) => key.public_key().0.to_vec(),
            KeyData::Ecdsa(key) => key.as_sec1_bytes().to_vec(),
            KeyData::SkEcdsaSha2NistP256(key) => key.ec_point().as_bytes().to_vec(),
            KeyData::Rsa(key) => key.n.as_bytes().to_vec(),
            _ => self.text.clone().into_bytes(),
        }
    }
}

/// One spelling per key, or one key could stand under two members and be counted twice. OpenSSH
/// writes no other (RFC 5656 section 3.1 would permit it).
fn whole(point: &[u8], coordinate_len: usize) -> Result<(), SshKeyError> {
    match point {
        [4, coordinates @ ..] if coordinates.len() == 2 * coordinate_len => Ok(()),
        _ => Err(SshKeyError::Point),
    }
}

fn strong(point: &[u8; 32]) -> Result<(), SshKeyError> {
    if ed25519::may_be_a_key(point) {
        Ok(())
    } else {
        Err(SshKeyError::SmallOrder)
    }
}

impl FromStr for SshKey {
    type Err = SshKeyError;

    fn from_str(text: &str) -> Result<Self, SshKeyError> {
        let key = ssh_key::PublicKey::from_openssh(text).map_err(|_| SshKeyError::Malformed)?;
        let key = Self::from_key(key)?;
        if key.text == text {
            Ok(key)
        } else {
            Err(SshKeyError::Spelling)
        }
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for SshKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SshKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
