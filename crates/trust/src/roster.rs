//! The roster: who the custodians are and by which keys they are known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::alg::Algorithm;
use crate::base64url::Base64Url;
use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::name::Name;
use crate::sshkey::SshKey;
use crate::text;
use crate::time::Time;
use crate::word::{NotAWord, Word};

/// A member's short name. Members are counted by it, never by keys or signatures.
pub type MemberId = Name;

/// One version of the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Format version.
    pub v: V1,
    /// The service it is for.
    pub service: Name,
    /// The environment it is for.
    pub environment: Name,
    /// Version, from 1.
    pub version: u64,
    /// Digest of the document before it in the chain; `null` in the genesis.
    pub previous: Option<Sha256Digest>,
    /// All members, former ones as not active.
    pub members: Vec<Member>,
    /// No request is approved under it later.
    pub expires_at: Option<Time>,
    /// Where passkeys are used. No version counts passkeys yet, so it is `null`.
    pub passkeys: Option<Passkeys>,
}

/// The relying party of WebAuthn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkeys {
    /// The pages that may ask for an assertion, exactly.
    pub origins: Vec<String>,
    /// Its id, a host name.
    pub rp_id: String,
}

/// One person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Short name, unique in the roster.
    pub id: MemberId,
    /// The person's name, for people.
    pub name: String,
    /// What the person may do.
    pub roles: Vec<Role>,
    /// The keys the person is known by.
    pub keys: Vec<MemberKey>,
    /// Former members stay listed, so that their ids are not given away again; a roster without
    /// one of them does not follow.
    pub active: bool,
}

/// A key that a member signs with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MemberKey {
    /// An OpenSSH key, used by `ssh-keygen -Y sign`; not a browser.
    Ssh {
        /// `type base64`, without a comment.
        public: SshKey,
    },
    /// A passkey. Its form is settled; no version counts one yet.
    Webauthn {
        /// How it signs.
        #[serde(deserialize_with = "passkey_algorithm")]
        algorithm: Algorithm,
        /// Names it.
        #[serde(deserialize_with = "credential_id")]
        credential_id: Base64Url,
        /// DER SubjectPublicKeyInfo.
        public_key: Base64Url,
    },
}

/// What authenticators sign with (WebAuthn level 3 section 5.8.5).
fn passkey_algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
    let algorithm = Algorithm::deserialize(deserializer)?;
    match algorithm {
        Algorithm::Es256 | Algorithm::Ed25519 | Algorithm::Rs256 => Ok(algorithm),
        Algorithm::Es384 | Algorithm::Ps256 => Err(serde::de::Error::custom(format!(
            "passkeys do not sign with {algorithm}"
        ))),
    }
}

/// Of 16 to 1023 bytes (WebAuthn level 3 section 4, credential id).
fn credential_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Base64Url, D::Error> {
    let id = Base64Url::deserialize(deserializer)?;
    match (16..=1023).contains(&id.0.len()) {
        true => Ok(id),
        false => Err(serde::de::Error::custom("expected 16 to 1023 bytes")),
    }
}

impl MemberKey {
    /// The OpenSSH key, if it is one.
    pub fn ssh(&self) -> Option<&SshKey> {
        match self {
            Self::Ssh { public } => Some(public),
            Self::Webauthn { .. } => None,
        }
    }
}

/// What a member may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Counts in the tally.
    Custodian,
    /// One of the two who order an emergency rotation.
    SecurityLead,
    /// The other one.
    OnCallManager,
    /// May stop signing.
    OnCall,
    /// May propose.
    Operator,
    /// Signs the results of standing orders, and does nothing else.
    Executor,
    /// May note and attest what was seen in a ceremony; alone it does not give the right to propose.
    Witness,
    /// Leads ceremonies: may propose and note.
    Administrator,
    /// A role of a later version; it gives no power here.
    Other(Word),
}

impl Role {
    /// The roles that this version knows, in a stable order.
    pub const ALL: [Self; 8] = [
        Self::Custodian,
        Self::SecurityLead,
        Self::OnCallManager,
        Self::OnCall,
        Self::Operator,
        Self::Executor,
        Self::Witness,
        Self::Administrator,
    ];

    fn name(&self) -> &str {
        match self {
            Self::Custodian => "custodian",
            Self::SecurityLead => "security-lead",
            Self::OnCallManager => "on-call-manager",
            Self::OnCall => "on-call",
            Self::Operator => "operator",
            Self::Executor => "executor",
            Self::Witness => "witness",
            Self::Administrator => "administrator",
            Self::Other(word) => word.as_str(),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = NotAWord;

    fn from_str(text: &str) -> Result<Self, NotAWord> {
        match Self::ALL.into_iter().find(|role| role.name() == text) {
            Some(role) => Ok(role),
            None => text.parse().map(Self::Other),
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Member {
    /// Whether the member may ask for a ceremony: everybody active but executors, and witnesses who have no other role
    /// that this version knows.
    pub fn may_propose(&self) -> bool {
        let only_witnesses = self.roles.contains(&Role::Witness)
            && (self.roles.iter()).all(|role| matches!(role, Role::Witness | Role::Other(_)));
        self.active && !self.roles.contains(&Role::Executor) && !only_witnesses
    }

    /// Whether the member's notes and exceptions are taken for the record of a ceremony.
    pub fn may_note(&self) -> bool {
        let takes =
            |role: &Role| matches!(role, Role::Custodian | Role::Witness | Role::Administrator);
        self.active && self.roles.iter().any(takes)
    }

    /// Whether the member may attest afterwards what was seen in a ceremony.
    pub fn may_attest(&self) -> bool {
        self.active && self.roles.contains(&Role::Witness)
    }
}

/// A roster that cannot be trusted whoever signs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// The same id twice.
    #[error("members[{0}]: duplicate id")]
    DuplicateId(usize),
    /// Two members, or one member twice, with the same key material. Comparing material and not
    /// text finds the same key under another type as well.
    #[error("members {0} and {1} share a key")]
    SharedKey(MemberId, MemberId),
    /// An active member nobody could recognise.
    #[error("member {0} is active but has no key")]
    NoKey(MemberId),
    /// The name is empty, too long, or has characters that do not print.
    #[error("the name of member {0} is not 1 to 100 printable characters")]
    Name(MemberId),
    /// A role twice: two spellings of one roster.
    #[error("member {0} has the same role twice")]
    DuplicateRole(MemberId),
    /// An executor's signature is never counted, so it can have no role that counts.
    #[error("member {0} is an executor and must have no other role")]
    ExecutorRole(MemberId),
    /// A passkey, or the settings of passkeys.
    #[error("passkeys are not supported")]
    Kind,
    /// A member of the roster before is not listed any more.
    #[error("member {0} is missing; former members must remain listed as inactive")]
    Dropped(MemberId),
    /// The key stood under another member in an earlier roster.
    #[error("a key of member {1} belonged to member {0} in an earlier roster")]
    FormerKey(MemberId, MemberId),
    /// The id stands, or stood, on the recovery roster.
    #[error("{0} is the id of a recovery member")]
    Recovers(MemberId),
}

/// Whose each key has been in all rosters of a chain. A roster alone does not show it: a member
/// may put away a key that was lost, and it must not come to count for somebody else.
#[derive(Debug, Default)]
pub(crate) struct KeyOwners {
    keys: BTreeMap<Vec<u8>, MemberId>,
    /// Everybody who ever stood on a recovery roster; none of them is on any roster.
    recovery: BTreeSet<MemberId>,
}

impl KeyOwners {
    /// Remembers the keys of one more roster.
    pub fn extend(&mut self, roster: &Roster) {
        for (material, id) in roster.materials() {
            self.keys.insert(material, id.clone());
        }
    }

    /// Remembers the people and keys of one more recovery roster.
    pub fn extend_recovery(&mut self, recovery: &Roster) {
        self.extend(recovery);
        let ids = recovery.members.iter().map(|member| member.id.clone());
        self.recovery.extend(ids);
    }

    /// Refuses a key that has been another's.
    pub fn free_for(&self, roster: &Roster) -> Result<(), RosterError> {
        for (material, id) in roster.materials() {
            if let Some(former) = self.keys.get(&material).filter(|former| *former != id) {
                return Err(RosterError::FormerKey(former.clone(), id.clone()));
            }
        }
        Ok(())
    }
}

impl Roster {
    /// Refuses duplicate ids and shared key material, former members included: a key that has
    /// belonged to one person must not come to count for another.
    pub fn check(&self) -> Result<(), RosterError> {
        if self.passkeys.is_some() {
            return Err(RosterError::Kind);
        }
        let mut ids = BTreeSet::new();
        let mut materials: BTreeMap<Vec<u8>, &MemberId> = BTreeMap::new();
        for (index, member) in self.members.iter().enumerate() {
            if !ids.insert(&member.id) {
                return Err(RosterError::DuplicateId(index));
            }
            if !text::is_plain(&member.name, 100) {
                return Err(RosterError::Name(member.id.clone()));
            }
            if member.active && member.keys.is_empty() {
                return Err(RosterError::NoKey(member.id.clone()));
            }
            let roles: BTreeSet<_> = member.roles.iter().collect();
            if roles.len() != member.roles.len() {
                return Err(RosterError::DuplicateRole(member.id.clone()));
            }
            if member.roles.contains(&Role::Executor) && member.roles.len() > 1 {
                return Err(RosterError::ExecutorRole(member.id.clone()));
            }
            for key in &member.keys {
                let public = key.ssh().ok_or(RosterError::Kind)?;
                if let Some(other) = materials.insert(public.material(), &member.id) {
                    return Err(RosterError::SharedKey(other.clone(), member.id.clone()));
                }
            }
        }
        Ok(())
    }

    /// Refuses to follow `before` without its members, or with a key that has been another's.
    pub(crate) fn follows(&self, before: &Self, key_owners: &KeyOwners) -> Result<(), RosterError> {
        let dropped = |member: &&Member| self.member(&member.id).is_none();
        if let Some(member) = before.members.iter().find(dropped) {
            return Err(RosterError::Dropped(member.id.clone()));
        }
        let recovers = |member: &&Member| key_owners.recovery.contains(&member.id);
        if let Some(member) = self.members.iter().find(recovers) {
            return Err(RosterError::Recovers(member.id.clone()));
        }
        key_owners.free_for(self)
    }

    fn materials(&self) -> impl Iterator<Item = (Vec<u8>, &MemberId)> {
        self.members.iter().flat_map(|member| {
            let keys = member.keys.iter().filter_map(MemberKey::ssh);
            keys.map(move |public| (public.material(), &member.id))
        })
    }

    /// The member with this id.
    pub fn member(&self, id: &MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == *id)
    }

    /// The member, active or not, to whom a key belongs.
    pub fn owner(&self, key: &SshKey) -> Option<&Member> {
        let owns = |member: &&Member| {
            let mut keys = member.keys.iter().filter_map(MemberKey::ssh);
            keys.any(|public| public == key)
        };
        self.members.iter().find(owns)
    }

    /// The active members with a role.
    pub fn active(&self, role: Role) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(move |member| member.active && member.roles.contains(&role))
    }
}
