//! The recovery roster, and what it may do: one recovery at a time, seen by everybody.

use crate::chain::recovery::{LoggedVeto, Recovered, Recovery, RecoveryError};
use crate::chain::{ChainError, Pin, Trusted};
use crate::digest::Sha256Digest;
use crate::jwk::PublicKey;
use crate::leaf::{self, ActLeaf, Leaf};
use crate::proofs::{Proofs, Proven};
use crate::recovery::{
    ANNOUNCE, RECOVER, RecoveryRoster, RecoveryRosterError, VETO, recovery_ready, tells,
    verify_veto,
};
use crate::roster::MemberId;
use crate::tlog::policy::WitnessPolicy;

use super::candidate::next_roster_by_recovery;

/// The keys of the log by their transcripts, none of which may be of another chain than the one so
/// far; or which of them does not hold, and why.
pub type LogKeysOfChain = fn(&[String], &Pin, &Trusted) -> Result<Vec<PublicKey>, (usize, String)>;

impl Trusted {
    /// Refuses a recovery roster that could not follow, whoever signs it.
    pub fn may_enrol(&self, next: &RecoveryRoster) -> Result<(), RecoveryRosterError> {
        next.check()?;
        let on_the_roster = |id: &MemberId| self.roster.member(id).is_some();
        if let Some(member) = next.members.iter().find(|each| on_the_roster(&each.id)) {
            return Err(RecoveryRosterError::OnTheRoster(member.id.clone()));
        }
        Ok(self.key_owners.free_for(&next.as_roster())?)
    }
}

/// The signatures first: nobody can have proofs checked who is not entitled to recover.
pub fn recover(
    trusted: &mut Trusted,
    change: &Recovery,
    pin: &Pin,
    log_keys: LogKeysOfChain,
) -> Result<(), ChainError> {
    let index = trusted.documents.len();
    let (roster, digest) = next_roster_by_recovery(trusted, &change.document)?.verified()?;
    let recovered = evidence(trusted, change, digest, pin, log_keys)
        .map_err(|source| ChainError::Recovery { index, source })?;
    trusted.recoveries.push(recovered);
    trusted.accept_roster(roster, digest);
    Ok(())
}

/// What the log says: announced, not vetoed, and the delay passed.
fn evidence(
    trusted: &Trusted,
    change: &Recovery,
    document: Sha256Digest,
    pin: &Pin,
    log_keys: LogKeysOfChain,
) -> Result<Recovered, RecoveryError> {
    let Some((entitled, _)) = &trusted.recovery else {
        return Err(RecoveryError::NotEnrolled);
    };
    let delay = entitled.delay();
    let keys = log_keys(&change.log_keys, pin, trusted)
        .map_err(|(number, why)| RecoveryError::Key(number, why))?;
    let mut proofs = Proofs::new(&keys, WitnessPolicy::none());
    let mut proven = |what, action, leaf: &str, proof: &str| {
        let place = proofs.check(proof, leaf);
        let place = place.map_err(|why| RecoveryError::Proof { what, why })?;
        match act(leaf).filter(|act| tells(act, action, document)) {
            Some(act) => Ok((place, act)),
            None => Err(RecoveryError::OtherLeaf(what)),
        }
    };
    let announced = &change.announcement;
    let (announced, announcement) =
        proven("announcement", ANNOUNCE, &announced.leaf, &announced.proof)?;
    let effect = &change.effect;
    let (effective, effect) = proven("effect", RECOVER, &effect.leaf, &effect.proof)?;
    if announced.origin != effective.origin || announced.index >= effective.index {
        return Err(RecoveryError::Order);
    }
    if let Some(veto) = change.vetoes.first() {
        let (place, act) = proven("a veto", VETO, &veto.leaf, &veto.proof)?;
        return Err(vetoed(trusted, document, veto, (&place, &act), &effective));
    }
    if !recovery_ready(announcement.time, delay, effect.time) {
        return Err(RecoveryError::Early {
            announced_at: announcement.time,
            delay,
            at: effect.time,
        });
    }
    proofs.whole().map_err(RecoveryError::Keys)?;
    Ok(Recovered {
        document,
        delay,
        origin: effective.origin,
        announced: (announced.index, announcement.time),
        effective: (effective.index, effect.time),
    })
}

fn act(leaf: &str) -> Option<ActLeaf> {
    match Leaf::parse(leaf.as_bytes()) {
        Ok(Leaf::Act(act)) if leaf.len() <= leaf::MAX_LEN => Some(*act),
        _ => None,
    }
}

/// A veto before the effect ends the recovery. One that does not hold ends it as well, because
/// nothing else in the file covers it: a recovery that holds has none.
fn vetoed(
    trusted: &Trusted,
    document: Sha256Digest,
    veto: &LoggedVeto,
    (place, act): (&Proven, &ActLeaf),
    effective: &Proven,
) -> RecoveryError {
    let body = veto.body.as_bytes();
    if place.origin != effective.origin || place.index >= effective.index {
        return RecoveryError::Veto("it is not before the effect in its log".to_owned());
    }
    if act.digest != Some(Sha256Digest::of(body)) {
        return RecoveryError::Veto("the leaf is of another veto".to_owned());
    }
    match verify_veto(trusted, document, body, &veto.signature) {
        Ok(member) => RecoveryError::Vetoed(member),
        Err(error) => RecoveryError::Veto(error.to_string()),
    }
}
