//! Threats to ceremonies in which passkeys are used, each a test of that name.

use trust::chain::{Change, walk};
use trust::tally::{Standing, WhyNot, tally_acceptance};
use trust::webauthn::PasskeyError;
use trust::*;

use crate::passkeys::{approved_by, made, rotation};
use crate::support::passkeys::{Passkey, SAID, Said, relying_party};
use crate::support::{World, minute};

/// Why Bob's assertion over the approval, about which this was said, does not count; Alice's approval does.
fn refused(said: Said) -> WhyNot {
    let (world, _, bob) = World::with_passkeys();
    let request = rotation(&world);
    let message = world.message(Purpose::Approve, &request.encode().unwrap());
    why_not(&world, &request, bob.said(&message, said))
}

fn why_not(world: &World, request: &Request, signature: MemberSignature) -> WhyNot {
    let mut ceremony = world.ceremony(request, &[&world.alice]);
    ceremony.approvals.push(Approval {
        signature,
        received_at: minute(5),
    });
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(tally.counted.len(), 1);
    tally.not_counted[0].why.clone()
}

fn passkey(error: PasskeyError) -> WhyNot {
    WhyNot::Passkey(error)
}

#[test]
fn wrong_origin() {
    let origin = "https://seal.example.evil";
    let error = PasskeyError::Origin(origin.to_owned());
    assert_eq!(refused(Said { origin, ..SAID }), passkey(error));
    // The same host by another scheme or port is another page.
    for origin in [
        "http://seal.example",
        "https://seal.example:8443",
        "https://a.seal.example",
    ] {
        let error = PasskeyError::Origin(origin.to_owned());
        assert_eq!(refused(Said { origin, ..SAID }), passkey(error));
    }
}

#[test]
fn wrong_rp_id() {
    let said = Said {
        rp_id: "example",
        ..SAID
    };
    assert_eq!(refused(said), passkey(PasskeyError::RpId));
}

#[test]
fn no_user_verification() {
    let said = Said {
        flags: 0b001,
        ..SAID
    };
    assert_eq!(refused(said), passkey(PasskeyError::NotVerified));
}

#[test]
fn no_user_presence() {
    let said = Said {
        flags: 0b100,
        ..SAID
    };
    assert_eq!(refused(said), passkey(PasskeyError::NotPresent));
}

#[test]
fn assertion_in_a_cross_origin_frame() {
    for more in [
        r#","crossOrigin":true"#,
        r#","crossOrigin":true,"topOrigin":"https://evil.example""#,
        r#","topOrigin":"https://seal.example""#,
    ] {
        let said = Said { more, ..SAID };
        assert_eq!(refused(said), passkey(PasskeyError::CrossOrigin), "{more}");
    }
    // Absent counts as false.
    let (world, _, bob) = World::with_passkeys();
    let request = rotation(&world);
    let mut ceremony = world.ceremony(&request, &[&world.alice]);
    let message = world.message(Purpose::Approve, &ceremony.request);
    ceremony.approvals.push(Approval {
        signature: bob.said(&message, Said { more: "", ..SAID }),
        received_at: minute(5),
    });
    assert_eq!(world.tally(&ceremony).standing, Standing::Approved);
}

#[test]
fn create_instead_of_get() {
    let kind = "webauthn.create";
    let error = PasskeyError::Type(kind.to_owned());
    assert_eq!(refused(Said { kind, ..SAID }), passkey(error));
}

#[test]
fn assertion_for_another_request() {
    let (world, _, bob) = World::with_passkeys();
    let request = rotation(&world);
    let mut other = request.clone();
    other.reason.push('!');
    let other = world.by_passkey(Purpose::Approve, &other.encode().unwrap(), &bob);
    let why = why_not(&world, &request, other);
    assert_eq!(why, passkey(PasskeyError::Challenge));
    // Or for the same one of another installation.
    let mut elsewhere = World::quick();
    elsewhere.pin.environment = "staging".parse().unwrap();
    let body = request.encode().unwrap();
    let other = elsewhere.by_passkey(Purpose::Approve, &body, &bob);
    let why = why_not(&world, &request, other);
    assert_eq!(why, passkey(PasskeyError::Challenge));
}

#[test]
fn assertion_of_another_purpose() {
    let (world, _, bob) = World::with_passkeys();
    let request = rotation(&world);
    let body = request.encode().unwrap();
    for purpose in [
        Purpose::Accept,
        Purpose::Reject,
        Purpose::Propose,
        Purpose::Roster,
    ] {
        let signature = world.by_passkey(purpose, &body, &bob);
        let why = why_not(&world, &request, signature);
        assert_eq!(why, passkey(PasskeyError::Challenge), "{purpose:?}");
    }
    // An approval of the very bytes of the statement accepts nothing, and an approval rejects nothing.
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let record = world.record(&ceremony);
    let statement = world.statement(&record, made(&request));
    let mut acceptance = world.acceptance(&statement, &[&world.alice]);
    let bytes = acceptance.statement.clone().into_bytes();
    let approval = world.by_passkey(Purpose::Approve, &bytes, &bob);
    acceptance.signatures.push(approval);
    let tally = tally_acceptance(&world.trusted(), &record, &acceptance).unwrap();
    assert_eq!(tally.not_counted[0].why, passkey(PasskeyError::Challenge));
    let mut ceremony = ceremony;
    let mut rejection = world.rejection(&request, &world.bob);
    let body = rejection.body.clone().into_bytes();
    rejection.signature = world.by_passkey(Purpose::Approve, &body, &bob);
    ceremony.rejections.push(rejection);
    assert_eq!(world.tally(&ceremony).standing, Standing::Approved);
}

#[test]
fn replayed_assertion() {
    let (world, _, bob) = World::with_passkeys();
    let request = rotation(&world);
    let signature = world.by_passkey(Purpose::Approve, &request.encode().unwrap(), &bob);
    let mut ceremony = world.ceremony(&request, &[]);
    for _ in 0..2 {
        ceremony.approvals.push(Approval {
            signature: signature.clone(),
            received_at: minute(5),
        });
    }
    let tally = world.tally(&ceremony);
    assert_eq!(tally.counted.len(), 1);
    assert_eq!(tally.not_counted[0].why, WhyNot::Again);
    // In a later ceremony its challenge is another's.
    let mut later = request.clone();
    later.nonce = bytes16::Nonce([8; 16]);
    let why = why_not(&world, &later, signature);
    assert_eq!(why, passkey(PasskeyError::Challenge));
}

#[test]
fn credential_of_a_removed_member() {
    let (mut world, _, bob) = World::with_passkeys();
    // Bob leaves, and an operator becomes the third custodian.
    let leave = |roster: &mut Roster| {
        roster.members[1].active = false;
        roster.members[3].roles = vec![Role::Custodian];
    };
    let document = world.next_roster(leave, &[&world.alice, &world.carol]);
    world.chains.changes.push(Change::Roster(document));
    let request = rotation(&world);
    let signature = world.by_passkey(Purpose::Approve, &request.encode().unwrap(), &bob);
    assert_eq!(why_not(&world, &request, signature), WhyNot::Inactive);

    // A credential that was put away, or never was on a roster.
    let stranger = Passkey::new(Algorithm::Es256, "stranger");
    let signature = world.by_passkey(Purpose::Approve, &request.encode().unwrap(), &stranger);
    assert_eq!(why_not(&world, &request, signature), WhyNot::UnknownKey);
    // Where the roster has no passkeys, there is nothing to verify one by.
    let world = World::quick();
    let request = rotation(&world);
    let signature = world.by_passkey(Purpose::Approve, &request.encode().unwrap(), &bob);
    let why = why_not(&world, &request, signature);
    assert_eq!(why, passkey(PasskeyError::NotUsed));
}

#[test]
fn all_approvals_by_passkey() {
    let (world, alice, bob) = World::with_passkeys();
    let request = rotation(&world);
    let mut ceremony = approved_by(&world, &request, &[], &[&alice, &bob]);
    let tally = world.tally(&ceremony);
    assert_eq!(tally.counted.len(), 2);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert!(tally.into_approved().is_err());
    // One of them signs by the other key as well, and it is approved.
    let by_key = world.approval(&ceremony.request, &world.bob);
    ceremony.approvals.push(by_key);
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Approved);
    assert_eq!(tally.counted.len(), 2);
}

#[test]
fn all_acceptances_by_passkey() {
    let (world, alice, bob) = World::with_passkeys();
    let request = rotation(&world);
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let mut transcript = world.finished(&ceremony, made(&request));
    let bytes = transcript.acceptance.statement.clone().into_bytes();
    let by = |passkey: &Passkey| world.by_passkey(Purpose::Accept, &bytes, passkey);
    transcript.acceptance.signatures = vec![by(&alice), by(&bob)];
    let error = verify_transcript(&transcript.encode().unwrap(), &world.pin).unwrap_err();
    assert!(matches!(error, TranscriptError::NotAccepted(_)), "{error}");
    let one = world.signature(Purpose::Accept, &bytes, &world.alice);
    transcript.acceptance.signatures[0] = one;
    assert!(verify_transcript(&transcript.encode().unwrap(), &world.pin).is_ok());
}

#[test]
fn a_roster_or_policy_change_approved_by_passkey() {
    let (world, alice, bob) = World::with_passkeys();
    let roster = |signers: &[&crate::support::Custodian], passkeys: &[&Passkey]| {
        let document = world.roster_with(|_| (), signers, passkeys);
        let mut chains = world.chains.clone();
        chains.changes.push(Change::Roster(document));
        walk(&chains, &world.pin).map(drop)
    };
    for (signers, passkeys) in [
        (vec![], vec![&alice, &bob]),
        (vec![&world.alice], vec![&bob]),
    ] {
        let error = roster(&signers, &passkeys).unwrap_err().to_string();
        let short = format!("{} of 2 for the old roster", signers.len());
        assert!(error.contains(&short), "{error}");
        assert!(error.contains(&WhyNot::Kind.to_string()), "{error}");
    }
    assert_eq!(roster(&[&world.alice, &world.bob], &[]), Ok(()));

    let mut document = world.next_policy(|_| (), &[&world.alice]);
    let message = document.message(&world.namespace(Purpose::Policy));
    document.signatures.push(bob.signed(&message));
    let mut chains = world.chains.clone();
    chains.changes.push(Change::Policy(document));
    let error = walk(&chains, &world.pin).unwrap_err().to_string();
    assert!(error.contains("1 of 2"), "{error}");
}

#[test]
fn a_genesis_signed_by_passkey() {
    let (world, _, bob) = World::with_passkeys();
    let mut genesis: chain::Genesis =
        json::parse_strict(world.chains.genesis.body.as_bytes()).unwrap();
    genesis.roster.passkeys = Some(relying_party());
    genesis.roster.members[1].keys.push(bob.member_key());
    let body = genesis.encode().unwrap();
    let walked = |bob_signs: bool, passkey: bool| {
        let mut signers = vec![&world.alice, &world.carol, &world.dave];
        signers.extend(bob_signs.then_some(&world.bob));
        let mut document = world.signed(Purpose::Genesis, body.clone(), &signers);
        let message = document.message(&world.namespace(Purpose::Genesis));
        document
            .signatures
            .extend(passkey.then(|| bob.signed(&message)));
        let pin = Pin {
            genesis: Sha256Digest::of(&body),
            ..world.pin.clone()
        };
        let chains = Chains {
            genesis: document,
            changes: vec![],
        };
        walk(&chains, &pin)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(walked(true, true), Ok(()));
    let error = walked(false, true).unwrap_err();
    assert!(error.contains("3 of 4 for all members"), "{error}");
    let error = walked(true, false).unwrap_err();
    assert!(error.contains("a new key of bob"), "{error}");
}

#[test]
fn a_suspension_or_withdrawal_signed_by_passkey() {
    use trust::tally::tally_suspension;
    let (world, _, bob) = World::with_passkeys();
    let mut suspension = world.suspension("alice", &[&world.carol]);
    let body = suspension.body.clone().into_bytes();
    let signature = world.by_passkey(Purpose::Suspend, &body, &bob);
    suspension.signatures.push(signature);
    let tally = tally_suspension(&world.trusted(), &suspension).unwrap();
    assert!(!tally.holds());
    assert_eq!(tally.not_counted[0].why, WhyNot::Kind);

    let (order, request) = (bytes16::Nonce([1; 16]), Sha256Digest::of(b"request"));
    let body = withdrawal::WithdrawalBody {
        order,
        reason: "no more".to_owned(),
        request_digest: request,
        v: format::V1,
    };
    let body = body.encode().unwrap();
    let by = |signature| {
        withdrawal::verify_withdrawal(&world.trusted(), (order, request), &body, &signature)
    };
    let error = by(world.by_passkey(Purpose::Withdraw, &body, &bob)).unwrap_err();
    assert_eq!(error, withdrawal::WithdrawalError::Signature(WhyNot::Kind));
    assert!(by(world.signature(Purpose::Withdraw, &body, &world.bob)).is_ok());
}
