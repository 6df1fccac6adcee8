//! The rotation policy of a critical key type, which the quorum changes.
//!
//! What a policy has to be is not judged here but by the service, before anybody is asked; here it is one document, and the
//! one that it replaces.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Sha256Digest;
use crate::json;
use crate::key_type::KeyTypeName;

use super::check::RequestError;

/// Most bytes of a policy as canonical JSON.
pub const LONGEST_POLICY: usize = 16_384;

/// Puts the next version of the rotation policy of a key type in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationPolicy {
    /// The whole policy, canonical JSON.
    pub document: String,
    /// Whose policy it is.
    pub key_type: KeyTypeName,
    /// The policy in force that it replaces, canonical JSON: of another one nobody has said that it may go.
    pub replaces: String,
    /// Its version, above that of the replaced one. Most often it is the next one; a number in between is left out where a
    /// row has it that nobody decided, because rows can be added and never taken away.
    pub version: u32,
}

/// A policy by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecidedPolicy {
    /// SHA-256 of its canonical JSON.
    pub digest: Sha256Digest,
    /// Whose policy it is.
    pub key_type: KeyTypeName,
    /// Its version.
    pub version: u32,
}

impl RotationPolicy {
    /// The policy that it puts in force, by name.
    pub fn decided(&self) -> DecidedPolicy {
        DecidedPolicy {
            digest: Sha256Digest::of(self.document.as_bytes()),
            key_type: self.key_type.clone(),
            version: self.version,
        }
    }

    /// The members of both documents, the replaced one first; none if one cannot be read.
    pub(crate) fn members(&self) -> Option<[Map<String, Value>; 2]> {
        let read = |text: &str| json::require_canonical(text.as_bytes()).ok();
        Some([read(&self.replaces)?, read(&self.document)?])
    }

    pub(super) fn check(&self) -> Result<(), RequestError> {
        let wrong = |what| Err(RequestError::RotationPolicy(what));
        if self.version_of(&self.document) != Some(self.version) {
            return wrong(
                "document: expected canonical JSON of at most 16384 bytes with this key_type and version",
            );
        }
        if self
            .replaced()
            .is_none_or(|replaced| replaced >= self.version)
        {
            return wrong(
                "replaces: expected canonical JSON of at most 16384 bytes with this key_type and a lower version of 1 or more",
            );
        }
        Ok(())
    }

    /// The version that it replaces; none if that cannot be read.
    pub fn replaced(&self) -> Option<u32> {
        self.version_of(&self.replaces)
            .filter(|version| *version > 0)
    }

    /// The version of a policy of this key type.
    fn version_of(&self, text: &str) -> Option<u32> {
        if text.len() > LONGEST_POLICY {
            return None;
        }
        let read = json::require_canonical::<Map<String, Value>>(text.as_bytes()).ok()?;
        let of = read.get("key_type").and_then(Value::as_str)?;
        let version = read.get("version").and_then(Value::as_u64)?;
        (of == self.key_type.as_str()).then(|| u32::try_from(version).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(version: u32, interval: &str) -> String {
        format!(r#"{{"interval":"{interval}","key_type":"signing","version":{version}}}"#)
    }

    fn order() -> RotationPolicy {
        RotationPolicy {
            document: policy(2, "60d"),
            key_type: "signing".parse().unwrap(),
            replaces: policy(1, "90d"),
            version: 2,
        }
    }

    #[test]
    fn a_policy_is_of_the_type_of_the_one_that_it_replaces_and_of_a_higher_version() {
        assert_eq!(order().check(), Ok(()));
        let refused = |change: &dyn Fn(&mut RotationPolicy)| {
            let mut order = order();
            change(&mut order);
            order.check().is_err()
        };
        // A version that somebody wrote into the database in between is passed over.
        let mut later = order();
        (later.version, later.document) = (9, policy(9, "60d"));
        assert_eq!(later.check(), Ok(()));
        assert_eq!(later.replaced(), Some(1));
        assert!(refused(&|order| order.version = 3));
        assert!(refused(&|order| order.version = 1));
        assert!(refused(&|order| {
            (order.version, order.document) = (1, policy(1, "60d"));
        }));
        assert!(refused(&|order| order.replaces = policy(0, "90d")));
        assert!(refused(&|order| order.replaces = policy(3, "90d")));
        assert!(refused(&|order| order.document = policy(3, "60d")));
        assert!(refused(&|order| order.replaces = policy(2, "90d")));
        assert!(refused(&|order| order.key_type = "api_key".parse().unwrap()));
        assert!(refused(&|order| order.document.push(' ')));
        assert!(refused(&|order| order.document = "[]".to_owned()));
        assert!(refused(&|order| order.replaces = String::new()));
        assert!(refused(&|order| {
            order.document = policy(2, &"9".repeat(LONGEST_POLICY));
        }));
    }
}
