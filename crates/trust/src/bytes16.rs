//! 128-bit values in lower-case hexadecimal: nonces and CKA_IDs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hex;

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("expected 32 lower-case hexadecimal digits")]
pub struct NotBytes16;

macro_rules! bytes16 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotBytes16;

            fn from_str(text: &str) -> Result<Self, NotBytes16> {
                let bytes = hex::decode(text).ok_or(NotBytes16)?;
                Ok(Self(bytes.try_into().map_err(|_| NotBytes16)?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

bytes16! {
    /// Makes a request unlike every other: 128 random bits, used once.
    Nonce
}

bytes16! {
    /// The CKA_ID that a key gets on its token. Chosen when the request is written, so that an
    /// object found after a crash can be told to belong to it.
    CkaId
}
