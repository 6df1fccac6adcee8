//! One document of the chain on its way to being trusted.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chain::{ChainError, Pin, SignedDocument};
use crate::digest::Sha256Digest;
use crate::json;
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::roster::{MemberId, MemberKey, Roster};
use crate::sshkey::SshKey;
use crate::tally::{Ballot, Counted, Electorate, NotCounted, count, verify};

/// A document with what it takes to verify it.
pub struct Document<'a> {
    signed: &'a SignedDocument,
    pin: &'a Pin,
    namespace: Namespace,
    /// What was signed.
    message: Vec<u8>,
    /// Place in the chain, 0 for the genesis.
    index: usize,
}

/// Where the next document of its kind has to stand.
#[derive(Clone, Copy)]
pub struct ExpectedDocument {
    pub version: u64,
    pub previous: Option<Sha256Digest>,
}

impl<'a> Document<'a> {
    pub fn new(signed: &'a SignedDocument, purpose: Purpose, pin: &'a Pin, index: usize) -> Self {
        let namespace = Namespace::new(purpose, &pin.service, &pin.environment);
        let message = signed.message(&namespace);
        Self {
            signed,
            pin,
            namespace,
            message,
            index,
        }
    }

    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.signed.body.as_bytes())
    }

    /// What the body says; not yet verified.
    pub fn read<T: DeserializeOwned + Serialize>(&self) -> Result<T, ChainError> {
        json::require_canonical(self.signed.body.as_bytes()).map_err(|source| ChainError::Json {
            index: self.index,
            source,
        })
    }

    /// Refuses a document for elsewhere, of another version, or after another predecessor.
    pub fn stands_at(
        &self,
        place: ExpectedDocument,
        service: &Name,
        environment: &Name,
        version: u64,
        previous: Option<Sha256Digest>,
    ) -> Result<(), ChainError> {
        let index = self.index;
        if (service, environment) != (&self.pin.service, &self.pin.environment) {
            let (service, environment) = (service.clone(), environment.clone());
            return Err(ChainError::Elsewhere {
                index,
                service,
                environment,
            });
        }
        if version != place.version {
            return Err(ChainError::Version {
                index,
                found: version,
                expected: place.version,
            });
        }
        if previous != place.previous {
            return Err(ChainError::Previous { index });
        }
        Ok(())
    }

    /// Refuses a document that fewer than `needed` distinct members of the electorate signed.
    pub fn signed_by(
        &self,
        electorate: &Electorate<'_>,
        needed: usize,
        whom: &str,
    ) -> Result<(), ChainError> {
        let (counted, not_counted) = self.counted(electorate);
        if counted.len() >= needed {
            return Ok(());
        }
        let mut what = format!("{} of {needed} for {whom}", counted.len());
        for each in not_counted {
            what.push_str(&format!("; signature {}: {}", each.index, each.why));
        }
        Err(ChainError::Signatures {
            index: self.index,
            what,
        })
    }

    /// Who of the electorate signed, each member once.
    pub fn counted(&self, electorate: &Electorate<'_>) -> (Vec<Counted>, Vec<NotCounted>) {
        let ballots = self.signed.signatures.iter().map(|signature| Ballot {
            signature,
            late: false,
        });
        count(electorate, &self.namespace, &self.message, ballots)
    }

    /// The key of each signature; none where it does not verify.
    pub fn keys(&self) -> Vec<Option<SshKey>> {
        let signatures = self.signed.signatures.iter();
        let verified =
            signatures.map(|signature| verify(signature, &self.namespace, &self.message).ok());
        verified.collect()
    }

    /// The keys of active members that they did not have in the roster before.
    pub fn new_keys(&self, before: Option<&Roster>, roster: &Roster) -> Vec<(MemberId, SshKey)> {
        let mut found = Vec::new();
        for member in roster.members.iter().filter(|member| member.active) {
            for public in member.keys.iter().filter_map(MemberKey::ssh) {
                let owner = before.and_then(|before| before.owner(public));
                if owner.is_none_or(|owner| owner.id != member.id) {
                    found.push((member.id.clone(), public.clone()));
                }
            }
        }
        found
    }

    /// Refuses a roster with a key that its member did not have before and that did not sign: a
    /// member listed with somebody else's key, or with none that exists, could never be counted.
    pub fn shows_new_keys(
        &self,
        before: Option<&Roster>,
        roster: &Roster,
    ) -> Result<(), ChainError> {
        let signed = self.keys();
        let missing = |(_, key): &(MemberId, SshKey)| !signed.contains(&Some(key.clone()));
        match self.new_keys(before, roster).into_iter().find(missing) {
            None => Ok(()),
            Some((member, _)) => Err(ChainError::Signatures {
                index: self.index,
                what: format!("a new key of {member}"),
            }),
        }
    }
}
