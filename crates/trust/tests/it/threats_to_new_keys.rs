//! The threats between the execution of a ceremony and the key's publication.

use trust::approval::{Generated, NewKey as NewPublic, Outcome, Statement};
use trust::place::{Pkcs11Location, Pkcs11ReadBack, ReadBack};
use trust::tally::{AcceptanceError, Standing, WhyNot, tally_acceptance};
use trust::*;

use crate::support::{Custodian, NewKey, World, minute};

/// Kid, proof of possession, public key and its digest.
fn told(
    generated: &mut Generated,
) -> (&mut Kid, &mut Base64Url, &mut Base64Url, &mut Sha256Digest) {
    match &mut generated.key {
        NewPublic::Public {
            kid,
            possession,
            public_key,
            spki_digest,
        } => (kid, possession, public_key, spki_digest),
        NewPublic::Check { .. } => panic!("a pair"),
    }
}

fn location(generated: &mut Generated) -> &mut Pkcs11Location {
    match &mut generated.location {
        Location::Pkcs11(location) => location,
        Location::KeyVault(_) => panic!("a token"),
    }
}

fn read_back(generated: &mut Generated) -> &mut Pkcs11ReadBack {
    match &mut generated.read_back {
        ReadBack::Pkcs11(found) => found,
        ReadBack::KeyVault(_) => panic!("a token"),
    }
}

#[test]
fn key_swapped_between_execution_and_acceptance() {
    let world = World::quick();
    let request = world.request();
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let record = world.record(&ceremony);
    let signers = [&world.alice, &world.bob];
    let (honest, swapped) = (NewKey::generate(), NewKey::generate());
    let refused = |change: &dyn Fn(&mut Generated)| {
        let mut generated = honest.generated(&request);
        change(&mut generated);
        let statement = world.statement(&record, Outcome::Generated(generated));
        let acceptance = world.acceptance(&statement, &signers);
        tally_acceptance(&world.trusted(), &record, &acceptance).unwrap_err()
    };
    // The statement names one key and holds another.
    let error = refused(&|generated| {
        *told(generated).2 = Base64Url(swapped.public().to_spki_der());
    });
    assert!(matches!(error, AcceptanceError::KeyMismatch(_)), "{error}");
    let error = refused(&|generated| *told(generated).3 = swapped.public().spki_digest());
    assert!(matches!(error, AcceptanceError::KeyMismatch(_)), "{error}");
    let error = refused(&|generated| *told(generated).0 = swapped.kid());
    assert!(matches!(error, AcceptanceError::KeyMismatch(_)), "{error}");
    // The whole key is swapped, but the proof of possession is the old one's.
    let error = refused(&|generated| {
        let possession = told(generated).1.clone();
        *generated = *swapped.generated(&request);
        *told(generated).1 = possession;
    });
    assert!(matches!(error, AcceptanceError::Possession), "{error}");
    // A proof of possession from another ceremony.
    let mut other = request.clone();
    other.nonce = bytes16::Nonce([1; 16]);
    let error = refused(&|generated| {
        *told(generated).1 = told(&mut honest.generated(&other)).1.clone();
    });
    assert!(matches!(error, AcceptanceError::Possession), "{error}");
    // The key is on another token, can be extracted, or was imported.
    for change in [
        (|generated| location(generated).token_serial = "another".to_owned()) as fn(&mut Generated),
        |generated| location(generated).token_label = "another".to_owned(),
        |generated| location(generated).label = "another".to_owned(),
        |generated| location(generated).cka_id = bytes16::CkaId([1; 16]),
        |generated| read_back(generated).template.extractable = true,
        |generated| read_back(generated).template.wrap = Some(true),
        |generated| read_back(generated).key_spec = "P-384".to_owned(),
        |generated| read_back(generated).never_extractable = Some(false),
        |generated| read_back(generated).always_sensitive = Some(false),
        |generated| read_back(generated).local = Some(false),
    ] {
        let error = refused(&change);
        assert!(matches!(error, AcceptanceError::ReadBack(_)), "{error}");
    }
    // A token may be silent about what it does not know.
    let mut silent = honest.generated(&request);
    read_back(&mut silent).local = None;
    read_back(&mut silent).always_sensitive = None;
    read_back(&mut silent).never_extractable = None;
    let statement = world.statement(&record, Outcome::Generated(silent));
    let acceptance = world.acceptance(&statement, &signers);
    assert!(tally_acceptance(&world.trusted(), &record, &acceptance).is_ok());
    // Swapped after the custodians signed.
    let statement = world.statement(&record, Outcome::Generated(honest.generated(&request)));
    let mut acceptance = world.acceptance(&statement, &signers);
    let other = world.statement(&record, Outcome::Generated(swapped.generated(&request)));
    acceptance.statement = String::from_utf8(other.encode().unwrap()).unwrap();
    let tally = tally_acceptance(&world.trusted(), &record, &acceptance).unwrap();
    assert_eq!(tally.counted, []);
    assert!(tally.into_finished().is_err());
}

#[test]
fn key_generated_without_a_ceremony_and_inserted() {
    let world = World::quick();
    let transcript = world.transcript();
    let bytes = transcript.encode().unwrap();
    let rogue = NewKey::generate().public().kid();
    // A row with somebody else's transcript.
    let verified = verify_transcript(&bytes, &world.pin).unwrap();
    assert!(matches!(
        verified.into_accepted(&rogue),
        Err(TranscriptError::OtherKey(_))
    ));
    // A transcript whose acceptances the server made up.
    let request = world.request();
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let record = world.record(&ceremony);
    let statement = world.statement(
        &record,
        Outcome::Generated(NewKey::generate().generated(&request)),
    );
    let mallory = [Custodian::quick("mallory"), Custodian::quick("eve")];
    let acceptance = world.acceptance(&statement, &[&mallory[0], &mallory[1]]);
    let forged = Transcript {
        record,
        acceptance,
        ..transcript.clone()
    };
    let error = verify_transcript(&forged.encode().unwrap(), &world.pin).unwrap_err();
    assert!(
        matches!(
            error,
            TranscriptError::Superfluous {
                why: WhyNot::UnknownKey,
                ..
            }
        ),
        "{error}"
    );
    // A ceremony that nobody approved, with genuine acceptances of something else.
    let ceremony = world.ceremony(&request, &[]);
    let record = world.record(&ceremony);
    let forged = Transcript {
        record,
        ..transcript
    };
    let error = verify_transcript(&forged.encode().unwrap(), &world.pin).unwrap_err();
    assert!(
        matches!(
            error,
            TranscriptError::Ceremony(AcceptanceError::OtherRecord)
        ),
        "{error}"
    );
}

#[test]
fn accepted_without_having_been_approved() {
    let world = World::quick();
    let request = world.request();
    let ceremony = world.ceremony(&request, &[&world.alice]);
    let record = world.record(&ceremony);
    let outcome = Outcome::Generated(NewKey::generate().generated(&request));
    let signers = [&world.alice, &world.bob];
    let acceptance = world.acceptance(&world.statement(&record, outcome.clone()), &signers);
    let error = tally_acceptance(&world.trusted(), &record, &acceptance).unwrap_err();
    assert!(
        matches!(
            error,
            AcceptanceError::NotApproved(Standing::Waiting { .. })
        ),
        "{error}"
    );

    // Carried out after the deadline, or before it was asked for.
    let ceremony = world.ceremony(&request, &signers);
    let record = world.record(&ceremony);
    for (executed_at, early) in [(minute(61), false), (Time::from_millis(0), true)] {
        let statement = Statement {
            executed_at,
            ..world.statement(&record, outcome.clone())
        };
        let acceptance = world.acceptance(&statement, &signers);
        let error = tally_acceptance(&world.trusted(), &record, &acceptance).unwrap_err();
        let expired = matches!(
            error,
            AcceptanceError::NotApproved(Standing::Expired { .. })
        );
        assert!(expired || early, "{error}");
    }
    // An outcome of another operation.
    let kid = NewKey::generate().public().kid();
    let statement = world.statement(&record, Outcome::Revoked { kid });
    let acceptance = world.acceptance(&statement, &signers);
    let error = tally_acceptance(&world.trusted(), &record, &acceptance).unwrap_err();
    assert!(matches!(error, AcceptanceError::OtherOutcome), "{error}");
}
