//! The threats of the trust design, each a test of its name. Attacks on a database end here in
//! attacks on the bytes a database hands over: trust comes from walking the chain, not from rows.

use trust::approval::{Approval, Outcome};
use trust::chain::{ChainError, Change, Genesis, walk};
use trust::format::V1;
use trust::policy::{Threshold, Thresholds};
use trust::request::{Operation, Request};
use trust::roster::RosterError;
use trust::sshsig::SshSigError;
use trust::tally::{History, Last, Obstacle, Standing, WhyNot, tally_acceptance};
use trust::*;

use crate::support::{
    Custodian, NewKey, World, first_policy, first_roster, minute, name, sign_all,
};

/// Why each approval did not count.
fn reasons(tally: &Tally) -> Vec<WhyNot> {
    tally
        .not_counted
        .iter()
        .map(|each| each.why.clone())
        .collect()
}

fn order(request: &mut Request) -> &mut Generate {
    match &mut request.operation {
        Operation::Generate(order) => order,
        _ => panic!("not a generation"),
    }
}

fn obstacles(tally: &Tally) -> &[Obstacle] {
    match &tally.standing {
        Standing::Refused(obstacles) => obstacles,
        other => panic!("{other:?}"),
    }
}

#[test]
fn replay() {
    let world = World::quick();
    let request = world.request();
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    assert_eq!(world.tally(&ceremony).standing, Standing::Approved);

    // The same ceremony once more, after it was carried out.
    let ring = Subject::Ring(name("atp-integrity"));
    let history = |last: Option<Last>, nonce_used| History {
        lines: last.map(|last| (ring.clone(), last)).into_iter().collect(),
        nonce_used,
        ..History::default()
    };
    let last = Last {
        sequence: 1,
        digest: Sha256Digest::of(b"its transcript"),
    };
    let done = history(Some(last), true);
    let again = tally(&world.trusted(), &ceremony, &done, minute(10));
    assert_eq!(
        obstacles(&again),
        [
            Obstacle::Sequence {
                subject: ring.clone(),
                found: 1,
                expected: 2
            },
            Obstacle::Previous(ring.clone()),
            Obstacle::NonceUsed
        ]
    );
    // Each of the three alone is enough.
    let mut second = request.clone();
    second.lines[0].sequence = 2;
    second.lines[0].previous = Some(last.digest);
    let follows = world.ceremony(&second, &[&world.alice, &world.bob]);
    let good = tally(
        &world.trusted(),
        &follows,
        &history(Some(last), false),
        minute(10),
    );
    assert_eq!(good.standing, Standing::Approved);
    let later = Last {
        sequence: 2,
        ..last
    };
    let another = Last {
        digest: Sha256Digest::of(b"another"),
        ..last
    };
    for (history, expected) in [
        (
            history(Some(later), false),
            Obstacle::Sequence {
                subject: ring.clone(),
                found: 2,
                expected: 3,
            },
        ),
        (
            history(Some(another), false),
            Obstacle::Previous(ring.clone()),
        ),
        (history(Some(last), true), Obstacle::NonceUsed),
    ] {
        let again = tally(&world.trusted(), &follows, &history, minute(10));
        assert_eq!(obstacles(&again), [expected]);
        assert!(again.into_approved().is_err());
    }
}

#[test]
fn other_environment() {
    let staging = World::of(
        ["alice", "bob", "carol", "dave"].map(Custodian::quick),
        "staging",
    );
    let production = World::quick();
    // The same people and keys, the same request but for the environment.
    let request = production.request();
    let mut ceremony = production.ceremony(&request, &[]);
    for signer in [&staging.alice, &staging.bob] {
        ceremony
            .approvals
            .push(staging.approval(&ceremony.request, signer));
    }
    let tally = production.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 2 });
    assert!(
        reasons(&tally)
            .iter()
            .all(|why| matches!(why, WhyNot::Signature(SshSigError::Namespace { .. })))
    );
    // A whole ceremony of staging, carried over with its signatures.
    let foreign = staging.ceremony(&staging.request(), &[&staging.alice, &staging.bob]);
    let tally = production.tally(&foreign);
    assert!(obstacles(&tally).contains(&Obstacle::Elsewhere));
    assert_eq!(tally.counted, []);
    // And the whole chain of staging.
    assert!(matches!(
        walk(&staging.chains, &production.pin),
        Err(ChainError::Genesis { .. })
    ));
    let pin = Pin {
        genesis: staging.pin.genesis,
        ..production.pin.clone()
    };
    assert!(matches!(
        walk(&staging.chains, &pin),
        Err(ChainError::Elsewhere { .. })
    ));
}

#[test]
fn other_purpose() {
    let world = World::quick();
    let request = world.request();
    let mut ceremony = world.ceremony(&request, &[&world.alice]);
    for purpose in [
        Purpose::Genesis,
        Purpose::Roster,
        Purpose::Policy,
        Purpose::Propose,
        Purpose::Reject,
        Purpose::Cancel,
        Purpose::Accept,
        Purpose::Result,
        Purpose::Suspend,
        Purpose::Read,
        Purpose::Possession,
    ] {
        // Bob signed the same body for something else.
        let signature = world.signature(purpose, &ceremony.request, &world.bob);
        ceremony.approvals.push(Approval {
            signature,
            received_at: minute(5),
        });
    }
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(tally.not_counted.len(), 11);
    // The right namespace over bytes that name another payload type.
    let approve = world.namespace(Purpose::Approve).to_string();
    let reject = world.namespace(Purpose::Reject).to_string();
    let signature = world
        .bob
        .signed(&approve, &dsse::pae(&reject, &ceremony.request));
    ceremony.approvals = vec![Approval {
        signature,
        received_at: minute(5),
    }];
    let tally = world.tally(&ceremony);
    assert_eq!(
        reasons(&tally),
        [WhyNot::Signature(SshSigError::BadSignature)]
    );
}

#[test]
fn proposer_approves_own_request() {
    let world = World::quick();
    let request = world.request();
    let ceremony = world.ceremony(&request, &[&world.carol, &world.alice]);
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(reasons(&tally), [WhyNot::Proposer]);

    // Nor does the proposer count when the result is accepted.
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let record = world.record(&ceremony);
    let statement = world.statement(
        &record,
        Outcome::Generated(NewKey::generate().generated(&request)),
    );
    let acceptance = world.acceptance(&statement, &[&world.carol, &world.alice]);
    let tally = tally_acceptance(&world.trusted(), &record, &acceptance).unwrap();
    assert!(!tally.is_complete());

    // Nor can the request be signed off as proposed by nobody.
    let mut anonymous = request;
    anonymous.proposer = Some(name("mallory"));
    let ceremony = world.ceremony(&anonymous, &[&world.carol, &world.alice]);
    assert_eq!(
        obstacles(&world.tally(&ceremony)),
        [Obstacle::Proposer(name("mallory"))]
    );
}

#[test]
fn one_person_with_two_keys() {
    let mut world = World::quick();
    let second = Custodian::quick_with_seed("alice", "alice's second key");
    let document = world.next_roster(
        |roster| {
            roster.members[0].keys.push(MemberKey::Ssh {
                public: second.public.clone(),
            })
        },
        &[&world.alice, &world.bob, &second],
    );
    world.chains.changes.push(Change::Roster(document));
    let ceremony = world.ceremony(&world.request(), &[&world.alice, &second]);
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(reasons(&tally), [WhyNot::Again]);
    // Either key alone is hers.
    let ceremony = world.ceremony(&world.request(), &[&second, &world.bob]);
    assert_eq!(world.tally(&ceremony).standing, Standing::Approved);
}

#[test]
fn same_signature_twice() {
    let world = World::quick();
    let mut ceremony = world.ceremony(&world.request(), &[&world.alice]);
    ceremony.approvals.push(ceremony.approvals[0].clone());
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(reasons(&tally), [WhyNot::Again]);

    let transcript = world.transcript();
    let mut acceptance = transcript.acceptance;
    acceptance.signatures[1] = acceptance.signatures[0].clone();
    let tally = tally_acceptance(&world.trusted(), &transcript.record, &acceptance).unwrap();
    assert!(!tally.is_complete());
}

#[test]
fn two_members_sharing_key_material() {
    let world = World::quick();
    let shared = Custodian::quick_with_seed("eve", "bob");
    let document = world.next_roster(
        |roster| roster.members.push(shared.member(&[Role::Custodian])),
        &[&world.alice, &world.bob, &world.carol, &shared],
    );
    let mut chains = world.chains.clone();
    chains.changes.push(Change::Roster(document));
    let expected = ChainError::Roster {
        index: 1,
        source: RosterError::SharedKey(name("bob"), name("eve")),
    };
    assert_eq!(walk(&chains, &world.pin).unwrap_err(), expected);
}

#[test]
fn roster_rolled_back() {
    let mut world = World::quick();
    let old = world.trusted();
    let rolled_back_chains = world.chains.clone();
    let document = world.next_roster(
        |roster| roster.members[1].active = false,
        &[&world.alice, &world.bob, &world.carol],
    );
    // Bob left; the two who remain are enough for a threshold of two.
    world.chains.changes.push(Change::Roster(document));
    let history = History {
        roster_version: 2,
        policy_version: 1,
        ..History::default()
    };

    // The database hands over the old chain again. Its signatures are all genuine.
    let rolled_back = walk(&rolled_back_chains, &world.pin).unwrap();
    let mut request = world.request();
    request.roster = rolled_back.roster_ref();
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let refused = tally(&rolled_back, &ceremony, &history, minute(10));
    let expected = Obstacle::RolledBack {
        what: "roster",
        seen: 2,
        found: 1,
    };
    assert_eq!(obstacles(&refused), [expected]);

    // Under the current chain the old roster is not current, and Bob does not count.
    let refused = tally(&world.trusted(), &ceremony, &history, minute(10));
    assert!(obstacles(&refused).contains(&Obstacle::Roster {
        found: 1,
        current: 2
    }));
    assert_eq!(reasons(&refused), [WhyNot::Inactive]);
    // A transcript made under the old chain is recognised as older, not as current.
    assert!(world.trusted().extends(&old));
    assert!(!old.extends(&world.trusted()));
}

#[test]
fn roster_edited_in_the_database() {
    let world = World::quick();
    let mallory = Custodian::quick("mallory");
    let replaced = |text: &str| text.replace(world.bob.public.as_str(), mallory.public.as_str());
    // In the genesis: the pin does not fit.
    let mut chains = world.chains.clone();
    chains.genesis.body = replaced(&chains.genesis.body);
    assert!(matches!(
        walk(&chains, &world.pin),
        Err(ChainError::Genesis { .. })
    ));
    // In a later roster: the signatures do not fit.
    let mut chains = world.chains.clone();
    let mut document = world.next_roster(|_| {}, &[&world.alice, &world.bob]);
    document.body = replaced(&document.body);
    chains.changes.push(Change::Roster(document));
    assert!(matches!(
        walk(&chains, &world.pin),
        Err(ChainError::Signatures { index: 1, .. })
    ));
    // A new roster by outsiders only.
    let outsiders = ["mallory", "eve", "trent"].map(Custodian::quick);
    let document = world.next_roster(
        |roster| {
            for member in &mut roster.members {
                member.keys = vec![];
                member.active = false;
            }
            let all = outsiders.iter();
            roster
                .members
                .extend(all.map(|each| each.member(&[Role::Custodian])));
        },
        &outsiders.each_ref(),
    );
    let mut chains = world.chains.clone();
    chains.changes.push(Change::Roster(document));
    assert!(matches!(
        walk(&chains, &world.pin),
        Err(ChainError::Signatures { index: 1, .. })
    ));
}

#[test]
fn threshold_lowered_in_the_database() {
    // A policy with a threshold of one cannot even be read, whoever signs it.
    let world = World::quick();
    let document = world.next_policy(|_| {}, &[]);
    let body = document.body.replace(r#""default":2"#, r#""default":1"#);
    assert_ne!(body, document.body);
    let document = world.signed(
        Purpose::Policy,
        body.into_bytes(),
        &[&world.alice, &world.bob, &world.carol],
    );
    let mut chains = world.chains.clone();
    chains.changes.push(Change::Policy(document));
    let error = walk(&chains, &world.pin).unwrap_err();
    assert!(
        matches!(error, ChainError::Json { index: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("thresholds.default"), "{error}");
    assert!(Threshold::try_from(1).is_err() && Threshold::try_from(0).is_err());

    // Lowering three to two needs three.
    let people = ["alice", "bob", "carol", "dave"].map(Custodian::quick);
    let environment = name("production");
    let members = people
        .iter()
        .map(|each| each.member(&[Role::Custodian]))
        .collect();
    let genesis = Genesis {
        v: V1,
        roster: first_roster(&environment, members),
        policy: first_policy(&environment, 3),
    };
    let body = String::from_utf8(genesis.encode().unwrap()).unwrap();
    let namespace = Namespace::new(Purpose::Genesis, &name("seal"), &environment);
    let everybody: Vec<_> = people.iter().collect();
    let signatures = sign_all(&everybody, &namespace, body.as_bytes());
    let pin = Pin {
        genesis: Sha256Digest::of(body.as_bytes()),
        service: name("seal"),
        environment,
    };
    let genesis = SignedDocument { body, signatures };
    let [alice, bob, carol, dave] = people;
    let three = World {
        alice,
        bob,
        carol,
        dave,
        chains: Chains {
            genesis,
            changes: vec![],
        },
        pin,
        clock: 0,
    };
    let lower = |policy: &mut Policy| policy.thresholds = Thresholds::uniform(Threshold::FLOOR);
    for (signers, holds) in [
        (vec![&three.alice, &three.bob], false),
        (vec![&three.alice, &three.bob, &three.carol], true),
    ] {
        let mut chains = three.chains.clone();
        chains
            .changes
            .push(Change::Policy(three.next_policy(lower, &signers)));
        assert_eq!(walk(&chains, &three.pin).is_ok(), holds);
    }
}

#[test]
fn approvals_fabricated_in_the_database_by_its_superuser() {
    let world = World::quick();
    let request = world.request();
    let honest = world.ceremony(&request, &[&world.alice, &world.bob]);
    let mallory = Custodian::quick("mallory");
    let impostor = Custodian::quick_with_seed("bob", "not bob's key");
    let mut unrelated = request.clone();
    unrelated.reason = "another request".to_owned();
    let of_another = world
        .ceremony(&unrelated, &[&world.bob])
        .approvals
        .remove(0);
    let rows = [
        world.approval(&honest.request, &mallory),
        world.approval(&honest.request, &impostor),
        of_another,
        world.approval(&honest.request, &world.dave),
        Approval {
            signature: MemberSignature::ssh(""),
            received_at: minute(5),
        },
        Approval {
            signature: MemberSignature::ssh("-----BEGIN SSH SIGNATURE-----\n"),
            received_at: minute(5),
        },
    ];
    let mut ceremony = world.ceremony(&request, &[&world.alice]);
    ceremony.approvals.extend(rows);
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(
        reasons(&tally),
        [
            WhyNot::UnknownKey,
            WhyNot::UnknownKey,
            WhyNot::Signature(SshSigError::BadSignature),
            WhyNot::Role,
            WhyNot::Signature(SshSigError::Armor),
            WhyNot::Signature(SshSigError::Armor),
        ]
    );
}

#[test]
fn request_changed_after_approval() {
    let world = World::quick();
    let request = world.request();
    let honest = world.ceremony(&request, &[&world.alice, &world.bob]);
    let changes: [fn(&mut Request); 6] = [
        |request| request.reason.push('!'),
        |request| request.execute_by = minute(600),
        |request| request.proposer = Some(name("dave")),
        |request| match &mut order(request).place {
            Place::Pkcs11(place) => place.token_serial = "another".to_owned(),
            Place::KeyVault(_) => panic!("a token"),
        },
        |request| order(request).usage = Usage::Raw,
        |request| {
            order(request).ring = name("oauth-tokens");
            request.lines[0].subject = Subject::Ring(name("oauth-tokens"));
        },
    ];
    for change in changes {
        let mut changed = request.clone();
        change(&mut changed);
        let mut ceremony = Ceremony {
            request: changed.encode().unwrap(),
            ..honest.clone()
        };
        // It was not proposed so,
        let proposer = changed.proposer.unwrap();
        let tally = world.tally(&ceremony);
        assert_eq!(obstacles(&tally), [Obstacle::Proposal(proposer.clone())]);
        // and if its proposer is in the plot, it was not approved so.
        let proposer = world.person(&proposer).unwrap();
        ceremony.proposal = Some(world.proposal(&ceremony.request, proposer));
        let tally = world.tally(&ceremony);
        assert_eq!(tally.standing, Standing::Waiting { missing: 2 });
        assert!(tally.into_approved().is_err());
    }
    // A second spelling of the same request is no request at all.
    let spaced = [honest.request.as_slice(), b"\n"].concat();
    let tally = world.tally(&Ceremony {
        request: spaced,
        ..honest
    });
    assert!(matches!(obstacles(&tally), [Obstacle::Unreadable(_)]));
}

#[test]
fn approval_after_the_deadline() {
    let world = World::quick();
    let request = world.request();
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    ceremony.approvals[1].received_at = minute(31);
    let at = |now| tally(&world.trusted(), &ceremony, &History::default(), now);
    let late = at(minute(32));
    assert_eq!(
        late.standing,
        Standing::Expired {
            deadline: "approve_by",
            at: minute(30)
        }
    );
    assert_eq!(reasons(&late), [WhyNot::Late]);

    // In time, but carried out too late.
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    for (now, approved) in [(minute(60), true), (minute(61), false)] {
        let tally = tally(&world.trusted(), &ceremony, &History::default(), now);
        assert_eq!(tally.into_approved().is_ok(), approved);
    }
    // Nor does an approval count before it was received.
    let early = tally(&world.trusted(), &ceremony, &History::default(), minute(4));
    assert_eq!(reasons(&early), [WhyNot::Late, WhyNot::Late]);
}
