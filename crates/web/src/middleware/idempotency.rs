//! The `Idempotency-Key` header: makes a retry return the same signature.

use axum::http::{HeaderMap, HeaderName};

use crate::problem::{Code, Problem};
use keyring::signing::IdempotencyKey;

/// draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_MAX: usize = 128;

/// A structured-header string (RFC 8941 section 3.3.3), or the bare characters that many clients
/// send; both spellings are the same key.
pub fn of(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let wrong = || {
        Problem::new(
            Code::BadHeader,
            format!("expected one string of 1 to {IDEMPOTENCY_KEY_MAX} letters, digits, '-', '_', '.' or ':'"),
        )
        .about("Idempotency-Key")
    };
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(wrong());
    }
    let text = value.to_str().map_err(|_| wrong())?.trim();
    let text = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or_else(wrong)?,
        None => text,
    };
    let good = !text.is_empty()
        && text.len() <= IDEMPOTENCY_KEY_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    if !good {
        return Err(wrong());
    }
    Ok(Some(IdempotencyKey(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_one_string_in_either_spelling() {
        for (given, expected) in [
            ("\"8e03978e-40d5\"", Some("8e03978e-40d5")),
            ("8e03978e-40d5", Some("8e03978e-40d5")),
            ("\"unfinished", None),
            ("\"\"", None),
            ("a b", None),
            ("a\"b", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, given.parse().unwrap());
            match (of(&headers), expected) {
                (Ok(Some(IdempotencyKey(key))), Some(expected)) => assert_eq!(key, expected),
                (Err(problem), None) => assert_eq!(problem.code, Code::BadHeader),
                (other, _) => panic!("{given}: {other:?}"),
            }
        }
        let mut headers = HeaderMap::new();
        headers.append(IDEMPOTENCY_KEY, "a".parse().unwrap());
        headers.append(IDEMPOTENCY_KEY, "b".parse().unwrap());
        assert!(of(&headers).is_err());
        headers.clear();
        headers.insert(IDEMPOTENCY_KEY, "a".repeat(129).parse().unwrap());
        assert!(of(&headers).is_err());
    }
}
