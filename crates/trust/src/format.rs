//! The member `v` of every signed document: the version of its format.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Format version 1, written as the number 1; any other number is refused. A later format gets a
/// type of its own, so that no document is read by the rules of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V1;

impl Serialize for V1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format!(
                "unknown format version {other}, expected 1"
            ))),
        }
    }
}
