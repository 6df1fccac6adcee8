//! What keeps rings from signing in an emergency, told by the leaves of the log: stops, the resumes that end them, and
//! emergency rotations that the threshold has to ratify.
//!
//! A database can be rewritten, the log cannot. A stop holds by its leaf alone, whatever became of its statement; it ends
//! by the leaf of a resume whose transcript verifies and names it. So nobody who writes rows lets a ring sign.

mod held;

use std::collections::{BTreeMap, BTreeSet};

use crate::chain::{Pin, Trusted};
use crate::digest::Sha256Digest;
use crate::error_chain;
use crate::jwk::Kid;
use crate::leaf::{ActKind, ActLeaf};
use crate::name::Name;
use crate::request::{Ended, Ratification, Resume};
use crate::subject::Scope;
use crate::tally::Finished;
use crate::time::Time;

pub use crate::leaf::{RATIFY, RESUME, STOP};
pub use held::HeldUnder;

/// What a leaf tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmergencyAct {
    /// Signing is stopped.
    Stopped {
        /// Whose.
        scope: Scope,
        /// SHA-256 of the body of the stop.
        digest: Sha256Digest,
        /// Its place in the line, as the leaf has it.
        sequence: Option<u64>,
    },
    /// A ring signs with its standby key, and has to be ratified.
    Rotated {
        /// The ring.
        ring: String,
        /// The standby key that became the primary. Where a leaf names none, nothing is ratified.
        kid: Option<Kid>,
        /// SHA-256 of the request.
        rotation: Sha256Digest,
        /// Later, the ring does not sign.
        until: Time,
    },
    /// A stop has ended.
    Resumed(Resume),
    /// A rotation is agreed with.
    Ratified(Ratification),
}

impl EmergencyAct {
    /// Whether a leaf may keep a ring from signing, or let it go on.
    pub fn is_meant(act: &ActLeaf) -> bool {
        act.kind == ActKind::Emergency || is_rotation(act)
    }

    /// The ceremony on whose transcript the act rests, of a resume and of a ratification.
    pub fn ceremony(act: &ActLeaf) -> Option<&str> {
        let rests = act.kind == ActKind::Emergency && matches!(&*act.action, RESUME | RATIFY);
        act.reference.as_deref().filter(|_| rests)
    }

    /// What a leaf tells that needs no ceremony to keep a ring from signing. One that cannot be made out stops more, not
    /// less: whoever could write it could stop the service altogether.
    pub fn told(act: &ActLeaf) -> Option<Self> {
        let named = act.reference.as_deref().unwrap_or_default();
        let digest = named
            .parse()
            .unwrap_or_else(|_| Sha256Digest::of(named.as_bytes()));
        if is_rotation(act) {
            return Some(Self::Rotated {
                ring: act.ring.clone().unwrap_or_default(),
                kid: act.kid.clone(),
                rotation: digest,
                until: act.until?,
            });
        }
        if (act.kind, &*act.action) != (ActKind::Emergency, STOP) {
            return None;
        }
        let ring = act
            .ring
            .as_deref()
            .and_then(|ring| ring.parse::<Name>().ok());
        let scope = ring.map_or(Scope::All, Scope::Ring);
        Some(Self::Stopped {
            scope,
            digest,
            sequence: act.version,
        })
    }

    /// What the leaf of a resume or of a ratification did, if it and the transcript that it names say the same, under a
    /// chain of rosters that `trusted` continues.
    pub fn read(
        act: &ActLeaf,
        transcript: &[u8],
        pin: &Pin,
        trusted: &Trusted,
    ) -> Result<(Self, HeldUnder), String> {
        let verified = crate::verify_transcript(transcript, pin);
        let verified = verified.map_err(|error| error_chain(&error))?;
        let request = verified.statement().request_digest.to_string();
        if act.reference.as_ref() != Some(&request) || act.digest != Some(verified.core_digest()) {
            return Err("the leaf names a different ceremony".to_owned());
        }
        if !trusted.extends(verified.trusted()) {
            return Err("it was held under a different chain of rosters".to_owned());
        }
        let held = HeldUnder::of(transcript, &verified);
        let held = held.map_err(|error| error_chain(&error))?;
        let done = match (verified.finished(), &*act.action) {
            (Finished::Resumed(resume), RESUME) => {
                let ring = resume.ring.as_ref().map(Name::as_str);
                (ring == act.ring.as_deref()).then(|| Self::Resumed(resume.clone()))
            }
            (Finished::Ratified(ratified), RATIFY) => {
                let ring = Some(ratified.ring.as_str());
                (ring == act.ring.as_deref()).then(|| Self::Ratified(ratified.clone()))
            }
            _ => None,
        };
        done.map(|done| (done, held))
            .ok_or_else(|| "the leaf differs from the ceremony".to_owned())
    }
}

/// A revocation that has to be ratified is an emergency rotation.
fn is_rotation(act: &ActLeaf) -> bool {
    act.kind == ActKind::Key && act.action == "revoke" && act.until.is_some()
}

/// A stop that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenStop {
    /// Whose signing.
    pub scope: Scope,
    /// SHA-256 of its body.
    pub digest: Sha256Digest,
    /// Its place in the line by its leaf; 0 where the leaf has none that could be, see [`place`].
    pub sequence: u64,
    /// The leaf that tells of it.
    pub index: i64,
    /// The time of that leaf.
    pub since: Time,
}

/// An emergency rotation that nobody has ratified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unratified {
    /// The ring.
    pub ring: String,
    /// The standby key that became the primary.
    pub kid: Option<Kid>,
    /// SHA-256 of its request.
    pub rotation: Sha256Digest,
    /// The leaf that tells of it.
    pub index: i64,
    /// When it was carried out.
    pub since: Time,
    /// Later, the ring does not sign.
    pub until: Time,
}

/// The place of a stop in its line by the leaf at this index; 0 where it has none that could be: each place before it
/// has a leaf of its own. Only somebody who wrote leaves by hand made such a one, and by its digest alone it ends.
pub fn place(sequence: Option<u64>, index: i64) -> u64 {
    let could_be = |place: &u64| i64::try_from(*place).is_ok_and(|place| place <= index);
    sequence.filter(could_be).unwrap_or_default()
}

impl OpenStop {
    /// Whether the digest and the place name this one.
    pub fn is_named(&self, (digest, sequence): (Sha256Digest, u64)) -> bool {
        self.digest == digest && self.sequence == sequence
    }
}

impl Unratified {
    /// Whether the threshold agreed with this rotation, onto this key.
    pub fn is_ratified_by(&self, ratified: &Ratification) -> bool {
        self.rotation == ratified.rotation
            && self.ring == ratified.ring.as_str()
            && self.kid.as_ref() == Some(&ratified.kid)
    }
}

/// What keeps rings from signing, by the leaves so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emergencies {
    stops: Vec<OpenStop>,
    rotations: Vec<Unratified>,
    ended: BTreeSet<Sha256Digest>,
    /// Stops that a resume named, whether or not the log tells of them.
    named: BTreeSet<Sha256Digest>,
    /// In each line of stops the last place of one that has ended: those before it have ended, too.
    settled: BTreeMap<Scope, u64>,
    /// Of each ring the leaf of the last emergency rotation that is agreed with, or was ended.
    agreed: BTreeMap<String, i64>,
}

/// Why a ring does not sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped<'a> {
    /// Somebody stopped it.
    By(&'a OpenStop),
    /// Its emergency rotation was not ratified in time.
    Unratified(&'a Unratified),
}

impl Emergencies {
    /// The next act, in the order of the log. A stop that has ended does not stop again, however often it is told. What ends
    /// a stop, or a rotation, ends those of which the log told before in the same line, or ring, as well: so nothing before
    /// the newest that has ended needs to be read.
    pub fn apply(&mut self, index: i64, time: Time, act: &EmergencyAct) {
        match act {
            EmergencyAct::Stopped {
                scope,
                digest,
                sequence,
            } => {
                let known = self.stops.iter().any(|stop| stop.digest == *digest);
                if !known && !self.ended.contains(digest) {
                    self.stops.push(OpenStop {
                        scope: scope.clone(),
                        digest: *digest,
                        sequence: place(*sequence, index),
                        index,
                        since: time,
                    });
                }
            }
            EmergencyAct::Rotated {
                ring,
                kid,
                rotation,
                until,
            } => {
                if !self.ended.contains(rotation) {
                    self.rotations.push(Unratified {
                        ring: ring.clone(),
                        kid: kid.clone(),
                        rotation: *rotation,
                        index,
                        since: time,
                        until: *until,
                    });
                }
            }
            EmergencyAct::Resumed(resume) => {
                let scope = resume.scope();
                match &resume.ends {
                    Ended::Stop { digest, sequence } => {
                        self.named.insert(*digest);
                        let named = (*digest, *sequence);
                        let ends = |stop: &OpenStop| stop.is_named(named) && stop.scope == scope;
                        let index = self.stops.iter().find(|stop| ends(stop));
                        if let Some(index) = index.map(|stop| stop.index) {
                            self.end_stops(&scope, index, *sequence);
                        }
                    }
                    Ended::Unratified { rotation } => {
                        let ends = |each: &Unratified| {
                            each.rotation == *rotation && scope.includes(&each.ring)
                        };
                        self.end_rotation(*rotation, ends);
                    }
                }
            }
            EmergencyAct::Ratified(ratified) => {
                let ends = |each: &Unratified| each.is_ratified_by(ratified) && time <= each.until;
                self.end_rotation(ratified.rotation, ends);
            }
        }
    }

    /// A stop whose leaf is not there, though there was one: it holds unless a resume names it. Returns whether it does.
    pub fn keep_stop(&mut self, stop: OpenStop) -> bool {
        let known = self.stops.iter().any(|each| each.digest == stop.digest);
        let over = self.ended.contains(&stop.digest)
            || self.named.contains(&stop.digest)
            || (1..=self.settled(&stop.scope)).contains(&stop.sequence);
        let kept = !known && !over;
        if kept {
            self.stops.push(stop);
        }
        kept
    }

    /// Keeps what was open `before` and neither is nor has ended: leaves do not go away, but somebody may rewrite them.
    /// Returns where they were.
    pub fn keep(&mut self, before: &Self) -> Vec<i64> {
        let mut kept = Vec::new();
        for stop in &before.stops {
            if self.keep_stop(stop.clone()) {
                kept.push(stop.index);
            }
        }
        for rotation in &before.rotations {
            let known = |each: &Unratified| each.rotation == rotation.rotation;
            let agreed = self.agreed.get(&rotation.ring);
            let over = self.ended.contains(&rotation.rotation)
                || agreed.is_some_and(|agreed| rotation.index < *agreed);
            if !self.rotations.iter().any(known) && !over {
                self.rotations.push(rotation.clone());
                kept.push(rotation.index);
            }
        }
        kept
    }

    /// The stop of this leaf and place, and whatever of the line the log told of before.
    fn end_stops(&mut self, scope: &Scope, index: i64, sequence: u64) {
        // One without a place is of nobody's line, and ends alone.
        let before = |stop: &OpenStop| sequence > 0 && stop.index < index;
        let over = |stop: &OpenStop| stop.scope == *scope && (stop.index == index || before(stop));
        let ended = self.stops.iter().filter(|stop| over(stop));
        self.ended.extend(ended.map(|stop| stop.digest));
        self.stops.retain(|stop| !over(stop));
        let last = self.settled.entry(scope.clone()).or_default();
        *last = sequence.max(*last);
    }

    /// What ends a rotation ends those of the same ring before it: the threshold agreed with what the ring came to.
    fn end_rotation(&mut self, rotation: Sha256Digest, ends: impl Fn(&Unratified) -> bool) {
        // Whoever tells of it again later ends nothing in between.
        let Some(ended) = self.rotations.iter().find(|each| ends(each)).cloned() else {
            return;
        };
        let before = |each: &Unratified| each.ring == ended.ring && each.index < ended.index;
        self.rotations.retain(|each| !ends(each) && !before(each));
        self.ended.insert(rotation);
        let last = self.agreed.entry(ended.ring).or_insert(ended.index);
        *last = ended.index.max(*last);
    }

    /// The last place of a stop of this line that has ended; 0 where none has.
    pub fn settled(&self, scope: &Scope) -> u64 {
        self.settled.get(scope).copied().unwrap_or_default()
    }

    /// Whether a stop holds, has ended, or was named by what would end it.
    pub fn knows(&self, stop: &Sha256Digest) -> bool {
        let open = self.stops.iter().any(|open| open.digest == *stop);
        open || self.ended.contains(stop) || self.named.contains(stop)
    }

    /// Whether nothing keeps a ring from signing, or will.
    pub fn is_empty(&self) -> bool {
        self.stops.is_empty() && self.rotations.is_empty()
    }

    /// Stops that have not ended, oldest first.
    pub fn stops(&self) -> &[OpenStop] {
        &self.stops
    }

    /// Rotations that wait for their ratification, or missed it, oldest first.
    pub fn rotations(&self) -> &[Unratified] {
        &self.rotations
    }

    /// Why a ring does not sign at an instant, if it does not.
    pub fn stopped(&self, ring: &str, at: Time) -> Option<Stopped<'_>> {
        let mut stops = self.stops.iter();
        if let Some(stop) = stops.find(|stop| stop.scope.includes(ring)) {
            return Some(Stopped::By(stop));
        }
        let mut rotations = self.rotations.iter();
        rotations
            .find(|each| each.ring == ring && at > each.until)
            .map(Stopped::Unratified)
    }

    /// The last instant at which a ring signs, where its emergency rotation is not ratified.
    pub fn until(&self, ring: &str) -> Option<Time> {
        let mine = self.rotations.iter().filter(|each| each.ring == ring);
        mine.map(|each| each.until).min()
    }
}

#[cfg(test)]
mod tests;
