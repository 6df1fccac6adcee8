//! A document that may come next, and the signatures that it has so far. The walk asks whether any is missing, and whoever
//! collects them asks which.

use std::collections::BTreeSet;

use super::document::{Document, ExpectedDocument};
use super::possible;
use crate::chain::recovery::RecoveryError;
use crate::chain::{ChainError, Genesis, Pin, SignedDocument, Trusted};
use crate::digest::Sha256Digest;
use crate::namespace::Purpose;
use crate::policy::{Policy, Threshold};
use crate::recovery::RecoveryRoster;
use crate::roster::{MemberId, MemberKey, Roster};
use crate::tally::{Counted, Electorate, NotCounted, WhyNot};

/// A document that can stand there, if enough have signed it.
pub struct Candidate<T> {
    /// What the body says; trusted once it is [`Candidate::verified`].
    unverified: T,
    index: usize,
    digest: Sha256Digest,
    /// Those who decide.
    old: Count,
    /// Those whom it would install, where they are others.
    new: Option<Count>,
    /// Keys that are new for their member, who has to show that they are there: a member listed with somebody else's key,
    /// or with none that exists, could never be counted. A passkey shows it too, and counts all the same for nothing.
    new_keys: Vec<(MemberId, MemberKey)>,
    /// The key of each signature that verifies.
    signers: Vec<Option<MemberKey>>,
}

/// Who counts of an electorate.
struct Count {
    /// Of whom, for errors.
    whom: &'static str,
    needed: usize,
    counted: Vec<Counted>,
    not_counted: Vec<NotCounted>,
}

/// How far a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many it needs of those who decide: custodians, or members of the recovery roster.
    pub needed: usize,
    /// How many custodians of the roster that it would install; for a policy the same.
    pub needed_new: usize,
    /// Who counts of those who decide.
    pub old: Vec<Counted>,
    /// Who counts by the roster that it would install.
    pub new: Vec<Counted>,
    /// Keys that are new for their member and have not signed yet.
    pub unproven: Vec<(MemberId, MemberKey)>,
    /// Signatures that are good for nothing, and why they do not count by the roster before.
    pub not_counted: Vec<NotCounted>,
}

/// A document on its way into the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next roster.
    Roster,
    /// The next policy.
    Policy,
    /// The next recovery roster.
    RecoveryRoster,
    /// The next roster, by the recovery roster. What the log says of it is not asked here.
    Recovery,
}

/// Counts the signatures of the document that may come next, as [`crate::chain::walk()`] will. `suspended` members are not
/// counted; a key that only the new roster has is proven all the same, since whoever is suspended gets one by it.
///
/// An error is of a document that cannot follow, whoever signs it.
pub fn progress(
    trusted: &Trusted,
    next: Next,
    signed: &SignedDocument,
    suspended: &BTreeSet<MemberId>,
) -> Result<Progress, ChainError> {
    Ok(match next {
        Next::Roster => next_roster(trusted, signed, suspended)?.progress(),
        Next::Policy => next_policy(trusted, signed, suspended)?.progress(),
        Next::RecoveryRoster => next_recovery_roster(trusted, signed, suspended)?.progress(),
        Next::Recovery => next_roster_by_recovery(trusted, signed)?.progress(),
    })
}

impl Progress {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.old.len() >= self.needed
            && self.new.len() >= self.needed_new
            && self.unproven.is_empty()
    }

    /// Whether the signature at this place counts or proves a key.
    pub fn serves(&self, index: usize) -> bool {
        !self.not_counted.iter().any(|not| not.index == index)
    }
}

/// Everybody signs the first one, which is also their acknowledgement of duty.
pub fn first(signed: &SignedDocument, pin: &Pin) -> Result<Candidate<Genesis>, ChainError> {
    let document = Document::genesis(signed, pin);
    let found = document.digest();
    if found != pin.genesis {
        return Err(ChainError::Genesis {
            found,
            pinned: pin.genesis,
        });
    }
    let unverified: Genesis = document.read()?;
    let Genesis { roster, policy, .. } = &unverified;
    let first = ExpectedDocument {
        version: 1,
        previous: None,
    };
    document.stands_at(
        first,
        &roster.service,
        &roster.environment,
        roster.version,
        roster.previous,
    )?;
    document.stands_at(
        first,
        &policy.service,
        &policy.environment,
        policy.version,
        policy.previous,
    )?;
    possible(roster, policy, 0)?;
    let members = roster.members.iter().filter(|member| member.active).count();
    let everybody = Electorate::everybody(roster);
    let all = Count::of(&document, &everybody, members, "all members");
    let keys = document.new_keys(None, roster);
    let signers = document.keys(roster);
    let keys = (keys, signers);
    Ok(Candidate::new(&document, unverified, (all, None), keys))
}

/// TUF 5.3.4: the threshold of the old roster and of the new one.
pub fn next_roster(
    trusted: &Trusted,
    signed: &SignedDocument,
    suspended: &BTreeSet<MemberId>,
) -> Result<Candidate<Roster>, ChainError> {
    let document = Document::next(signed, Purpose::Roster, trusted);
    let roster = following_roster(trusted, &document)?;
    let needed = trusted.policy.thresholds.of("roster");
    let custodians = |roster| Electorate::custodians(roster).suspending(suspended);
    let old = custodians(&trusted.roster);
    let old = Count::of(&document, &old, needed.get(), "the old roster");
    let new = custodians(&roster);
    let new = Count::of(&document, &new, needed.get(), "the new roster");
    let keys = document.new_keys(Some(&trusted.roster), &roster);
    let keys = (keys, document.keys(&roster));
    Ok(Candidate::new(&document, roster, (old, Some(new)), keys))
}

/// The threshold of the old policy and of the new one.
pub fn next_policy(
    trusted: &Trusted,
    signed: &SignedDocument,
    suspended: &BTreeSet<MemberId>,
) -> Result<Candidate<Policy>, ChainError> {
    let document = Document::next(signed, Purpose::Policy, trusted);
    let policy: Policy = document.read()?;
    let next = ExpectedDocument {
        version: trusted.policy.version + 1,
        previous: Some(trusted.head()),
    };
    document.stands_at(
        next,
        &policy.service,
        &policy.environment,
        policy.version,
        policy.previous,
    )?;
    possible(&trusted.roster, &policy, document.index())?;
    let old = trusted.policy.thresholds.of("policy");
    let needed = Threshold::max(old, policy.thresholds.of("policy")).get();
    let custodians = Electorate::custodians(&trusted.roster).suspending(suspended);
    let whom = "the old and the new threshold";
    let count = Count::of(&document, &custodians, needed, whom);
    let keys = (Vec::new(), Vec::new());
    Ok(Candidate::new(&document, policy, (count, None), keys))
}

/// The threshold of the roster; and every key of every recovery member, which is also the
/// acknowledgement of duty.
pub fn next_recovery_roster(
    trusted: &Trusted,
    signed: &SignedDocument,
    suspended: &BTreeSet<MemberId>,
) -> Result<Candidate<RecoveryRoster>, ChainError> {
    let document = Document::next(signed, Purpose::RecoveryRoster, trusted);
    let index = document.index();
    let next: RecoveryRoster = document.read()?;
    let before = trusted.recovery.as_ref();
    let expected = ExpectedDocument {
        version: before.map_or(0, |(_, reference)| reference.version) + 1,
        previous: Some(trusted.head()),
    };
    document.stands_at(
        expected,
        &next.service,
        &next.environment,
        next.version,
        next.previous,
    )?;
    trusted
        .may_enrol(&next)
        .map_err(|source| ChainError::RecoveryRoster { index, source })?;
    let needed = trusted.policy.thresholds.of("recovery-roster").get();
    let custodians = Electorate::custodians(&trusted.roster).suspending(suspended);
    let count = Count::of(&document, &custodians, needed, "the roster");
    let people = next.as_roster();
    let keys = (document.new_keys(None, &people), document.keys(&people));
    Ok(Candidate::new(&document, next, (count, None), keys))
}

/// The threshold of the recovery roster in place of the old one's; the new roster's own and its new
/// keys as in any change. Suspensions are the old roster's; whoever recovers is on none.
pub fn next_roster_by_recovery(
    trusted: &Trusted,
    signed: &SignedDocument,
) -> Result<Candidate<Roster>, ChainError> {
    let document = Document::next(signed, Purpose::Recover, trusted);
    let Some((entitled, _)) = &trusted.recovery else {
        return Err(ChainError::Recovery {
            index: document.index(),
            source: RecoveryError::NotEnrolled,
        });
    };
    let roster = following_roster(trusted, &document)?;
    let people = entitled.as_roster();
    let old = Electorate::everybody(&people);
    let needed = entitled.threshold.get();
    let old = Count::of(&document, &old, needed, "the recovery roster");
    let needed = trusted.policy.thresholds.of("roster").get();
    let new = Electorate::custodians(&roster);
    let new = Count::of(&document, &new, needed, "the new roster");
    let keys = document.new_keys(Some(&trusted.roster), &roster);
    let keys = (keys, document.keys(&roster));
    Ok(Candidate::new(&document, roster, (old, Some(new)), keys))
}

/// What the body says, if it may follow.
fn following_roster(trusted: &Trusted, document: &Document<'_>) -> Result<Roster, ChainError> {
    let index = document.index();
    let roster: Roster = document.read()?;
    let expected = ExpectedDocument {
        version: trusted.roster.version + 1,
        previous: Some(trusted.head()),
    };
    document.stands_at(
        expected,
        &roster.service,
        &roster.environment,
        roster.version,
        roster.previous,
    )?;
    possible(&roster, &trusted.policy, index)?;
    roster
        .follows(&trusted.roster, &trusted.key_owners)
        .map_err(|source| ChainError::Roster { index, source })?;
    Ok(roster)
}

impl Count {
    fn of(
        document: &Document<'_>,
        electorate: &Electorate<'_>,
        needed: usize,
        whom: &'static str,
    ) -> Self {
        let (counted, not_counted) = document.counted(electorate);
        Self {
            whom,
            needed,
            counted,
            not_counted,
        }
    }

    /// What is missing, in words.
    fn lacks(&self) -> Option<String> {
        if self.counted.len() >= self.needed {
            return None;
        }
        let (found, needed, whom) = (self.counted.len(), self.needed, self.whom);
        let mut what = format!("{found} of {needed} for {whom}");
        for each in &self.not_counted {
            what.push_str(&format!("; signature {}: {}", each.index, each.why));
        }
        Some(what)
    }
}

impl<T> Candidate<T> {
    fn new(
        document: &Document<'_>,
        unverified: T,
        (old, new): (Count, Option<Count>),
        (new_keys, signers): (Vec<(MemberId, MemberKey)>, Vec<Option<MemberKey>>),
    ) -> Self {
        Self {
            unverified,
            index: document.index(),
            digest: document.digest(),
            old,
            new,
            new_keys,
            signers,
        }
    }

    /// What it says, and its digest, if enough have signed it.
    pub fn verified(self) -> Result<(T, Sha256Digest), ChainError> {
        let lacks = self.old.lacks();
        let lacks = lacks.or_else(|| self.new.as_ref()?.lacks());
        let lacks = lacks.or_else(|| {
            let (member, _) = self.unproven().next()?;
            Some(format!("a new key of {member}"))
        });
        match lacks {
            None => Ok((self.unverified, self.digest)),
            Some(what) => Err(ChainError::Signatures {
                index: self.index,
                what,
            }),
        }
    }

    fn progress(self) -> Progress {
        let unproven = self.unproven().cloned().collect();
        let Self {
            old,
            new,
            new_keys,
            signers,
            ..
        } = self;
        // Which of the signatures by its key one is, if the key is new; the first of them proves it.
        let earlier = |index: usize| {
            let key = signers.get(index)?.as_ref()?;
            let new = new_keys.iter().any(|(_, new)| key == new);
            let before = signers.iter().take(index).flatten();
            new.then(|| before.filter(|signer| *signer == key).count())
        };
        let not_by_new = |index: usize| {
            let mut not = new.iter().flat_map(|new| &new.not_counted);
            new.is_none() || not.any(|not| not.index == index)
        };
        let mut not_counted = old.not_counted;
        not_counted.retain(|not| not_by_new(not.index) && earlier(not.index) != Some(0));
        for not in &mut not_counted {
            if earlier(not.index).is_some() {
                not.why = WhyNot::Again;
            }
        }
        let (needed_new, new) = match new {
            Some(new) => (new.needed, new.counted),
            None => (old.needed, old.counted.clone()),
        };
        Progress {
            needed: old.needed,
            needed_new,
            old: old.counted,
            new,
            unproven,
            not_counted,
        }
    }

    fn unproven(&self) -> impl Iterator<Item = &(MemberId, MemberKey)> {
        let shown = |key: &MemberKey| self.signers.iter().flatten().any(|signer| signer == key);
        self.new_keys.iter().filter(move |(_, key)| !shown(key))
    }
}
