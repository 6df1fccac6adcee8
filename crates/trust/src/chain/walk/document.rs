//! One document of the chain on its way to being trusted.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chain::{ChainError, Pin, SignedDocument, Trusted};
use crate::digest::Sha256Digest;
use crate::json;
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::roster::{MemberId, MemberKey, Roster};
use crate::tally::{Ballot, Counted, Electorate, NotCounted, count, verify_by};

/// A document with what it takes to verify it.
pub struct Document<'a> {
    signed: &'a SignedDocument,
    service: &'a Name,
    environment: &'a Name,
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
    /// The document at place 0.
    pub fn genesis(signed: &'a SignedDocument, pin: &'a Pin) -> Self {
        Self::new(
            signed,
            Purpose::Genesis,
            (&pin.service, &pin.environment),
            0,
        )
    }

    /// The document after the newest one.
    pub fn next(signed: &'a SignedDocument, purpose: Purpose, trusted: &'a Trusted) -> Self {
        let home = (trusted.service(), trusted.environment());
        Self::new(signed, purpose, home, trusted.documents.len())
    }

    fn new(
        signed: &'a SignedDocument,
        purpose: Purpose,
        (service, environment): (&'a Name, &'a Name),
        index: usize,
    ) -> Self {
        let namespace = Namespace::new(purpose, service, environment);
        let message = signed.message(&namespace);
        Self {
            signed,
            service,
            environment,
            namespace,
            message,
            index,
        }
    }

    /// Its place in the chain.
    pub fn index(&self) -> usize {
        self.index
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
        if (service, environment) != (self.service, self.environment) {
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

    /// Who of the electorate signed, each member once.
    pub fn counted(&self, electorate: &Electorate<'_>) -> (Vec<Counted>, Vec<NotCounted>) {
        let ballots = self.signed.signatures.iter().map(|signature| Ballot {
            signature,
            late: false,
        });
        count(electorate, &self.namespace, &self.message, ballots)
    }

    /// The key of each signature, of a passkey by the roster that would know it; none where it does not verify.
    pub fn keys(&self, roster: &Roster) -> Vec<Option<MemberKey>> {
        let signatures = self.signed.signatures.iter();
        let verified = signatures
            .map(|signature| verify_by(roster, signature, &self.namespace, &self.message).ok());
        verified.collect()
    }

    /// The keys of active members that they did not have in the roster before. What somebody had who was not active there is
    /// new: nobody has ever had to sign with it.
    pub fn new_keys(&self, before: Option<&Roster>, roster: &Roster) -> Vec<(MemberId, MemberKey)> {
        let mut found = Vec::new();
        for member in roster.members.iter().filter(|member| member.active) {
            for key in &member.keys {
                let owner = before.and_then(|before| before.owner_of(key));
                if owner.is_none_or(|owner| owner.id != member.id || !owner.active) {
                    found.push((member.id.clone(), key.clone()));
                }
            }
        }
        found
    }
}
