//! What a key is for, and its shape.

use serde::{Deserialize, Serialize};

use crate::alg::{Algorithm, KeySpec};
use crate::spelled::spelled;
use crate::template::Use;

/// What a key is for, and its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KeyPurpose {
    /// A pair: the private half signs, the public half is published.
    Sign {
        /// The ring's algorithm.
        algorithm: Algorithm,
        /// The key's shape.
        key_spec: KeySpec,
    },
    /// A secret key that wraps other keys.
    Wrap {
        /// How it wraps.
        algorithm: WrapAlgorithm,
        /// The key's shape.
        key_spec: WrapKeySpec,
    },
}

/// How a key wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapAlgorithm {
    /// AES Key Wrap with a 256-bit key (RFC 3394, RFC 7518 section 4.4).
    A256Kw,
}

/// The shape of a wrapping key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapKeySpec {
    /// AES with 256 bits.
    Aes256,
}

impl WrapAlgorithm {
    /// All, in a stable order.
    pub const ALL: [Self; 1] = [Self::A256Kw];

    fn name(self) -> &'static str {
        match self {
            Self::A256Kw => "A256KW",
        }
    }
}

impl WrapKeySpec {
    /// All, in a stable order.
    pub const ALL: [Self; 1] = [Self::Aes256];

    fn name(self) -> &'static str {
        match self {
            Self::Aes256 => "AES-256",
        }
    }
}

spelled!(WrapAlgorithm, "algorithm");
spelled!(WrapKeySpec, "key spec");

impl KeyPurpose {
    /// Whether it signs or wraps.
    pub fn used(&self) -> Use {
        match self {
            Self::Sign { .. } => Use::Sign,
            Self::Wrap { .. } => Use::Wrap,
        }
    }

    /// The shape, as a device tells it.
    pub fn key_spec(&self) -> String {
        match self {
            Self::Sign { key_spec, .. } => key_spec.to_string(),
            Self::Wrap { key_spec, .. } => key_spec.to_string(),
        }
    }

    /// How a signing key signs, and its shape.
    pub fn signing(&self) -> Option<(Algorithm, KeySpec)> {
        match self {
            Self::Sign {
                algorithm,
                key_spec,
            } => Some((*algorithm, *key_spec)),
            Self::Wrap { .. } => None,
        }
    }
}
