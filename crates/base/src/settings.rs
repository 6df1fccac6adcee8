//! What sections of the configuration are made of. Each part of the service owns its section; the program composes them.

pub mod duration;
mod secret;

use serde::{Deserialize, Serialize};

pub use secret::{FromEnv, FromFile, Secret};

/// What short times and inline values are allowed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    Production,
    /// Times of seconds, so that a rotation can be watched. Never trust its signatures.
    Demonstration,
}

/// A value that is well-formed but must not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct Invalid {
    /// `section.name`
    pub setting: &'static str,
    pub problem: String,
}

impl Invalid {
    pub fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self {
            setting,
            problem: problem.into(),
        }
    }
}

/// Whether a host of an address (brackets allowed) is this machine itself, so that nobody is on the way.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    bare.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
