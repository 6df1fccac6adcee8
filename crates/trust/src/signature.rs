//! The one software verification of the service.
//!
//! ECDSA signatures are in the fixed form of IEEE P1363 (r and s, each as long as a coordinate)
//! everywhere; [`der_to_p1363`] and [`p1363_to_der`] translate, strictly.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::signature as lc;
use der::asn1::UintRef;
use der::{Decode, Encode, Sequence};

use p256::elliptic_curve::scalar::IsHigh;
use p256::elliptic_curve::{CurveArithmetic, PrimeField};

use crate::alg::{Algorithm, KeySpec};
use crate::jwk::PublicKey;

#[cfg(test)]
mod tests;

/// A public key made ready to check signatures of one algorithm. Made once per key and kept: the
/// key is parsed and the point is checked to lie on its curve in [`Verifier::new`].
pub struct Verifier {
    key: lc::ParsedPublicKey,
    algorithm: Algorithm,
    spec: KeySpec,
}

/// A key and an algorithm that do not go together.
#[derive(Debug, thiserror::Error)]
pub enum UnusableKey {
    /// For instance PS256 with a P-256 key.
    #[error("{0} does not take {1} keys")]
    Mismatch(Algorithm, KeySpec),
    /// For instance a point that is not on the curve.
    #[error("the public key is invalid")]
    Invalid,
}

/// The signature does not check. It says no more, because nothing more is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is invalid")]
pub struct BadSignature;

impl Verifier {
    /// Refuses a key whose shape the algorithm does not take and a point off its curve.
    pub fn new(key: &PublicKey, algorithm: Algorithm) -> Result<Self, UnusableKey> {
        let spec = key.spec();
        if !algorithm.allows(spec) {
            return Err(UnusableKey::Mismatch(algorithm, spec));
        }
        let parameters: &'static dyn lc::VerificationAlgorithm = match algorithm {
            Algorithm::Es256 => &lc::ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &lc::ECDSA_P384_SHA384_FIXED,
            Algorithm::Ps256 => &lc::RSA_PSS_2048_8192_SHA256,
            Algorithm::Rs256 => &lc::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Ed25519 => &lc::ED25519,
        };
        let key = lc::ParsedPublicKey::new(parameters, key.to_spki_der())
            .map_err(|_| UnusableKey::Invalid)?;
        Ok(Self {
            key,
            algorithm,
            spec,
        })
    }

    /// The algorithm this verifier checks.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks a signature over a message.
    pub fn verify_message(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.check_length(signature)?;
        self.key
            .verify_sig(message, signature)
            .map_err(|_| BadSignature)
    }

    /// Checks a signature over a digest of the algorithm's hash. Refused for Ed25519, which has no
    /// digest form here (Ed25519ph is another algorithm).
    pub fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let hash = self.algorithm.hash().ok_or(BadSignature)?;
        self.check_length(signature)?;
        let digest =
            Digest::import_less_safe(digest, hash.implementation()).map_err(|_| BadSignature)?;
        self.key
            .verify_digest_sig(&digest, signature)
            .map_err(|_| BadSignature)
    }

    fn check_length(&self, signature: &[u8]) -> Result<(), BadSignature> {
        if signature.len() == self.spec.signature_len() {
            Ok(())
        } else {
            Err(BadSignature)
        }
    }
}

/// ECDSA-Sig-Value of RFC 3279 section 2.2.3.
#[derive(Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// From r and s side by side to DER. Fails on an odd length, an empty input or one over 132 bytes.
pub fn p1363_to_der(signature: &[u8]) -> Result<Vec<u8>, BadSignature> {
    if signature.is_empty() || signature.len() % 2 == 1 || signature.len() > 132 {
        return Err(BadSignature);
    }
    let (r, s) = signature.split_at(signature.len() / 2);
    let value = EcdsaSigValue {
        r: UintRef::new(r).map_err(|_| BadSignature)?,
        s: UintRef::new(s).map_err(|_| BadSignature)?,
    };
    value.to_der().map_err(|_| BadSignature)
}

/// From DER to r and s side by side, each `coordinate_len` bytes. Strict: one encoding, no trailing
/// bytes, no value longer than a coordinate.
pub fn der_to_p1363(der: &[u8], coordinate_len: usize) -> Result<Vec<u8>, BadSignature> {
    let value = EcdsaSigValue::from_der(der).map_err(|_| BadSignature)?;
    fixed_pair(value.r.as_bytes(), value.s.as_bytes(), coordinate_len)
}

/// The one form of a signature by which the log knows it. `(r, n - s)` is as good a signature as
/// `(r, s)` and anybody can make it of the other, so of the two the one with the lower s stands for
/// both (SEC 1 version 2 section 4.1.3; RFC 6979 leaves it open). Other signatures are their own.
pub fn canonical(spec: KeySpec, signature: &[u8]) -> Vec<u8> {
    let lower = match spec {
        KeySpec::P256 => lower_s::<p256::NistP256>(signature),
        KeySpec::P384 => lower_s::<p384::NistP384>(signature),
        _ => None,
    };
    lower.unwrap_or_else(|| signature.to_vec())
}

/// The same r with the lower s, where s is in the upper half of the curve's order.
fn lower_s<C: CurveArithmetic>(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let s = Option::<C::Scalar>::from(C::Scalar::from_repr(s.try_into().ok()?))?;
    let high = bool::from(s.is_high());
    high.then(|| [r, (-s).to_repr().as_ref()].concat())
}

/// Two unsigned integers without leading zeros, padded on the left to `len` each.
pub(crate) fn fixed_pair(r: &[u8], s: &[u8], len: usize) -> Result<Vec<u8>, BadSignature> {
    let mut out = vec![0; 2 * len];
    for (value, end) in [(r, len), (s, 2 * len)] {
        if value.len() > len {
            return Err(BadSignature);
        }
        out[end - value.len()..end].copy_from_slice(value);
    }
    Ok(out)
}
