//! Names of key types: classes of assets that rotate by one policy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 1 to 40 characters of `a-z`, `0-9`, `-` and `_`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyTypeName(String);

/// The text is no [`KeyTypeName`].
#[derive(Debug, thiserror::Error)]
#[error("expected 1 to 40 characters of a-z, 0-9, - and _, beginning with a letter or digit")]
pub struct NotAKeyType;

impl KeyTypeName {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyTypeName {
    type Err = NotAKeyType;

    fn from_str(text: &str) -> Result<Self, NotAKeyType> {
        let begins = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let allowed = |c: u8| begins(&c) || b"-_".contains(&c);
        let bytes = text.as_bytes();
        match bytes.len() <= 40 && bytes.first().is_some_and(begins) && text.bytes().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAKeyType),
        }
    }
}

impl fmt::Display for KeyTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for KeyTypeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyTypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow_and_bounded() {
        for text in ["signing", "jwt_signing", "3des-keys", &"a".repeat(40)] {
            assert_eq!(text.parse::<KeyTypeName>().unwrap().to_string(), text);
        }
        for bad in ["", "_a", "-a", "A", "a/b", "a b", "ä", &"a".repeat(41)] {
            assert!(bad.parse::<KeyTypeName>().is_err(), "{bad}");
        }
    }
}
