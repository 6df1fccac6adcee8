//! What files with signatures hold: one a line, or one JSON document; with its payload or without.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Value, json};

use crate::output::{Failure, Output};

/// A signature as the service is asked about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// The payload of a detached JWS.
    pub payload: Option<&'a [u8]>,
    /// The key of an envelope, where its signatures do not name it.
    pub kid: Option<&'a str>,
}

/// The signatures in a file: a JSON object that is all of it, over however many lines, or one a line.
pub fn signatures_in(text: &str) -> Result<Vec<&str>, Failure> {
    let whole = text.trim();
    let is_object = |text: &str| {
        text.starts_with('{') && serde_json::from_str::<Value>(text).is_ok_and(|v| v.is_object())
    };
    if is_object(whole) {
        return Ok(vec![whole]);
    }
    let lines = text.lines().map(str::trim).enumerate();
    let all: Vec<_> = lines.filter(|(_, line)| !line.is_empty()).collect();
    let broken = all
        .iter()
        .find(|(_, line)| line.starts_with('{') && !is_object(line));
    if let Some((number, _)) = broken {
        return Err(Failure::usage(format!(
            "line {} is not a complete JSON object: put each signature on one line, or one that has \
             several lines alone in a file",
            number + 1
        )));
    }
    if all.is_empty() {
        return Err(Failure::usage("the file contains no signature"));
    }
    Ok(all.into_iter().map(|(_, line)| line).collect())
}

/// A DSSE envelope, a JWS in JSON, or a compact JWS, for `/v1/verify` and `/v1/evidence`.
pub fn claim(text: &str, beside: Beside<'_>) -> Value {
    let mut claim = match serde_json::from_str::<Value>(text) {
        Ok(value) if value.get("payloadType").is_some() => json!({"envelope": value}),
        Ok(value) if value.is_object() => json!({"jws": value}),
        _ => json!({"jws": text}),
    };
    if let Some(payload) = beside.payload {
        claim["payload"] = json!(Base64UrlUnpadded::encode_string(payload));
    }
    if let (Some(kid), true) = (beside.kid, claim.get("envelope").is_some()) {
        claim["kid"] = json!(kid);
    }
    claim
}

/// Whether a JWS is detached, or over no bytes, which looks the same.
pub fn lacks_payload(text: &str) -> bool {
    if let Ok(Value::Object(members)) = serde_json::from_str::<Value>(text) {
        let payload = members.get("payload").and_then(Value::as_str);
        return !members.contains_key("payloadType") && payload.unwrap_or_default().is_empty();
    }
    matches!(text.split('.').collect::<Vec<_>>()[..], [_, "", _])
}

/// The payload of detached signatures: the file that is given, or `X` beside `X.jws`.
pub fn payload_of(
    file: &Path,
    given: Option<&Path>,
    signatures: &[&str],
    output: &Output,
) -> Result<Option<Vec<u8>>, Failure> {
    let detached = || signatures.iter().all(|text| lacks_payload(text));
    let path = match given {
        Some(path) => path.to_owned(),
        None => match beside(file).filter(|_| detached()) {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    let payload =
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if given.is_none() {
        output.remark(format!("The payload is {}.", path.display()));
    }
    Ok(Some(payload))
}

fn beside(file: &Path) -> Option<PathBuf> {
    let is_jws = file.extension().is_some_and(|extension| extension == "jws");
    let payload = file.with_extension("");
    (is_jws && payload.is_file()).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Style;

    #[test]
    fn case_c4_an_envelope_over_several_lines_is_one_signature() {
        let pretty = "{\n  \"payloadType\": \"t\",\n  \"payload\": \"\"\n}\n";
        assert_eq!(signatures_in(pretty).unwrap(), [pretty.trim()]);
        let lines = format!("a.b.c\n\n{}\r\n", r#"{"payload":""}"#);
        assert_eq!(
            signatures_in(&lines).unwrap(),
            ["a.b.c", r#"{"payload":""}"#]
        );
        for (bad, expected) in [
            (
                format!("a.b.c\n{pretty}"),
                "line 2 is not a complete JSON object",
            ),
            (
                format!("{pretty}{pretty}"),
                "line 1 is not a complete JSON object",
            ),
            (" \n".to_owned(), "no signature"),
        ] {
            let error = signatures_in(&bad).unwrap_err().error.to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn claims_carry_what_stands_beside_them() {
        let beside = Beside {
            payload: Some(b"x"),
            kid: Some("k"),
        };
        assert_eq!(
            claim("a..c", beside),
            json!({"jws": "a..c", "payload": "eA"})
        );
        let envelope = json!({"payloadType": "t"});
        let beside = Beside {
            kid: Some("k"),
            ..Beside::default()
        };
        let expected = json!({"envelope": envelope, "kid": "k"});
        assert_eq!(claim(&envelope.to_string(), beside), expected);
    }

    #[test]
    fn case_v7_the_payload_is_found_beside_its_signature() {
        let output = Output::new("test", Style::Json);
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("a.txt"), "payload").unwrap();
        std::fs::write(file("other"), "other").unwrap();
        let found = |name: &str, given: Option<&Path>, text: &str| {
            payload_of(&file(name), given, &[text], &output).unwrap()
        };
        assert_eq!(found("a.txt.jws", None, "a..c"), Some(b"payload".to_vec()));
        let json = r#"{"protected":"a","signature":"c"}"#;
        assert_eq!(found("a.txt.jws", None, json), Some(b"payload".to_vec()));
        assert_eq!(found("a.txt.jws", None, "a.b.c"), None);
        assert_eq!(found("a.txt.jws", None, r#"{"payloadType":"t"}"#), None);
        assert_eq!(found("b.jws", None, "a..c"), None);
        assert_eq!(found("a.txt.sig", None, "a..c"), None);
        let given = file("other");
        assert_eq!(
            found("a.txt.jws", Some(&given), "a..c"),
            Some(b"other".to_vec())
        );
    }
}
