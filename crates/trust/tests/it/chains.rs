//! From the pinned genesis to today, and everything that is not the way.

use trust::chain::{ChainError, Change, Genesis, walk};
use trust::policy::{Threshold, Thresholds};
use trust::roster::RosterError;
use trust::*;

use crate::support::{Custodian, World, name};

fn walked(world: &World, change: Change) -> Result<Trusted, ChainError> {
    let mut chains = world.chains.clone();
    chains.changes.push(change);
    walk(&chains, &world.pin)
}

#[test]
fn the_genesis_is_signed_by_all() {
    let mut world = World::quick();
    assert_eq!(world.trusted().length(), 1);
    for missing in 0..4 {
        let mut chains = world.chains.clone();
        chains.genesis.signatures.remove(missing);
        let error = walk(&chains, &world.pin).unwrap_err();
        assert!(
            matches!(error, ChainError::Signatures { index: 0, .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains("3 of 4 for all members"),
            "{error}"
        );
    }
    // Four signatures of three people are not all.
    world.chains.genesis.signatures[3] = world.chains.genesis.signatures[0].clone();
    assert!(matches!(
        walk(&world.chains, &world.pin),
        Err(ChainError::Signatures { .. })
    ));
}

/// A key that nobody has could never be counted, and one of somebody else counts for the wrong person.
#[test]
fn each_key_of_the_genesis_has_signed_it() {
    let world = World::quick();
    let second = Custodian::quick("second");
    let body = world.chains.genesis.body.as_bytes();
    let mut genesis: Genesis = json::require_canonical(body).unwrap();
    let own = genesis.roster.members[0].id.clone();
    genesis.roster.members[0]
        .keys
        .extend(second.member(&[]).keys);
    let body = genesis.encode().unwrap();
    let pin = Pin {
        genesis: Sha256Digest::of(&body),
        ..world.pin.clone()
    };
    let walked = |signers: &[&Custodian]| {
        let chains = Chains {
            genesis: world.signed(Purpose::Genesis, body.clone(), signers),
            changes: Vec::new(),
        };
        walk(&chains, &pin)
    };
    let mut signers = vec![&world.alice, &world.bob, &world.carol, &world.dave];
    let error = walked(&signers).unwrap_err().to_string();
    assert!(error.contains(&format!("a new key of {own}")), "{error}");
    signers.push(&second);
    assert!(walked(&signers).is_ok());
}

#[test]
fn another_genesis_by_the_same_people_is_not_the_pinned_one() {
    let (one, two) = (World::quick(), World::quick());
    let mut body = two.chains.genesis.body.clone();
    body = body.replace("alice of the tests", "Alice of the tests");
    let pin = Pin {
        genesis: Sha256Digest::of(body.as_bytes()),
        ..one.pin.clone()
    };
    assert!(matches!(
        walk(&one.chains, &pin),
        Err(ChainError::Genesis { .. })
    ));
}

#[test]
fn a_roster_needs_the_old_and_the_new_threshold() {
    let world = World::quick();
    let erin = Custodian::quick("erin");
    let frank = Custodian::quick("frank");
    // Alice stays, Erin and Frank come, Bob and Carol go.
    let change = |roster: &mut Roster| {
        roster.members[1].active = false;
        roster.members[2].active = false;
        roster
            .members
            .extend([&erin, &frank].map(|each| each.member(&[Role::Custodian])));
    };
    for (signers, holds) in [
        (vec![&world.alice, &world.bob, &erin, &frank], true),
        // One of the old roster only.
        (vec![&world.alice, &erin, &frank], false),
        // One of the new roster only: Bob and Carol are not active in it.
        (vec![&world.bob, &world.carol, &erin], false),
        // Enough of both, but Frank has not shown that he has his key.
        (vec![&world.alice, &world.bob, &erin], false),
        (vec![], false),
    ] {
        let document = world.next_roster(change, &signers);
        let walked = walked(&world, Change::Roster(document));
        assert_eq!(walked.is_ok(), holds, "{walked:?}");
    }
}

/// No new key is in the way here: what refuses is the threshold of the new roster alone.
#[test]
fn those_who_leave_cannot_choose_their_successors_alone() {
    let world = World::quick();
    let change = |roster: &mut Roster| {
        roster.members[1].active = false;
        roster.members[3].roles = vec![Role::Custodian];
    };
    for (signers, holds) in [
        ([&world.bob, &world.carol], false),
        ([&world.alice, &world.carol], true),
    ] {
        let walked = walked(&world, Change::Roster(world.next_roster(change, &signers)));
        assert_eq!(walked.is_ok(), holds, "{walked:?}");
    }
}

#[test]
fn a_member_gets_another_members_former_key_never() {
    let mut world = World::quick();
    let document = world.next_roster(
        |roster| roster.members[1].active = false,
        &[&world.alice, &world.carol],
    );
    world.chains.changes.push(Change::Roster(document));
    let heir = Custodian::quick_with_seed("erin", "bob");
    let document = world.next_roster(
        |roster| roster.members.push(heir.member(&[Role::Custodian])),
        &[&world.alice, &world.carol, &heir],
    );
    let error = walked(&world, Change::Roster(document)).unwrap_err();
    let shared = RosterError::SharedKey(name("bob"), name("erin"));
    assert_eq!(
        error,
        ChainError::Roster {
            index: 2,
            source: shared
        }
    );
}

#[test]
fn versions_and_predecessors_leave_no_gap() {
    let world = World::quick();
    let signers = [&world.alice, &world.bob];
    type Edit = fn(&mut Roster);
    let edits: [Edit; 5] = [
        |roster| roster.version = 3,
        |roster| roster.version = 1,
        |roster| roster.previous = None,
        |roster| roster.previous = Some(Sha256Digest::of(b"another")),
        |roster| roster.environment = name("staging"),
    ];
    for edit in edits {
        let document = world.next_roster(edit, &signers);
        let error = walked(&world, Change::Roster(document)).unwrap_err();
        let expected = matches!(
            error,
            ChainError::Version { .. } | ChainError::Previous { .. } | ChainError::Elsewhere { .. }
        );
        assert!(expected, "{error}");
    }
    assert!(walked(&world, Change::Roster(world.next_roster(|_| {}, &signers))).is_ok());
}

#[test]
fn a_document_left_out_of_the_middle_breaks_the_chain() {
    let mut world = World::quick();
    for _ in 0..2 {
        let document = world.next_roster(|_| {}, &[&world.alice, &world.bob]);
        world.chains.changes.push(Change::Roster(document));
    }
    let document = world.next_policy(|_| {}, &[&world.alice, &world.bob]);
    world.chains.changes.push(Change::Policy(document));
    assert_eq!(world.trusted().length(), 4);
    for missing in 0..2 {
        let mut chains = world.chains.clone();
        chains.changes.remove(missing);
        assert!(
            walk(&chains, &world.pin).is_err(),
            "without change {missing}"
        );
    }
    let mut chains = world.chains.clone();
    chains.changes.swap(1, 2);
    assert!(walk(&chains, &world.pin).is_err(), "exchanged");
}

#[test]
fn thresholds_that_nobody_can_reach_are_refused() {
    let world = World::quick();
    let four = |policy: &mut Policy| {
        policy.thresholds = Thresholds::uniform(Threshold::try_from(4).unwrap());
    };
    let document = world.next_policy(four, &[&world.alice, &world.bob, &world.carol]);
    let error = walked(&world, Change::Policy(document)).unwrap_err();
    assert!(
        matches!(error, ChainError::Unreachable { custodians: 3, .. }),
        "{error}"
    );
    // Nor may custodians leave until the threshold cannot be reached.
    let document = world.next_roster(
        |roster| {
            roster.members[1].active = false;
            roster.members[2].active = false;
        },
        &[&world.alice, &world.bob, &world.carol],
    );
    let error = walked(&world, Change::Roster(document)).unwrap_err();
    assert!(
        matches!(error, ChainError::Unreachable { custodians: 1, .. }),
        "{error}"
    );
}

#[test]
fn rosters_that_nobody_should_sign() {
    let world = World::quick();
    let everybody = [&world.alice, &world.bob, &world.carol];
    type Edit = fn(&mut Roster);
    let edits: [(Edit, RosterError); 4] = [
        (
            |roster| roster.members[1].name = "B\u{202e}ob".to_owned(),
            RosterError::Name(name("bob")),
        ),
        (
            |roster| roster.members[1].id = name("alice"),
            RosterError::DuplicateId(1),
        ),
        (
            |roster| roster.members[1].keys.clear(),
            RosterError::NoKey(name("bob")),
        ),
        (
            |roster| roster.members[1].roles = vec![Role::Custodian, Role::Custodian],
            RosterError::DuplicateRole(name("bob")),
        ),
    ];
    for (edit, source) in edits {
        let document = world.next_roster(edit, &everybody);
        let error = walked(&world, Change::Roster(document)).unwrap_err();
        assert_eq!(error, ChainError::Roster { index: 1, source });
    }
}

#[test]
fn an_expired_roster_approves_nothing() {
    use crate::support::minute;
    use trust::tally::{History, Obstacle, Standing};
    let mut world = World::quick();
    let document = world.next_roster(
        |roster| roster.expires_at = Some(minute(9)),
        &[&world.alice, &world.bob],
    );
    world.chains.changes.push(Change::Roster(document));
    let ceremony = world.ceremony(&world.request(), &[&world.alice, &world.bob]);
    let at = |now| tally(&world.trusted(), &ceremony, &History::default(), now).into_standing();
    assert_eq!(at(minute(9)), Standing::Approved);
    assert_eq!(
        at(minute(10)),
        Standing::Refused(vec![Obstacle::RosterExpired(minute(9))])
    );
}
