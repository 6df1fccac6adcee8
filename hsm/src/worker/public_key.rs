//! From the attributes of a public key object to `SubjectPublicKeyInfo`, byte for byte the same for the same key: it is
//! compared with what the inventory holds.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use der::asn1::UintRef;
use der::{Encode, Sequence};

use super::mechanism::curve_of;
use crate::key::KeySpec;
use crate::profile::EcPoint;

/// `SubjectPublicKeyInfo` up to the key itself (RFC 5480, RFC 8410).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
const ED25519: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const RSA_OID: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// RFC 8017, appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

/// Reads the object; `Ok(None)` when it is no key of a kind known here.
pub fn read(
    session: &Session,
    object: ObjectHandle,
    form: EcPoint,
) -> Result<Option<Vec<u8>>, cryptoki::error::Error> {
    // Asked for together; a token leaves out what an object of another kind does not have.
    let wanted = [
        AttributeType::EcParams,
        AttributeType::EcPoint,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
    ];
    let (mut parameters, mut point, mut modulus, mut exponent) = (None, None, None, None);
    for attribute in session.get_attributes(object, &wanted)? {
        match attribute {
            Attribute::EcParams(value) => parameters = Some(value),
            Attribute::EcPoint(value) => point = Some(value),
            Attribute::Modulus(value) => modulus = Some(value),
            Attribute::PublicExponent(value) => exponent = Some(value),
            _ => {}
        }
    }
    Ok(match (parameters, point, modulus, exponent) {
        (Some(parameters), Some(point), ..) => from_point(&parameters, &point, form),
        (_, _, Some(modulus), Some(exponent)) => from_rsa(&modulus, &exponent),
        _ => None,
    })
}

/// Points on the curves known here; the curve decides the length, the profile the form.
fn from_point(parameters: &[u8], point: &[u8], form: EcPoint) -> Option<Vec<u8>> {
    let (prefix, length) = match curve_of(parameters)? {
        KeySpec::P256 => (P256, 65),
        KeySpec::P384 => (P384, 97),
        KeySpec::Ed25519 => (ED25519, 32),
        _ => return None,
    };
    // All lengths here are under 128: the DER form is exactly the bare point behind two bytes, so length alone decides.
    let wrapped = |point: &'_ [u8]| {
        point.len() == length + 2 && point[0] == 0x04 && usize::from(point[1]) == length
    };
    let bare = match form {
        EcPoint::Der | EcPoint::Either if wrapped(point) => &point[2..],
        EcPoint::Raw | EcPoint::Either if point.len() == length => point,
        _ => return None,
    };
    // SEC 1 uncompressed points only; Ed25519 has no such byte.
    if prefix != ED25519 && bare[0] != 0x04 {
        return None;
    }
    Some([prefix, bare].concat())
}

/// Encoded anew rather than copied, so that padding of the numbers makes no difference.
fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    // Leading zeros are dropped by the type, as DER wants it.
    let key = RsaPublicKey {
        modulus: UintRef::new(modulus).ok()?,
        public_exponent: UintRef::new(exponent).ok()?,
    };
    let key = key.to_der().ok()?;
    let info = spki::SubjectPublicKeyInfoRef {
        algorithm: spki::AlgorithmIdentifierRef {
            oid: RSA_OID,
            parameters: Some(der::asn1::AnyRef::NULL),
        },
        subject_public_key: der::asn1::BitStringRef::from_bytes(&key).ok()?,
    };
    info.to_der().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURVE: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

    #[test]
    fn a_point_is_the_same_key_wrapped_or_bare() {
        let bare = [&[4u8][..], &[7; 64]].concat();
        let wrapped = [&[4u8, 65][..], &bare].concat();
        let key = from_point(CURVE, &bare, EcPoint::Raw).unwrap();
        assert_eq!(from_point(CURVE, &wrapped, EcPoint::Der).unwrap(), key);
        assert_eq!(from_point(CURVE, &wrapped, EcPoint::Either).unwrap(), key);
        assert_eq!(from_point(CURVE, &bare, EcPoint::Either).unwrap(), key);
        spki::SubjectPublicKeyInfoRef::try_from(key.as_slice()).unwrap();
    }

    #[test]
    fn a_form_the_profile_does_not_have_is_no_key() {
        let bare = [&[4u8][..], &[7; 64]].concat();
        assert_eq!(from_point(CURVE, &bare, EcPoint::Der), None);
        assert_eq!(from_point(CURVE, &bare[..64], EcPoint::Either), None);
        assert_eq!(from_point(&CURVE[..9], &bare, EcPoint::Either), None);
        let compressed = [&[2u8][..], &[7; 64]].concat();
        assert_eq!(from_point(CURVE, &compressed, EcPoint::Either), None);
    }

    #[test]
    fn leading_zeros_of_a_modulus_do_not_change_the_key() {
        let modulus = [&[0x80u8][..], &[9; 255]].concat();
        let padded = [&[0u8][..], &modulus].concat();
        assert_eq!(
            from_rsa(&modulus, &[1, 0, 1]),
            from_rsa(&padded, &[0, 1, 0, 1])
        );
    }
}
