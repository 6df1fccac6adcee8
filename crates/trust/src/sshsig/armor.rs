//! The armour around an SSHSIG blob. One blob has one armour, so that no byte of a stored
//! signature can change unnoticed.

use base64ct::{Base64, Encoding};

use super::SshSigError;

const HEADER: &str = "-----BEGIN SSH SIGNATURE-----";
const FOOTER: &str = "-----END SSH SIGNATURE-----";
/// ssh-keygen breaks the base64 here.
const WIDTH: usize = 70;
/// Room for an RSA-8192 key and signature; more is not a signature.
const MAX_LEN: usize = 8192;

/// The blob inside the armour, which must be exactly what ssh-keygen writes.
pub fn decode(armored: &str) -> Result<Vec<u8>, SshSigError> {
    let blob = decode_loosely(armored)?;
    if encode(&blob) == armored {
        Ok(blob)
    } else {
        Err(SshSigError::Armor)
    }
}

/// Brings an armour that travelled through mail or a form (CRLF, other line breaks, white space
/// around it) back into its one spelling. Done once, when a signature is received.
pub fn normalize(armored: &str) -> Result<String, SshSigError> {
    Ok(encode(&decode_loosely(armored)?))
}

fn decode_loosely(armored: &str) -> Result<Vec<u8>, SshSigError> {
    if armored.len() > MAX_LEN {
        return Err(SshSigError::Armor);
    }
    let inner = armored
        .trim()
        .strip_prefix(HEADER)
        .and_then(|rest| rest.strip_suffix(FOOTER))
        .ok_or(SshSigError::Armor)?;
    let base64: String = inner.split_ascii_whitespace().collect();
    Base64::decode_vec(&base64).map_err(|_| SshSigError::Armor)
}

fn encode(blob: &[u8]) -> String {
    let base64 = Base64::encode_string(blob);
    let mut out = format!("{HEADER}\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(WIDTH));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(FOOTER);
    out.push('\n');
    out
}
