//! How the lines of the C2SP formats spell numbers and bytes: one spelling each.

use base64ct::{Base64, Encoding};

use crate::digest::Sha256Digest;

/// Standard base64 with padding (RFC 4648 section 4).
pub fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Reads standard base64. `None` on missing padding, a foreign character or non-zero trailing bits.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    (base64(&bytes) == text).then_some(bytes)
}

/// A hash on a line of its own.
pub fn hash(text: &str) -> Option<Sha256Digest> {
    let bytes = unbase64(text)?;
    Some(Sha256Digest::from_bytes(bytes.try_into().ok()?))
}

/// ASCII decimal without leading zeros, except `0` itself. `None` on a sign and beyond 2^63-1,
/// which is what indexes of databases and readers in other languages can hold.
pub fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if digits && !padded {
        text.parse()
            .ok()
            .filter(|number| i64::try_from(*number).is_ok())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        assert_eq!(unbase64("AQI="), Some(vec![1, 2]));
        for other in [
            "AQI", "AQJ=", "AQ_=", "AQI==", "AQI=\n", " AQI=", "AQI=AQI=",
        ] {
            assert_eq!(unbase64(other), None, "{other:?}");
        }
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("9223372036854775807"), Some(i64::MAX as u64));
        for other in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            "1 ",
            "9223372036854775808",
            "18446744073709551616",
            "١",
        ] {
            assert_eq!(decimal(other), None, "{other:?}");
        }
        assert_eq!(hash("AQI="), None, "32 bytes only");
    }
}
