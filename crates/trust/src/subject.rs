//! Lines of ceremonies. Each subject has a line of its own, so that ceremonies on different
//! subjects never make each other void.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes16::Nonce;
use crate::digest::Sha256Digest;
use crate::jwk::Kid;
use crate::key_type::KeyTypeName;
use crate::name::{LOG_RING, Name};

/// What a ceremony is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// `ring/NAME`: the births of a ring's keys.
    Ring(Name),
    /// `key/KID`: the end of a key.
    Key(Kid),
    /// `trust`: roster and policy, which are one chain.
    Trust,
    /// `order/ID`: a standing order.
    Order(Nonce),
    /// `tenant/ID`
    Tenant(Name),
    /// `log`: the transparency log itself.
    Log,
    /// `ca/NAME`: a certification authority.
    Ca(Name),
    /// `stop/RING`, or `stop/*` for all rings: stops of signing, and their ends.
    Stop(Scope),
    /// `rotation-policy/KEY_TYPE`: the policy by which a critical key type rotates.
    RotationPolicy(KeyTypeName),
}

/// Whose signing is stopped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One ring's.
    Ring(Name),
    /// That of every ring but the log's own, which signs its checkpoints all the same.
    All,
}

impl Scope {
    /// The scope of a ring, or of all where none is named.
    pub fn of(ring: Option<&Name>) -> Self {
        ring.cloned().map_or(Self::All, Self::Ring)
    }

    /// The ring, if it is one.
    pub fn ring(&self) -> Option<&Name> {
        match self {
            Self::Ring(ring) => Some(ring),
            Self::All => None,
        }
    }

    /// Whether the signing of this ring is in it.
    pub fn includes(&self, ring: &str) -> bool {
        match self {
            Self::Ring(name) => name.as_str() == ring,
            Self::All => ring != LOG_RING,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(name) => name.fmt(f),
            Self::All => f.write_str(ALL_RINGS),
        }
    }
}

/// No ring has this name.
const ALL_RINGS: &str = "*";

/// The text names no subject.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected ring/NAME, key/KID, trust, order/ID, tenant/ID, log, ca/NAME, stop/RING, stop/* or rotation-policy/KEY_TYPE"
)]
pub struct NotASubject;

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(name) => write!(f, "ring/{name}"),
            Self::Key(kid) => write!(f, "key/{kid}"),
            Self::Trust => f.write_str("trust"),
            Self::Order(id) => write!(f, "order/{id}"),
            Self::Tenant(name) => write!(f, "tenant/{name}"),
            Self::Log => f.write_str("log"),
            Self::Ca(name) => write!(f, "ca/{name}"),
            Self::Stop(scope) => write!(f, "stop/{scope}"),
            Self::RotationPolicy(of) => write!(f, "rotation-policy/{of}"),
        }
    }
}

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        fn read<T: FromStr>(text: &str) -> Result<T, NotASubject> {
            text.parse().map_err(|_| NotASubject)
        }
        match text.split_once('/') {
            None if text == "trust" => Ok(Self::Trust),
            None if text == "log" => Ok(Self::Log),
            Some(("ring", name)) => read(name).map(Self::Ring),
            Some(("key", kid)) => read(kid).map(Self::Key),
            Some(("order", id)) => read(id).map(Self::Order),
            Some(("tenant", name)) => read(name).map(Self::Tenant),
            Some(("ca", name)) => read(name).map(Self::Ca),
            Some(("rotation-policy", name)) => read(name).map(Self::RotationPolicy),
            Some(("stop", ALL_RINGS)) => Ok(Self::Stop(Scope::All)),
            Some(("stop", name)) => read(name).map(|name| Self::Stop(Scope::Ring(name))),
            _ => Err(NotASubject),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The place of a request in the line of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Digest of the last ceremony of this line; `null` in the first.
    pub previous: Option<Sha256Digest>,
    /// One more than the last one's.
    pub sequence: u64,
    /// The line's subject.
    pub subject: Subject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_as_they_are_written() {
        let kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        for text in [
            "ring/atp-integrity",
            &format!("key/{kid}"),
            "trust",
            "order/00112233445566778899aabbccddeeff",
            "tenant/t42",
            "log",
            "ca/mesh",
            "stop/atp-integrity",
            "stop/*",
            "rotation-policy/jwt_signing",
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "ring",
            "ring/",
            "ring/A",
            "key/x",
            "trust/",
            "log/a",
            "asset/a",
            "stop",
            "stop/",
            "stop/**",
            "stop/A",
            "rotation-policy",
            "rotation-policy/A",
        ] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}
