//! What keeps rings from signing in an emergency, told by the leaves of the log: stops, the resumes that end them, and
//! emergency rotations that the threshold has to ratify.
//!
//! A database can be rewritten, the log cannot. A stop holds by its leaf alone, whatever became of its statement; it ends
//! by the leaf of a resume whose transcript verifies and names it. So nobody who writes rows lets a ring sign.

mod held;

use std::collections::BTreeSet;

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
    /// The next act, in the order of the log. A stop that has ended does not stop again, however often it is told.
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
                        if self.stops.iter().any(ends) {
                            self.stops.retain(|stop| !ends(stop));
                            self.ended.insert(*digest);
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
        let kept =
            !known && !self.ended.contains(&stop.digest) && !self.named.contains(&stop.digest);
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
            if !self.rotations.iter().any(known) && !self.ended.contains(&rotation.rotation) {
                self.rotations.push(rotation.clone());
                kept.push(rotation.index);
            }
        }
        kept
    }

    fn end_rotation(&mut self, rotation: Sha256Digest, ends: impl Fn(&Unratified) -> bool) {
        if self.rotations.iter().any(&ends) {
            self.rotations.retain(|each| !ends(each));
            self.ended.insert(rotation);
        }
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
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn digest(text: &str) -> Sha256Digest {
        Sha256Digest::of(text.as_bytes())
    }

    fn stop(ring: Option<&str>, named: &str) -> EmergencyAct {
        let leaf = ActLeaf {
            reference: Some(digest(named).to_string()),
            ring: ring.map(str::to_owned),
            version: Some(1),
            ..ActLeaf::new(ActKind::Emergency, STOP, "test", at(1))
        };
        EmergencyAct::told(&leaf).unwrap()
    }

    fn resume(ring: Option<&str>, ends: Ended) -> EmergencyAct {
        EmergencyAct::Resumed(Resume {
            ends,
            ring: ring.map(name),
        })
    }

    fn ended(named: &str) -> Ended {
        Ended::Stop {
            digest: digest(named),
            sequence: 1,
        }
    }

    fn rotated() -> EmergencyAct {
        let leaf = ActLeaf {
            reference: Some(digest("rotation").to_string()),
            ring: Some("oauth".to_owned()),
            kid: Some(kid("A")),
            until: Some(at(100)),
            ..ActLeaf::new(ActKind::Key, "revoke", "test", at(1))
        };
        EmergencyAct::told(&leaf).unwrap()
    }

    fn kid(letter: &str) -> Kid {
        letter.repeat(43).parse().unwrap()
    }

    fn ratified(ring: &str) -> EmergencyAct {
        EmergencyAct::Ratified(Ratification {
            kid: kid("A"),
            ring: name(ring),
            rotation: digest("rotation"),
        })
    }

    fn after(acts: &[EmergencyAct]) -> Emergencies {
        let mut all = Emergencies::default();
        for (index, act) in (1..).zip(acts) {
            all.apply(index, at(index), act);
        }
        all
    }

    #[test]
    fn a_stop_ends_by_the_resume_that_names_it_and_no_other() {
        let stopped = |acts: &[EmergencyAct]| after(acts).stopped("oauth", at(9)).is_some();
        let one = stop(Some("oauth"), "one");
        assert!(stopped(std::slice::from_ref(&one)));
        assert!(!stopped(&[stop(Some("other"), "one")]));
        assert!(stopped(&[one.clone(), resume(Some("oauth"), ended("two"))]));
        assert!(stopped(&[one.clone(), resume(None, ended("one"))]));
        assert!(!stopped(&[
            one.clone(),
            resume(Some("oauth"), ended("one"))
        ]));
        // All rings are stopped beside it, but for the log's own.
        let all = [stop(None, "all"), one, resume(Some("oauth"), ended("one"))];
        assert!(stopped(&all));
        assert!(after(&all).stopped("log", at(9)).is_none());
    }

    #[test]
    fn a_stop_without_a_place_that_could_be_ends_by_its_digest_alone() {
        let named = |sequence| Ended::Stop {
            digest: digest("one"),
            sequence,
        };
        for (version, place) in [(None, 0), (Some(0), 0), (Some(1), 1), (Some(2), 0)] {
            let EmergencyAct::Stopped { scope, digest, .. } = stop(None, "one") else {
                unreachable!()
            };
            let told = EmergencyAct::Stopped {
                scope,
                digest,
                sequence: version,
            };
            let ends = |sequence| {
                let resumed = resume(None, named(sequence));
                after(&[told.clone(), resumed]).stops().is_empty()
            };
            assert_eq!((ends(0), ends(1)), (place == 0, place == 1), "{version:?}");
            assert!(!ends(2));
        }
    }

    #[test]
    fn a_stop_replayed_after_its_resume_does_nothing() {
        let one = stop(Some("oauth"), "one");
        let end = resume(Some("oauth"), ended("one"));
        let again = after(&[one.clone(), end.clone(), one.clone()]);
        assert_eq!(again.stopped("oauth", at(9)), None);
        // And the resume is none of a later stop.
        let later = after(&[one, end.clone(), stop(Some("oauth"), "two"), end]);
        assert!(later.stopped("oauth", at(9)).is_some());
    }

    #[test]
    fn a_rotation_that_is_not_ratified_in_time_stops_its_ring() {
        let unratified = after(&[rotated()]);
        assert_eq!(unratified.until("oauth"), Some(at(100)));
        assert_eq!(unratified.stopped("oauth", at(100)), None);
        assert!(unratified.stopped("oauth", at(101)).is_some());
        assert!(unratified.stopped("other", at(101)).is_none());
        let agreed = after(&[rotated(), ratified("oauth")]);
        assert_eq!(agreed.stopped("oauth", at(101)), None);
        assert!(
            after(&[rotated(), ratified("other")])
                .stopped("oauth", at(101))
                .is_some()
        );
        // Too late, it is none; the threshold decides by a resume.
        let mut late = after(&[rotated()]);
        late.apply(2, at(101), &ratified("oauth"));
        assert!(late.stopped("oauth", at(102)).is_some());
        let rotation = digest("rotation");
        late.apply(
            3,
            at(103),
            &resume(Some("oauth"), Ended::Unratified { rotation }),
        );
        assert_eq!(late.stopped("oauth", at(104)), None);
    }

    #[test]
    fn a_ratification_of_another_key_than_the_rotation_made_the_primary_is_none() {
        let EmergencyAct::Ratified(mut other) = ratified("oauth") else {
            unreachable!()
        };
        other.kid = kid("Q");
        let after = after(&[rotated(), EmergencyAct::Ratified(other)]);
        assert!(after.stopped("oauth", at(101)).is_some());
    }

    #[test]
    fn what_was_open_and_is_not_told_any_more_is_kept_until_it_is_ended() {
        let before = after(&[stop(Some("oauth"), "one"), rotated()]);
        let mut now = Emergencies::default();
        assert_eq!(now.keep(&before), [1, 2]);
        assert_eq!(now.keep(&before), [0; 0]);
        assert!(now.stopped("oauth", at(9)).is_some());
        let mut ended = after(&[
            resume(Some("oauth"), ended("one")),
            rotated(),
            ratified("oauth"),
        ]);
        assert_eq!(ended.keep(&before), [0; 0]);
        assert_eq!(ended.stopped("oauth", at(101)), None);
    }

    #[test]
    fn what_cannot_be_made_out_stops_more_and_not_less() {
        let leaf = ActLeaf {
            ring: Some("NO RING".to_owned()),
            ..ActLeaf::new(ActKind::Emergency, STOP, "test", at(1))
        };
        let act = EmergencyAct::told(&leaf).unwrap();
        assert!(after(&[act]).stopped("oauth", at(9)).is_some());
    }
}
