//! SSHSIG: what `ssh-keygen -Y sign` writes, verified with aws-lc-rs.
//!
//! Sources: OpenSSH PROTOCOL.sshsig (blob and signed data), PROTOCOL.u2f (security keys), RFC 4251
//! section 5 (wire types), RFC 8332 (RSA with SHA-2), RFC 5656 (ECDSA), RFC 8709 (Ed25519).

mod armor;
mod check;
mod wire;

use crate::alg::Hash;
use crate::namespace::Namespace;
use crate::sshkey::{SshKey, SshKeyError};

use wire::Cursor;

pub use armor::normalize;

const MAGIC: &[u8] = b"SSHSIG";

/// An SSH signature that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshSigError {
    /// Not the armour that ssh-keygen writes: header, base64 in lines of 70, footer, newline.
    #[error("not an armored SSH signature in the form of ssh-keygen")]
    Armor,
    /// The blob inside does not follow PROTOCOL.sshsig.
    #[error("malformed SSH signature: {0}")]
    Malformed(&'static str),
    /// The public key inside is not allowed.
    #[error("the signing key is not allowed")]
    Key(#[from] SshKeyError),
    /// Signed for something else.
    #[error("signed for namespace {found:?}, expected {expected:?}")]
    Namespace {
        /// The one inside the signature.
        found: String,
        /// The one that was asked for.
        expected: String,
    },
    /// A hash or signature type that is not allowed, SHA-1 among them.
    #[error("{0} is not allowed here")]
    Algorithm(String),
    /// A security key signed without being touched.
    #[error("the security key was not touched (no user presence)")]
    UserPresence,
    /// The signature does not check.
    #[error("the signature is invalid")]
    BadSignature,
}

/// Verifies an armored signature over `message` in `namespace` and returns the key that made it.
/// Whether that key means anything is the roster's to say.
pub fn verify(armored: &str, namespace: &Namespace, message: &[u8]) -> Result<SshKey, SshSigError> {
    let blob = armor::decode(armored)?;
    let unverified = Blob::read(&blob)?;
    let expected = namespace.to_string();
    if unverified.namespace != expected.as_bytes() {
        let found = String::from_utf8_lossy(unverified.namespace).into_owned();
        return Err(SshSigError::Namespace { found, expected });
    }
    let key = SshKey::from_wire(unverified.public_key)?;
    check::signature(&key, &unverified.signed_data(message), unverified.signature)?;
    Ok(key)
}

/// The key that an armored signature names. Nothing is verified: it tells whom to ask, never who signed.
pub fn unverified_key(armored: &str) -> Result<SshKey, SshSigError> {
    let blob = armor::decode(armored)?;
    Ok(SshKey::from_wire(Blob::read(&blob)?.public_key)?)
}

/// The blob of PROTOCOL.sshsig, taken apart.
struct Blob<'a> {
    public_key: &'a [u8],
    namespace: &'a [u8],
    hash: Hash,
    hash_name: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Blob<'a> {
    fn read(blob: &'a [u8]) -> Result<Self, SshSigError> {
        let mut cursor = Cursor::new(blob);
        if cursor.take(MAGIC.len())? != MAGIC {
            return Err(SshSigError::Malformed("wrong magic"));
        }
        if cursor.u32()? != 1 {
            return Err(SshSigError::Malformed("unknown version"));
        }
        let public_key = cursor.string()?;
        let namespace = cursor.string()?;
        // PROTOCOL.sshsig tells verifiers to ignore it; a byte nobody looks at has no place in a
        // transcript, and ssh-keygen always writes it empty.
        if !cursor.string()?.is_empty() {
            return Err(SshSigError::Malformed("reserved field is not empty"));
        }
        let hash_name = cursor.string()?;
        let hash = match hash_name {
            b"sha256" => Hash::Sha256,
            b"sha512" => Hash::Sha512,
            other => {
                return Err(SshSigError::Algorithm(
                    String::from_utf8_lossy(other).into_owned(),
                ));
            }
        };
        let signature = cursor.string()?;
        cursor.end()?;
        Ok(Self {
            public_key,
            namespace,
            hash,
            hash_name,
            signature,
        })
    }

    /// What was really signed: magic, namespace, reserved, hash name, digest of the message.
    fn signed_data(&self, message: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for part in [
            self.namespace,
            b"",
            self.hash_name,
            &self.hash.digest(message),
        ] {
            wire::put_string(&mut out, part);
        }
        out
    }
}
