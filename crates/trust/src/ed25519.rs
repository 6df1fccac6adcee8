//! Ed25519 points that are no keys (RFC 8032).
//!
//! A point whose order divides 8 verifies signatures that nobody needed a private key for: for the
//! identity, R = identity and S = 0 sign every message. Verification by RFC 8032 does not refuse
//! such keys, and few libraries do; see Chalkias, Garillot, Nikolaenko, "Taming the Many EdDSAs"
//! (SSR 2020).

/// 2^255 - 19, little-endian.
const P: [u8; 32] = filled(0xed, 0xff, 0x7f);

/// The y of all eight points whose order divides 8, little-endian; those of order 8 are the roots
/// of d y^4 + 2 y^2 = 1. Each stands for x and for -x.
const SMALL_ORDER: [[u8; 32]; 5] = [
    // Order 4.
    filled(0, 0, 0),
    // Order 1.
    filled(1, 0, 0),
    // Order 2: -1.
    filled(0xec, 0xff, 0x7f),
    // Order 8.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

const fn filled(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// Whether an encoded point may be somebody's key: y is below p, so that the point has one
/// spelling, and the order does not divide 8. That it lies on the curve is left to verification:
/// with a point that does not, nobody can sign.
pub(crate) fn may_be_a_key(point: &[u8; 32]) -> bool {
    let mut y = *point;
    // The sign of x. It has a second spelling only where x is 0, which is y = 1 and y = -1.
    y[31] &= 0x7f;
    y.iter().rev().lt(P.iter().rev()) && !SMALL_ORDER.contains(&y)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

    use super::*;

    fn with_sign(mut y: [u8; 32]) -> [[u8; 32]; 2] {
        let plain = y;
        y[31] |= 0x80;
        [plain, y]
    }

    /// R = identity and S = 0 hold for every message whose challenge is a multiple of the order.
    fn anybody_signs(point: &[u8; 32]) -> bool {
        let forged = [&filled(1, 0, 0)[..], &[0; 32]].concat();
        let key = UnparsedPublicKey::new(&ED25519, point);
        (0..400u32).any(|message| key.verify(&message.to_be_bytes(), &forged).is_ok())
    }

    #[test]
    fn points_with_which_anybody_signs_are_no_keys() {
        let mut weak = 0;
        for y in SMALL_ORDER {
            for point in with_sign(y) {
                assert!(!may_be_a_key(&point), "{point:02x?}");
                weak += usize::from(anybody_signs(&point));
            }
        }
        // All eight points, whether or not the library reads the two spellings of 1 and -1.
        assert!(weak >= 8, "{weak} are weak");
    }

    #[test]
    fn points_have_one_spelling() {
        // y + p fits for y below 19 only.
        for above in 0..19 {
            for point in with_sign(filled(0xed + above, 0xff, 0x7f)) {
                assert!(!may_be_a_key(&point), "{point:02x?}");
            }
        }
        assert!(may_be_a_key(&filled(0xeb, 0xff, 0x7f)), "-2");
        assert!(may_be_a_key(&filled(0xed, 0xff, 0x7e)));
        assert!(may_be_a_key(&filled(2, 0, 0)));
    }

    #[test]
    fn keys_are_keys() {
        for seed in 0..64 {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
            let point = pair.public_key().as_ref().try_into().unwrap();
            assert!(may_be_a_key(&point) && !anybody_signs(&point));
        }
    }
}
