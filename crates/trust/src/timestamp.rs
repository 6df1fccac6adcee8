//! Time stamp tokens (RFC 3161) as proof that a signature existed.
//!
//! A token is CMS `SignedData` (RFC 5652) around a `TSTInfo`: an authority outside this service
//! says that it saw a hash at an instant. Here the hash is over the **raw signature bytes as they
//! are verified**: for ECDSA r and s side by side (IEEE P1363), for the other algorithms the bytes
//! of the signature; exactly what `sig_hash` of the log is over. Somebody who has the signature of
//! a JWS decodes its third part and asks an authority for a token over those bytes.
//!
//! What is asked of a token is no less than RFC 3161 section 2.4.2 and RFC 5816 demand, and DER
//! throughout. What is not asked: whether the authority's certificate was revoked. An authority
//! that is not trusted any more is taken out of the configuration.

mod certificate;
mod scheme;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

use crate::time::Time;

pub use certificate::Authorities;

/// Longest token that is read: an RSA-4096 signature, a chain and room to spare.
pub const LONGEST_TOKEN: usize = 32 * 1_024;

/// How far ahead of ours an authority's clock may be.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// The signature existed not later than this: the token's `genTime` and its accuracy on top,
    /// rounded up to a millisecond, and not before the end of the last digit of `genTime`.
    pub at: Time,
    /// The subject of the configured certificate that vouches for it (RFC 4514).
    pub authority: String,
    /// The authority's policy, an object identifier.
    pub policy: String,
    /// The token's serial number, lower-case hex.
    pub serial: String,
}

/// Why a token proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum TimestampError {
    /// Over [`LONGEST_TOKEN`].
    #[error("the timestamp token is longer than {LONGEST_TOKEN} bytes")]
    TooLong,
    /// Not DER of the structure that is expected there.
    #[error("{what} cannot be parsed")]
    Malformed {
        /// Which structure.
        what: &'static str,
        /// Why not.
        source: der::Error,
    },
    /// A PEM file of authorities that is none.
    #[error("expected certificates in PEM")]
    Pem(#[source] der::Error),
    /// A well-formed structure that is not a token as RFC 3161 has it.
    #[error("not an RFC 3161 timestamp token: {0}")]
    NotAToken(&'static str),
    /// A hash that is not SHA-256, SHA-384 or SHA-512.
    #[error("the hash algorithm {0} is not accepted")]
    Hash(String),
    /// A signature algorithm or key that is not accepted, or the two do not go together.
    #[error("the signature algorithm {0} is not accepted with this key")]
    Algorithm(String),
    /// The token is about other bytes.
    #[error("the timestamp token is for a different signature")]
    OtherImprint,
    /// What the signer signed is not what is in the token.
    #[error("the signed digest does not match the content of the timestamp token")]
    OtherContent,
    /// The certificate that the signature names is nowhere to be found.
    #[error("the signer's certificate is neither in the timestamp token nor configured")]
    NoSigner,
    /// The attribute `signingCertificate` is about another certificate.
    #[error("the timestamp token names a certificate other than its signer's")]
    OtherCertificate,
    /// The signature of the token or of a certificate does not check.
    #[error("the signature of {0} is invalid")]
    BadSignature(&'static str),
    /// A certificate that must not be used for this.
    #[error("the certificate of {subject}: {why}")]
    Certificate {
        /// Whose.
        subject: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No configured authority vouches for the signer.
    #[error("the signer {0} does not chain to a configured authority")]
    Untrusted(String),
    /// There are no authorities.
    #[error("no timestamp authority is configured")]
    NoAuthorities,
    /// Made later than now.
    #[error("the timestamp token is dated in the future, at {0}")]
    Future(Time),
}

/// Checks that `token` (DER) shows that `signature` existed, by the word of one of `authorities`.
/// `signature` is the raw bytes; see the module. `now` refuses tokens that are ahead of it by more
/// than [`CLOCK_TOLERANCE`].
pub fn verify(
    token: &[u8],
    signature: &[u8],
    authorities: &Authorities,
    now: Time,
) -> Result<Timestamp, TimestampError> {
    if authorities.is_empty() {
        return Err(TimestampError::NoAuthorities);
    }
    let token = token::Token::from_der(token)?;
    let made_at = token.info.gen_time.at();
    if made_at > now + CLOCK_TOLERANCE {
        return Err(TimestampError::Future(made_at));
    }
    token.check_imprint(signature)?;
    let signer = token.check_signer(authorities)?;
    let authority = authorities.vouch(signer, &token.certificates, made_at)?;
    Ok(Timestamp {
        at: token.info.not_later_than(),
        authority,
        policy: token.info.policy.to_string(),
        serial: token.info.serial(),
    })
}
