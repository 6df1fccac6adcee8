//! Ids of rotations: `kr_` and a UUID of version 7 (RFC 9562, section 5.7), so that they sort by when they were made.

use calendar::Time;

/// Of an instant and ten random bytes.
pub fn event_id(at: Time, random: [u8; 10]) -> String {
    let millis = at.millis().unsigned_abs().to_be_bytes();
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&millis[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "kr_{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        // The example of RFC 9562, appendix A.6.
        let at = Time::from_millis(0x017F_22E2_79B0);
        let random = [0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f];
        let id = event_id(at, random);
        assert_eq!(id, "kr_017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        assert_eq!(id.len(), 39);
    }
}
