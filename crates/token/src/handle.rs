use std::sync::Arc;

use trust::{Algorithm, KeySpec};

/// A key as a device finds it: by `CKA_ID`, believed only with this public key.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) reference: Arc<hsm::KeyRef>,
    algorithm: Algorithm,
}

impl Handle {
    pub fn new(cka_id: [u8; 16], spki: Vec<u8>, algorithm: Algorithm) -> Self {
        let reference = Arc::new(hsm::KeyRef {
            cka_id: hsm::CkaId(cka_id),
            spki,
            scheme: scheme(algorithm),
        });
        Self {
            reference,
            algorithm,
        }
    }

    pub fn cka_id(&self) -> [u8; 16] {
        self.reference.cka_id.0
    }

    /// The public key, DER.
    pub fn spki(&self) -> &[u8] {
        &self.reference.spki
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

pub(super) fn scheme(algorithm: Algorithm) -> hsm::Scheme {
    match algorithm {
        Algorithm::Es256 => hsm::Scheme::EcdsaP256Sha256,
        Algorithm::Es384 => hsm::Scheme::EcdsaP384Sha384,
        Algorithm::Ps256 => hsm::Scheme::RsaPssSha256,
        Algorithm::Rs256 => hsm::Scheme::RsaPkcs1Sha256,
        Algorithm::Ed25519 => hsm::Scheme::Ed25519,
    }
}

pub(super) fn key_spec(spec: KeySpec) -> hsm::KeySpec {
    match spec {
        KeySpec::P256 => hsm::KeySpec::P256,
        KeySpec::P384 => hsm::KeySpec::P384,
        KeySpec::Rsa2048 => hsm::KeySpec::Rsa2048,
        KeySpec::Rsa3072 => hsm::KeySpec::Rsa3072,
        KeySpec::Rsa4096 => hsm::KeySpec::Rsa4096,
        KeySpec::Ed25519 => hsm::KeySpec::Ed25519,
    }
}
