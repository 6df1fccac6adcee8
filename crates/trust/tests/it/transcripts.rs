//! No byte of a transcript can change unnoticed.

use proptest::prelude::*;
use trust::approval::Outcome;
use trust::transcript::{LogProofsError, Logged};
use trust::*;

use crate::support::{NewKey, World, revoke};

/// One transcript of a generation and one of a revocation, which has no key in it.
fn transcripts(world: &World) -> [Vec<u8>; 2] {
    let kid = NewKey::generate().kid();
    let request = world.request_for(revoke(&kid));
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    // Something that did not count is covered as well.
    ceremony
        .rejections
        .push(world.rejection(&request, &world.dave));
    let revoked = world.finished(&ceremony, Outcome::Revoked { kid });
    [
        world.transcript().encode().unwrap(),
        revoked.encode().unwrap(),
    ]
}

/// Every byte of the generation's transcript; every seventh of the other, which has the same form.
#[test]
fn any_single_byte_changed_is_refused() {
    let world = World::quick();
    let [generated, revoked] = transcripts(&world);
    for (original, step) in [(&generated, 1), (&revoked, 7)] {
        assert!(verify_transcript(original, &world.pin).is_ok());
        let places: Vec<usize> = (0..original.len()).step_by(step).collect();
        std::thread::scope(|scope| {
            let pin = &world.pin;
            for half in places.chunks(places.len().div_ceil(2)) {
                scope.spawn(move || {
                    let mut bytes = original.clone();
                    for &at in half {
                        bytes[at] ^= 1 << (at % 8);
                        assert!(verify_transcript(&bytes, pin).is_err(), "byte {at}");
                        bytes[at] = original[at];
                    }
                });
            }
        });
    }
}

/// With signatures as real people make them: ECDSA and RSA are malleable in more ways.
#[test]
fn any_single_byte_of_a_real_signature_changed_is_refused() {
    let world = World::ssh_keygen();
    let original = world.transcript().encode().unwrap();
    assert!(verify_transcript(&original, &world.pin).is_ok());
    let text = std::str::from_utf8(&original).unwrap();
    // The acceptances stand first; the rest is covered by their statement.
    let end = text.find("\"log_keys\"").unwrap();
    let mut bytes = original.clone();
    for at in (0..end).step_by(5) {
        bytes[at] ^= 1 << (at % 7);
        assert!(verify_transcript(&bytes, &world.pin).is_err(), "byte {at}");
        bytes[at] = original[at];
    }
}

#[test]
fn another_genesis_is_refused() {
    let world = World::quick();
    let [bytes, _] = transcripts(&world);
    let pin = Pin {
        genesis: Sha256Digest::of(b"another"),
        ..world.pin.clone()
    };
    assert!(matches!(
        verify_transcript(&bytes, &pin),
        Err(TranscriptError::Chain(_))
    ));
}

#[test]
fn log_proofs_that_nobody_checks_are_refused() {
    let world = World::quick();
    let mut transcript = world.transcript();
    transcript.log_proofs.push(Logged {
        leaf: "leaf".to_owned(),
        proof: "proof".to_owned(),
    });
    let error = verify_transcript(&transcript.encode().unwrap(), &world.pin).unwrap_err();
    let expected = TranscriptError::LogProofs(LogProofsError::Incomplete);
    assert_eq!(error.to_string(), expected.to_string());
    assert!(matches!(
        error,
        TranscriptError::LogProofs(LogProofsError::Incomplete)
    ));
}

#[test]
fn an_acceptance_that_does_not_count_is_refused() {
    let world = World::quick();
    let mut transcript = world.transcript();
    let again = transcript.acceptance.signatures[0].clone();
    transcript.acceptance.signatures.push(again);
    let error = verify_transcript(&transcript.encode().unwrap(), &world.pin).unwrap_err();
    assert!(
        matches!(error, TranscriptError::Superfluous { index: 2, .. }),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_inserted_deleted_or_doubled_are_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, any::<u8>()), 20)
    ) {
        let world = World::quick();
        let original = world.transcript().encode().unwrap();
        for (place, kind, byte) in edits {
            let at = place.index(original.len());
            let mut bytes = original.clone();
            match kind {
                0 => bytes.insert(at, byte),
                1 => drop(bytes.remove(at)),
                _ => bytes.splice(at..at, original[at..(at + 40).min(original.len())].to_vec()).for_each(drop),
            }
            if bytes != original {
                prop_assert!(verify_transcript(&bytes, &world.pin).is_err(), "at {at}");
            }
        }
    }
}
