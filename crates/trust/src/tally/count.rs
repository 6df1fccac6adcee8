//! Counting members: every signature verified, every member once.
//!
//! The counter-example is CVE-2020-15093: a verifier that counted signatures, so that one key could
//! reach any threshold. Here a ballot is worth its member, and a member is counted once.

use std::collections::BTreeSet;

use crate::member_signature::MemberSignature;
use crate::namespace::Namespace;
use crate::roster::{Member, MemberId, Role, Roster};
use crate::sshkey::SshKey;
use crate::sshsig::{self, SshSigError};

/// One signature, not yet verified.
pub(crate) struct Ballot<'a> {
    pub signature: &'a MemberSignature,
    /// It came after its deadline.
    pub late: bool,
}

/// Who may be counted.
pub(crate) struct Electorate<'a> {
    roster: &'a Roster,
    /// One of them is enough; none: every active member, whatever the role.
    roles: &'static [Role],
    excluded: Option<&'a MemberId>,
    suspended: Option<&'a BTreeSet<MemberId>>,
}

impl<'a> Electorate<'a> {
    pub fn everybody(roster: &'a Roster) -> Self {
        Self {
            roster,
            roles: &[],
            excluded: None,
            suspended: None,
        }
    }

    pub fn custodians(roster: &'a Roster) -> Self {
        Self {
            roles: &[Role::Custodian],
            ..Self::everybody(roster)
        }
    }

    /// Who may stop signing.
    pub fn stoppers(roster: &'a Roster) -> Self {
        Self {
            roles: &[Role::Custodian, Role::OnCall],
            ..Self::everybody(roster)
        }
    }

    /// Who may approve an emergency rotation.
    pub fn emergency(roster: &'a Roster) -> Self {
        Self {
            roles: &super::emergency::ROLES,
            ..Self::everybody(roster)
        }
    }

    pub fn without(self, proposer: Option<&'a MemberId>) -> Self {
        Self {
            excluded: proposer,
            ..self
        }
    }

    pub fn suspending(self, suspended: &'a BTreeSet<MemberId>) -> Self {
        Self {
            suspended: Some(suspended),
            ..self
        }
    }

    fn admit(&self, key: &SshKey) -> Result<&'a Member, (Option<MemberId>, WhyNot)> {
        let member = self.roster.owner(key).ok_or((None, WhyNot::UnknownKey))?;
        let why = if !member.active {
            WhyNot::Inactive
        } else if self.suspended.is_some_and(|all| all.contains(&member.id)) {
            WhyNot::Suspended
        } else if !self.roles.is_empty()
            && !self.roles.iter().any(|role| member.roles.contains(role))
        {
            WhyNot::Role
        } else if self.excluded == Some(&member.id) {
            WhyNot::Proposer
        } else {
            return Ok(member);
        };
        Err((Some(member.id.clone()), why))
    }
}

/// A member who counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The signature's place in the list, from 0.
    pub index: usize,
    /// The member.
    pub member: MemberId,
    /// The key the member signed with.
    pub key: SshKey,
}

/// A signature that did not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCounted {
    /// Its place in the list, from 0.
    pub index: usize,
    /// Whose key it was, as far as the roster knows.
    pub member: Option<MemberId>,
    /// Why it did not count.
    pub why: WhyNot,
}

/// Why a signature did not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// It does not verify over these bytes in this namespace.
    #[error("{0}")]
    Signature(#[from] SshSigError),
    /// A passkey's assertion.
    #[error("signatures of passkeys are not supported")]
    Kind,
    /// Nobody on the roster has this key.
    #[error("the key belongs to no roster member")]
    UnknownKey,
    /// A former member.
    #[error("the member is no longer active")]
    Inactive,
    /// Not a custodian.
    #[error("the member is not a custodian")]
    Role,
    /// Proposed the request.
    #[error("the proposer's approval does not count")]
    Proposer,
    /// Suspended.
    #[error("the member is suspended")]
    Suspended,
    /// Counted before, by the same or another key.
    #[error("the member was already counted")]
    Again,
    /// Received after the deadline.
    #[error("received after the deadline")]
    Late,
}

/// The key that made a signature over `message`. Whether it means anything is the roster's to say.
pub(crate) fn verify(
    signature: &MemberSignature,
    namespace: &Namespace,
    message: &[u8],
) -> Result<SshKey, WhyNot> {
    match signature {
        MemberSignature::Ssh { signature } => Ok(sshsig::verify(signature, namespace, message)?),
        MemberSignature::Webauthn { .. } => Err(WhyNot::Kind),
    }
}

/// Verifies every ballot over `message` and counts distinct members.
pub(crate) fn count<'a>(
    electorate: &Electorate<'_>,
    namespace: &Namespace,
    message: &[u8],
    ballots: impl IntoIterator<Item = Ballot<'a>>,
) -> (Vec<Counted>, Vec<NotCounted>) {
    let (mut counted, mut not_counted) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (index, ballot) in ballots.into_iter().enumerate() {
        let judged = verify(ballot.signature, namespace, message)
            .map_err(|why| (None, why))
            .and_then(|key| {
                let id = &electorate.admit(&key)?.id;
                if ballot.late {
                    return Err((Some(id.clone()), WhyNot::Late));
                }
                if !seen.insert(id.clone()) {
                    return Err((Some(id.clone()), WhyNot::Again));
                }
                Ok(Counted {
                    index,
                    member: id.clone(),
                    key,
                })
            });
        match judged {
            Ok(member) => counted.push(member),
            Err((member, why)) => not_counted.push(NotCounted { index, member, why }),
        }
    }
    (counted, not_counted)
}
