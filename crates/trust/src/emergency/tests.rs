//! What the leaves of a log come to, act by act.

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
fn what_ends_a_stop_ends_those_before_it_in_its_line_and_no_later_one() {
    let at_place = |ring, named, place| {
        let EmergencyAct::Stopped { scope, digest, .. } = stop(ring, named) else {
            unreachable!()
        };
        EmergencyAct::Stopped {
            scope,
            digest,
            sequence: Some(place),
        }
    };
    let named = |named, sequence| Ended::Stop {
        digest: digest(named),
        sequence,
    };
    let acts = [
        at_place(Some("oauth"), "one", 1),
        at_place(Some("other"), "another", 1),
        at_place(None, "all", 1),
        at_place(Some("oauth"), "two", 2),
        at_place(Some("oauth"), "three", 3),
        resume(Some("oauth"), named("two", 2)),
    ];
    let left = after(&acts);
    let open: Vec<_> = left.stops().iter().map(|stop| stop.digest).collect();
    assert_eq!(open, ["another", "all", "three"].map(digest));
    // A row without a leaf is over where its place is; one behind it holds.
    let mut left = left;
    let kept = |sequence| OpenStop {
        scope: Scope::Ring(name("oauth")),
        digest: digest("row"),
        sequence,
        index: 9,
        since: at(1),
    };
    assert!(!left.keep_stop(kept(1)) && !left.keep_stop(kept(2)));
    assert!(left.keep_stop(kept(4)));
}

#[test]
fn what_ends_a_rotation_ends_those_before_it_in_its_ring_and_no_later_one() {
    let rotated = |ring: &str, named: &str| EmergencyAct::Rotated {
        ring: ring.to_owned(),
        kid: Some(kid("A")),
        rotation: digest(named),
        until: at(100),
    };
    let acts = [
        rotated("oauth", "one"),
        rotated("other", "another"),
        rotated("oauth", "rotation"),
        rotated("oauth", "three"),
        ratified("oauth"),
    ];
    let left = after(&acts);
    let open: Vec<_> = left.rotations().iter().map(|each| each.rotation).collect();
    assert_eq!(open, ["another", "three"].map(digest));
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
