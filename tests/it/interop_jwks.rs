//! Verifiers of other people, with their own caches, before, during and after a rotation.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::support::installation::{
    Installation, PUBLISH_SAFETY, Service, base64url, directory, member,
};
use crate::support::process::until;
use crate::support::simulated::{DAY, Simulated};
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

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Signs and has each signature checked at once, by clients whose caches were filled before, until `act` is over and ten
/// more were made. Returns the kids, and what `act` returned.
fn under_load<T>(
    service: &Service,
    signer: &str,
    verifiers: &mut [Verifier],
    act: impl FnOnce() -> T,
) -> (Vec<String>, T) {
    let stop = AtomicBool::new(false);
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut kids = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let payload = format!("signature {}", kids.len());
                let jws = service.jws(RING, signer, payload.as_bytes());
                kids.push(accepted(verifiers, &jws));
                count.store(kids.len(), Ordering::Relaxed);
            }
            kids
        });
        // Whatever becomes of the act, the other thread ends.
        let over = Over(&stop);
        let acted = act();
        let after = count.load(Ordering::Relaxed);
        // A signature that fails ends the other thread.
        until("there are signatures of all of it", || {
            load.is_finished() || count.load(Ordering::Relaxed) > after + 10
        });
        drop(over);
        (load.join().expect("no signature failed"), acted)
    })
}

/// A replica may be seconds behind the database; until it follows, it signs with the key before. Returns a signature by
/// `kid`.
fn signed_by(service: &Service, signer: &str, verifiers: &mut [Verifier], kid: &str) -> String {
    let mut jws = String::new();
    until("the other key signs", || {
        jws = service.jws(RING, signer, b"after it");
        accepted(verifiers, &jws) == kid
    });
    jws
}

#[test]
fn strangers_accept_every_signature_through_a_rotation() {
    let installation = Installation::new();
    let first = installation.open_ring(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let service = installation.serve();
    let mut warm = verifiers(&service);

    let before = service.jws(RING, &signer, b"before the rotation");
    assert_eq!(accepted(&mut warm, &before), first);
    let (during, second) = under_load(&service, &signer, &mut warm, || {
        let second = installation.give_birth(RING);
        installation.rotate_when_safe(RING);
        second
    });
    assert_ne!(first, second);
    assert!(during.contains(&first));

    let mut verifiers = verifiers_of(warm, &service);
    let after = signed_by(&service, &signer, &mut verifiers, &second);
    assert_eq!(accepted(&mut verifiers, &before), first);
    assert_eq!(service.verdict(&before), "VALID");
    assert_eq!(service.verdict(&after), "VALID");
}

#[test]
fn strangers_accept_every_signature_through_a_roll_back() {
    let installation = Installation::new();
    let first = installation.open_ring(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let second = installation.give_birth(RING);
    let service = installation.serve();
    let mut warm = verifiers(&service);
    installation.rotate_when_safe(RING);
    let rotated = signed_by(&service, &signer, &mut warm, &second);

    let (during, ()) = under_load(&service, &signer, &mut warm, || {
        installation.chancery(["ring", "roll-back", RING, "--apply"]);
    });
    assert!(during.contains(&second));

    let mut verifiers = verifiers_of(warm, &service);
    let after = signed_by(&service, &signer, &mut verifiers, &first);
    assert_eq!(accepted(&mut verifiers, &rotated), second);
    assert_eq!(service.verdict(&rotated), "VALID");
    assert_eq!(service.verdict(&after), "VALID");
}

/// Nobody does anything but let the time pass, and roll the second one back.
#[test]
fn strangers_accept_every_signature_through_rotations_by_the_scheduler_and_a_roll_back() {
    let directory = directory();
    let url = format!("sqlite:{}", directory.path().join("chancery.db").display());
    let world = Simulated::new(directory, &url, "2");
    let installation = &world.installation;
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let service = installation.serve();
    let _executor = world.executor_runs();
    let mut warm = verifiers(&service);
    let before = service.jws(RING, &signer, b"before the rotation");
    let first = accepted(&mut warm, &before);
    let promoted = |id: &str| {
        world.until("its key is published", id, |event| {
            event["published_at"].is_string()
        });
        world.passes(DAY + DAY / 24);
        world.until("its key signs", id, |event| {
            event["promoted_at"].is_string()
        });
        member(&world.rotation(id), "made")
    };
    let (during, second) = under_load(&service, &signer, &mut warm, || {
        let id = world.scheduled();
        let second = promoted(&id);
        world.passes(DAY + DAY / 24);
        world.until("the old key is retired", &id, |event| {
            event["state"] == "done"
        });
        second
    });
    assert!(
        during.contains(&first) && during.contains(&second),
        "{during:?}"
    );
    let (during, third) = under_load(&service, &signer, &mut warm, || {
        let id = world.scheduled();
        let third = promoted(&id);
        until("the new key signs", || {
            let jws = service.jws(RING, &signer, b"until it is rolled back");
            kid_of(&jws) == third
        });
        installation.chancery(["rotation", "roll-back", &id, "--reason", "callers fail"]);
        world.until("it is rolled back", &id, |event| {
            event["state"] == "rolled-back"
        });
        third
    });
    assert!(
        during.contains(&second) && during.contains(&third),
        "{during:?}"
    );

    let mut verifiers = verifiers_of(warm, &service);
    let after = signed_by(&service, &signer, &mut verifiers, &second);
    assert_eq!(accepted(&mut verifiers, &before), first);
    assert_eq!(service.verdict(&before), "VALID_RETIRED_KEY");
    assert_eq!(service.verdict(&after), "VALID");
    out_of_the_key_sets(
        installation,
        &service,
        [before.as_str(), after.as_str()],
        &first,
    );
}

/// Whoever begins with the set of now finds the old key no more; the archive has it, and counts what it signed.
fn out_of_the_key_sets(
    installation: &Installation,
    service: &Service,
    [before, after]: [&str; 2],
    first: &str,
) {
    let leaves = ["ring", "unpublish", RING, "--kid", first];
    assert_eq!(installation.chancery(leaves).json()["applied"], false);
    installation.chancery([&leaves[..], &["--apply"]].concat());
    let set =
        || String::from_utf8_lossy(&service.get("/.well-known/jwks.json").into_body()).into_owned();
    until("the key is in no set", || !set().contains(first));
    for cold in &mut verifiers(service) {
        assert!(cold.verify(after).is_ok(), "{}", cold.name);
        assert!(cold.verify(before).is_err(), "{}", cold.name);
    }
    assert_eq!(service.verdict(before), "VALID_RETIRED_KEY");
    let key = service.get(&format!("/v1/keys/{first}")).ok();
    assert!(
        key["unpublished_at"].is_string() && key["jwk"].is_object(),
        "{key}"
    );
    let twice = installation.try_chancery([&leaves[..], &["--apply"]].concat());
    assert_ne!(twice.code, Some(0), "{twice:?}");
    let used = installation
        .chancery(["ring", "usage", RING, "--hours", "2160"])
        .json();
    let mut used = used["keys"].as_array().expect("keys").iter();
    let used = used.find(|key| key["kid"] == first).expect("the first key");
    let alone = installation
        .chancery(["key", "usage", first, "--hours", "2160"])
        .json();
    assert!(alone["signatures"].as_u64() > Some(1), "{alone}");
    assert_eq!(
        (&alone["hours"], &alone["total"]),
        (&used["hours"], &used["total"])
    );
}

fn kid_of(jws: &str) -> String {
    let header = jws.split('.').next().expect("a header");
    let bytes = trust::base64url::decode(header).expect("base64url");
    let header: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    member(&header, "kid")
}

/// The key that signs is revoked as compromised, and the standby key, published before, signs in the same moment: no caller
/// and no verifier with a warm cache meets anything that it cannot check.
#[test]
fn strangers_accept_every_signature_through_an_emergency() {
    let installation = Installation::new();
    let first = installation.open_ring(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let standby = installation.give_birth(RING);
    let service = installation.serve();
    installation.until_rotation_is_safe(RING);
    let mut warm = verifiers(&service);
    let before = service.jws(RING, &signer, b"before the emergency");
    assert_eq!(accepted(&mut warm, &before), first);

    let (during, _) = under_load(&service, &signer, &mut warm, || {
        let since = ["--compromised-since", "2026-01-01T00:00:00.000Z"];
        installation.revoke(
            RING,
            &first,
            &[&["--because", "compromised"][..], &since].concat(),
        )
    });
    assert!(during.contains(&first));

    let after = signed_by(&service, &signer, &mut warm, &standby);
    // The set has the old key no more, and neither has a cache that is filled now.
    for cold in &mut verifiers(&service) {
        let name = cold.name;
        assert_eq!(cold.verify(&after).as_ref(), Ok(&standby), "{name}");
        assert!(cold.verify(&before).is_err(), "{name}");
    }
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
