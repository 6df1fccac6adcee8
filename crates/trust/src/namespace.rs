//! Namespaces: what a signature is for, and where.

use std::fmt;

use crate::name::Name;

/// What a signature is for. The word stands in the bytes that are signed, so a signature for one
/// purpose is worthless for every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The first roster and policy, by all members.
    Genesis,
    /// A later roster.
    Roster,
    /// A later policy.
    Policy,
    /// Asks for what a request asks.
    Propose,
    /// Permits what a request asks.
    Approve,
    /// Forbids what a request asks.
    Reject,
    /// Withdraws what a request asks, by its proposer.
    Cancel,
    /// Accepts what was done.
    Accept,
    /// The executor's, over what was done under a standing order.
    Result,
    /// A member is not to be counted any more.
    Suspend,
    /// Notes something for the record of a ceremony.
    Note,
    /// Notes that something went otherwise than planned.
    Exception,
    /// Attests what a witness saw in a ceremony that is closed.
    Witness,
    /// Shows who reads an open ceremony.
    Read,
    /// A recovery roster.
    RecoveryRoster,
    /// A roster in place of one whose custodians are lost.
    Recover,
    /// Forbids a recovery.
    Veto,
    /// Withdraws a standing order.
    Withdraw,
    /// Made by a new key itself: it has the private half.
    Possession,
}

impl Purpose {
    /// The word inside the namespace.
    pub fn word(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Roster => "roster",
            Self::Policy => "policy",
            Self::Propose => "propose",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Cancel => "cancel",
            Self::Accept => "accept",
            Self::Result => "result",
            Self::Suspend => "suspend",
            Self::Note => "note",
            Self::Exception => "exception",
            Self::Witness => "witness",
            Self::Read => "read",
            Self::RecoveryRoster => "recovery-roster",
            Self::Recover => "recover",
            Self::Veto => "veto",
            Self::Withdraw => "withdraw",
            Self::Possession => "possession",
        }
    }
}

/// Payload types that begin so are for members and for keys that prove their possession; nobody may have a message
/// under one signed by a key of the service, and no such signature is one over anybody's data.
pub const RESERVED: &str = "chancery/";

/// Whether the message is a DSSE pre-authentication encoding of a reserved payload type.
pub fn is_reserved(message: &[u8]) -> bool {
    crate::dsse::parse_pae(message)
        .is_ok_and(|(payload_type, _)| payload_type.starts_with(RESERVED))
}

/// `chancery/<purpose>.v1@<service>/<environment>`: the SSHSIG namespace and the DSSE payload type
/// of everything that is signed, so that an approval for staging is worthless in production.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    /// What the signature is for.
    pub purpose: Purpose,
    /// The service's name.
    pub service: Name,
    /// The environment's name, for instance `production`.
    pub environment: Name,
}

impl Namespace {
    /// The namespace of `purpose` at a service in an environment.
    pub fn new(purpose: Purpose, service: &Name, environment: &Name) -> Self {
        Self {
            purpose,
            service: service.clone(),
            environment: environment.clone(),
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            purpose,
            service,
            environment,
        } = self;
        write!(f, "chancery/{}.v1@{service}/{environment}", purpose.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_as_documented() {
        let service = "seal".parse().unwrap();
        let environment = "production".parse().unwrap();
        let namespace = Namespace::new(Purpose::Approve, &service, &environment);
        assert_eq!(namespace.to_string(), "chancery/approve.v1@seal/production");
    }
}
