//! Authenticator data (WebAuthn Level 3 section 6.1): every byte of it has a meaning.

use super::cbor::{self, CborError, Value};
use crate::digest::Sha256Digest;

/// rpIdHash, flags and signCount: what there always is.
const FIXED: usize = 37;

/// Most bytes that are read. What browsers hand out has a few hundred.
const MOST: usize = 4_096;

/// The flags (section 6.1). Bits 1 and 5 are reserved and mean nothing yet.
const UP: u8 = 1 << 0;
const UV: u8 = 1 << 2;
const BE: u8 = 1 << 3;
const BS: u8 = 1 << 4;
const AT: u8 = 1 << 6;
const ED: u8 = 1 << 7;

/// What an authenticator says about itself, its user and its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticatorData {
    /// SHA-256 of the relying party's id.
    pub rp_id_hash: Sha256Digest,
    /// UP: somebody touched it.
    pub user_present: bool,
    /// UV: it asked who that is, by a PIN or a finger.
    pub user_verified: bool,
    /// BE: the credential may be copied to other devices.
    pub backup_eligible: bool,
    /// BS: it is at the moment.
    pub backed_up: bool,
    /// How often it signed; 0 where it does not count.
    pub sign_count: u32,
    /// In a registration, the new credential.
    pub attested: Option<Attested>,
}

/// A new credential (section 6.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The model, as the authenticator says.
    pub aaguid: [u8; 16],
    /// Names the credential.
    pub credential_id: Vec<u8>,
    /// COSE_Key (RFC 9052 section 7).
    pub(crate) public_key: Value,
}

/// Authenticator data that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticatorDataError {
    /// Shorter than it says itself, or over 4096 bytes.
    #[error("it has {0} bytes, which are too few or too many")]
    Length(usize),
    /// The credential's key or the extensions are no CBOR.
    #[error("{0}")]
    Cbor(#[from] CborError),
    /// Extension outputs are a map by the names of extensions.
    #[error("the extensions are not a map by text")]
    Extensions,
    /// Something stands after it.
    #[error("bytes after the end")]
    Trailing,
}

impl AuthenticatorData {
    /// Reads all of it. Extension outputs are read and ignored (section 7.2 step 23 permits it).
    pub fn parse(bytes: &[u8]) -> Result<Self, AuthenticatorDataError> {
        let wrong = || AuthenticatorDataError::Length(bytes.len());
        if bytes.len() > MOST {
            return Err(wrong());
        }
        let (fixed, mut rest) = bytes.split_at_checked(FIXED).ok_or_else(wrong)?;
        let (rp_id_hash, after) = fixed.split_first_chunk::<32>().ok_or_else(wrong)?;
        let (flags, count) = after.split_first().ok_or_else(wrong)?;
        let count: [u8; 4] = count.try_into().map_err(|_| wrong())?;
        let has = |flag: u8| flags & flag != 0;
        let mut attested = None;
        if has(AT) {
            let (aaguid, after) = rest.split_first_chunk::<16>().ok_or_else(wrong)?;
            let (length, after) = after.split_first_chunk::<2>().ok_or_else(wrong)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (credential_id, after) = after.split_at_checked(length).ok_or_else(wrong)?;
            let (public_key, after) = cbor::read(after)?;
            attested = Some(Attested {
                aaguid: *aaguid,
                credential_id: credential_id.to_vec(),
                public_key,
            });
            rest = after;
        }
        if has(ED) {
            let (extensions, after) = cbor::read(rest)?;
            let Value::Map(outputs) = extensions else {
                return Err(AuthenticatorDataError::Extensions);
            };
            if outputs
                .iter()
                .any(|(name, _)| !matches!(name, Value::Text(_)))
            {
                return Err(AuthenticatorDataError::Extensions);
            }
            rest = after;
        }
        if !rest.is_empty() {
            return Err(AuthenticatorDataError::Trailing);
        }
        Ok(Self {
            rp_id_hash: Sha256Digest::from_bytes(*rp_id_hash),
            user_present: has(UP),
            user_verified: has(UV),
            backup_eligible: has(BE),
            backed_up: has(BS),
            sign_count: u32::from_be_bytes(count),
            attested,
        })
    }
}
