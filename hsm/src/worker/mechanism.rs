//! Schemes and kinds of key in the words of PKCS#11. Only forms that every token has: raw mechanisms over a digest that
//! was made here.

use cryptoki::error::Error as Ck;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;

use crate::key::{KeySpec, Scheme};

/// DER of `DigestInfo` up to the digest, SHA-256 (RFC 8017, section 9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// Named curves as CKA_EC_PARAMS wants them: DER object identifiers, and for Ed25519 the PrintableString that both older
/// and newer tokens take.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = b"\x13\x0cedwards25519";

/// One C_Sign. The mechanism is made here because it is bound to its thread.
pub fn sign(
    session: &Session,
    scheme: Scheme,
    key: ObjectHandle,
    input: &[u8],
) -> Result<Vec<u8>, Ck> {
    match scheme {
        Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha384 => {
            session.sign(&Mechanism::Ecdsa, key, input)
        }
        Scheme::RsaPssSha256 => {
            // Salt as long as the hash: what RFC 7518 asks of PS256.
            let parameters = PkcsPssParams {
                hash_alg: MechanismType::SHA256,
                mgf: PkcsMgfType::MGF1_SHA256,
                s_len: 32.into(),
            };
            session.sign(&Mechanism::RsaPkcsPss(parameters), key, input)
        }
        Scheme::RsaPkcs1Sha256 => {
            let mut info = [0; 51];
            info[..19].copy_from_slice(&SHA256_DIGEST_INFO);
            info[19..].copy_from_slice(input);
            session.sign(&Mechanism::RsaPkcs, key, &info)
        }
        Scheme::Ed25519 => {
            let parameters = EddsaParams::new(EddsaSignatureScheme::Pure);
            session.sign(&Mechanism::Eddsa(parameters), key, input)
        }
    }
}

/// How to make a key: the mechanism, and what of the kind goes into the public template.
pub fn generation(spec: KeySpec) -> (Mechanism<'static>, Vec<Attribute>) {
    let curve = |parameters: &[u8]| vec![Attribute::EcParams(parameters.to_vec())];
    let rsa = |bits: u64| {
        // 65537: smaller exponents are refused by FIPS tokens, larger ones by some verifiers.
        vec![
            Attribute::ModulusBits(bits.into()),
            Attribute::PublicExponent(vec![1, 0, 1]),
        ]
    };
    match spec {
        KeySpec::P256 => (Mechanism::EccKeyPairGen, curve(P256)),
        KeySpec::P384 => (Mechanism::EccKeyPairGen, curve(P384)),
        KeySpec::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, curve(ED25519)),
        KeySpec::Rsa2048 => (Mechanism::RsaPkcsKeyPairGen, rsa(2048)),
        KeySpec::Rsa3072 => (Mechanism::RsaPkcsKeyPairGen, rsa(3072)),
        KeySpec::Rsa4096 => (Mechanism::RsaPkcsKeyPairGen, rsa(4096)),
    }
}

/// What CKA_EC_PARAMS may say for each curve, as tokens spell it.
pub fn curve_of(parameters: &[u8]) -> Option<KeySpec> {
    const ED25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
    const ED25519_OLD_OID: &[u8] = &[
        0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01,
    ];
    match parameters {
        P256 => Some(KeySpec::P256),
        P384 => Some(KeySpec::P384),
        ED25519 | ED25519_OID | ED25519_OLD_OID => Some(KeySpec::Ed25519),
        _ => None,
    }
}

/// The name of the mechanism that made a key, as evidence.
pub fn name(mechanism: MechanismType) -> String {
    match mechanism {
        MechanismType::ECC_KEY_PAIR_GEN => "CKM_EC_KEY_PAIR_GEN".to_owned(),
        MechanismType::ECC_EDWARDS_KEY_PAIR_GEN => "CKM_EC_EDWARDS_KEY_PAIR_GEN".to_owned(),
        MechanismType::RSA_PKCS_KEY_PAIR_GEN => "CKM_RSA_PKCS_KEY_PAIR_GEN".to_owned(),
        other => other.to_string(),
    }
}
