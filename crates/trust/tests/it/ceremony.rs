//! The straight path: propose, approve, carry out, accept, verify offline.

use trust::approval::Outcome;
use trust::request::{Operation, Request, RevocationReason};
use trust::tally::{Finished, Standing, tally_acceptance};
use trust::transcript::verify_succession;
use trust::*;

use crate::support::{NewKey, World, as_ordered, destroy, minute, revoke};

#[test]
fn a_key_is_born_under_a_quorum_of_ssh_keygen_signatures() {
    let world = World::ssh_keygen();
    let request = world.request();
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let tally = world.tally(&ceremony);
    assert_eq!(
        tally.standing,
        Standing::Approved,
        "{:?}",
        tally.not_counted
    );
    let ApprovedOperation::Generate(approved) = tally.into_approved().unwrap() else {
        panic!("another operation")
    };
    assert_eq!(approved.order().ring.as_str(), "atp-integrity");
    assert_eq!(
        approved.approved_by(),
        [world.alice.id.clone(), world.bob.id.clone()]
    );

    let new_key = NewKey::generate();
    let transcript = world.finished(&ceremony, Outcome::Generated(new_key.generated(&request)));
    let bytes = transcript.encode().unwrap();
    let verified = verify_transcript(&bytes, &world.pin).unwrap();
    let kid = new_key.public().kid();
    assert_eq!(verified.kids(), [&kid]);
    assert_eq!(
        verified.accepted_by(),
        [world.alice.id.clone(), world.bob.id.clone()]
    );
    assert_eq!(verified.request(), &request);
    let accepted = verified.into_accepted(&kid).unwrap();
    let published = KeyState::prepared(minute(10))
        .publish(&kid, accepted, minute(20))
        .unwrap();
    assert!(published.is_publishable());
}

#[test]
fn one_approval_is_waiting_for_one_more() {
    let world = World::quick();
    let tally = world.tally(&world.ceremony(&world.request(), &[&world.alice]));
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert!(tally.into_approved().is_err());
}

#[test]
fn one_rejection_blocks() {
    let world = World::quick();
    let request = world.request();
    for rejecting in [&world.alice, &world.carol] {
        let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
        ceremony
            .rejections
            .push(world.rejection(&request, rejecting));
        let tally = world.tally(&ceremony);
        let expected = Standing::Rejected {
            by: rejecting.id.clone(),
            reason: "wrong token".to_owned(),
        };
        assert_eq!(tally.standing, expected);
    }
    // An operator is no custodian, and a rejection of something else says nothing about this.
    let mut other = request.clone();
    other.reason = "another".to_owned();
    for rejection in [
        world.rejection(&request, &world.dave),
        world.rejection(&other, &world.alice),
    ] {
        let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
        ceremony.rejections.push(rejection);
        assert_eq!(world.tally(&ceremony).standing, Standing::Approved);
    }
}

#[test]
fn one_acceptance_is_not_enough_to_publish() {
    let world = World::quick();
    let request = world.request();
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let record = world.record(&ceremony);
    let outcome = Outcome::Generated(NewKey::generate().generated(&request));
    let acceptance = world.acceptance(&world.statement(&record, outcome), &[&world.alice]);
    let tally = tally_acceptance(&world.trusted(), &record, &acceptance).unwrap();
    assert!(!tally.is_complete());
    assert!(tally.into_finished().is_err());
}

#[test]
fn destruction_and_revocation_have_transcripts_too() {
    let world = World::quick();
    let kid = NewKey::generate().public().kid();
    for operation in [revoke(&kid), destroy(std::slice::from_ref(&kid))] {
        let request = world.request_for(operation);
        let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
        let approved = world.tally(&ceremony).into_approved().unwrap();
        match (&request.operation, approved) {
            (Operation::Revoke(order), ApprovedOperation::Revoke(approved)) => {
                assert_eq!(approved.order(), order);
            }
            (Operation::Destroy(order), ApprovedOperation::Destroy(approved)) => {
                assert_eq!(approved.order(), order);
            }
            _ => panic!("another operation was approved"),
        }
        let bytes = world
            .finished(&ceremony, as_ordered(&request.operation))
            .encode()
            .unwrap();
        let verified = verify_transcript(&bytes, &world.pin).unwrap();
        assert_eq!(verified.kids(), [&kid]);
        assert!(
            verified.into_accepted(&kid).is_err(),
            "no key was generated"
        );
    }
}

/// Of one subject: a key is revoked, then it turns out that it was compromised.
#[test]
fn transcripts_form_one_line() {
    let world = World::quick();
    let verified = |request: &Request| {
        let bytes = world.done(request).encode().unwrap();
        verify_transcript(&bytes, &world.pin).unwrap()
    };
    let compromised = revoke(&NewKey::generate().kid());
    let mut superseded = compromised.clone();
    if let Operation::Revoke(order) = &mut superseded {
        order.reason = RevocationReason::Superseded;
        order.compromised_since = None;
    }
    let first = verified(&world.request_for(superseded));
    let mut request = world.request_for(compromised);
    request.lines[0].sequence = 2;
    request.lines[0].previous = Some(first.digest());
    request.nonce = bytes16::Nonce([10; 16]);
    let good = verified(&request);
    let mut other = request.clone();
    other.lines[0].previous = Some(Sha256Digest::of(b"another"));
    let unrelated = verified(&other);
    let mut repeated = request.clone();
    repeated.nonce = first.request().nonce;
    let repeated = verified(&repeated);
    assert!(verify_succession(&[good]).is_err(), "it is the second");
    let mut line = vec![first];
    for (next, holds) in [
        (unrelated, false),
        (repeated, false),
        (verified(&request), true),
    ] {
        line.push(next);
        assert_eq!(verify_succession(&line).is_ok(), holds);
        line.truncate(1);
    }
}

#[test]
fn a_finished_ceremony_says_what_it_permits() {
    let world = World::quick();
    let transcript = world.transcript();
    let tally =
        tally_acceptance(&world.trusted(), &transcript.record, &transcript.acceptance).unwrap();
    let Finished::Generated(accepted) = tally.into_finished().unwrap() else {
        panic!("another outcome")
    };
    assert_eq!(accepted.algorithm(), Algorithm::Es256);
    assert_eq!(accepted.kid(), &accepted.public_key().kid());
}
