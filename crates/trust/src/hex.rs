//! Lower-case hexadecimal, the one spelling this crate writes and reads.

/// Writes `bytes` as lower-case hexadecimal.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// Reads lower-case hexadecimal. `None` on an odd length or any other character: upper case would
/// be a second spelling of the same bytes.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    fn nibble(digit: u8) -> Option<u8> {
        match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        }
    }
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        assert_eq!(encode(&[0, 0xAB, 0xff]), "00abff");
        assert_eq!(decode("00abff"), Some(vec![0, 0xAB, 0xff]));
        assert_eq!(decode("00ABFF"), None);
        assert_eq!(decode("abc"), None);
    }
}
