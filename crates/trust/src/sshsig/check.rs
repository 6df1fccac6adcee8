//! The signature inside an SSHSIG against the key inside it.

use aws_lc_rs::signature as lc;
use ssh_key::public::{EcdsaPublicKey, KeyData};

use crate::alg::Hash;
use crate::signature::fixed_pair;
use crate::sshkey::SshKey;

use super::SshSigError;
use super::wire::Cursor;

/// Flag of a security key: somebody touched it (FIDO CTAP 2.1, authenticator data).
const USER_PRESENT: u8 = 0x01;

/// Checks a signature blob `string type, string signature [, flags, counter]`.
pub fn signature(key: &SshKey, signed: &[u8], blob: &[u8]) -> Result<(), SshSigError> {
    let mut cursor = Cursor::new(blob);
    let kind = cursor.string()?;
    let value = cursor.string()?;
    let expect = |name: &[u8]| {
        if kind == name {
            Ok(())
        } else {
            Err(SshSigError::Algorithm(
                String::from_utf8_lossy(kind).into_owned(),
            ))
        }
    };
    match key.data() {
        KeyData::Ed25519(point) => {
            expect(b"ssh-ed25519")?;
            cursor.end()?;
            ed25519(&point.0, signed, value)
        }
        KeyData::Ecdsa(point @ EcdsaPublicKey::NistP256(_)) => {
            expect(b"ecdsa-sha2-nistp256")?;
            cursor.end()?;
            ecdsa(
                &lc::ECDSA_P256_SHA256_FIXED,
                32,
                point.as_sec1_bytes(),
                signed,
                value,
            )
        }
        KeyData::Ecdsa(point @ EcdsaPublicKey::NistP384(_)) => {
            expect(b"ecdsa-sha2-nistp384")?;
            cursor.end()?;
            ecdsa(
                &lc::ECDSA_P384_SHA384_FIXED,
                48,
                point.as_sec1_bytes(),
                signed,
                value,
            )
        }
        KeyData::Rsa(rsa) => {
            cursor.end()?;
            let parameters = match kind {
                b"rsa-sha2-256" => &lc::RSA_PKCS1_2048_8192_SHA256,
                b"rsa-sha2-512" => &lc::RSA_PKCS1_2048_8192_SHA512,
                // `ssh-rsa` is SHA-1.
                other => {
                    return Err(SshSigError::Algorithm(
                        String::from_utf8_lossy(other).into_owned(),
                    ));
                }
            };
            let positive = |number: &ssh_key::Mpint| {
                number
                    .as_positive_bytes()
                    .map(<[u8]>::to_vec)
                    .ok_or(SshSigError::BadSignature)
            };
            lc::RsaPublicKeyComponents {
                n: positive(&rsa.n)?,
                e: positive(&rsa.e)?,
            }
            .verify(parameters, signed, value)
            .map_err(|_| SshSigError::BadSignature)
        }
        KeyData::SkEd25519(sk) => {
            expect(b"sk-ssh-ed25519@openssh.com")?;
            let signed = security_key_data(sk.application(), cursor, signed)?;
            ed25519(&sk.public_key().0, &signed, value)
        }
        KeyData::SkEcdsaSha2NistP256(sk) => {
            expect(b"sk-ecdsa-sha2-nistp256@openssh.com")?;
            let signed = security_key_data(sk.application(), cursor, signed)?;
            let point = sk.ec_point().as_bytes();
            ecdsa(&lc::ECDSA_P256_SHA256_FIXED, 32, point, &signed, value)
        }
        _ => Err(SshSigError::BadSignature),
    }
}

fn ed25519(point: &[u8], signed: &[u8], value: &[u8]) -> Result<(), SshSigError> {
    verify(&lc::ED25519, point, signed, value)
}

/// The value is two integers (RFC 5656 section 3.1.2).
fn ecdsa(
    parameters: &'static lc::EcdsaVerificationAlgorithm,
    coordinate_len: usize,
    point: &[u8],
    signed: &[u8],
    value: &[u8],
) -> Result<(), SshSigError> {
    let mut cursor = Cursor::new(value);
    let (r, s) = (cursor.positive()?, cursor.positive()?);
    cursor.end()?;
    let fixed = fixed_pair(r, s, coordinate_len).map_err(|_| SshSigError::BadSignature)?;
    verify(parameters, point, signed, &fixed)
}

fn verify(
    parameters: &'static dyn lc::VerificationAlgorithm,
    key: &[u8],
    signed: &[u8],
    value: &[u8],
) -> Result<(), SshSigError> {
    lc::UnparsedPublicKey::new(parameters, key)
        .verify(signed, value)
        .map_err(|_| SshSigError::BadSignature)
}

/// What a security key signs (PROTOCOL.u2f): SHA-256 of the application, flags, counter, SHA-256
/// of the data. A signature without a touch may be malware at work and is refused.
fn security_key_data(
    application: &str,
    mut trailer: Cursor<'_>,
    signed: &[u8],
) -> Result<Vec<u8>, SshSigError> {
    let flags = trailer.take(1)?;
    let counter = trailer.take(4)?;
    trailer.end()?;
    if flags[0] & USER_PRESENT == 0 {
        return Err(SshSigError::UserPresence);
    }
    let application = Hash::Sha256.digest(application.as_bytes());
    Ok([&application, flags, counter, &Hash::Sha256.digest(signed)].concat())
}
