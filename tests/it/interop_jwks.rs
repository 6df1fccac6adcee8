//! Verifiers of other people, with their own caches, before, during and after a rotation.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::support::installation::{Installation, PUBLISH_SAFETY, Service, base64url, member};
use crate::support::process::until;
use crate::support::verifier::Verifier;

const RING: &str = "integrity";

fn verifiers(service: &Service) -> [Verifier; 2] {
    [
        Verifier::jose(&service.jwks_url()),
        Verifier::pyjwt(&service.jwks_url()),
    ]
}

/// The kid that every verifier found a JWS good under.
fn accepted(verifiers: &mut [Verifier], jws: &str) -> String {
    let kids: Vec<String> = verifiers
        .iter_mut()
        .map(|v| {
            v.verify(jws)
                .unwrap_or_else(|why| panic!("{} rejects a signature: {why}", v.name))
        })
        .collect();
    assert!(kids.windows(2).all(|two| two[0] == two[1]), "{kids:?}");
    kids[0].clone()
}

#[test]
fn strangers_accept_every_signature_through_a_rotation() {
    let installation = Installation::new();
    let first = installation.open_ring(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let service = installation.serve();
    let mut verifiers = verifiers(&service);

    let before = service.jws(RING, &signer, b"before the rotation");
    assert_eq!(accepted(&mut verifiers, &before), first);

    // Signatures go on while the next key is born, published and made primary; each is checked at once by clients
    // whose caches were filled before.
    let stop = AtomicBool::new(false);
    let count = AtomicUsize::new(0);
    let (second, during) = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut kids = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let jws = service.jws(
                    RING,
                    &signer,
                    format!("signature {}", kids.len()).as_bytes(),
                );
                kids.push(accepted(&mut verifiers, &jws));
                count.store(kids.len(), Ordering::Relaxed);
            }
            kids
        });
        let second = installation.give_birth(RING);
        installation.rotate_when_safe(RING);
        // A signature that fails ends the other thread.
        until("there are signatures of all of it", || {
            load.is_finished() || count.load(Ordering::Relaxed) > 10
        });
        stop.store(true, Ordering::Relaxed);
        (second, load.join().expect("no signature failed"))
    });
    assert_ne!(first, second);
    assert!(
        during.len() > 10,
        "only {} signatures during the rotation",
        during.len()
    );
    assert!(during.contains(&first));

    let mut verifiers = verifiers_of(verifiers, &service);
    // A replica may be seconds behind the database; until it follows, it signs with the key before.
    let mut after = String::new();
    until("the new key signs", || {
        after = service.jws(RING, &signer, b"after the rotation");
        accepted(&mut verifiers, &after) == second
    });
    assert_eq!(accepted(&mut verifiers, &before), first);
    assert_eq!(service.verdict(&before), "VALID");
    assert_eq!(service.verdict(&after), "VALID");
}

/// Those with warm caches, and the same again with cold ones.
fn verifiers_of(warm: [Verifier; 2], service: &Service) -> Vec<Verifier> {
    warm.into_iter().chain(verifiers(service)).collect()
}

#[test]
fn strangers_reject_what_was_changed() {
    let installation = Installation::new();
    installation.open_ring(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let service = installation.serve();
    let jws = service.jws(RING, &signer, b"a record");
    let parts: Vec<&str> = jws.split('.').collect();
    let other = format!("{}.{}.{}", parts[0], base64url(b"another record"), parts[2]);
    for mut verifier in verifiers(&service) {
        assert!(verifier.verify(&jws).is_ok());
        assert!(
            verifier.verify(&other).is_err(),
            "{} accepts another payload",
            verifier.name
        );
    }
}

#[test]
fn strangers_accept_detached_signatures() {
    let installation = Installation::new();
    let kid = installation.open_ring(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let service = installation.serve();
    let payload = b"bytes that are no JSON \xff";
    // RFC 7797, where the payload enters the signature as it is, and RFC 7515 appendix F, where it is only left out.
    for encoded in [false, true] {
        let body = json!({"format": "jws-detached", "payload": base64url(payload), "b64": encoded});
        let jws = member(&service.sign(RING, &signer, &body), "jws");
        for mut verifier in verifiers(&service) {
            let name = verifier.name;
            assert_eq!(
                verifier.verify_detached(&jws, &base64url(payload)),
                Ok(kid.clone()),
                "{name}"
            );
            assert!(
                verifier
                    .verify_detached(&jws, &base64url(b"other bytes"))
                    .is_err(),
                "{name}"
            );
        }
    }
}

#[test]
fn jwks_may_be_cached_for_a_quarter_of_publish_safety() {
    let installation = Installation::new();
    installation.open_ring(RING);
    let service = installation.serve();
    let answer = service.get("/.well-known/jwks.json");
    let cache = answer.header("cache-control").expect("a cache time");
    let max_age = format!("max-age={}", PUBLISH_SAFETY.as_secs() / 4);
    assert!(cache.split(", ").any(|word| word == max_age), "{cache}");
    assert!(answer.header("etag").is_some());
}
