//! Who may ask: the proposer signs the very request, may withdraw it, and never counts; and who is
//! suspended neither asks nor counts.

use trust::approval::Outcome;
use trust::request::{OrderUse, RequestError};
use trust::suspension::Suspension;
use trust::tally::{
    AcceptanceError, Obstacle, OrderObstacle, Standing, SuspensionError, WhyNot, tally_acceptance,
    tally_suspension,
};
use trust::*;

use crate::support::{Custodian, NewKey, World, name, sign_all};

fn standing(world: &World, change: impl FnOnce(&mut Ceremony)) -> Standing {
    let mut ceremony = world.ceremony(&world.request(), &[&world.alice, &world.bob]);
    change(&mut ceremony);
    world.tally(&ceremony).into_standing()
}

fn not_proposed(world: &World) -> Standing {
    Standing::Refused(vec![Obstacle::Proposal(world.carol.id.clone())])
}

#[test]
fn a_proposal_signed_by_another_member() {
    let world = World::quick();
    for signer in [&world.alice, &world.dave, &Custodian::quick("mallory")] {
        let found = standing(&world, |ceremony| {
            ceremony.proposal = Some(world.proposal(&ceremony.request, signer));
        });
        assert_eq!(found, not_proposed(&world));
    }
}

#[test]
fn a_proposal_that_is_missing_or_of_something_else() {
    let world = World::quick();
    assert_eq!(
        standing(&world, |ceremony| ceremony.proposal = None),
        not_proposed(&world)
    );
    let found = standing(&world, |ceremony| {
        ceremony.proposal = Some(world.proposal(b"another request", &world.carol));
    });
    assert_eq!(found, not_proposed(&world));
    // An approval says something else than a proposal.
    let found = standing(&world, |ceremony| {
        ceremony.proposal = Some(world.approval(&ceremony.request, &world.carol));
    });
    assert_eq!(found, not_proposed(&world));
    // And a transcript of what nobody proposed does not hold.
    let mut ceremony = world.ceremony(&world.request(), &[&world.alice, &world.bob]);
    ceremony.proposal = None;
    let outcome = Outcome::Generated(NewKey::generate().generated(&world.request()));
    let bytes = world.finished(&ceremony, outcome).encode().unwrap();
    let error = verify_transcript(&bytes, &world.pin).unwrap_err();
    assert!(
        matches!(
            error,
            TranscriptError::Ceremony(AcceptanceError::NotApproved(_))
        ),
        "{error}"
    );
}

#[test]
fn an_operator_may_propose_and_then_three_can_count() {
    let world = World::quick();
    let mut request = world.request();
    request.proposer = Some(world.dave.id.clone());
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob, &world.carol]);
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Approved);
    assert_eq!(tally.counted.len(), 3);
}

#[test]
fn exactly_one_of_proposer_and_order_is_given_and_an_order_is_shown() {
    let world = World::quick();
    let order = Some(OrderUse {
        id: bytes16::Nonce([4; 16]),
        number: std::num::NonZeroU32::MIN,
    });
    let refused = |change: &dyn Fn(&mut Request)| {
        let mut request = world.request();
        change(&mut request);
        let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
        match world.tally(&ceremony).into_standing() {
            Standing::Refused(obstacles) => obstacles,
            other => panic!("{other:?}"),
        }
    };
    let content = Obstacle::Content(RequestError::Proposer);
    assert_eq!(
        refused(&|request| request.proposer = None),
        std::slice::from_ref(&content)
    );
    let missing = Obstacle::Order(OrderObstacle::Missing);
    assert_eq!(
        refused(&|request| request.order = order),
        [content, missing.clone()]
    );
    let under_an_order = |request: &mut Request| {
        (request.order, request.proposer) = (order, None);
    };
    assert_eq!(refused(&under_an_order), [missing]);
    // Nor is an order's transcript carried along for nothing, or an executor's result.
    let not_under = Obstacle::Order(OrderObstacle::NotUnder);
    let found = standing(&world, |ceremony| ceremony.order = Some("{}".to_owned()));
    assert_eq!(found, Standing::Refused(vec![not_under]));
    let mut transcript = world.transcript();
    let statement = transcript.acceptance.statement.clone();
    let result = world.signature(Purpose::Result, statement.as_bytes(), &world.dave);
    transcript.acceptance.result = Some(result);
    let error = verify_transcript(&transcript.encode().unwrap(), &world.pin).unwrap_err();
    assert!(
        matches!(error, TranscriptError::Ceremony(AcceptanceError::Order)),
        "{error}"
    );
}

#[test]
fn cancelled_by_its_proposer_and_by_nobody_else() {
    let world = World::quick();
    let request = world.request();
    let cancelled = |by: &Custodian, request: &Request| {
        standing(&world, |ceremony| {
            ceremony.cancellations.push(world.cancellation(request, by));
        })
    };
    let expected = Standing::Cancelled {
        by: world.carol.id.clone(),
        reason: "wrong token".to_owned(),
    };
    assert_eq!(cancelled(&world.carol, &request), expected);
    for other in [&world.alice, &world.dave, &Custodian::quick("mallory")] {
        assert_eq!(cancelled(other, &request), Standing::Approved);
    }
    let mut another = request.clone();
    another.reason = "another".to_owned();
    assert_eq!(cancelled(&world.carol, &another), Standing::Approved);
    // A cancellation is no rejection, and a rejection no cancellation.
    let found = standing(&world, |ceremony| {
        let cancellation = world.cancellation(&request, &world.carol);
        ceremony.rejections.push(cancellation);
        let rejection = world.rejection(&request, &world.carol);
        ceremony.cancellations.push(rejection);
    });
    assert_eq!(found, Standing::Approved);
    // One of another member before it hides nothing.
    let found = standing(&world, |ceremony| {
        for by in [&world.alice, &world.carol] {
            ceremony
                .cancellations
                .push(world.cancellation(&request, by));
        }
    });
    assert_eq!(found, expected);
    // What was cancelled has no transcript.
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    ceremony
        .cancellations
        .push(world.cancellation(&request, &world.carol));
    let outcome = Outcome::Generated(NewKey::generate().generated(&request));
    let bytes = world.finished(&ceremony, outcome).encode().unwrap();
    assert!(verify_transcript(&bytes, &world.pin).is_err());
}

fn suspending(world: &World, suspension: Suspension) -> Standing {
    standing(world, |ceremony| ceremony.suspensions.push(suspension))
}

#[test]
fn a_suspended_member_does_not_count() {
    let world = World::quick();
    let waiting = Standing::Waiting { missing: 1 };
    // By a key of the member's own, or by two others.
    for signers in [
        vec![&world.bob],
        vec![&world.alice, &world.carol],
        vec![&world.carol, &world.alice, &world.bob],
    ] {
        let suspension = world.suspension("bob", &signers);
        assert_eq!(suspending(&world, suspension), waiting);
    }
    let mut ceremony = world.ceremony(&world.request(), &[&world.alice, &world.bob]);
    ceremony
        .suspensions
        .push(world.suspension("bob", &[&world.bob]));
    let tally = world.tally(&ceremony);
    assert_eq!(tally.not_counted.len(), 1);
    assert_eq!(tally.not_counted[0].why, WhyNot::Suspended);
    assert_eq!(tally.not_counted[0].member, Some(world.bob.id.clone()));
}

#[test]
fn a_suspension_that_does_not_hold_silences_nobody() {
    let world = World::quick();
    let mallory = Custodian::quick("mallory");
    // One other is not enough, an operator and a stranger are no custodians, nobody counts twice.
    for signers in [
        vec![&world.alice],
        vec![&world.alice, &world.alice],
        vec![&world.alice, &world.dave],
        vec![&world.alice, &mallory],
        vec![],
    ] {
        let suspension = world.suspension("bob", &signers);
        assert_eq!(suspending(&world, suspension), Standing::Approved);
    }
    // Of another roster, of other bytes, for another purpose, or not canonical.
    let good = || world.suspension("bob", &[&world.bob]);
    let resigned = |body: String, purpose| Suspension {
        signatures: sign_all(&[&world.bob], &world.namespace(purpose), body.as_bytes()),
        body,
        ..good()
    };
    let body = good().body;
    let waiting = Standing::Waiting { missing: 1 };
    let again = resigned(body.clone(), Purpose::Suspend);
    assert_eq!(suspending(&world, again), waiting);
    let old = world.trusted().roster_ref().digest.to_string();
    let other = Sha256Digest::of(b"another roster").to_string();
    for (body, purpose) in [
        (body.replace(&old, &other), Purpose::Suspend),
        (
            body.replace(r#""version":1"#, r#""version":2"#),
            Purpose::Suspend,
        ),
        (format!("{body} "), Purpose::Suspend),
        (body.clone(), Purpose::Reject),
    ] {
        let suspension = resigned(body, purpose);
        assert_eq!(suspending(&world, suspension), Standing::Approved);
    }
    let changed = Suspension {
        body: body.replace("laptop", "mobile"),
        ..good()
    };
    assert_eq!(suspending(&world, changed), Standing::Approved);
    // Of nobody on the roster.
    let stranger = world.suspension("mallory", &[&world.alice, &world.carol]);
    let refused = tally_suspension(&world.trusted(), &stranger).unwrap_err();
    assert_eq!(refused, SuspensionError::Member(name("mallory")));
    // Of somebody else.
    let carol = world.suspension("carol", &[&world.bob]);
    assert_eq!(suspending(&world, carol), Standing::Approved);
}

#[test]
fn a_suspended_member_does_not_propose_but_still_rejects() {
    let world = World::quick();
    let carol = || world.suspension("carol", &[&world.alice, &world.bob]);
    let refused = Standing::Refused(vec![Obstacle::Proposer(world.carol.id.clone())]);
    assert_eq!(suspending(&world, carol()), refused);
    let found = standing(&world, |ceremony| {
        ceremony
            .suspensions
            .push(world.suspension("bob", &[&world.bob]));
        let rejection = world.rejection(&world.request(), &world.bob);
        ceremony.rejections.push(rejection);
    });
    assert!(matches!(found, Standing::Rejected { by, .. } if by == world.bob.id));
}

#[test]
fn a_suspended_member_does_not_accept() {
    let world = World::quick();
    let mut request = world.request();
    request.proposer = Some(world.dave.id.clone());
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.carol]);
    ceremony
        .suspensions
        .push(world.suspension("bob", &[&world.bob]));
    let record = world.record(&ceremony);
    let outcome = Outcome::Generated(NewKey::generate().generated(&request));
    let statement = world.statement(&record, outcome);
    let accepted = |signers: &[&Custodian]| {
        let acceptance = world.acceptance(&statement, signers);
        let tally = tally_acceptance(&world.trusted(), &record, &acceptance).unwrap();
        let why: Vec<_> = tally
            .not_counted
            .iter()
            .map(|each| each.why.clone())
            .collect();
        (tally.is_complete(), why)
    };
    assert_eq!(
        accepted(&[&world.alice, &world.bob]),
        (false, vec![WhyNot::Suspended])
    );
    assert_eq!(accepted(&[&world.alice, &world.carol]), (true, vec![]));
}

#[test]
fn an_executor_neither_proposes_nor_counts_nor_rejects() {
    let mut world = World::quick();
    let document = world.next_roster(
        |roster| roster.members[3].roles = vec![Role::Executor],
        &[&world.alice, &world.bob],
    );
    world.chains.changes.push(chain::Change::Roster(document));
    let mut request = world.request();
    request.proposer = Some(name("dave"));
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let refused = Standing::Refused(vec![Obstacle::Proposer(name("dave"))]);
    assert_eq!(world.tally(&ceremony).standing, refused);

    let request = world.request();
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.dave]);
    ceremony
        .rejections
        .push(world.rejection(&request, &world.dave));
    ceremony
        .cancellations
        .push(world.cancellation(&request, &world.dave));
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(tally.not_counted[0].why, WhyNot::Role);
}
