//! Hashes and signature algorithms that tokens and their certificates may use.

use aws_lc_rs::signature as lc;
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Encode, Sequence, Tagged};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::TimestampError;
use crate::alg::Hash;

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const HASHES: [(ObjectIdentifier, Hash); 3] = [
    (oid("2.16.840.1.101.3.4.2.1"), Hash::Sha256),
    (oid("2.16.840.1.101.3.4.2.2"), Hash::Sha384),
    (oid("2.16.840.1.101.3.4.2.3"), Hash::Sha512),
];
/// RFC 8017 appendix A.2.4 and RFC 5758 section 3.2.
const SCHEMES: [(ObjectIdentifier, Scheme); 7] = [
    (oid("1.2.840.113549.1.1.11"), Scheme::Rsa(Hash::Sha256)),
    (oid("1.2.840.113549.1.1.12"), Scheme::Rsa(Hash::Sha384)),
    (oid("1.2.840.113549.1.1.13"), Scheme::Rsa(Hash::Sha512)),
    (oid("1.2.840.10045.4.3.2"), Scheme::Ecdsa(Hash::Sha256)),
    (oid("1.2.840.10045.4.3.3"), Scheme::Ecdsa(Hash::Sha384)),
    (oid("1.2.840.10045.4.3.4"), Scheme::Ecdsa(Hash::Sha512)),
    (oid("1.3.101.112"), Scheme::Ed25519),
];
const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = oid("1.2.840.113549.1.1.8");
const EC: ObjectIdentifier = oid("1.2.840.10045.2.1");
const P256: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = oid("1.3.132.0.34");

/// How a signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Rsa(Hash),
    /// RSASSA-PSS with MGF1 over the same hash and a salt of its length.
    Pss(Hash),
    /// ECDSA with an ECDSA-Sig-Value.
    Ecdsa(Hash),
    Ed25519,
}

/// RSASSA-PSS-params of RFC 8017 appendix A.2.3. What is absent means SHA-1 and a salt of 20 bytes.
#[derive(Sequence)]
struct PssParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt: Option<u16>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u8>,
}

impl PssParameters {
    /// One hash throughout and a salt of its length: what RFC 4055 section 3.1 recommends, and all
    /// that is verified here.
    fn one_hash(&self) -> Option<Hash> {
        let hash = hash_of(self.hash.as_ref()?).ok()?;
        let mask = self.mask.as_ref().filter(|mask| mask.oid == MGF1)?;
        let of_mask = mask.parameters.as_ref()?.decode_as().ok()?;
        let fits = hash_of(&of_mask).ok()? == hash
            && usize::from(self.salt?) == hash.len()
            && self.trailer.is_none_or(|trailer| trailer == 1);
        fits.then_some(hash)
    }
}

/// The hash of an RSASSA-PSS algorithm that is accepted.
fn pss(algorithm: &AlgorithmIdentifierOwned) -> Option<Hash> {
    if algorithm.oid != PSS {
        return None;
    }
    let parameters: PssParameters = algorithm.parameters.as_ref()?.decode_as().ok()?;
    parameters.one_hash()
}

fn refused(algorithm: &AlgorithmIdentifierOwned) -> TimestampError {
    let oid = algorithm.oid;
    TimestampError::Algorithm(match oid {
        PSS => format!(
            "{oid} (RSASSA-PSS other than with SHA-2, MGF1 with the same hash and a salt of its length)"
        ),
        _ => oid.to_string(),
    })
}

fn has_no_parameters(algorithm: &AlgorithmIdentifierOwned) -> bool {
    let parameters = algorithm.parameters.as_ref();
    parameters.is_none_or(|parameters| parameters.tag() == der::Tag::Null)
}

/// SHA-256, SHA-384 or SHA-512, with NULL or no parameters (RFC 5754 section 2).
pub fn hash_of(algorithm: &AlgorithmIdentifierOwned) -> Result<Hash, TimestampError> {
    HASHES
        .into_iter()
        .find(|(oid, _)| *oid == algorithm.oid && has_no_parameters(algorithm))
        .map(|(_, hash)| hash)
        .ok_or_else(|| TimestampError::Hash(algorithm.oid.to_string()))
}

impl Scheme {
    /// Of a certificate.
    pub fn of_certificate(algorithm: &AlgorithmIdentifierOwned) -> Result<Self, TimestampError> {
        if let Some(hash) = pss(algorithm) {
            return Ok(Self::Pss(hash));
        }
        SCHEMES
            .into_iter()
            .find(|(oid, _)| *oid == algorithm.oid && has_no_parameters(algorithm))
            .map(|(_, scheme)| scheme)
            .ok_or_else(|| refused(algorithm))
    }

    /// Of a signer, whose hash is named beside it: `rsaEncryption` leaves it to that, the others
    /// have to agree with it. Ed25519 goes with SHA-512 (RFC 8419 section 3.1).
    pub fn of_signer(
        algorithm: &AlgorithmIdentifierOwned,
        hash: Hash,
    ) -> Result<Self, TimestampError> {
        if algorithm.oid == RSA && has_no_parameters(algorithm) {
            return Ok(Self::Rsa(hash));
        }
        let scheme = Self::of_certificate(algorithm)?;
        let agrees = match scheme {
            Self::Rsa(own) | Self::Pss(own) | Self::Ecdsa(own) => own == hash,
            Self::Ed25519 => hash == Hash::Sha512,
        };
        agrees.then_some(scheme).ok_or_else(|| refused(algorithm))
    }

    /// Checks `signature` over `message`; `of` names the signed thing in the error.
    pub fn check(
        self,
        key: &SubjectPublicKeyInfoOwned,
        message: &[u8],
        signature: &[u8],
        of: &'static str,
    ) -> Result<(), TimestampError> {
        let unfit = || TimestampError::Algorithm(key.algorithm.oid.to_string());
        let parameters = self.parameters(key).ok_or_else(unfit)?;
        let spki = match key.algorithm.oid {
            PSS => as_rsa(key).to_der(),
            _ => key.to_der(),
        };
        let spki = spki.map_err(|_| unfit())?;
        lc::ParsedPublicKey::new(parameters, spki)
            .map_err(|_| unfit())?
            .verify_sig(message, signature)
            .map_err(|_| TimestampError::BadSignature(of))
    }

    /// None where the key is not of this scheme.
    fn parameters(
        self,
        key: &SubjectPublicKeyInfoOwned,
    ) -> Option<&'static dyn lc::VerificationAlgorithm> {
        let algorithm = &key.algorithm;
        let curve = || -> Option<ObjectIdentifier> {
            let parameters = algorithm.parameters.as_ref()?;
            AnyRef::from(parameters).decode_as().ok()
        };
        Some(match (self, algorithm.oid) {
            (Self::Rsa(Hash::Sha256), RSA) => &lc::RSA_PKCS1_2048_8192_SHA256,
            (Self::Rsa(Hash::Sha384), RSA) => &lc::RSA_PKCS1_2048_8192_SHA384,
            (Self::Rsa(Hash::Sha512), RSA) => &lc::RSA_PKCS1_2048_8192_SHA512,
            // A key for RSASSA-PSS alone may say for which form of it (RFC 4055 section 1.2).
            (Self::Pss(hash), RSA | PSS) => {
                let bound = algorithm.oid == PSS && algorithm.parameters.is_some();
                if bound && pss(algorithm) != Some(hash) {
                    return None;
                }
                match hash {
                    Hash::Sha256 => &lc::RSA_PSS_2048_8192_SHA256,
                    Hash::Sha384 => &lc::RSA_PSS_2048_8192_SHA384,
                    Hash::Sha512 => &lc::RSA_PSS_2048_8192_SHA512,
                }
            }
            (Self::Ecdsa(hash), EC) => match (curve()?, hash) {
                (P256, Hash::Sha256) => &lc::ECDSA_P256_SHA256_ASN1,
                (P256, Hash::Sha384) => &lc::ECDSA_P256_SHA384_ASN1,
                (P256, Hash::Sha512) => &lc::ECDSA_P256_SHA512_ASN1,
                (P384, Hash::Sha256) => &lc::ECDSA_P384_SHA256_ASN1,
                (P384, Hash::Sha384) => &lc::ECDSA_P384_SHA384_ASN1,
                (P384, Hash::Sha512) => &lc::ECDSA_P384_SHA512_ASN1,
                _ => return None,
            },
            (Self::Ed25519, key) if SCHEMES[6].0 == key => &lc::ED25519,
            _ => return None,
        })
    }
}

/// The same key under the identifier of RSA keys in general, which is the one that is parsed.
fn as_rsa(key: &SubjectPublicKeyInfoOwned) -> SubjectPublicKeyInfoOwned {
    SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: RSA,
            parameters: Some(der::Any::null()),
        },
        subject_public_key: key.subject_public_key.clone(),
    }
}
