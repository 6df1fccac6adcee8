//! Lower-case hexadecimal, the one spelling this crate writes and reads.

/// Writes `bytes` as lower-case hexadecimal.
pub fn encode(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

/// Reads lower-case hexadecimal. `None` on an odd length or any other character: upper case would
/// be a second spelling of the same bytes.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    base16ct::lower::decode_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        assert_eq!(encode(&[0, 0xAB, 0xff]), "00abff");
        assert_eq!(decode("00abff"), Some(vec![0, 0xAB, 0xff]));
        assert_eq!(decode("00ABFF"), None);
        assert_eq!(decode("00aBff"), None);
        assert_eq!(decode("0g"), None);
        assert_eq!(decode("abc"), None);
        assert_eq!(decode(""), Some(Vec::new()));
    }
}
