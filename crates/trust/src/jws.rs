//! Reading a JWS from a stranger. Everything in it is unverified: the header chooses neither the
//! algorithm (the ring does) nor the key (only `kid` is looked at; `jwk`, `jku`, `x5c` and `x5u`
//! are refused, because a verifier that follows them lets the forger bring the key).

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::Deserialize;
use serde_json::Value;

/// Largest header that is read.
const LONGEST_HEADER: usize = 8 * 1_024;

/// A JWS in JSON may carry signatures of other people; more than these are only work.
pub const MOST_SIGNATURES: usize = 16;

/// What a verifier says of a signature that is invalid over no payload.
pub const NO_PAYLOAD: &str = "the JWS has no payload: give the payload that was signed \
    (`payload`; `--payload FILE` on the command line)";

/// Not of the form that it says: a mistake of whoever asks, not a verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {problem}")]
pub struct Malformed {
    pub member: &'static str,
    pub problem: String,
}

/// A JWS taken apart, nothing checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedJws {
    pub alg: String,
    pub kid: String,
    pub signing_input: Vec<u8>,
    pub signature: Vec<u8>,
    /// What this header asks for and we do not do; such a JWS is invalid, not malformed.
    pub objection: Option<String>,
    /// There is no payload in it, and none was given: it is detached, or over no bytes.
    pub lacks_payload: bool,
}

/// The protected header; members we do not know are allowed (RFC 7515 section 4), but those of
/// `crit` must be understood.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<Vec<String>>,
    #[serde(default)]
    b64: Option<bool>,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

/// Flattened JSON serialisation, or general. Members that are not known here are ignored (RFC 7515
/// section 7.2); they are covered by no signature.
#[derive(Deserialize)]
struct JsonForm {
    #[serde(default)]
    payload: Option<String>,
    #[serde(default)]
    protected: Option<String>,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    header: Option<Value>,
    /// Each by itself: one that cannot be read is somebody else's.
    #[serde(default)]
    signatures: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct JsonSignature {
    protected: String,
    signature: String,
    #[serde(default)]
    header: Option<Value>,
}

/// Compact serialisation; `detached` is the payload of a detached one.
pub fn parse_jws(compact: &str, detached: Option<&[u8]>) -> Result<UnverifiedJws, Malformed> {
    let mut parts = compact.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => {
            assemble(header, payload, signature, detached)
        }
        _ => Err(malformed("jws", "expected three parts separated by dots")),
    }
}

/// JSON serialisation, RFC 7515 section 7.2: its signatures in their order, at least one. Of several
/// signatures those that cannot be read are left out, if there is one that can.
pub fn parse_jws_json(
    json: &[u8],
    detached: Option<&[u8]>,
) -> Result<Vec<UnverifiedJws>, Malformed> {
    let form: JsonForm =
        crate::json::parse_strict(json).map_err(|e| malformed("jws", e.to_string()))?;
    let payload = form.payload.unwrap_or_default();
    match (form.protected, form.signature, form.signatures) {
        (Some(protected), Some(signature), None) => {
            let one = JsonSignature {
                protected,
                signature,
                header: form.header,
            };
            Ok(vec![one.assemble(&payload, detached)?])
        }
        (None, None, Some(all)) if (1..=MOST_SIGNATURES).contains(&all.len()) => {
            let read = all.into_iter().map(|one| {
                let one: JsonSignature =
                    serde_json::from_value(one).map_err(|e| malformed("jws", e.to_string()))?;
                one.assemble(&payload, detached)
            });
            let (good, bad): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
            match bad.into_iter().next() {
                Some(Err(error)) if good.is_empty() => Err(error),
                _ => Ok(good.into_iter().flatten().collect()),
            }
        }
        (None, None, Some(_)) => Err(malformed(
            "jws",
            format!("expected 1 to {MOST_SIGNATURES} signatures"),
        )),
        _ => Err(malformed(
            "jws",
            "expected protected and signature, or signatures",
        )),
    }
}

impl JsonSignature {
    fn assemble(&self, payload: &str, detached: Option<&[u8]>) -> Result<UnverifiedJws, Malformed> {
        let mut jws = assemble(&self.protected, payload, &self.signature, detached)?;
        if self.header.is_some() && jws.objection.is_none() {
            jws.objection = Some("unprotected headers are not supported".to_owned());
        }
        Ok(jws)
    }
}

fn assemble(
    protected: &str,
    payload: &str,
    signature: &str,
    detached: Option<&[u8]>,
) -> Result<UnverifiedJws, Malformed> {
    if protected.len() > LONGEST_HEADER {
        return Err(malformed("jws", "the header is too long"));
    }
    let header_bytes = decode("jws", protected)?;
    // Duplicate members are refused: two readers could see two different headers.
    let header: Header = crate::json::parse_strict(&header_bytes)
        .map_err(|e| malformed("jws", format!("invalid header: {e}")))?;
    let unencoded = header.b64 == Some(false);
    let mut signing_input = protected.as_bytes().to_vec();
    signing_input.push(b'.');
    match (payload.is_empty(), detached) {
        (true, Some(bytes)) if unencoded => signing_input.extend_from_slice(bytes),
        (true, Some(bytes)) => {
            signing_input.extend_from_slice(Base64UrlUnpadded::encode_string(bytes).as_bytes());
        }
        (false, Some(_)) => {
            return Err(malformed("payload", "the JWS already contains its payload"));
        }
        (_, None) => {
            if !unencoded {
                decode("jws", payload)?;
            }
            signing_input.extend_from_slice(payload.as_bytes());
        }
    }
    Ok(UnverifiedJws {
        lacks_payload: payload.is_empty() && detached.is_none(),
        objection: objection(&header),
        alg: header.alg,
        kid: header.kid.unwrap_or_default(),
        signing_input,
        signature: decode("jws", signature)?,
    })
}

fn objection(header: &Header) -> Option<String> {
    if let Some(name) = ["jwk", "jku", "x5c", "x5u"]
        .into_iter()
        .find(|name| header.others.contains_key(*name))
    {
        return Some(format!("a key embedded in {name:?} is not accepted"));
    }
    let crit = header.crit.as_deref();
    if let Some(name) = crit.unwrap_or_default().iter().find(|name| *name != "b64") {
        return Some(format!("critical header {name:?} is not understood"));
    }
    // RFC 7797 section 6: b64 must be critical; RFC 7515 section 4.1.11: crit is not empty and
    // names only what is there, once.
    match (header.b64, crit) {
        (Some(_), None) => Some("\"b64\" without \"crit\"".to_owned()),
        (Some(_), Some([_])) | (None, None) => None,
        (_, Some(_)) => {
            Some("\"crit\" is empty, repeats a name or lists an absent member".to_owned())
        }
    }
}

fn decode(member: &'static str, text: &str) -> Result<Vec<u8>, Malformed> {
    Base64UrlUnpadded::decode_vec(text)
        .map_err(|_| malformed(member, "expected base64url without padding"))
}

fn malformed(member: &'static str, problem: impl Into<String>) -> Malformed {
    Malformed {
        member,
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jws(header: &str) -> String {
        format!(
            "{}.cGF5bG9hZA.c2ln",
            Base64UrlUnpadded::encode_string(header.as_bytes())
        )
    }

    fn objection(header: &str) -> Option<String> {
        parse_jws(&jws(header), None)
            .expect("well-formed")
            .objection
    }

    #[test]
    fn a_key_brought_along_is_refused() {
        for name in ["jwk", "jku", "x5c", "x5u"] {
            let header = format!(r#"{{"alg":"ES256","kid":"k","{name}":"x"}}"#);
            assert!(objection(&header).is_some_and(|o| o.contains(name)));
        }
        assert_eq!(objection(r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#), None);
    }

    #[test]
    fn unknown_crit_and_misused_b64_are_refused() {
        for bad in [
            r#"{"alg":"ES256","crit":["exp"],"exp":1}"#,
            r#"{"alg":"ES256","crit":[]}"#,
            r#"{"alg":"ES256","crit":["b64"]}"#,
            r#"{"alg":"ES256","b64":false}"#,
            r#"{"alg":"ES256","b64":false,"crit":["b64","b64"]}"#,
        ] {
            assert!(objection(bad).is_some(), "{bad}");
        }
        assert_eq!(
            objection(r#"{"alg":"ES256","b64":true,"crit":["b64"]}"#),
            None
        );
    }

    #[test]
    fn what_is_not_a_jws_is_malformed() {
        let duplicate = jws(r#"{"alg":"ES256","alg":"none"}"#);
        for bad in ["", "a.b", "a.b.c.d", "e30=.e30.e30", &duplicate, &jws("[]")] {
            assert!(parse_jws(bad, None).is_err(), "{bad}");
        }
        let attached = jws(r#"{"alg":"ES256"}"#);
        assert!(parse_jws(&attached, Some(b"other")).is_err());
    }

    #[test]
    fn unencoded_payloads_are_covered_as_they_are() {
        let header = r#"{"alg":"ES256","b64":false,"crit":["b64"],"kid":"k"}"#;
        let protected = Base64UrlUnpadded::encode_string(header.as_bytes());
        let jws = parse_jws(&format!("{protected}..c2ln"), Some(b"$.02")).expect("well-formed");
        assert_eq!(jws.signing_input, format!("{protected}.$.02").into_bytes());
        assert_eq!(jws.objection, None);
    }
    #[test]
    fn case_v5_a_jws_in_json_of_others_is_read() {
        let protected = |kid: &str| {
            let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
            Base64UrlUnpadded::encode_string(header.as_bytes())
        };
        let (ours, theirs) = (protected("ours"), protected("theirs"));
        let text = format!(
            r#"{{"payload":"cGF5","extra":1,"signatures":[
            {{"protected":"{theirs}","signature":"c2ln","x":[]}},
            {{"header":{{"kid":"x"}},"signature":"c2ln"}},
            {{"protected":"{ours}","signature":"c2ln"}}]}}"#
        );
        let read = parse_jws_json(text.as_bytes(), None).expect("well-formed");
        let kids: Vec<_> = read.iter().map(|jws| jws.kid.as_str()).collect();
        assert_eq!(kids, ["theirs", "ours"]);
        let flat = format!(r#"{{"payload":"cGF5","protected":"{ours}","signature":"c2ln","x":1}}"#);
        assert_eq!(
            parse_jws_json(flat.as_bytes(), None)
                .expect("well-formed")
                .len(),
            1
        );
        let bad = r#"{"payload":"cGF5","signatures":[{"signature":"c2ln"}]}"#;
        let none = r#"{"payload":"cGF5","signatures":[]}"#;
        let one = r#"{"signature":"c2ln"}"#;
        let many = format!(
            r#"{{"signatures":[{}]}}"#,
            vec![one; MOST_SIGNATURES + 1].join(",")
        );
        for bad in [bad, none, &many] {
            assert!(parse_jws_json(bad.as_bytes(), None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_jws_without_a_payload_says_so() {
        let protected = Base64UrlUnpadded::encode_string(br#"{"alg":"ES256","kid":"k"}"#);
        let detached = format!("{protected}..c2ln");
        assert!(
            parse_jws(&detached, None)
                .expect("well-formed")
                .lacks_payload
        );
        assert!(
            !parse_jws(&detached, Some(b""))
                .expect("well-formed")
                .lacks_payload
        );
        let json = format!(r#"{{"protected":"{protected}","signature":"c2ln"}}"#);
        assert!(parse_jws_json(json.as_bytes(), None).expect("well-formed")[0].lacks_payload);
    }
}
