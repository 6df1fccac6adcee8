//! A token before anything of it is believed.

use serde_json::{Map, Value};
use trust::{base64url, json};

use super::refusal::Refusal;

/// Longest token; the longest that were seen carry some hundred groups.
pub const LONGEST: usize = 8 * 1_024;

/// Whether an access token is a JWS in compact form: three parts. Access tokens of the service have no dot.
pub fn is_jws(access_token: &str) -> bool {
    access_token.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Header and claims of a token whose signature nobody has checked.
pub struct UnverifiedToken<'a> {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
    /// What is signed (RFC 7515 section 5.2).
    pub input: &'a str,
    /// In base64url.
    pub signature: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// Duplicate members are refused wherever they stand, since two readers could see two different tokens.
    pub fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > LONGEST {
            return Err(Refusal::TooLong);
        }
        let (input, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = input.split_once('.').ok_or(Refusal::Malformed)?;
        // One spelling of each signature.
        base64url::decode(signature).ok_or(Refusal::Malformed)?;
        Ok(Self {
            header: object(header)?,
            claims: object(claims)?,
            input,
            signature,
        })
    }

    /// A member of the header that is text.
    pub fn header_text(&self, member: &str) -> Option<&str> {
        self.header.get(member).and_then(Value::as_str)
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Refusal> {
    let bytes = base64url::decode(part).ok_or(Refusal::Malformed)?;
    json::parse_strict(&bytes).map_err(|_| Refusal::Malformed)
}
