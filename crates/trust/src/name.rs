//! Names of rings, services, environments and members.

use std::fmt;
use std::str::FromStr;

/// The ring whose keys sign the log's checkpoints and nothing else. The name is reserved, so that
/// no setting and no row of a database can make another ring the log's, or the log's another.
pub const LOG_RING: &str = "log";

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 1 to 63 characters of `a-z`, `0-9` and `-`, beginning with a letter or digit.
///
/// Narrow on purpose: a name stands inside namespaces and paths, so `@`, `/`, white space and
/// look-alike letters must not be expressible.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The text is not a [`Name`].
#[derive(Debug, thiserror::Error)]
#[error("expected 1 to 63 characters of a-z, 0-9 and -, beginning with a letter or digit")]
pub struct NotAName;

impl Name {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let good =
            (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAName)
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_carry_separators() {
        assert!("atp-integrity".parse::<Name>().is_ok());
        for bad in ["", "-a", "A", "a/b", "a@b", "a b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
