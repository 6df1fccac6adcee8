//! Where a claim is: a JSON pointer (RFC 6901) through objects. An array is not looked into by number: what stands
//! third in a list of groups says nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// A pointer to one claim, `/kubernetes.io/serviceaccount/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    first: String,
    rest: Vec<String>,
}

/// The text is no [`Pointer`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a JSON pointer to a claim (RFC 6901), such as /sub")]
pub struct NotAPointer(String);

impl Pointer {
    /// `/sub`
    pub fn subject() -> Self {
        Self {
            text: "/sub".to_owned(),
            first: "sub".to_owned(),
            rest: Vec::new(),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The claim, if it is there.
    pub fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let first = claims.get(&self.first)?;
        (self.rest.iter()).try_fold(first, |at, name| at.as_object()?.get(name))
    }

    /// Whether the claim is this text, or an array with it.
    pub fn has(&self, claims: &Map<String, Value>, text: &str) -> bool {
        match self.find(claims) {
            Some(Value::String(found)) => found == text,
            Some(Value::Array(all)) => all.iter().any(|each| each.as_str() == Some(text)),
            _ => false,
        }
    }
}

/// Section 3: `~1` is a slash, `~0` is a tilde, and nothing else follows a tilde.
fn unescaped(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let rest = match part.strip_prefix('1') {
            Some(rest) => {
                out.push('/');
                rest
            }
            None => {
                out.push('~');
                part.strip_prefix('0')?
            }
        };
        out.push_str(rest);
    }
    Some(out)
}

impl FromStr for Pointer {
    type Err = NotAPointer;

    fn from_str(text: &str) -> Result<Self, NotAPointer> {
        let refused = || NotAPointer(text.to_owned());
        let mut tokens = text.strip_prefix('/').ok_or_else(refused)?.split('/');
        let mut next = || {
            tokens
                .next()
                .map(|token| unescaped(token).ok_or_else(refused))
        };
        let first = next().ok_or_else(refused)??;
        let rest = std::iter::from_fn(next).collect::<Result<Vec<_>, _>>()?;
        if first.is_empty() || rest.iter().any(String::is_empty) {
            return Err(refused());
        }
        Ok(Self {
            text: text.to_owned(),
            first,
            rest,
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pointer {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_goes_through_objects_and_not_into_arrays() {
        let claims =
            json!({"sub": "a", "groups": ["x", "y"], "n": {"a/b": {"c~d": "e"}}, "": "no"});
        let claims = claims.as_object().unwrap();
        let has = |pointer: &str, text| pointer.parse::<Pointer>().unwrap().has(claims, text);
        assert!(has("/sub", "a") && !has("/sub", "A") && !has("/sub", ""));
        assert!(has("/groups", "y") && !has("/groups", "z") && !has("/groups/0", "x"));
        assert!(has("/n/a~1b/c~0d", "e") && !has("/n", "e") && !has("/n/x", "e"));
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for text in [
            "", "/", "sub", "#/sub", "/a//b", "/a/", "/a~", "/a~2", "/~01~",
        ] {
            assert!(text.parse::<Pointer>().is_err(), "{text:?}");
        }
        let escaped: Pointer = "/~01".parse().unwrap();
        assert_eq!(escaped.first, "~1", "RFC 6901 section 4");
    }
}
