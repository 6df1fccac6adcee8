//! Threats to standing orders, each a test of its name. What only the log can show (a use taken twice, a withdrawal) is
//! tested where the log is.

use std::time::Duration;

use trust::approval::Outcome;
use trust::chain::Change;
use trust::place::{Place, ReadBack};
use trust::request::{Misfit, RequestError};
use trust::tally::{AcceptanceError, Obstacle, OrderObstacle, Standing};
use trust::transcript::{SuccessionError, verify_succession};
use trust::*;

use crate::passkeys::approved_by;
use crate::support::ordered::{BEGINS, Ordered, request_for_order, standing_order, world};
use crate::support::passkeys::{Passkey, relying_party};
use crate::support::{Custodian, NewKey, as_ordered, minute, name};

fn misfit(ordered: &Ordered, change: impl FnOnce(&mut Request)) -> Misfit {
    let mut request = ordered.request(1);
    change(&mut request);
    let now = request.created_at + Duration::from_secs(600);
    match ordered.standing_at(&request, now) {
        Standing::Refused(obstacles) => match obstacles.as_slice() {
            [Obstacle::Order(OrderObstacle::Misfit(misfit))] => misfit.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn obstacle(ordered: &Ordered, ceremony: &Ceremony) -> OrderObstacle {
    let now = minute(ordered.world.clock + 10);
    let history = History::claimed_by(&ceremony.request);
    let tally = tally(&ordered.world.trusted(), ceremony, &history, now);
    match tally.into_standing() {
        Standing::Refused(obstacles) => match obstacles.as_slice() {
            [Obstacle::Order(obstacle)] => obstacle.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn generate(request: &mut Request) -> &mut Generate {
    match &mut request.operation {
        Operation::Generate(generate) => generate,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_used_once_too_often() {
    let ordered = Ordered::routine();
    assert_eq!(ordered.standing(&ordered.request(3)), Standing::Approved);
    let fourth = match ordered.standing(&ordered.request(4)) {
        Standing::Refused(obstacles) => obstacles,
        other => panic!("{other:?}"),
    };
    let misfit = Misfit::Use { number: 4, uses: 3 };
    assert_eq!(fourth, [Obstacle::Order(OrderObstacle::Misfit(misfit))]);
    // The same use twice is seen in all transcripts together.
    let mut all = vec![ordered.first_key()];
    for sequence in 2..=3_u8 {
        let mut request = ordered.request(1);
        request.nonce = bytes16::Nonce([sequence; 16]);
        request.lines[0].sequence = sequence.into();
        request.lines[0].previous = all.last().map(VerifiedTranscript::digest);
        let verified = ordered.verify(&ordered.transcript(&request, &[])).unwrap();
        all.push(verified);
    }
    assert!(matches!(
        verify_succession(&all),
        Err(SuccessionError::Use { index: 2 })
    ));
}

#[test]
fn an_order_used_for_the_first_key_of_a_ring() {
    let ordered = Ordered::routine();
    let mut first = ordered.request(1);
    (first.lines[0].sequence, first.lines[0].previous) = (1, None);
    let now = first.created_at + Duration::from_secs(600);
    let Standing::Refused(obstacles) = ordered.standing_at(&first, now) else {
        panic!("the first key of a ring under an order");
    };
    // The same without an order: what names a key before it is not the first.
    assert!(matches!(
        obstacles.as_slice(),
        [
            Obstacle::Content(RequestError::Predecessor),
            Obstacle::Order(OrderObstacle::Misfit(Misfit::First))
        ]
    ));
    let no_predecessor = misfit(&ordered, |request| generate(request).predecessor = None);
    assert_eq!(no_predecessor, Misfit::First);
}

/// Many keys have the transcript of one order: it is verified once, and what is kept of it permits nothing more.
#[test]
fn an_order_is_verified_once_for_all_its_keys() {
    let ordered = Ordered::routine();
    let orders = tally::KnownOrders::default();
    let verify = |transcript: &Transcript, pin: &Pin| {
        verify_transcript_knowing(&transcript.encode().unwrap(), pin, &orders)
    };
    let pin = &ordered.world.pin;
    for number in 1..=3 {
        let made = ordered.transcript(&ordered.request(number), &[]);
        verify(&made, pin).unwrap();
        assert_eq!(orders.verified(), 1);
    }
    let fourth = ordered.transcript(&ordered.request(4), &[]);
    assert!(verify(&fourth, pin).is_err());
    // Of another pin it is another order, and one that does not hold is not kept.
    let elsewhere = Pin {
        environment: name("staging"),
        ..pin.clone()
    };
    let made = ordered.transcript(&ordered.request(1), &[]);
    assert!(verify(&made, &elsewhere).is_err());
    let mut bad = Transcript::decode(ordered.order.as_bytes()).unwrap();
    bad.acceptance.signatures.pop();
    let mut under = ordered.transcript(&ordered.request(1), &[]);
    under.record.order = Some(String::from_utf8(bad.encode().unwrap()).unwrap());
    assert!(verify(&under, pin).is_err());
    assert!(verify(&made, pin).is_ok());
}

#[test]
fn an_order_used_after_its_end() {
    let ordered = Ordered::routine();
    let end = minute(60 * 24 * 30);
    let late = misfit(&ordered, |request| {
        request.execute_by = end + Duration::from_millis(1);
    });
    assert_eq!(late, Misfit::Late(end));
    let mut on_time = ordered.request(1);
    on_time.execute_by = end;
    assert_eq!(ordered.standing_at(&on_time, end), Standing::Approved);
    let after = ordered.standing_at(&on_time, end + Duration::from_millis(1));
    assert!(matches!(after, Standing::Refused(_)));
}

#[test]
fn an_order_used_before_its_beginning() {
    let mut ordered = Ordered::routine();
    ordered.world.clock = BEGINS - 1;
    let early = misfit(&ordered, |_| ());
    assert_eq!(early, Misfit::Early(minute(BEGINS)));
    // Nor is a request older than the order itself.
    let mut ordered = Ordered::new(true, |order| order.not_before = minute(0));
    ordered.world.clock = 9;
    let request = ordered.request(1);
    let obstacle = obstacle(&ordered, &ordered.ceremony(&request));
    assert_eq!(obstacle, OrderObstacle::TooEarly);
}

#[test]
fn an_order_used_for_another_ring() {
    let ordered = Ordered::routine();
    let other = misfit(&ordered, |request| {
        generate(request).ring = name("oauth");
        request.lines[0].subject = Subject::Ring(name("oauth"));
    });
    assert_eq!(other, Misfit::Differs("the ring"));
}

#[test]
fn an_order_used_with_another_template_or_anything_else_changed() {
    let ordered = Ordered::routine();
    let place = |change: &dyn Fn(&mut place::Pkcs11Place)| {
        misfit(&ordered, |request| match &mut generate(request).place {
            Place::Pkcs11(place) => change(place),
            Place::KeyVault(_) => panic!("a vault"),
        })
    };
    assert_eq!(
        place(&|place| place.template.modifiable = true),
        Misfit::Differs("the template")
    );
    assert_eq!(
        place(&|place| place.token_serial = "other".to_owned()),
        Misfit::Differs("the token")
    );
    assert_eq!(
        place(&|place| place.token_label = "other".to_owned()),
        Misfit::Differs("the token")
    );
    assert_eq!(
        place(&|place| place.label = "other".to_owned()),
        Misfit::Differs("the label")
    );
    let of_key =
        |change: &dyn Fn(&mut Generate)| misfit(&ordered, |request| change(generate(request)));
    assert_eq!(
        of_key(&|key| key.purpose = KeyPurpose::Sign {
            algorithm: Algorithm::Es384,
            key_spec: KeySpec::P384
        }),
        Misfit::Differs("the purpose")
    );
    assert_eq!(
        of_key(&|key| key.usage = Usage::Raw),
        Misfit::Differs("the usage")
    );
    let later = |at: &mut Time| *at = *at + Duration::from_millis(1);
    assert_eq!(
        of_key(&|key| later(&mut key.publish_at)),
        Misfit::Differs("publish_at")
    );
    assert_eq!(
        of_key(&|key| later(&mut key.activate_at)),
        Misfit::Differs("activate_at")
    );
    assert_eq!(
        of_key(&|key| later(&mut key.retire_at)),
        Misfit::Differs("retire_at")
    );
    let revoked = misfit(&ordered, |request| {
        let operation = crate::support::revoke(&NewKey::generate().kid());
        request.lines[0].subject = operation.subjects().remove(0);
        request.operation = operation;
    });
    assert_eq!(revoked, Misfit::Operation);
}

#[test]
fn an_order_that_was_approved_by_too_few_or_elsewhere() {
    let ordered = Ordered::routine();
    let request = ordered.request(1);
    let with = |order: &Transcript| {
        let mut ceremony = ordered.ceremony(&request);
        ceremony.order = Some(String::from_utf8(order.encode().unwrap()).unwrap());
        obstacle(&ordered, &ceremony)
    };
    let good = Transcript::decode(ordered.order.as_bytes()).unwrap();
    let mut one = good.clone();
    one.acceptance.signatures.pop();
    assert!(matches!(with(&one), OrderObstacle::Transcript(_)));
    // Enlarged afterwards.
    let mut more = good.clone();
    more.record.request = more.record.request.replace(r#""uses":3"#, r#""uses":30"#);
    assert_ne!(more, good);
    assert!(matches!(with(&more), OrderObstacle::Transcript(_)));
    // Of something else: a key's own transcript, or another order.
    let key = ordered.transcript(&request, &[]);
    assert_eq!(with(&key), OrderObstacle::OtherOrder);
    let mut another = standing_order(&ordered.robot);
    another.id = bytes16::Nonce([6; 16]);
    let another = request_for_order(&ordered.world, another);
    let another = ordered.world.done(&another);
    assert_eq!(with(&another), OrderObstacle::OtherOrder);
    // Under a chain that split off.
    let (mut fork, _) = world(true);
    let policy = fork.next_policy(
        |policy| policy.routine_rings = vec![name("atp-integrity"), name("oauth")],
        &[&fork.alice, &fork.bob],
    );
    fork.chains.changes.push(Change::Policy(policy));
    let forked = fork.done(&request_for_order(&fork, standing_order(&ordered.robot)));
    assert_eq!(with(&forked), OrderObstacle::OtherChain);
}

#[test]
fn approvals_do_not_stand_in_for_an_order() {
    let ordered = Ordered::routine();
    let world = &ordered.world;
    let request = ordered.request(1);
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    assert_eq!(obstacle(&ordered, &ceremony), OrderObstacle::Missing);
    ceremony.order = Some(ordered.order.clone());
    assert_eq!(obstacle(&ordered, &ceremony), OrderObstacle::Signed);
}

#[test]
fn an_invented_read_back_under_an_order() {
    let ordered = Ordered::critical();
    let accept = [&ordered.world.alice, &ordered.world.bob];
    let request = ordered.request(1);
    // The service's owner invents what the token told, and custodians accept it: without the executor it is nothing.
    let mut without = ordered.transcript(&request, &accept);
    without.acceptance.result = None;
    let error = ordered.verify(&without).unwrap_err();
    let expected = TranscriptError::Ceremony(AcceptanceError::NoResult);
    assert_eq!(error.to_string(), expected.to_string());
    assert!(matches!(
        error,
        TranscriptError::Ceremony(AcceptanceError::NoResult)
    ));
    // Nor is the executor's signature worth anything over another statement.
    let signed = ordered.transcript(&request, &accept);
    let mut other = ordered.transcript(&request, &accept);
    other.acceptance.result = signed.acceptance.result;
    assert!(matches!(
        ordered.verify(&other).unwrap_err(),
        TranscriptError::Ceremony(AcceptanceError::Result(_))
    ));
    // And what it signs is compared with the order all the same.
    let mut made = NewKey::generate().generated(&request);
    if let ReadBack::Pkcs11(found) = &mut made.read_back {
        found.template.extractable = true;
    }
    let outcome = Outcome::Generated(made);
    let lied = ordered.with(&request, outcome, &ordered.robot, &accept);
    assert!(matches!(
        ordered.verify(&lied).unwrap_err(),
        TranscriptError::Ceremony(AcceptanceError::ReadBack("the template"))
    ));
}

#[test]
fn a_result_by_another_executor() {
    let mut ordered = Ordered::routine();
    let second = Custodian::quick("second");
    let world = &ordered.world;
    let enrolled = world.next_roster(
        |roster| roster.members.push(second.member(&[Role::Executor])),
        &[&world.alice, &world.bob, &second],
    );
    ordered.world.chains.changes.push(Change::Roster(enrolled));
    let request = ordered.request(1);
    let made = || Outcome::Generated(NewKey::generate().generated(&request));
    for other in [&second, &ordered.world.alice, &Custodian::quick("mallory")] {
        let transcript = ordered.with(&request, made(), other, &[]);
        assert!(matches!(
            ordered.verify(&transcript).unwrap_err(),
            TranscriptError::Ceremony(AcceptanceError::OtherExecutor)
        ));
    }
    let own = ordered.with(&request, made(), &ordered.robot, &[]);
    assert!(ordered.verify(&own).is_ok());
}

#[test]
fn an_executor_that_left_or_is_suspended() {
    let mut ordered = Ordered::routine();
    let request = ordered.request(1);
    let world = &ordered.world;
    let mut ceremony = ordered.ceremony(&request);
    let suspension = world.suspension("robot", &[&world.alice, &world.bob]);
    ceremony.suspensions.push(suspension);
    let gone = OrderObstacle::Executor(name("robot"));
    assert_eq!(obstacle(&ordered, &ceremony), gone);
    let without = world.next_roster(
        |roster| {
            roster.members.iter_mut().for_each(|member| {
                member.active = member.active && member.id != name("robot");
            })
        },
        &[&world.alice, &world.bob],
    );
    ordered.world.chains.changes.push(Change::Roster(without));
    let request = ordered.request(1);
    assert_eq!(obstacle(&ordered, &ordered.ceremony(&request)), gone);
}

#[test]
fn approvers_who_left_pause_the_order() {
    let mut ordered = Ordered::routine();
    let world = &ordered.world;
    let erin = Custodian::quick("erin");
    // Bob leaves and Erin comes: of two approvers one is left.
    let changed = world.next_roster(
        |roster| {
            for member in &mut roster.members {
                member.active = member.active && member.id != name("bob");
            }
            roster.members.push(erin.member(&[Role::Custodian]));
        },
        &[&world.alice, &world.bob, &world.carol, &erin],
    );
    ordered.world.chains.changes.push(Change::Roster(changed));
    let request = ordered.request(1);
    assert_eq!(
        obstacle(&ordered, &ordered.ceremony(&request)),
        OrderObstacle::Paused {
            active: 1,
            needed: 2
        }
    );
    // A change of the roster alone pauses nothing.
    let mut ordered = Ordered::routine();
    let world = &ordered.world;
    let changed = world.next_roster(
        |roster| roster.members.push(erin.member(&[Role::Custodian])),
        &[&world.alice, &world.bob, &erin],
    );
    ordered.world.chains.changes.push(Change::Roster(changed));
    assert_eq!(ordered.standing(&ordered.request(1)), Standing::Approved);
}

/// Alice approved by her key, Bob and Carol by passkeys; what is left when she goes could not have approved the order.
#[test]
fn passkeys_alone_keep_no_order() {
    let (mut world, robot) = world(true);
    let (bob, carol) = (
        Passkey::new(Algorithm::Ed25519, "bob"),
        Passkey::new(Algorithm::Es256, "carol"),
    );
    let listed = world.roster_with(
        |roster| {
            roster.passkeys = Some(relying_party());
            for passkey in [("bob", &bob), ("carol", &carol)] {
                let mut members = roster.members.iter_mut();
                let member = members.find(|member| member.id == name(passkey.0)).unwrap();
                member.keys.push(passkey.1.member_key());
            }
        },
        &[&world.alice, &world.bob],
        &[&bob, &carol],
    );
    world.chains.changes.push(Change::Roster(listed));
    let mut request = request_for_order(&world, standing_order(&robot));
    request.proposer = Some(world.dave.id.clone());
    let ceremony = approved_by(&world, &request, &[&world.alice], &[&bob, &carol]);
    let order = world.finished(&ceremony, as_ordered(&request.operation));
    let order = String::from_utf8(order.encode().unwrap()).unwrap();
    world.clock = BEGINS;
    let mut ordered = Ordered {
        world,
        robot,
        order,
    };
    assert_eq!(ordered.standing(&ordered.request(1)), Standing::Approved);
    let world = &ordered.world;
    let erin = Custodian::quick("erin");
    let changed = world.next_roster(
        |roster| {
            for member in &mut roster.members {
                member.active = member.active && member.id != name("alice");
            }
            roster.members.push(erin.member(&[Role::Custodian]));
        },
        &[&world.alice, &world.bob, &world.carol, &erin],
    );
    ordered.world.chains.changes.push(Change::Roster(changed));
    let request = ordered.request(1);
    assert_eq!(
        obstacle(&ordered, &ordered.ceremony(&request)),
        OrderObstacle::PausedByPasskeys
    );
}

#[test]
fn one_byte_of_a_transcript_under_an_order_changed() {
    let ordered = Ordered::routine();
    let pin = &ordered.world.pin;
    let under = ordered.transcript(&ordered.request(1), &[]);
    // Of the order, and of a key under it, which has the order's in it. The second verifier is asked for each byte.
    for (bytes, step) in [
        (ordered.order.clone().into_bytes(), 7),
        (under.encode().unwrap(), 53),
    ] {
        assert!(verify_transcript(&bytes, pin).is_ok());
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(verify_transcript(&changed, pin).is_err(), "byte {at}");
        }
    }
}
