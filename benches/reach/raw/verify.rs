//! Bare verification: aws-lc-rs with a key that was parsed before, over messages like the service's.

use std::time::Instant;

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    ParsedPublicKey,
};

use super::{Crew, measured, obey};

/// As long as header and payload of the JWS that the service verifies.
const MESSAGE: usize = 200;
const MESSAGES: usize = 1_000;

pub fn crew() -> Result<Crew> {
    Crew::start(1, &["raw-verify".to_owned()], &[])
}

pub fn child() -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a key for one run, thrown away")]
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())
        .map_err(|e| anyhow!("{e}"))?;
    let mut signed = Vec::new();
    for number in 0..MESSAGES {
        let mut message = [b'm'; MESSAGE];
        message[..8].copy_from_slice(&number.to_le_bytes());
        let signature = pair.sign(&random, &message)?;
        signed.push((message, signature));
    }
    obey(|duration| {
        measured(|| {
            let (end, mut count) = (Instant::now() + duration, 0);
            for (message, signature) in signed.iter().cycle() {
                key.verify_sig(message, signature.as_ref())?;
                count += 1;
                if count % 100 == 0 && Instant::now() >= end {
                    break;
                }
            }
            Ok((count, Vec::new()))
        })
    })
}
