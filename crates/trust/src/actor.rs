//! Who acts, as leaves of the log name them. A leaf names its actor in text; these are the names that the service gives,
//! and nobody else may be named so.

use std::fmt;

/// An actor that is no principal of the service's callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor<'a> {
    /// The service itself.
    Service,
    /// Callers who showed no credential.
    Anonymous,
    /// A custodian whose signature was counted.
    Custodian(&'a str),
    /// A member of the roster who proposed or cancelled.
    Member(&'a str),
    /// Whoever typed a command: the user's number, and a name that proves nothing.
    Cli {
        /// The number of the operating system's user.
        uid: u32,
        /// The login name.
        name: &'a str,
    },
}

/// What names of the log begin with: those that are given, that were given by earlier versions, and that are kept for
/// executors, witnesses, standing orders and the principals of OIDC issuers.
const BEGINNINGS: [&str; 8] = [
    "custodian:",
    "member:",
    "cli:",
    "anonymous@",
    "executor:",
    "witness:",
    "order:",
    "oidc:",
];

impl fmt::Display for Actor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("chancery"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::Custodian(id) => write!(f, "custodian:{id}"),
            Self::Member(id) => write!(f, "member:{id}"),
            Self::Cli { uid, name } => write!(f, "cli:{uid}:{name}"),
        }
    }
}

/// Whether a name looks like one of an actor of the log, in any case of its letters.
pub fn is_reserved(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    matches!(lower.as_str(), "chancery" | "anonymous")
        || BEGINNINGS.iter().any(|begin| lower.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_w2_every_form_of_the_log_is_reserved() {
        let actors = [
            Actor::Service,
            Actor::Anonymous,
            Actor::Custodian("mary"),
            Actor::Member("mary"),
            Actor::Cli {
                uid: 0,
                name: "root",
            },
        ];
        for actor in actors {
            // A new form has to be put into this list too.
            match actor {
                Actor::Service
                | Actor::Anonymous
                | Actor::Custodian(_)
                | Actor::Member(_)
                | Actor::Cli { .. } => {}
            }
            let name = actor.to_string();
            assert!(is_reserved(&name), "{name}");
            assert!(is_reserved(&name.to_uppercase()), "{name}");
        }
        for name in ["chancery-web", "team:payments", "members", "orders"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
