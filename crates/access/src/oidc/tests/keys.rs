//! What of a key set is used.

use serde_json::{Value, json};
use testkit::issuer::{IssuerKey, IssuerServer, KEYS, key_set};
use trust::{Algorithm, base64url};

use super::{Fixture, NOW, read, service, written};
use crate::oidc::{Error, KeySet, Refusal};

const ALL: [Algorithm; 5] = Algorithm::ALL;

fn parse(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &ALL).unwrap()
}

fn with(mut key: Value, member: &str, value: Value) -> Value {
    key[member] = value;
    key
}

#[test]
fn symmetric_private_and_foreign_keys_are_left_out_with_a_reason() {
    let good = IssuerKey::new("good", Algorithm::Es256).jwk();
    let other = || IssuerKey::new("bad", Algorithm::Es256).jwk();
    for (bad, why) in [
        (
            json!({"kty": "oct", "kid": "bad", "k": "c2VjcmV0", "alg": "HS256"}),
            "symmetric",
        ),
        (with(other(), "d", json!("AQ")), "private"),
        (with(other(), "use", json!("enc")), "not for signatures"),
        (
            with(other(), "key_ops", json!(["encrypt"])),
            "not for verification",
        ),
        (with(other(), "alg", json!("HS256")), "not supported"),
        (with(other(), "alg", json!("ES384")), "does not fit"),
        (with(other(), "y", json!("AQ")), "expected 32 bytes"),
        (with(other(), "crv", json!("P-521")), "not supported"),
        (
            json!({"kty": "RSA", "kid": "bad", "n": "AQAB", "e": "AQAB"}),
            "2048",
        ),
        (json!({"kty": "AKP", "kid": "bad"}), "not supported"),
        (json!({"kid": "bad"}), "missing"),
    ] {
        let set = parse(&[bad.clone(), good.clone()]);
        assert!(set.get("bad").is_none() && set.is_left_out("bad"), "{bad}");
        assert!(set.get("good").is_some() && set.count() == 1, "{bad}");
        let told = set.unusable().join("; ");
        assert!(told.contains(why) && told.contains("bad"), "{bad}: {told}");
    }
    let mut nameless = other();
    nameless.as_object_mut().unwrap().remove("kid");
    let set = parse(&[nameless, json!(7), good]);
    assert_eq!((set.count(), set.unusable().len()), (1, 2));
}

/// RSA of 1024 bits is broken, and one of 16 384 costs a second of a core for each token of a stranger.
#[test]
fn threat_rsa_keys_of_unusual_size() {
    for bits in [1_024, 1_536, 8_192, 16_384] {
        let n = base64url::encode(&vec![0xff; bits / 8]);
        let set = parse(&[json!({"kty": "RSA", "kid": "bad", "n": n, "e": "AQAB"})]);
        assert_eq!(set.count(), 0, "{bits}");
    }
}

#[test]
fn threat_two_keys_under_one_kid() {
    let key = |kid: &str| IssuerKey::new(kid, Algorithm::Es256).jwk();
    for count in [2, 3, 4] {
        let mut keys: Vec<_> = (0..count).map(|_| key("same")).collect();
        keys.push(key("other"));
        let set = parse(&keys);
        assert!(
            set.get("same").is_none() && set.is_left_out("same"),
            "{count}"
        );
        assert_eq!(set.count(), 1);
    }
    // A key of another use may be called so: no token can mean it.
    for enc_first in [true, false] {
        let mut keys = vec![key("same"), with(key("same"), "use", json!("enc"))];
        if enc_first {
            keys.reverse();
        }
        let set = parse(&keys);
        assert!(set.get("same").is_some() && set.unusable().is_empty());
    }
}

#[test]
fn a_set_that_is_none_is_refused_as_a_whole() {
    let many: Vec<_> = (0..101).map(|_| json!({})).collect();
    for bad in [
        "".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        r#"{"keys":[],"keys":[]}"#.to_owned(),
        r#"{"keys":[{"kid":"a","kid":"b"}]}"#.to_owned(),
        "<html>".to_owned(),
        json!({ "keys": many }).to_string(),
    ] {
        assert!(KeySet::parse(bad.as_bytes(), &ALL).is_err(), "{bad}");
    }
    assert_eq!(parse(&[]).count(), 0);
}

#[tokio::test]
async fn threat_a_key_of_the_wrong_type_for_the_algorithm() {
    let rsa = IssuerKey::new("rsa", Algorithm::Rs256);
    let (p256, p384) = ("p256", "p384");
    let ec = IssuerKey::new(p256, Algorithm::Es256);
    let longer = IssuerKey::new(p384, Algorithm::Es384);
    let server = IssuerServer::new(&[&rsa, &ec, &longer]);
    let mut settings = read(&written(&server.url(), "ES256", ""));
    settings.algorithms = ALL.to_vec();
    let (oidc, _) = service(vec![settings]);
    let claims = json!({
        "iss": server.url(), "aud": "chancery", "sub": "a",
        "iat": NOW, "exp": NOW + 600, "groups": ["signers"],
    });
    for key in [&rsa, &ec, &longer] {
        assert!(oidc.verify(&key.token(&claims)).await.is_ok());
        for alg in ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"] {
            if key.algorithm.is_named(alg) {
                continue;
            }
            let token = key.sign(&json!({"alg": alg, "kid": key.kid}), &claims);
            let refused = oidc.verify(&token).await;
            // The set says RS256 of its RSA key; PS256 with it is another use.
            assert_eq!(
                refused,
                Err(Error::Refused(Refusal::UnfitKey)),
                "{alg} by {}",
                key.kid
            );
        }
    }
    assert_eq!(server.count(KEYS), 1);
}

/// What the set says of a key binds whoever verifies with it, whatever was asked before.
#[test]
fn a_key_verifies_with_no_algorithm_but_its_own() {
    let key = IssuerKey::new("one", Algorithm::Ps256);
    let token = key.token(&json!({}));
    let (input, signature) = token.rsplit_once('.').unwrap();
    let read = |algorithm: Option<&str>| {
        let mut jwk = key.jwk();
        match algorithm {
            Some(algorithm) => jwk["alg"] = json!(algorithm),
            None => drop(jwk.as_object_mut().unwrap().remove("alg")),
        }
        parse(&[jwk]).get("one").unwrap().clone()
    };
    for (alg, verifies) in [(Some("PS256"), true), (None, true), (Some("RS256"), false)] {
        let found = read(alg).verifies(Algorithm::Ps256, input, signature);
        assert_eq!(found, verifies, "{alg:?}");
    }
    // Where the set says nothing, by its shape.
    for algorithm in ALL {
        let rsa = matches!(algorithm, Algorithm::Ps256 | Algorithm::Rs256);
        assert_eq!(read(None).fits(algorithm), rsa, "{algorithm:?}");
    }
    // Of a key for both, an issuer that is configured for one of them.
    let mut jwk = key.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    let set = json!({ "keys": [jwk] }).to_string();
    let set = KeySet::parse(set.as_bytes(), &[Algorithm::Rs256]).unwrap();
    let found = set.get("one").unwrap();
    assert!(!found.fits(Algorithm::Ps256) && found.fits(Algorithm::Rs256));
    assert!(!found.verifies(Algorithm::Ps256, input, signature));
}

#[tokio::test]
async fn a_kid_that_cannot_be_used_does_not_have_the_keys_read_again() {
    let fixture = Fixture::new();
    let own = IssuerKey::new("secret", Algorithm::Es256);
    let secret = json!({"kty": "oct", "kid": "secret", "k": "c2VjcmV0"});
    let mut set: Value = serde_json::from_str(&key_set(&[&fixture.key])).unwrap();
    set["keys"].as_array_mut().unwrap().push(secret);
    fixture.server.put(KEYS, &set.to_string());
    for _ in 0..3 {
        let refused = fixture.refusal(&own.token(&fixture.claims())).await;
        assert_eq!(refused, Refusal::UnfitKey);
        fixture.wait(100);
    }
    assert_eq!(fixture.server.count(KEYS), 1);
}

/// An issuer's answer is from outside: whatever it is, nothing panics, and no key comes of it that was not in it.
#[test]
fn a_key_set_with_any_byte_changed_gives_no_other_key() {
    let keys = [Algorithm::Es256, Algorithm::Ed25519].map(|each| IssuerKey::new("one", each));
    for key in &keys {
        let good = key_set(&[key]);
        let of = |text: &[u8]| {
            let set = KeySet::parse(text, &ALL).ok()?;
            set.get("one").map(|key| key.thumbprint.clone())
        };
        let thumbprint = of(good.as_bytes()).unwrap();
        for at in 0..good.len() {
            for other in [0, b'"', b'A', b'1', b'}', 0xff] {
                let mut changed = good.clone().into_bytes();
                changed[at] = other;
                // Another point of the curve is another key, which is what its thumbprint says.
                let inside = key.algorithm == Algorithm::Ed25519;
                let found = of(&changed);
                assert!(
                    found.is_none() || inside || found.as_ref() == Some(&thumbprint),
                    "{at}"
                );
            }
        }
    }
}
