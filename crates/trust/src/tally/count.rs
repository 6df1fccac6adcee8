//! Counting members: every signature verified, every member once.
//!
//! The counter-example is CVE-2020-15093: a verifier that counted signatures, so that one key could
//! reach any threshold. Here a ballot is worth its member, and a member is counted once.

use std::collections::BTreeSet;

use crate::member_signature::MemberSignature;
use crate::namespace::Namespace;
use crate::policy::Threshold;
use crate::roster::{Member, MemberId, MemberKey, Role, Roster};
use crate::sshkey::SshKey;
use crate::sshsig::{self, SshSigError};
use crate::webauthn::{self, Assertion, PasskeyError, PasskeyKey};

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
    /// Signatures by passkeys count, beside others.
    passkeys: bool,
}

impl<'a> Electorate<'a> {
    pub fn everybody(roster: &'a Roster) -> Self {
        Self {
            roster,
            roles: &[],
            excluded: None,
            suspended: None,
            passkeys: false,
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

    /// Passkeys count too, where they do.
    pub fn and_passkeys(self, passkeys: bool) -> Self {
        Self { passkeys, ..self }
    }

    /// Whose signature it is, in time and by a key of a kind that counts.
    fn judge(
        &self,
        namespace: &Namespace,
        message: &[u8],
        ballot: &Ballot<'_>,
    ) -> Result<(MemberKey, &'a MemberId), (Option<MemberId>, WhyNot)> {
        let key = match ballot.signature {
            MemberSignature::Webauthn { .. } if !self.passkeys => Err(WhyNot::Kind),
            signature => verify_by(self.roster, signature, namespace, message),
        };
        let key = key.map_err(|why| (None, why))?;
        let id = &self.admit(&key)?.id;
        match ballot.late {
            true => Err((Some(id.clone()), WhyNot::Late)),
            false => Ok((key, id)),
        }
    }

    fn admit(&self, key: &MemberKey) -> Result<&'a Member, (Option<MemberId>, WhyNot)> {
        let member = self.roster.owner_of(key);
        let member = member.ok_or((None, WhyNot::UnknownKey))?;
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
    pub key: MemberKey,
}

impl Counted {
    /// Whether the member signed in a browser.
    pub fn is_by_passkey(&self) -> bool {
        self.key.is_passkey()
    }
}

/// How many more have to sign. One of those who count has to sign by other means than a passkey, whatever the threshold:
/// the page on which a passkey is used is served by the service itself.
pub fn missing(counted: &[Counted], needed: Threshold) -> usize {
    let all_by_passkey = counted.iter().all(Counted::is_by_passkey);
    let fewer = needed.get().saturating_sub(counted.len());
    fewer.max(usize::from(all_by_passkey))
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
    /// A passkey's assertion where none counts, whatever it says.
    #[error("signatures of passkeys do not count here")]
    Kind,
    /// A passkey's assertion that does not verify over these bytes.
    #[error("{0}")]
    Passkey(#[from] PasskeyError),
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

/// The SSH key that made a signature over `message`. Whether it means anything is the roster's to say.
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

/// The key of whatever kind that made a signature over `message`. A passkey is found on the roster, and used where the
/// roster says; the namespace is in the message, and so in the challenge.
pub fn verify_by(
    roster: &Roster,
    signature: &MemberSignature,
    namespace: &Namespace,
    message: &[u8],
) -> Result<MemberKey, WhyNot> {
    let MemberSignature::Webauthn {
        authenticator_data,
        client_data,
        credential_id,
        signature,
    } = signature
    else {
        let public = verify(signature, namespace, message)?;
        return Ok(MemberKey::Ssh { public });
    };
    let passkeys = roster.passkeys.as_ref().ok_or(PasskeyError::NotUsed)?;
    let found = roster.passkey(credential_id).ok_or(WhyNot::UnknownKey)?;
    if let MemberKey::Webauthn {
        algorithm,
        public_key,
        ..
    } = found
    {
        let key = PasskeyKey::from_spki(*algorithm, &public_key.0).map_err(PasskeyError::Key)?;
        let assertion = Assertion {
            authenticator_data: &authenticator_data.0,
            client_data: &client_data.0,
            signature: &signature.0,
        };
        webauthn::verify(passkeys, &key, message, assertion)?;
    }
    Ok(found.clone())
}

/// Verifies every ballot over `message` and counts distinct members.
///
/// A member who signed by passkey may sign again by another key, which then counts in its place: else nobody could give
/// the one signature that is by no passkey where all have used theirs.
pub(crate) fn count<'a>(
    electorate: &Electorate<'_>,
    namespace: &Namespace,
    message: &[u8],
    ballots: impl IntoIterator<Item = Ballot<'a>>,
) -> (Vec<Counted>, Vec<NotCounted>) {
    let (mut counted, mut not_counted): (Vec<Counted>, Vec<NotCounted>) = Default::default();
    for (index, ballot) in ballots.into_iter().enumerate() {
        let judged = electorate.judge(namespace, message, &ballot);
        let (key, member) = match judged {
            Ok(judged) => judged,
            Err((member, why)) => {
                not_counted.push(NotCounted { index, member, why });
                continue;
            }
        };
        let before = counted.iter().position(|each| each.member == *member);
        let again = match before {
            Some(place) if !counted[place].is_by_passkey() || key.is_passkey() => Some(index),
            Some(place) => Some(counted.remove(place).index),
            None => None,
        };
        if let Some(index) = again {
            let member = Some(member.clone());
            let why = WhyNot::Again;
            not_counted.push(NotCounted { index, member, why });
        }
        if again != Some(index) {
            let member = member.clone();
            counted.push(Counted { index, member, key });
        }
    }
    not_counted.sort_by_key(|not| not.index);
    (counted, not_counted)
}
