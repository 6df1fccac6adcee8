//! Logs and witnesses with keys made at test time.

#![expect(clippy::disallowed_methods, reason = "a test's keys are random")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};

use super::checkpoint::{Checkpoint, signature_line};
use super::cosignature;
use super::note::{Note, NoteSignature, VerifierKey};
use crate::digest::Sha256Digest;
use crate::jwk::{Curve, PublicKey};

/// A private key and its vkey.
pub struct Signer {
    pub key: VerifierKey,
    private: Private,
}

enum Private {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
}

fn ed25519() -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, public)
}

impl Signer {
    pub fn log(origin: &str) -> Self {
        let (pair, public) = ed25519();
        Self {
            key: VerifierKey::for_log(origin, &PublicKey::ed25519(&public).unwrap()).unwrap(),
            private: Private::Ed25519(pair),
        }
    }

    pub fn ecdsa_log(origin: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let public = PublicKey::ec(Curve::P256, &point[1..33], &point[33..]).unwrap();
        Self {
            key: VerifierKey::for_log(origin, &public).unwrap(),
            private: Private::Ecdsa(pair),
        }
    }

    pub fn witness(name: &str) -> Self {
        let (pair, public) = ed25519();
        Self {
            key: VerifierKey::cosigner(name, &public).unwrap(),
            private: Private::Ed25519(pair),
        }
    }

    pub fn raw(&self, message: &[u8]) -> Vec<u8> {
        match &self.private {
            Private::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Private::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }
        }
    }

    pub fn sign(&self, text: &str) -> NoteSignature {
        signature_line(&self.key, &self.raw(text.as_bytes())).unwrap()
    }

    pub fn cosign(&self, text: &str, seconds: u64) -> NoteSignature {
        let signature = self.raw(&cosignature::message(text, seconds));
        cosignature::build(&self.key, seconds, &signature).unwrap()
    }

    pub fn checkpoint(&self, size: u64, root: Sha256Digest) -> Note {
        let checkpoint = Checkpoint {
            origin: self.key.name().to_owned(),
            size,
            root,
        };
        let text = checkpoint.body();
        Note {
            signatures: vec![self.sign(&text)],
            text,
        }
    }
}

/// Every way of changing one byte by one bit or to something that means something, of leaving one out
/// and of putting one in twice.
pub fn mutations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).flat_map(move |at| {
        let flips = (0..8).map(|bit| bytes[at] ^ (1 << bit));
        let marks = *b"\n =+A0";
        let replaced = flips.chain(marks).filter(move |byte| *byte != bytes[at]);
        let mut changed: Vec<Vec<u8>> = replaced
            .map(|byte| [&bytes[..at], &[byte], &bytes[at + 1..]].concat())
            .collect();
        changed.push([&bytes[..at], &bytes[at + 1..]].concat());
        changed.push([&bytes[..=at], &bytes[at..]].concat());
        // Of two equal bytes side by side either may be left out or doubled; the result is the same.
        changed.into_iter().filter(move |other| other != bytes)
    })
}
