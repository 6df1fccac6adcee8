//! Every signature is verified in software before it leaves this process. Fourteen microseconds for RSA-2048, thirty-seven
//! for P-256: the price of never publishing a signature by the wrong key.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};

use crate::error::Error;
use crate::key::{CkaId, KeyRef, Scheme};

/// A public key, parsed once.
pub struct Verifier {
    /// For the error.
    cka_id: CkaId,
    key: ParsedPublicKey,
    /// `None` where the message itself is signed.
    hash: Option<&'static digest::Algorithm>,
}

impl Verifier {
    /// Refuses a key that does not fit its scheme.
    pub fn new(key: &KeyRef) -> Result<Verifier, Error> {
        let (algorithm, hash): (&'static dyn VerificationAlgorithm, _) = match key.scheme {
            Scheme::EcdsaP256Sha256 => (&signature::ECDSA_P256_SHA256_FIXED, Some(&digest::SHA256)),
            Scheme::EcdsaP384Sha384 => (&signature::ECDSA_P384_SHA384_FIXED, Some(&digest::SHA384)),
            Scheme::RsaPssSha256 => (&signature::RSA_PSS_2048_8192_SHA256, Some(&digest::SHA256)),
            Scheme::RsaPkcs1Sha256 => (
                &signature::RSA_PKCS1_2048_8192_SHA256,
                Some(&digest::SHA256),
            ),
            Scheme::Ed25519 => (&signature::ED25519, None),
        };
        let bad = || Error::BadKeyRef { cka_id: key.cka_id };
        // The parser also takes bare points; a KeyRef is always a SubjectPublicKeyInfo.
        spki::SubjectPublicKeyInfoRef::try_from(key.spki.as_slice()).map_err(|_| bad())?;
        let parsed = ParsedPublicKey::new(algorithm, &key.spki).map_err(|_| bad())?;
        Ok(Verifier {
            cka_id: key.cka_id,
            key: parsed,
            hash,
        })
    }

    /// `input` is the digest, or the message for Ed25519.
    pub fn verify(&self, input: &[u8], signature: &[u8]) -> Result<(), Error> {
        let wrong = |_| Error::WrongSignature {
            cka_id: self.cka_id,
        };
        match self.hash {
            Some(hash) => {
                let digest = Digest::import_less_safe(input, hash).map_err(wrong)?;
                self.key
                    .verify_digest_sig(&digest, signature)
                    .map_err(wrong)
            }
            None => self.key.verify_sig(input, signature).map_err(wrong),
        }
    }
}
