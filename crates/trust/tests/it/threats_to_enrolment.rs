//! A recovery roster that should not be enrolled, whoever signs it.

use trust::chain::{ChainError, Change};
use trust::policy::Threshold;
use trust::recovery::{RecoveryMember, RecoveryRosterError};
use trust::roster::RosterError;
use trust::*;

use crate::recoveries::{Lost, enrolment, recovery_roster, walked};
use crate::support::{Custodian, World, name};

#[test]
fn recovery_roster_with_a_delay_below_the_floor() {
    let world = World::quick();
    let [ruth, sam, tess] = ["ruth", "sam", "tess"].map(Custodian::quick);
    let signers = [&world.alice, &world.bob, &ruth, &sam, &tess];
    let with = |change: &dyn Fn(&mut RecoveryRoster)| {
        let mut roster = recovery_roster(&world, &[&ruth, &sam, &tess]);
        change(&mut roster);
        let judged = world.trusted().may_enrol(&roster);
        match walked(&world, enrolment(&world, &roster, &signers)) {
            Ok(_) => {
                assert_eq!(judged, Ok(()));
                None
            }
            Err(ChainError::RecoveryRoster { index: 1, source }) => {
                assert_eq!(judged.as_ref(), Err(&source));
                Some(source)
            }
            Err(other) => panic!("{other}"),
        }
    };
    let day = 24 * 3_600;
    for delay in [day, 30 * day] {
        assert_eq!(with(&|roster| roster.delay_seconds = delay), None);
    }
    for delay in [0, day - 1, 30 * day + 1] {
        let refused = with(&|roster| roster.delay_seconds = delay);
        assert_eq!(refused, Some(RecoveryRosterError::Delay(delay)));
    }
    let four = Threshold::try_from(4).unwrap();
    let too_few = RecoveryRosterError::TooFew {
        threshold: four,
        members: 3,
    };
    assert_eq!(with(&|roster| roster.threshold = four), Some(too_few));
    let members = |error| Some(RecoveryRosterError::Members(error));
    let twice = with(&|roster| roster.members[1].id = name("ruth"));
    assert_eq!(twice, members(RosterError::DuplicateId(1)));
    let hidden = with(&|roster| roster.members[1].name = "S\u{202e}am".to_owned());
    assert_eq!(hidden, members(RosterError::Name(name("sam"))));
    let bare = with(&|roster| roster.members[1].keys.clear());
    assert_eq!(bare, members(RosterError::NoKey(name("sam"))));
    let shared = with(&|roster| roster.members[1].keys = roster.members[0].keys.clone());
    let expected = RosterError::SharedKey(name("ruth"), name("sam"));
    assert_eq!(shared, members(expected));
    // A threshold of one cannot be said.
    let roster = recovery_roster(&world, &[&ruth, &sam, &tess]);
    let body = String::from_utf8(roster.encode().unwrap()).unwrap();
    for threshold in ["1", "0", "256", "null"] {
        let new = format!(r#""threshold":{threshold}"#);
        let body = body.replace(r#""threshold":2"#, &new).into_bytes();
        let signed = world.signed(Purpose::RecoveryRoster, body, &signers);
        let error = walked(&world, Change::RecoveryRoster(signed)).unwrap_err();
        let expected = matches!(error, ChainError::Json { index: 1, .. });
        assert!(expected, "{error}");
    }
}

#[test]
fn recovery_roster_rolled_back() {
    let lost = Lost::new();
    let signers = [
        &lost.world.alice,
        &lost.world.bob,
        &lost.ruth,
        &lost.sam,
        &lost.tess,
    ];
    let first = lost.world.chains.changes[0].clone();
    assert!(walked(&lost.world, first).is_err());
    let next = recovery_roster(&lost.world, &[&lost.ruth, &lost.sam, &lost.tess]);
    assert_eq!(next.version, 2);
    assert!(walked(&lost.world, enrolment(&lost.world, &next, &signers)).is_ok());
    type Edit = fn(&mut RecoveryRoster);
    let edits: [Edit; 5] = [
        |roster| roster.version = 1,
        |roster| roster.version = 3,
        |roster| roster.previous = None,
        |roster| roster.previous = Some(Sha256Digest::of(b"another")),
        |roster| roster.service = name("other"),
    ];
    for edit in edits {
        let mut roster = next.clone();
        edit(&mut roster);
        let error = walked(&lost.world, enrolment(&lost.world, &roster, &signers)).unwrap_err();
        let expected = matches!(
            error,
            ChainError::Version { .. } | ChainError::Previous { .. } | ChainError::Elsewhere { .. }
        );
        assert!(expected, "{error}");
    }
}

/// Nobody stands on both sides, now or later, by a name or by a key.
#[test]
fn one_person_on_the_roster_and_on_the_recovery_roster() {
    let world = World::quick();
    let [ruth, sam] = ["ruth", "sam"].map(Custodian::quick);
    let enrolled = |people: &[&Custodian]| {
        let roster = recovery_roster(&world, people);
        world.trusted().may_enrol(&roster)
    };
    let bob = Custodian::quick_with_seed("bob", "another key");
    let refused = Err(RecoveryRosterError::OnTheRoster(name("bob")));
    assert_eq!(enrolled(&[&ruth, &bob]), refused);
    let masked = Custodian::quick_with_seed("robert", "bob");
    let former = RosterError::FormerKey(name("bob"), name("robert"));
    let refused = Err(RecoveryRosterError::Members(former));
    assert_eq!(enrolled(&[&ruth, &masked]), refused);
    assert_eq!(enrolled(&[&ruth, &sam]), Ok(()));

    let lost = Lost::new();
    for newcomer in [
        Custodian::quick_with_seed("ruth", "another key"),
        Custodian::quick_with_seed("masked", "ruth"),
    ] {
        let document = lost.world.next_roster(
            |roster| roster.members.push(newcomer.member(&[Role::Operator])),
            &[&lost.world.alice, &lost.world.bob, &newcomer],
        );
        let error = walked(&lost.world, Change::Roster(document)).unwrap_err();
        let source = match newcomer.id.as_str() {
            "ruth" => RosterError::Recovers(name("ruth")),
            _ => RosterError::FormerKey(name("ruth"), name("masked")),
        };
        assert_eq!(error, ChainError::Roster { index: 2, source });
    }
    // Nor does a key pass from one who may recover to another.
    let heir = Custodian::quick_with_seed("heir", "ruth");
    let mut roster = recovery_roster(&lost.world, &[&lost.sam, &heir]);
    let former = RosterError::FormerKey(name("ruth"), name("heir"));
    let refused = Err(RecoveryRosterError::Members(former));
    assert_eq!(lost.world.trusted().may_enrol(&roster), refused);
    let other = Custodian::quick("other");
    roster.members[1] = RecoveryMember {
        id: name("ruth"),
        name: "Ruth, with another key".to_owned(),
        keys: other.member(&[]).keys,
    };
    assert_eq!(lost.world.trusted().may_enrol(&roster), Ok(()));
}
