//! What a policy can say, and genesis documents that could never act.

use trust::chain::{ChainError, Change, Genesis, walk};
use trust::format::V1;
use trust::policy::{PolicyError, Threshold, Thresholds};
use trust::request::{ClockCorrection, Usage};
use trust::roster::RosterError;
use trust::tally::Standing;
use trust::*;

use crate::support::ordered::standing_order;
use crate::support::{
    Custodian, NewKey, World, destroy, first_policy, first_roster, generate, minute, name, revoke,
    sign_all,
};

fn threshold(number: u64) -> Threshold {
    Threshold::try_from(number).unwrap()
}

fn changed(world: &World, change: impl FnOnce(&mut Policy)) -> Result<Trusted, ChainError> {
    let document = world.next_policy(change, &[&world.alice, &world.bob, &world.carol]);
    let mut chains = world.chains.clone();
    chains.changes.push(Change::Policy(document));
    walk(&chains, &world.pin)
}

/// A policy as JSON, because what cannot be expressed is written all the same by somebody.
fn written(world: &World, old: &str, new: &str) -> Result<Trusted, ChainError> {
    let document = world.next_policy(|policy| policy.routine_rings = vec![name("jwt")], &[]);
    let body = document.body.replace(old, new);
    assert_ne!(body, document.body);
    let signers = [&world.alice, &world.bob, &world.carol];
    let document = world.signed(Purpose::Policy, body.into_bytes(), &signers);
    let mut chains = world.chains.clone();
    chains.changes.push(Change::Policy(document));
    walk(&chains, &world.pin)
}

#[test]
fn no_threshold_goes_under_the_floor_of_its_operation() {
    let world = World::quick();
    let with = |word: &'static str, number| {
        changed(&world, |policy| {
            policy.thresholds.set(word, threshold(number))
        })
    };
    for word in ["destroy", "roster", "kek-destroy", "what-comes-later"] {
        assert!(with(word, 2).is_ok(), "{word}");
    }
    assert!(with("emergency-rotation", 3).is_ok());
    let source = PolicyError::Floor {
        word: "emergency-rotation".parse().unwrap(),
        threshold: threshold(2),
        floor: threshold(3),
    };
    let error = with("emergency-rotation", 2).unwrap_err();
    assert_eq!(error, ChainError::Policy { index: 1, source });
    // Unwritten, the floor holds all the same.
    let trusted = changed(&world, |_| ()).unwrap();
    assert_eq!(
        trusted.policy().thresholds.of("emergency-rotation"),
        threshold(3)
    );
    for number in ["1", "0", "256", "-2", "2.0", r#""2""#, "null"] {
        let new = format!(r#""default":{number}"#);
        let error = written(&world, r#""default":2"#, &new).unwrap_err();
        assert!(
            matches!(error, ChainError::Json { index: 1, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_policy_without_a_default_holds_for_nobody() {
    let world = World::quick();
    let error = written(&world, r#""default":2,"#, "").unwrap_err();
    assert!(
        matches!(error, ChainError::Json { index: 1, .. }),
        "{error}"
    );
    // Words are words, and there are at most a hundred of them.
    for word in ["Destroy", "de stroy", "1st", ""] {
        let new = format!(r#""{word}":2,"default":2"#);
        let error = written(&world, r#""default":2"#, &new).unwrap_err();
        assert!(
            matches!(error, ChainError::Json { index: 1, .. }),
            "{error}"
        );
    }
    // `default` and `revoke` are written already.
    let many = |count: u32| {
        changed(&world, |policy| {
            for number in 0..count {
                policy
                    .thresholds
                    .set(&format!("w{number}"), Threshold::FLOOR);
            }
        })
    };
    assert!(many(98).is_ok());
    let error = many(99).unwrap_err();
    assert!(
        matches!(error, ChainError::Json { index: 1, .. }),
        "{error}"
    );
}

#[test]
fn the_ring_of_the_log_is_never_routine_and_routine_rings_ascend() {
    let world = World::quick();
    let with = |rings: &'static [&'static str]| {
        changed(&world, |policy| {
            policy.routine_rings = rings.iter().map(|ring| name(ring)).collect();
        })
    };
    let trusted = with(&["jwt", "webhooks"]).unwrap();
    let routine = |ring: &str, usage| trusted.policy().is_routine(&name(ring), usage);
    assert!(routine("jwt", Usage::Structured));
    assert!(!routine("log", Usage::Structured));
    assert!(!routine("oauth", Usage::Structured));
    for usage in Usage::ALL {
        let critical = [Usage::Log, Usage::Wrap, Usage::Certificates].contains(&usage);
        assert_eq!(routine("jwt", usage), !critical, "{usage}");
    }
    for (rings, wrong) in [
        (&["jwt", "log"][..], "log"),
        (&["log"], "log"),
        (&["webhooks", "jwt"], "jwt"),
        (&["jwt", "jwt"], "jwt"),
    ] {
        let source = PolicyError::RoutineRing(name(wrong));
        assert_eq!(
            with(rings).unwrap_err(),
            ChainError::Policy { index: 1, source }
        );
    }
}

/// Each operation has the threshold of its word, to approve and to accept.
#[test]
fn every_operation_is_counted_by_its_own_threshold() {
    let kid = NewKey::generate().kid();
    let mut rotation = generate("jwt");
    (rotation.number, rotation.predecessor) = (2, Some(kid.clone()));
    let correction = ClockCorrection {
        bound: minute(0),
        first: 0,
        last: 1,
        origin: "seal.example/log".to_owned(),
    };
    let new_origin = NewOrigin {
        lost: None,
        origin: "b".to_owned(),
        previous_checkpoint: String::new(),
        previous_origin: "a".to_owned(),
        root: Sha256Digest::of(b""),
        size: 1,
    };
    let order = standing_order(&Custodian::quick("robot"));
    let operations = [
        ("generate", Operation::Generate(generate("jwt"))),
        ("rotate", Operation::Generate(rotation)),
        ("destroy", destroy(std::slice::from_ref(&kid))),
        ("revoke", revoke(&kid)),
        ("clock-correction", Operation::ClockCorrection(correction)),
        ("new-origin", Operation::NewOrigin(new_origin)),
        ("order", Operation::Order(Box::new(order))),
    ];
    let policy = |word: &str| {
        let mut policy = first_policy(&name("production"), 5);
        policy.thresholds = Thresholds::uniform(threshold(5));
        policy.thresholds.set(word, threshold(7));
        policy
    };
    for (word, operation) in &operations {
        for (other, _) in &operations {
            let found = policy(other).to_approve(operation);
            let expected = match (word == other, *word) {
                (true, _) => 7,
                (false, "revoke") => 2,
                (false, _) => 5,
            };
            assert_eq!(found, threshold(expected), "{word} by {other}");
        }
        let accepted = policy("accept").to_accept(operation);
        let in_a_hurry = policy("revoke").to_accept(operation);
        match *word {
            "revoke" => assert_eq!((accepted.get(), in_a_hurry.get()), (2, 7)),
            _ => assert_eq!((accepted.get(), in_a_hurry.get()), (7, 5)),
        }
    }
}

#[test]
fn the_threshold_that_is_written_is_the_one_that_is_tallied() {
    let mut world = World::quick();
    let document = world.next_policy(
        |policy| policy.thresholds.set("generate", threshold(3)),
        &[&world.alice, &world.bob],
    );
    world.chains.changes.push(Change::Policy(document));
    let mut request = world.request();
    request.proposer = Some(world.dave.id.clone());
    let two = world.ceremony(&request, &[&world.alice, &world.bob]);
    assert_eq!(world.tally(&two).standing, Standing::Waiting { missing: 1 });
    let three = world.ceremony(&request, &[&world.alice, &world.bob, &world.carol]);
    assert_eq!(world.tally(&three).standing, Standing::Approved);
    // A rotation is none of it.
    let mut rotation = generate("atp-integrity");
    (rotation.number, rotation.predecessor) = (2, Some(NewKey::generate().kid()));
    let request = world.later(Operation::Generate(rotation));
    let two = world.ceremony(&request, &[&world.alice, &world.bob]);
    assert_eq!(world.tally(&two).standing, Standing::Approved);
}

#[test]
fn roster_and_policy_change_by_their_own_thresholds() {
    let mut world = World::quick();
    let document = world.next_policy(
        |policy| {
            policy.thresholds.set("roster", threshold(3));
            policy.thresholds.set("policy", threshold(3));
        },
        // The larger of the old and the new one counts.
        &[&world.alice, &world.bob],
    );
    world.chains.changes.push(Change::Policy(document));
    assert!(matches!(
        walk(&world.chains, &world.pin),
        Err(ChainError::Signatures { index: 1, .. })
    ));
    world.chains.changes.clear();
    let document = world.next_policy(
        |policy| {
            policy.thresholds.set("roster", threshold(3));
            policy.thresholds.set("policy", threshold(3));
        },
        &[&world.alice, &world.bob, &world.carol],
    );
    world.chains.changes.push(Change::Policy(document));
    for (signers, holds) in [
        (vec![&world.alice, &world.bob], false),
        (vec![&world.alice, &world.bob, &world.carol], true),
    ] {
        let lower = |policy: &mut Policy| policy.thresholds.set("policy", threshold(2));
        for change in [
            Change::Roster(world.next_roster(|_| (), &signers)),
            Change::Policy(world.next_policy(lower, &signers)),
        ] {
            let mut chains = world.chains.clone();
            chains.changes.push(change);
            assert_eq!(walk(&chains, &world.pin).is_ok(), holds);
        }
    }
}

#[test]
fn an_executor_has_no_other_role() {
    let world = World::quick();
    let with = |roles: Vec<Role>| {
        let document = world.next_roster(
            |roster| roster.members[3].roles = roles,
            &[&world.alice, &world.bob, &world.carol],
        );
        let mut chains = world.chains.clone();
        chains.changes.push(Change::Roster(document));
        walk(&chains, &world.pin)
    };
    assert!(with(vec![Role::Executor]).is_ok());
    for other in ["custodian", "operator", "on-call", "something-later"] {
        let roles = ["executor", other].map(|role| role.parse().unwrap());
        let mut turned = roles.to_vec();
        turned.reverse();
        for roles in [roles.to_vec(), turned] {
            let source = RosterError::ExecutorRole(name("dave"));
            assert_eq!(
                with(roles).unwrap_err(),
                ChainError::Roster { index: 1, source }
            );
        }
    }
}

/// Members with their roles, all of whom sign, and a policy.
fn genesis(
    roles: &[Role],
    number: u64,
    change: impl FnOnce(&mut Genesis),
) -> Result<Trusted, ChainError> {
    let people: Vec<_> = (0..roles.len())
        .map(|number| Custodian::quick(&format!("m{number}")))
        .collect();
    let members = people.iter().zip(roles);
    let members = members.map(|(person, role)| person.member(std::slice::from_ref(role)));
    let environment = name("production");
    let mut genesis = Genesis {
        v: V1,
        roster: first_roster(&environment, members.collect()),
        policy: first_policy(&environment, number),
    };
    change(&mut genesis);
    let body = String::from_utf8(genesis.encode().unwrap()).unwrap();
    let signers: Vec<_> = people.iter().collect();
    let signatures = sign_all(&signers, &genesis.namespace(), body.as_bytes());
    let pin = Pin {
        genesis: Sha256Digest::of(body.as_bytes()),
        service: name("seal"),
        environment,
    };
    let chains = Chains {
        genesis: SignedDocument { body, signatures },
        changes: vec![],
    };
    walk(&chains, &pin)
}

/// Whoever proposes does not count: what could never act is refused, and the smallest that can is
/// not.
#[test]
fn a_genesis_that_could_never_act_is_refused() {
    use Role::{Custodian as C, Executor as E, OnCall, Operator as O};
    let with = |roles: &[Role], number| genesis(roles, number, |_| ());
    for (roles, number) in [
        (&[C, C, C][..], 2),
        (&[C, C, O], 2),
        (&[C, C, C, C], 3),
        (&[C, C, C, O], 3),
        (&[C, C, C, C, C], 3),
        (&[C, C, O, E], 2),
    ] {
        assert!(with(roles, number).is_ok(), "{number} of {roles:?}");
    }
    for (roles, number, custodians) in [
        (&[C, C][..], 2, 2),
        (&[C, O], 2, 1),
        (&[C, C, C], 3, 3),
        (&[C, C, E], 2, 2),
        (&[C, C, OnCall], 2, 2),
        (&[C, C, C, O], 4, 3),
        (&[O, O, O], 2, 0),
    ] {
        match with(roles, number).unwrap_err() {
            ChainError::Unreachable {
                index: 0,
                threshold: found,
                custodians: count,
            } => assert_eq!((found, count), (threshold(number), custodians)),
            other => panic!("{number} of {roles:?}: {other}"),
        }
    }
    // The error says the smallest change that works.
    let error = with(&[C, C], 2).unwrap_err().to_string();
    assert!(error.contains("3 custodians"), "{error}");
    assert!(error.contains("2 and an active operator"), "{error}");

    // A custodian who is an operator too is still the one who does not count,
    let both = genesis(&[C, C], 2, |genesis| {
        genesis.roster.members[0].roles = vec![C, O];
    });
    assert!(matches!(both, Err(ChainError::Unreachable { .. })));
    // a former operator proposes nothing,
    let former = genesis(&[C, C, O], 2, |genesis| {
        genesis.roster.members[2].active = false
    });
    assert!(matches!(former, Err(ChainError::Unreachable { .. })));
    // and one threshold too high is enough, of whatever word.
    for word in ["destroy", "kek-destroy", "what-comes-later"] {
        let one = genesis(&[C, C, C], 2, |genesis| {
            genesis.policy.thresholds.set(word, threshold(3));
        });
        assert!(matches!(one, Err(ChainError::Unreachable { .. })), "{word}");
    }
}

#[test]
fn executors_sign_the_genesis_too() {
    use Role::{Custodian as C, Executor as E};
    assert!(genesis(&[C, C, C, E], 2, |_| ()).is_ok());
    let stranger = genesis(&[C, C, C], 2, |genesis| {
        let executor = Custodian::quick("executor").member(&[E]);
        genesis.roster.members.push(executor);
    });
    assert!(matches!(
        stranger,
        Err(ChainError::Signatures { index: 0, .. })
    ));
}

#[test]
fn a_genesis_is_held_to_the_rules_of_every_roster_and_policy() {
    use Role::{Custodian as C, Executor as E};
    let with = |change: fn(&mut Genesis)| genesis(&[C, C, C, C], 2, change).unwrap_err();
    let error = with(|genesis| genesis.roster.members[3].roles = vec![C, E]);
    let source = RosterError::ExecutorRole(name("m3"));
    assert_eq!(error, ChainError::Roster { index: 0, source });
    let error = with(|genesis| genesis.policy.routine_rings = vec![name("log")]);
    let source = PolicyError::RoutineRing(name("log"));
    assert_eq!(error, ChainError::Policy { index: 0, source });
    let error = with(|genesis| {
        let floor = Threshold::FLOOR;
        genesis.policy.thresholds.set("emergency-rotation", floor);
    });
    assert!(
        matches!(error, ChainError::Policy { index: 0, .. }),
        "{error}"
    );
}
