//! Words of open vocabularies: what a later version may add to without a new format.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 1 to 40 characters of `a-z`, `0-9` and `-`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(String);

/// The text is not a [`Word`].
#[derive(Debug, thiserror::Error)]
#[error("expected 1 to 40 characters of a-z, 0-9 and -, beginning with a letter")]
pub struct NotAWord;

impl Word {
    /// The text of the word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = NotAWord;

    fn from_str(text: &str) -> Result<Self, NotAWord> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let begins = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        match begins && text.len() <= 40 && text.bytes().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAWord),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_narrow() {
        assert!("rotation-policy".parse::<Word>().is_ok());
        for bad in ["", "-a", "1a", "A", "a_b", "a b", &"a".repeat(41)] {
            assert!(bad.parse::<Word>().is_err(), "{bad}");
        }
    }
}
