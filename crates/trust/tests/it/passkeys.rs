//! Passkeys as a second kind of signer: where they count, and what it takes to have one.

use trust::approval::Outcome;
use trust::browser::{self, RequestOptions};
use trust::chain::{ChainError, Change, Next, progress, walk};
use trust::request::{EmergencyRotation, Ended, Ratification, Resume, Usage};
use trust::roster::{PasskeysError, RosterError};
use trust::tally::{Standing, WhyNot, tally_acceptance};
use trust::*;

use crate::support::passkeys::{Passkey, relying_party};
use crate::support::{Custodian, NewKey, World, destroy, generate, minute, name, revoke};

/// The second key of a ring.
pub fn rotation(world: &World) -> Request {
    let mut order = generate("atp-integrity");
    order.number = 2;
    order.predecessor = Some(NewKey::generate().kid());
    world.later(Operation::Generate(order))
}

/// A new key, as ordered.
pub fn made(request: &Request) -> Outcome {
    Outcome::Generated(NewKey::generate().generated(request))
}

/// A ceremony with approvals by these, received with the others.
pub fn approved_by(
    world: &World,
    request: &Request,
    custodians: &[&Custodian],
    passkeys: &[&Passkey],
) -> Ceremony {
    let mut ceremony = world.ceremony(request, custodians);
    let bytes = ceremony.request.clone();
    ceremony
        .approvals
        .extend(passkeys.iter().map(|passkey| Approval {
            signature: world.by_passkey(Purpose::Approve, &bytes, passkey),
            received_at: minute(5),
        }));
    ceremony
}

#[test]
fn a_passkey_approves_and_accepts_beside_a_key_that_is_none() {
    let (world, _, bob) = World::with_passkeys();
    let request = rotation(&world);
    let ceremony = approved_by(&world, &request, &[&world.alice], &[&bob]);
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Approved);
    let by: Vec<_> = tally
        .counted
        .iter()
        .map(|each| each.is_by_passkey())
        .collect();
    assert_eq!(by, [false, true]);

    let record = world.record(&ceremony);
    let statement = world.statement(&record, made(&request));
    let mut acceptance = world.acceptance(&statement, &[&world.alice]);
    let bytes = acceptance.statement.clone().into_bytes();
    let tally = |acceptance: &Acceptance| {
        let tally = tally_acceptance(&world.trusted(), &record, acceptance).unwrap();
        (tally.counted.len(), tally.missing())
    };
    assert_eq!(tally(&acceptance), (1, 1));
    let signature = world.by_passkey(Purpose::Accept, &bytes, &bob);
    acceptance.signatures.push(signature);
    assert_eq!(tally(&acceptance), (2, 0));
    let transcript = Transcript {
        v: format::V1,
        record: record.clone(),
        acceptance,
        log_keys: vec![],
        log_proofs: vec![],
    };
    let verified = verify_transcript(&transcript.encode().unwrap(), &world.pin).unwrap();
    assert_eq!(verified.approved_by().len(), 2);
}

#[test]
fn each_algorithm_of_authenticators_counts() {
    for algorithm in [Algorithm::Es256, Algorithm::Ed25519, Algorithm::Rs256] {
        let mut world = World::quick();
        let passkey = Passkey::new(algorithm, "alice");
        let change = |roster: &mut Roster| {
            roster.passkeys = Some(relying_party());
            roster.members[0].keys.push(passkey.member_key());
        };
        let document = world.roster_with(change, &[&world.alice, &world.bob], &[&passkey]);
        world.chains.changes.push(Change::Roster(document));
        let request = rotation(&world);
        let ceremony = approved_by(&world, &request, &[&world.bob], &[&passkey]);
        assert_eq!(
            world.tally(&ceremony).standing,
            Standing::Approved,
            "{algorithm}"
        );
    }
}

#[test]
fn a_member_with_both_kinds_of_key_counts_once_and_the_other_key_takes_the_passkeys_place() {
    let (world, alice, _) = World::with_passkeys();
    let request = rotation(&world);
    let mut ceremony = approved_by(&world, &request, &[&world.alice], &[&alice]);
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(tally.counted.len(), 1);
    assert!(!tally.counted[0].is_by_passkey());
    assert_eq!(tally.not_counted[0].why, WhyNot::Again);

    ceremony.approvals.reverse();
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!((tally.counted[0].index, tally.counted.len()), (1, 1));
    assert_eq!(
        (tally.not_counted[0].index, &tally.not_counted[0].why),
        (0, &WhyNot::Again)
    );
}

#[test]
fn what_is_hardest_to_undo_takes_no_passkey() {
    let (world, alice, bob) = World::with_passkeys();
    let kid = NewKey::generate().kid();
    let with_usage = |usage: Usage| {
        let mut order = generate("atp-integrity");
        order.predecessor = Some(NewKey::generate().kid());
        order.usage = usage;
        Operation::Generate(order)
    };
    for (operation, takes) in [
        (Operation::Generate(generate("atp-integrity")), false),
        (with_usage(Usage::Structured), true),
        (with_usage(Usage::Log), false),
        (with_usage(Usage::Wrap), false),
        (with_usage(Usage::Certificates), false),
        (revoke(&kid), true),
        (destroy(&[kid]), false),
    ] {
        assert_eq!(operation.takes_passkeys(), takes, "{}", operation.word());
    }
    let rotation = Sha256Digest::of(b"rotation");
    let ratification = Ratification {
        kid: NewKey::generate().kid(),
        ring: name("atp-integrity"),
        rotation,
    };
    let resume = Resume {
        ends: Ended::Unratified { rotation },
        ring: None,
    };
    for (operation, takes) in [
        (emergency_rotation(), true),
        (Operation::Ratification(ratification), false),
        (Operation::Resume(resume), false),
    ] {
        assert_eq!(operation.takes_passkeys(), takes, "{}", operation.word());
    }
    let request = world.request();
    let ceremony = approved_by(&world, &request, &[&world.alice], &[&bob, &alice]);
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    let why: Vec<_> = tally.not_counted.iter().map(|not| &not.why).collect();
    assert_eq!(why, [&WhyNot::Kind, &WhyNot::Kind]);
    // Nor is the result accepted by one.
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let record = world.record(&ceremony);
    let statement = world.statement(&record, made(&request));
    let mut acceptance = world.acceptance(&statement, &[&world.alice]);
    let bytes = acceptance.statement.clone().into_bytes();
    let signature = world.by_passkey(Purpose::Accept, &bytes, &bob);
    acceptance.signatures.push(signature);
    let tally = tally_acceptance(&world.trusted(), &record, &acceptance).unwrap();
    assert_eq!(
        (tally.missing(), &tally.not_counted[0].why),
        (1, &WhyNot::Kind)
    );
}

fn emergency_rotation() -> Operation {
    Operation::EmergencyRotation(Box::new(EmergencyRotation {
        compromised_since: minute(0),
        kid: NewKey::generate().kid(),
        number: 1,
        ratify_within_seconds: 3_600,
        ring: name("atp-integrity"),
        standby: NewKey::generate().kid(),
        standby_number: 2,
    }))
}

#[test]
fn of_an_emergency_rotation_one_of_three_signs_by_passkey() {
    let (mut world, alice, bob) = World::with_passkeys();
    let roles = |roster: &mut Roster| {
        roster.members[0].roles.push(Role::SecurityLead);
        roster.members[1].roles.push(Role::OnCallManager);
    };
    let document = world.next_roster(roles, &[&world.alice, &world.bob]);
    world.chains.changes.push(Change::Roster(document));
    let mut request = world.request_for(emergency_rotation());
    request.proposer = Some(world.dave.id.clone());
    let one = approved_by(&world, &request, &[&world.bob, &world.carol], &[&alice]);
    assert_eq!(world.tally(&one).standing, Standing::Approved);
    let two = approved_by(&world, &request, &[&world.carol], &[&alice, &bob]);
    let tally = world.tally(&two);
    assert_eq!(tally.counted.len(), 3);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
}

#[test]
fn a_passkey_is_enough_to_reject_and_does_not_propose_or_cancel() {
    let (world, alice, _) = World::with_passkeys();
    let request = world.request();
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let mut rejection = world.rejection(&request, &world.bob);
    let body = rejection.body.clone().into_bytes();
    rejection.signature = world.by_passkey(Purpose::Reject, &body, &alice);
    ceremony.rejections.push(rejection);
    let by = world.alice.id.clone();
    let reason = "wrong token".to_owned();
    let standing = world.tally(&ceremony).into_standing();
    assert_eq!(standing, Standing::Rejected { by, reason });

    let mut request = rotation(&world);
    request.proposer = Some(world.alice.id.clone());
    let mut ceremony = world.ceremony(&request, &[&world.bob, &world.carol]);
    let mut cancellation = world.cancellation(&request, &world.alice);
    let body = cancellation.body.clone().into_bytes();
    cancellation.signature = world.by_passkey(Purpose::Cancel, &body, &alice);
    ceremony.cancellations.push(cancellation);
    assert_eq!(world.tally(&ceremony).standing, Standing::Approved);
    let bytes = ceremony.request.clone();
    let proposal = ceremony.proposal.as_mut().unwrap();
    proposal.signature = world.by_passkey(Purpose::Propose, &bytes, &alice);
    assert!(matches!(
        world.tally(&ceremony).standing,
        Standing::Refused(_)
    ));
}

#[test]
fn a_passkey_is_enrolled_by_the_threshold_and_its_own_assertion_over_the_roster() {
    let world = World::quick();
    let passkey = Passkey::new(Algorithm::Es256, "alice");
    let change = |roster: &mut Roster| {
        roster.passkeys = Some(relying_party());
        roster.members[0].keys.push(passkey.member_key());
    };
    let walked = |document: &SignedDocument| {
        let mut chains = world.chains.clone();
        chains.changes.push(Change::Roster(document.clone()));
        walk(&chains, &world.pin).map(drop)
    };
    let both = [&world.alice, &world.bob];
    let mut document = world.roster_with(change, &both, &[&passkey]);
    assert_eq!(walked(&document), Ok(()));
    let trusted = world.trusted();
    let nobody = Default::default();
    let far = progress(&trusted, Next::Roster, &document, &nobody).unwrap();
    assert!(far.is_complete() && far.serves(2));

    // Without it, or with one by another key under its id, the roster does not hold.
    let assertion = document.signatures.pop().unwrap();
    let far = progress(&trusted, Next::Roster, &document, &nobody).unwrap();
    assert_eq!(
        far.unproven,
        [(world.alice.id.clone(), passkey.member_key())]
    );
    let error = walked(&document).unwrap_err().to_string();
    assert!(error.contains("a new key of alice"), "{error}");
    let impostor = Passkey::new(Algorithm::Es256, "alice");
    let message = document.message(&world.namespace(Purpose::Roster));
    document.signatures.push(impostor.signed(&message));
    assert!(walked(&document).is_err());

    // The first one proves it; what the same key makes besides is good for nothing.
    let mut more = world.roster_with(change, &both, &[&passkey, &passkey]);
    more.signatures.push(more.signatures[2].clone());
    let far = progress(&trusted, Next::Roster, &more, &nobody).unwrap();
    assert!(far.is_complete() && far.serves(2));
    let again: Vec<_> = far
        .not_counted
        .iter()
        .map(|not| (not.index, &not.why))
        .collect();
    assert_eq!(again, [(3, &WhyNot::Again), (4, &WhyNot::Again)]);

    // It shows that somebody has the key, and is nobody's vote.
    let mut short = world.roster_with(change, &[&world.bob], &[&passkey]);
    let error = walked(&short).unwrap_err().to_string();
    assert!(error.contains("1 of 2 for the old roster"), "{error}");
    short.signatures.push(assertion);
    assert!(walked(&short).is_err());
}

/// A key that came with a member who was not active has never signed, and has to when the member becomes active.
#[test]
fn enrolment_in_two_steps_without_the_key() {
    let mut world = World::quick();
    let passkey = Passkey::new(Algorithm::Es256, "erin");
    let erin = Custodian::quick("erin");
    let both = [&world.alice, &world.bob];
    let listed = world.next_roster(
        |roster| {
            let mut member = erin.member(&[Role::Custodian]);
            member.active = false;
            member.keys.push(passkey.member_key());
            roster.passkeys = Some(relying_party());
            roster.members.push(member);
        },
        &both,
    );
    world.chains.changes.push(Change::Roster(listed));
    let activate = |roster: &mut Roster| roster.members.last_mut().unwrap().active = true;
    let walked = |custodians: &[&Custodian], passkeys: &[&Passkey]| {
        let document = world.roster_with(activate, custodians, passkeys);
        let mut chains = world.chains.clone();
        chains.changes.push(Change::Roster(document));
        walk(&chains, &world.pin).map(drop)
    };
    let all = [&world.alice, &world.bob, &erin];
    for (custodians, passkeys) in [
        (&all[..2], &[][..]),
        (&all[..], &[]),
        (&all[..2], &[&passkey]),
    ] {
        let error = walked(custodians, passkeys).unwrap_err().to_string();
        assert!(error.contains("a new key of erin"), "{error}");
    }
    assert_eq!(walked(&all, &[&passkey]), Ok(()));
}

#[test]
fn a_roster_refuses_passkeys_that_nobody_could_use_or_that_are_two_members() {
    let (world, alice, bob) = World::with_passkeys();
    let refused = |change: &dyn Fn(&mut Roster)| {
        let mut roster = world.trusted().roster().clone();
        change(&mut roster);
        roster.check().unwrap_err()
    };
    let (one, two) = (world.alice.id.clone(), world.bob.id.clone());
    let none = refused(&|roster| roster.passkeys = None);
    assert_eq!(none, RosterError::Kind(one.clone()));
    let settings = refused(&|roster| roster.passkeys.as_mut().unwrap().origins.clear());
    assert_eq!(settings, RosterError::Passkeys(PasskeysError::Origins));
    let only = refused(&|roster| roster.members[0].keys.retain(MemberKey::is_passkey));
    assert_eq!(only, RosterError::NoKey(one.clone()));
    let shared = RosterError::SharedKey(one.clone(), two.clone());
    assert_eq!(
        refused(&|roster| roster.members[1].keys.push(alice.member_key())),
        shared
    );
    // The same credential with another key, and the same key under another credential.
    let mut same_id = Passkey::new(Algorithm::Es256, "alice");
    assert_eq!(
        refused(&|roster| roster.members[1].keys.push(same_id.member_key())),
        shared
    );
    same_id.id = vec![7; 16];
    same_id.public = alice.public.clone();
    assert_eq!(
        refused(&|roster| roster.members[1].keys.push(same_id.member_key())),
        shared
    );
    // The same point as an SSH key, of the same person too.
    let MemberKey::Webauthn { credential_id, .. } = bob.member_key() else {
        panic!("a passkey");
    };
    let point = PublicKey::ed25519(&world.carol.public.material()).unwrap();
    let of_carol = MemberKey::Webauthn {
        algorithm: Algorithm::Ed25519,
        credential_id: Base64Url([&credential_id.0[..], b"x"].concat()),
        public_key: Base64Url(point.to_spki_der()),
    };
    let carol = world.carol.id.clone();
    let twice = refused(&|roster| roster.members[2].keys.push(of_carol.clone()));
    assert_eq!(twice, RosterError::SharedKey(carol.clone(), carol));
    // A key of another shape than its algorithm takes, and one that cannot be read.
    for spki in [bob.public.to_spki_der(), b"no key".to_vec()] {
        let wrong = MemberKey::Webauthn {
            algorithm: Algorithm::Rs256,
            credential_id: Base64Url(vec![9; 16]),
            public_key: Base64Url(spki),
        };
        let error = refused(&|roster| roster.members[2].keys.push(wrong.clone()));
        assert!(matches!(error, RosterError::PasskeyKey(..)), "{error}");
    }
}

#[test]
fn a_passkey_that_was_put_away_never_comes_to_count_for_somebody_else() {
    let (mut world, alice, _) = World::with_passkeys();
    let away = |roster: &mut Roster| {
        roster.members[0].keys.truncate(1);
    };
    let signers = [&world.alice, &world.bob];
    let document = world.next_roster(away, &signers);
    world.chains.changes.push(Change::Roster(document));
    let heir = |roster: &mut Roster| roster.members[2].keys.push(alice.member_key());
    let document = world.roster_with(heir, &[&world.alice, &world.bob], &[&alice]);
    world.chains.changes.push(Change::Roster(document));
    let error = walk(&world.chains, &world.pin).unwrap_err();
    let (from, to) = (world.alice.id.clone(), world.carol.id.clone());
    let source = RosterError::FormerKey(from, to);
    assert_eq!(error, ChainError::Roster { index: 3, source });
}

#[test]
fn a_browser_is_given_what_it_needs_and_its_answer_is_a_signature() {
    let (world, alice, bob) = World::with_passkeys();
    let message = world.message(Purpose::Approve, b"body");
    let trusted = world.trusted();
    let options = RequestOptions::new(trusted.roster(), None, &message).unwrap();
    let text = serde_json::to_value(&options).unwrap();
    let id = |passkey: &Passkey| base64url::encode(&passkey.id);
    let expected = serde_json::json!({
        "challenge": base64url::encode(Sha256Digest::of(&message).as_bytes()),
        "rpId": "seal.example",
        "allowCredentials": [
            {"id": id(&alice), "type": "public-key"}, {"id": id(&bob), "type": "public-key"},
        ],
        "userVerification": "required",
    });
    assert_eq!(text, expected);
    let own = [world.bob.id.clone()];
    let options = RequestOptions::new(trusted.roster(), Some(&own), &message).unwrap();
    assert_eq!(options.allow_credentials.len(), 1);
    assert_eq!(
        RequestOptions::new(World::quick().trusted().roster(), None, &message),
        None
    );

    let signature = bob.signed(&message);
    let mut written = serde_json::to_value(&signature).unwrap();
    let member = |written: &mut serde_json::Value, name: &str| written[name].take();
    let answer = |kind: &str, written: &mut serde_json::Value| {
        serde_json::json!({
            "id": id(&bob), "rawId": id(&bob), "type": kind, "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
            "response": {
                "authenticatorData": member(written, "authenticator_data"),
                "clientDataJSON": member(written, "client_data"),
                "signature": member(written, "signature"), "userHandle": "AAAA",
            },
        })
    };
    let json = answer("public-key", &mut written).to_string();
    assert_eq!(browser::assertion(json.as_bytes()).unwrap(), signature);
    let other = json.replace("\"public-key\"", "\"password\"");
    assert!(browser::assertion(other.as_bytes()).is_err());
    assert!(browser::assertion(b"{}").is_err());
    assert!(browser::registration(json.as_bytes()).is_err());
}
