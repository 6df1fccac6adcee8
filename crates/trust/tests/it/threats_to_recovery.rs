//! The recovery roster in the wrong hands, at the wrong time, or with its announcement hidden.

use std::time::Duration;

use trust::chain::{ChainError, Change, RecoveryError, walk};
use trust::leaf::ActKind;
use trust::recovery::{VetoError, verify_veto};
use trust::tally::WhyNot;
use trust::*;

use crate::recoveries::{DELAY, Lost, ORIGIN, enrolment, progress_of, recovery_roster, walked};
use crate::story::generated;
use crate::support::{Custodian, NewKey, World, minute, name, revoke};

fn signatures(error: &ChainError) -> bool {
    matches!(error, ChainError::Signatures { index: 2, .. })
}

#[test]
fn recovery_used_early() {
    let mut lost = Lost::new();
    let ready = minute(100 + DELAY);
    lost.leaves[lost.effect].time = ready - Duration::from_millis(1);
    let early = RecoveryError::Early {
        announced_at: minute(100),
        delay: Duration::from_secs(60 * DELAY),
        at: ready - Duration::from_millis(1),
    };
    assert_eq!(lost.error(), early);
    lost.leaves[lost.effect].time = ready;
    assert!(lost.walked().is_ok());
    // By a clock that went backwards, too.
    lost.leaves[lost.effect].time = minute(99);
    assert!(matches!(lost.error(), RecoveryError::Early { .. }));
    // The delay is that of the document that is enrolled, not one that somebody would like.
    lost.leaves[lost.effect].time = minute(100 + 24 * 60);
    assert!(matches!(lost.error(), RecoveryError::Early { .. }));
}

#[test]
fn recovery_vetoed() {
    for member in ["alice", "bob", "carol", "dave"] {
        let mut lost = Lost::new();
        lost.vetoed_by(&Custodian::quick(member));
        assert_eq!(lost.error(), RecoveryError::Vetoed(name(member)));
        // By one is enough, however much stands beside it.
        lost.vetoed_by(&Custodian::quick("alice"));
        assert_eq!(lost.error(), RecoveryError::Vetoed(name(member)));
    }
}

/// Nothing else covers what stands there, so it is refused as well.
#[test]
fn a_veto_that_does_not_hold_has_no_place_in_a_recovery() {
    for (body, purpose, member, why) in [
        ("", Purpose::Veto, "ruth", "belongs to no roster member"),
        ("", Purpose::Veto, "erin", "belongs to no roster member"),
        ("", Purpose::Reject, "alice", "namespace"),
        ("{}", Purpose::Veto, "alice", "cannot be parsed"),
    ] {
        let mut lost = Lost::new();
        let body = match body {
            "" => lost.veto_body().encode().unwrap(),
            other => other.as_bytes().to_vec(),
        };
        let member = Custodian::quick(member);
        let signature = lost.world.signature(purpose, &body, &member);
        lost.veto(body, signature);
        match lost.error() {
            RecoveryError::Veto(error) => assert!(error.contains(why), "{error}"),
            other => panic!("{other}"),
        }
    }
    let mut lost = Lost::new();
    lost.vetoed_by(&Custodian::quick("alice"));
    let error = lost.error_with(|change| change.vetoes[0].body.push(' '));
    assert!(matches!(error, RecoveryError::Veto(_)), "{error}");
    // Its leaf is another one, or after the effect.
    let effect = lost.logged(lost.effect);
    let error = lost.error_with(|change| {
        change.vetoes[0].leaf = effect.leaf;
        change.vetoes[0].proof = effect.proof;
    });
    assert_eq!(error, RecoveryError::OtherLeaf("a veto"));
    let late = lost.leaves.remove(lost.vetoes[0].0);
    lost.effect -= 1;
    lost.vetoes[0].0 = lost.leaf(late);
    assert!(matches!(lost.error(), RecoveryError::Veto(why) if why.contains("before")));
}

#[test]
fn a_veto_is_of_one_recovery_under_one_roster_by_a_person() {
    let lost = Lost::new();
    let trusted = lost.world.trusted();
    let judged = |body: &[u8], member: &Custodian| {
        let signature = lost.world.signature(Purpose::Veto, body, member);
        verify_veto(&trusted, lost.digest(), body, &signature)
    };
    let alice = &lost.world.alice;
    let good = lost.veto_body();
    assert_eq!(judged(&good.encode().unwrap(), alice), Ok(name("alice")));
    let mut other = good.clone();
    other.document_digest = lost.world.pin.genesis;
    let refused = VetoError::OtherDocument(lost.world.pin.genesis);
    assert_eq!(judged(&other.encode().unwrap(), alice), Err(refused));
    let mut other = good.clone();
    other.roster.version = 2;
    let refused = Err(VetoError::OtherRoster);
    assert_eq!(judged(&other.encode().unwrap(), alice), refused);
    for reason in ["", "no\u{202e}", &"x".repeat(1_001)] {
        let mut other = good.clone();
        other.reason = reason.to_owned();
        let refused = Err(VetoError::Reason);
        assert_eq!(judged(&other.encode().unwrap(), alice), refused);
    }
    let stranger = judged(&good.encode().unwrap(), &lost.ruth);
    assert_eq!(stranger, Err(VetoError::Signature(WhyNot::UnknownKey)));

    // A machine's key is no person's, and a former member's is nobody's.
    let mut world = World::quick();
    let document = world.next_roster(
        |roster| {
            roster.members[2].active = false;
            roster.members[1].roles = vec![Role::Custodian];
            roster.members[3].roles = vec![Role::Executor];
            let more = Custodian::quick("grace").member(&[Role::Custodian]);
            roster.members.push(more);
        },
        &[&world.alice, &world.bob, &Custodian::quick("grace")],
    );
    world.chains.changes.push(Change::Roster(document));
    let trusted = world.trusted();
    let body = recovery::VetoBody {
        roster: trusted.roster_ref(),
        ..good
    };
    let body = body.encode().unwrap();
    let judged = |member: &Custodian| {
        let signature = world.signature(Purpose::Veto, &body, member);
        verify_veto(&trusted, lost.digest(), &body, &signature)
    };
    assert_eq!(judged(&world.bob), Ok(name("bob")));
    assert_eq!(judged(&world.dave), Err(VetoError::Executor(name("dave"))));
    let former = Err(VetoError::Signature(WhyNot::Inactive));
    assert_eq!(judged(&world.carol), former);
}

#[test]
fn recovery_with_its_announcement_cut_out() {
    let lost = Lost::new();
    // Another leaf of the log in its place.
    for index in [0, lost.effect, lost.effect + 1] {
        let other = lost.logged(index);
        let error = lost.error_with(|change| change.announcement = other);
        assert_eq!(error, RecoveryError::OtherLeaf("announcement"));
        if index != lost.effect {
            let other = lost.logged(index);
            let error = lost.error_with(|change| change.effect = other);
            assert_eq!(error, RecoveryError::OtherLeaf("effect"));
        }
    }
    // The leaf without a proof, and a proof of another leaf.
    let other = lost.logged(0);
    for proof in [String::new(), other.proof, lost.logged(lost.effect).proof] {
        let error = lost.error_with(|change| change.announcement.proof = proof);
        let expected = matches!(
            error,
            RecoveryError::Proof {
                what: "announcement",
                ..
            }
        );
        assert!(expected, "{error}");
    }
    // Without the member there is no such document.
    let mut change = serde_json::to_value(Change::Recovery(Box::new(lost.change()))).unwrap();
    assert!(serde_json::from_value::<Change>(change.clone()).is_ok());
    for member in ["announcement", "effect", "log_keys", "vetoes", "document"] {
        let mut less = change.clone();
        less["recovery"].as_object_mut().unwrap().remove(member);
        assert!(serde_json::from_value::<Change>(less).is_err(), "{member}");
    }
    change["recovery"]["announcement"] = serde_json::Value::Null;
    assert!(serde_json::from_value::<Change>(change).is_err());
}

#[test]
fn recovery_announced_as_another_document() {
    let mut lost = Lost::new();
    let other = lost.signed_by_enough(|roster| roster.members[0].active = true);
    lost.document = lost.signed_by_enough(|roster| roster.expires_at = Some(minute(0)));
    assert_ne!(lost.document.body, other.body);
    let error = lost.error();
    assert_eq!(error, RecoveryError::OtherLeaf("announcement"));
    // Announced and used as something else, or by a leaf of another kind.
    let lost = Lost::new();
    for kind in [ActKind::Ceremony, ActKind::Admin] {
        let mut lost = Lost::new();
        lost.leaves[lost.announced].kind = kind;
        assert_eq!(lost.error(), RecoveryError::OtherLeaf("announcement"));
        let mut lost = Lost::new();
        lost.leaves[lost.effect].kind = kind;
        assert_eq!(lost.error(), RecoveryError::OtherLeaf("effect"));
    }
    let long = "x".repeat(1_024);
    let mut all = Lost::new();
    all.leaves[lost.announced].reason = Some(long);
    assert_eq!(all.error(), RecoveryError::OtherLeaf("announcement"));
}

#[test]
fn recovery_announced_after_it_was_used() {
    let mut lost = Lost::new();
    lost.leaves.swap(1, 2);
    (lost.announced, lost.effect) = (2, 1);
    assert_eq!(lost.error(), RecoveryError::Order);
    // In the log of something else.
    let lost = Lost::new();
    let elsewhere = lost.logged_in("other.example/log", &lost.key, lost.announced);
    let error = lost.error_with(|change| change.announcement = elsewhere);
    assert_eq!(error, RecoveryError::Order);
}

#[test]
fn recovery_proven_by_a_key_that_is_none_of_the_logs() {
    let lost = Lost::new();
    let thief = NewKey::generate();
    let (announcement, effect) = (
        lost.logged_in(ORIGIN, &thief, lost.announced),
        lost.logged_in(ORIGIN, &thief, lost.effect),
    );
    let error = lost.error_with(|change| {
        change.announcement = announcement;
        change.effect = effect;
    });
    assert!(matches!(error, RecoveryError::Proof { .. }), "{error}");
    let unused = generated(&lost.world, "log", &thief);
    let core = |transcript: &Transcript| String::from_utf8(transcript.encode().unwrap()).unwrap();
    let revocation = lost.world.request_for(revoke(&thief.kid()));
    // People who split off: the same genesis, another roster.
    let mut fork = World::quick();
    let document = fork.next_roster(|_| (), &[&fork.alice, &fork.bob]);
    fork.chains.changes.push(Change::Roster(document));
    let forked = generated(&fork, "log", &lost.key);
    for (keys, why) in [
        (
            vec![generated(&lost.world, "jwt", &lost.key)],
            "a ring other than",
        ),
        (
            vec![core(&lost.world.done(&revocation))],
            "does not concern",
        ),
        (vec!["{}".to_owned()], "cannot be parsed"),
        (vec![forked], "a different chain"),
        (vec![lost.birth.clone(), lost.birth.clone()], "twice"),
        (vec![lost.birth.clone(), unused], "signed none"),
        (vec![], ""),
    ] {
        let error = lost.error_with(|change| change.log_keys = keys);
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// Of two roots of one size one is a lie, whoever signed both.
#[test]
fn recovery_in_a_log_that_forked() {
    let lost = Lost::new();
    let mut other = Lost::new();
    other.leaves[0].actor = "somebody else".to_owned();
    let forked = other.logged_in(ORIGIN, &lost.key, other.announced);
    let error = lost.error_with(|change| change.announcement = forked);
    assert!(error.to_string().contains("forked"), "{error}");
}

#[test]
fn recovery_below_its_threshold() {
    let mut lost = Lost::new();
    let again = Custodian::quick_with_seed("ruth", "ruth");
    for signers in [
        vec![&lost.ruth, &lost.erin, &lost.frank],
        vec![&lost.ruth, &again, &lost.erin, &lost.frank],
        // Nor without those who are to hold it.
        vec![&lost.ruth, &lost.sam, &lost.tess, &lost.erin],
        vec![&lost.ruth, &lost.sam, &lost.tess],
        vec![],
    ] {
        let document = lost.signed(|_| (), &signers);
        let progress = progress_of(&lost.world, &document).unwrap();
        assert!(!progress.is_complete(), "{progress:?}");
        let mut used = Lost::new();
        used.announce(document);
        used.take_effect(100 + DELAY);
        let error = used.walked().unwrap_err();
        assert!(signatures(&error), "{error}");
    }
    // Every new key has signed, and still too few of those who are to decide.
    let document = lost.signed_by_enough(|roster| {
        let frank = roster.members.last_mut().unwrap();
        frank.roles = vec![Role::Operator];
    });
    lost.announce(document);
    lost.take_effect(100 + DELAY);
    let error = lost.walked().unwrap_err();
    assert!(
        error.to_string().contains("1 of 2 for the new roster"),
        "{error}"
    );
    // A newcomer whose key nobody has shown.
    let ghost = Custodian::quick("ghost");
    let document = lost.signed_by_enough(|roster| {
        roster.members.push(ghost.member(&[Role::Operator]));
    });
    lost.announce(document);
    lost.take_effect(100 + DELAY);
    let error = lost.walked().unwrap_err();
    assert!(error.to_string().contains("a new key of ghost"), "{error}");
}

#[test]
fn recovery_by_one_person_with_two_keys() {
    let mut world = World::quick();
    let [ruth, second, sam] = ["ruth", "second", "sam"].map(Custodian::quick);
    let mut roster = recovery_roster(&world, &[&ruth, &sam]);
    roster.members[0].keys.extend(second.member(&[]).keys);
    let signers = [&world.alice, &world.bob, &ruth, &second, &sam];
    let change = enrolment(&world, &roster, &signers);
    world.chains.changes.push(change);
    let mut lost = Lost::new();
    lost.birth = generated(&world, "log", &lost.key);
    lost.world = world;
    let document = lost.signed(|_| (), &[&ruth, &second, &lost.erin, &lost.frank]);
    lost.announce(document);
    lost.take_effect(100 + DELAY);
    assert!(signatures(&lost.walked().unwrap_err()));
    let document = lost.signed(|_| (), &[&second, &sam, &lost.erin, &lost.frank]);
    lost.announce(document);
    lost.take_effect(100 + DELAY);
    assert!(lost.walked().is_ok());
}

#[test]
fn recovery_by_a_former_recovery_roster() {
    let mut lost = Lost::new();
    let [uma, vera] = ["uma", "vera"].map(Custodian::quick);
    let roster = recovery_roster(&lost.world, &[&uma, &vera]);
    let signers = [&lost.world.alice, &lost.world.bob, &uma, &vera];
    let change = enrolment(&lost.world, &roster, &signers);
    lost.world.chains.changes.push(change);
    for (signers, holds) in [
        ([&lost.ruth, &lost.sam], false),
        ([&lost.ruth, &uma], false),
        ([&uma, &vera], true),
    ] {
        let mut used = Lost::new();
        used.world = World::quick();
        used.world.chains = lost.world.chains.clone();
        used.birth = generated(&used.world, "log", &used.key);
        let signers = [signers[0], signers[1], &lost.erin, &lost.frank];
        used.announce(used.signed(|_| (), &signers));
        used.take_effect(100 + DELAY);
        let walked = used.walked();
        assert_eq!(walked.is_ok(), holds, "{walked:?}");
    }
}

#[test]
fn recovery_by_members_of_the_roster() {
    let mut lost = Lost::new();
    let world = World::quick();
    let document = lost.signed(
        |_| (),
        &[
            &world.alice,
            &world.bob,
            &world.carol,
            &world.dave,
            &lost.ruth,
            &lost.erin,
            &lost.frank,
        ],
    );
    lost.announce(document);
    lost.take_effect(100 + DELAY);
    let error = lost.walked().unwrap_err();
    let what = "1 of 2 for the recovery roster";
    assert!(error.to_string().contains(what), "{error}");
    // And those who may recover are no custodians.
    let document = lost
        .world
        .next_roster(|_| (), &[&lost.ruth, &lost.sam, &lost.tess]);
    let error = walked(&lost.world, Change::Roster(document)).unwrap_err();
    assert!(signatures(&error), "{error}");
    let document = lost
        .world
        .next_policy(|_| (), &[&lost.ruth, &lost.sam, &lost.tess]);
    assert!(walked(&lost.world, Change::Policy(document)).is_err());
    let roster = recovery_roster(&lost.world, &[&lost.ruth, &lost.sam]);
    let change = enrolment(&lost.world, &roster, &[&lost.ruth, &lost.sam, &lost.tess]);
    assert!(walked(&lost.world, change).is_err());
}

/// Signed for an ordinary change, by the same people.
#[test]
fn recovery_with_signatures_for_another_purpose() {
    let lost = Lost::new();
    for purpose in [Purpose::Roster, Purpose::RecoveryRoster, Purpose::Approve] {
        let mut used = Lost::new();
        let body = lost.document.body.clone().into_bytes();
        let signers = [&lost.ruth, &lost.sam, &lost.erin, &lost.frank];
        used.announce(lost.world.signed(purpose, body, &signers));
        used.take_effect(100 + DELAY);
        assert!(signatures(&used.walked().unwrap_err()));
    }
    let Change::RecoveryRoster(signed) = &lost.world.chains.changes[0] else {
        panic!("an enrolment");
    };
    let mut chains = lost.world.chains.clone();
    chains.changes[0] = Change::Roster(signed.clone());
    assert!(walk(&chains, &lost.world.pin).is_err());
    chains.changes[0] = Change::RecoveryRoster(lost.document.clone());
    assert!(walk(&chains, &lost.world.pin).is_err());
}

#[test]
fn recovery_to_a_version_that_was_rolled_back() {
    type Edit = fn(&mut Roster);
    let edits: [Edit; 5] = [
        |roster| roster.version = 1,
        |roster| roster.version = 3,
        |roster| roster.previous = None,
        |roster| roster.previous = Some(Sha256Digest::of(b"another")),
        |roster| roster.environment = name("staging"),
    ];
    for edit in edits {
        let mut lost = Lost::new();
        lost.announce(lost.signed_by_enough(edit));
        lost.take_effect(100 + DELAY);
        let error = lost.walked().unwrap_err();
        let expected = matches!(
            error,
            ChainError::Version { .. } | ChainError::Previous { .. } | ChainError::Elsewhere { .. }
        );
        assert!(expected, "{error}");
    }
    // The same recovery again, and one that a change of the custodians has overtaken.
    let mut lost = Lost::new();
    let again = Change::Recovery(Box::new(lost.change()));
    let policy = lost
        .world
        .next_policy(|_| (), &[&lost.world.alice, &lost.world.bob]);
    for first in [again.clone(), Change::Policy(policy)] {
        lost.world.chains.changes.truncate(1);
        lost.world.chains.changes.push(first);
        let error = walked(&lost.world, again.clone()).unwrap_err();
        let expected = matches!(
            error,
            ChainError::Version { index: 3, .. } | ChainError::Previous { index: 3 }
        );
        assert!(expected, "{error}");
    }
}

#[test]
fn recovery_to_a_roster_that_cannot_be() {
    type Edit = fn(&mut Roster);
    let edits: [Edit; 4] = [
        |roster| {
            roster.members.remove(1);
        },
        |roster| roster.members[4].active = false,
        |roster| roster.members[5].keys = roster.members[1].keys.clone(),
        |roster| roster.members[5].id = name("sam"),
    ];
    for edit in edits {
        let mut lost = Lost::new();
        lost.announce(lost.signed_by_enough(|roster| {
            edit(roster);
            roster.members[0].active = true;
        }));
        lost.take_effect(100 + DELAY);
        let error = lost.walked().unwrap_err();
        let expected = matches!(
            error,
            ChainError::Roster { index: 2, .. }
                | ChainError::Unreachable { index: 2, .. }
                | ChainError::Signatures { index: 2, .. }
        );
        assert!(expected, "{error}");
    }
}

#[test]
fn nobody_recovers_without_an_enrolment() {
    let mut lost = Lost::new();
    lost.world = World::quick();
    lost.birth = generated(&lost.world, "log", &lost.key);
    lost.announce(lost.signed_by_enough(|_| ()));
    lost.take_effect(100 + DELAY);
    let source = RecoveryError::NotEnrolled;
    let error = ChainError::Recovery { index: 1, source };
    assert_eq!(lost.walked().unwrap_err(), error);
}
