//! SubjectPublicKeyInfo in DER (RFC 5280 section 4.1.2.7).
//!
//! Identifiers: EC and its curves in RFC 5480, RSA in RFC 3279 section 2.3.1, Ed25519 in RFC 8410.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Encode, Sequence};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::{Curve, Material, PublicKey, PublicKeyError};

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// RSAPublicKey of RFC 8017 appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    n: UintRef<'a>,
    e: UintRef<'a>,
}

pub fn read(der: &[u8]) -> Result<PublicKey, PublicKeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| PublicKeyError::Der)?;
    let key = info
        .subject_public_key
        .as_bytes()
        .ok_or(PublicKeyError::Der)?;
    match info.algorithm.oid {
        EC => {
            let curve = match info
                .algorithm
                .parameters_oid()
                .map_err(|_| PublicKeyError::Der)?
            {
                P256 => Curve::P256,
                P384 => Curve::P384,
                other => return Err(PublicKeyError::Unsupported(format!("curve {other}"))),
            };
            // Uncompressed points only (RFC 5480 section 2.2): one encoding per key.
            let point = key
                .strip_prefix(&[4])
                .ok_or(PublicKeyError::Form("EC point"))?;
            if point.len() != 2 * curve.coordinate_len() {
                return Err(PublicKeyError::Form("EC point"));
            }
            let (x, y) = point.split_at(curve.coordinate_len());
            PublicKey::ec(curve, x, y)
        }
        RSA => {
            let rsa = RsaPublicKey::from_der(key).map_err(|_| PublicKeyError::Der)?;
            PublicKey::rsa(rsa.n.as_bytes(), rsa.e.as_bytes())
        }
        ED25519 => PublicKey::ed25519(key),
        other => Err(PublicKeyError::Unsupported(format!("algorithm {other}"))),
    }
}

pub fn write(key: &PublicKey) -> Vec<u8> {
    // Lengths were checked when the key was made, so encoding cannot fail; an empty result would
    // be refused by every reader.
    try_write(key).unwrap_or_default()
}

fn try_write(key: &PublicKey) -> der::Result<Vec<u8>> {
    match &key.material {
        Material::Ec { curve, x, y } => {
            let oid = match curve {
                Curve::P256 => P256,
                Curve::P384 => P384,
            };
            let point = [&[4], x.as_slice(), y].concat();
            info(EC, Some(AnyRef::from(&oid)), &point)
        }
        Material::Rsa { n, e } => {
            let rsa = RsaPublicKey {
                n: UintRef::new(n)?,
                e: UintRef::new(e)?,
            }
            .to_der()?;
            info(RSA, Some(AnyRef::NULL), &rsa)
        }
        Material::Okp { x } => info(ED25519, None, x),
    }
}

fn info(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> der::Result<Vec<u8>> {
    SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid, parameters },
        subject_public_key: BitStringRef::from_bytes(key)?,
    }
    .to_der()
}
