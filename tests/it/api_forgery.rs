//! What forgers hand in to be verified: the verdict is INVALID, or the request is refused as one that cannot be read.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

use crate::support::installation::{base64url, member, text};
use crate::support::world::{World, world};

fn jws(world: &World, ring: &str) -> String {
    let body = json!({"format": "jws", "payload": base64url(b"a record")}).to_string();
    member(&world.sign(ring, body).ok(), "jws")
}

/// A JWS with this header over `a record`, signed by whatever `sign` does.
fn forged(header: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!(
        "{}.{}",
        base64url(header.to_string().as_bytes()),
        base64url(b"a record")
    );
    format!("{input}.{}", base64url(&sign(input.as_bytes())))
}

/// The forger's own key and its JWK.
fn forger() -> (SigningKey, Value) {
    let key = SigningKey::from_slice(&[7; 32]).expect("a key");
    let point = key.verifying_key().to_sec1_point(false);
    let (x, y) = (point.x().expect("x"), point.y().expect("y"));
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)});
    (key, jwk)
}

fn by_forger(input: &[u8]) -> Vec<u8> {
    let signature: Signature = forger().0.sign(input);
    signature.to_bytes().to_vec()
}

fn invalid(world: &World, claim: &Value, reason: &str) -> Value {
    let answer = world.verify(claim.to_string()).ok();
    assert_eq!(answer["verdict"], "INVALID", "{claim}: {answer}");
    assert_eq!(answer["reasons"], json!([reason]), "{claim}: {answer}");
    assert!(answer.get("log_index").is_none(), "{answer}");
    answer
}

#[test]
fn alg_none_is_invalid() {
    let world = world();
    let genuine = jws(&world, "es256");
    world.unchanged(|| {
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let header = json!({"alg": alg, "kid": world.kid("es256")});
            for signature in [Vec::new(), by_forger(b"x")] {
                let claim = json!({"jws": forged(&header, |_| signature)});
                invalid(&world, &claim, "bad_signature");
            }
        }
        // A genuine signature under another header is none.
        let header = base64url(
            json!({"alg": "none", "kid": world.kid("es256")})
                .to_string()
                .as_bytes(),
        );
        let rest = genuine.split_once('.').expect("three parts").1;
        invalid(
            &world,
            &json!({"jws": format!("{header}.{rest}")}),
            "bad_signature",
        );
    });
}

#[test]
fn hs256_with_the_public_key_as_secret_is_invalid() {
    let world = world();
    world.unchanged(|| {
        for ring in ["es256", "ps256", "rs256"] {
            let kid = world.kid(ring);
            let pem = world
                .service
                .get(&format!("/v1/keys/{kid}/pem"))
                .into_body();
            let jwk = world
                .service
                .get(&format!("/v1/keys/{kid}/jwk"))
                .into_body();
            for secret in [pem, jwk] {
                let header = json!({"alg": "HS256", "kid": kid});
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
                let jws = forged(&header, |input| {
                    aws_lc_rs::hmac::sign(&key, input).as_ref().to_vec()
                });
                invalid(&world, &json!({ "jws": jws }), "bad_signature");
            }
        }
    });
}

#[test]
fn embedded_jwk_is_not_believed() {
    let world = world();
    let (_, jwk) = forger();
    world.unchanged(|| {
        let header = json!({"alg": "ES256", "kid": world.kid("es256"), "jwk": jwk});
        let jws = forged(&header, by_forger);
        invalid(&world, &json!({ "jws": jws }), "bad_signature");
        // Without a kid of ours there is no key at all.
        for header in [
            json!({"alg": "ES256", "jwk": jwk}),
            json!({"alg": "ES256", "kid": "", "jwk": jwk}),
        ] {
            invalid(
                &world,
                &json!({"jws": forged(&header, by_forger)}),
                "unknown_key",
            );
        }
        for name in ["x5c", "x5u"] {
            let header = json!({"alg": "ES256", "kid": world.kid("es256"), name: "x"});
            invalid(
                &world,
                &json!({"jws": forged(&header, by_forger)}),
                "bad_signature",
            );
        }
    });
}

#[test]
fn embedded_jku_is_not_fetched() {
    let world = world();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("nonblocking");
    let address = listener.local_addr().expect("an address");
    world.unchanged(|| {
        for name in ["jku", "x5u"] {
            let header = json!({
                "alg": "ES256", "kid": world.kid("es256"), name: format!("http://{address}/jwks.json"),
            });
            invalid(&world, &json!({"jws": forged(&header, by_forger)}), "bad_signature");
        }
    });
    thread::sleep(Duration::from_millis(200));
    assert!(
        listener.accept().is_err(),
        "somebody asked for the forger's keys"
    );
}

#[test]
fn unknown_crit_is_invalid() {
    let world = world();
    world.unchanged(|| {
        for crit in [
            json!(["exp"]),
            json!(["b64", "http://example.test/x"]),
            json!([]),
            json!(["alg"]),
        ] {
            let header = json!({"alg": "ES256", "kid": world.kid("es256"), "crit": crit, "exp": 1});
            let claim = json!({"jws": forged(&header, by_forger)});
            let answer = invalid(&world, &claim, "bad_signature");
            assert!(
                answer["explanation"]
                    .as_str()
                    .is_some_and(|why| why.contains("crit")),
                "{answer}"
            );
        }
        // `crit` that is no list cannot be read.
        let header = json!({"alg": "ES256", "kid": world.kid("es256"), "crit": "b64"});
        let claim = json!({"jws": forged(&header, by_forger)}).to_string();
        world.verify(claim).problem(400, "bad_member");
    });
}

#[test]
fn kid_of_another_key_is_invalid() {
    let world = world();
    let genuine = jws(&world, "es256");
    let parts: Vec<&str> = genuine.split('.').collect();
    let raw =
        json!({"format": "raw", "digest": base64url(&[7; 32]), "hash": "sha-256"}).to_string();
    let signature = member(&world.sign("raw-es256", raw).ok(), "signature");
    world.unchanged(|| {
        let header = base64url(
            json!({"alg": "ES256", "kid": world.kid("others")})
                .to_string()
                .as_bytes(),
        );
        let claim = json!({"jws": format!("{header}.{}.{}", parts[1], parts[2])});
        invalid(&world, &claim, "bad_signature");
        for (kid, reason) in [
            (world.kid("es256"), "bad_signature"),
            (world.kid("es384"), "bad_signature"),
            (world.kid("ps256"), "bad_signature"),
            (world.kid("ed25519"), "bad_signature"),
            ("A-kid-that-nobody-has", "unknown_key"),
        ] {
            let claim = json!({"signature": signature, "kid": kid, "digest": base64url(&[7; 32])});
            invalid(&world, &claim, reason);
        }
    });
    let claim = json!({"signature": signature, "kid": world.kid("raw-es256"), "digest": base64url(&[7; 32])});
    assert_eq!(world.verify(claim.to_string()).ok()["verdict"], "VALID");
}

#[test]
fn der_where_p1363_is_due_is_invalid() {
    let world = world();
    let digest = base64url(&[7; 32]);
    let sign = |encoding: &str| {
        let body =
            json!({"format": "raw", "digest": digest, "hash": "sha-256", "encoding": encoding});
        member(&world.sign("raw-es256", body.to_string()).ok(), "signature")
    };
    let (der, p1363) = (sign("der"), sign("p1363"));
    let genuine = jws(&world, "es256");
    let parts: Vec<&str> = genuine.split('.').collect();
    let kid = world.kid("raw-es256");
    world.unchanged(|| {
        for (signature, encoding) in [(&der, "p1363"), (&p1363, "der")] {
            let claim =
                json!({"signature": signature, "kid": kid, "digest": digest, "encoding": encoding});
            invalid(&world, &claim, "bad_signature");
        }
        // A JWS is P1363 by definition.
        let fixed = trust::base64url::decode(parts[2]).expect("base64url");
        let signature = Signature::from_slice(&fixed).expect("r and s").to_der();
        let jws = format!(
            "{}.{}.{}",
            parts[0],
            parts[1],
            base64url(signature.as_bytes())
        );
        invalid(&world, &json!({ "jws": jws }), "bad_signature");
    });
    for (signature, encoding) in [(&der, "der"), (&p1363, "p1363")] {
        let claim =
            json!({"signature": signature, "kid": kid, "digest": digest, "encoding": encoding});
        let answer = world.verify(claim.to_string()).ok();
        assert_eq!(answer["verdict"], "VALID", "{encoding}: {answer}");
    }
}

#[test]
fn any_changed_part_is_invalid() {
    let world = world();
    world.only_signatures(5, || {
        for ring in ["es256", "es384", "ps256", "rs256", "ed25519"] {
            let genuine = jws(&world, ring);
            let (rest, signature) = genuine.rsplit_once('.').expect("three parts");
            let mut bytes = trust::base64url::decode(signature).expect("base64url");
            for at in [0, bytes.len() / 2, bytes.len() - 1] {
                bytes[at] ^= 1;
                let jws = format!("{rest}.{}", base64url(&bytes));
                invalid(&world, &json!({ "jws": jws }), "bad_signature");
                bytes[at] ^= 1;
            }
            for other in [
                &bytes[..bytes.len() - 1],
                &[bytes.as_slice(), &[0]].concat(),
                &[],
            ] {
                let jws = format!("{rest}.{}", base64url(other));
                invalid(&world, &json!({ "jws": jws }), "bad_signature");
            }
            let payload = base64url(b"another record");
            let jws = format!(
                "{}.{payload}.{signature}",
                rest.split_once('.').expect("two parts").0
            );
            invalid(&world, &json!({ "jws": jws }), "bad_signature");
        }
    });
}

#[test]
fn malformed_jws_is_refused() {
    let world = world();
    let header = |text: &str| base64url(text.as_bytes());
    let kid = world.kid("es256");
    let good = header(&json!({"alg": "ES256", "kid": kid}).to_string());
    let malformed = [
        String::new(),
        "a.b".to_owned(),
        "a.b.c.d".to_owned(),
        format!("{good}.AQID.AQ=="),
        format!("{good}.AQ ID.AQID"),
        format!("{good}=.AQID.AQID"),
        format!("{}.AQID.AQID", header("[]")),
        format!("{}.AQID.AQID", header("{}")),
        format!("{}.AQID.AQID", header(r#"{"alg":"ES256","alg":"none"}"#)),
        format!("{}.AQID.AQID", header(r#"{"alg":7}"#)),
        format!("{}.AQID.AQID", base64url(b"\xff\xfe")),
        format!(
            "{}.AQID.AQID",
            header(&format!(r#"{{"alg":"ES256","x":"{}"}}"#, "x".repeat(9_000)))
        ),
    ];
    world.unchanged(|| {
        for jws in &malformed {
            let problem = world.verify(json!({ "jws": jws }).to_string()).problem(400, "bad_member");
            assert_eq!(problem["member"], "jws", "{jws}");
        }
        let json_forms = [
            json!({}),
            json!({"protected": good}),
            json!({"protected": good, "signature": "AQ", "signatures": []}),
            json!({"payload": "", "signatures": []}),
            json!({"payload": "", "signatures": [{"protected": "e30", "signature": "AQ"}, {}, 7]}),
            json!({"payload": "", "signatures": vec![json!({"protected": good, "signature": "AQ"}); 17]}),
            json!(7),
            json!(["a.b.c"]),
        ];
        for jws in json_forms {
            world.verify(json!({ "jws": jws }).to_string()).problem(400, "bad_member");
        }
        let others = [
            json!({}),
            json!({"jws": "a.b.c", "envelope": {}}),
            json!({"signature": "AQID", "kid": kid}),
            json!({"signature": "AQID", "digest": "AQID"}),
            json!({"signature": "AQID", "kid": kid, "digest": "AQID", "payload": "AQID"}),
            json!({"signature": "AQ=", "kid": kid, "digest": "AQID"}),
            json!({"envelope": "x"}),
            json!({"envelope": {"payload": "AQID", "payloadType": "x", "signatures": []}}),
            json!({"envelope": {"payload": "!", "payloadType": "x", "signatures": [{"keyid": kid, "sig": "AQID"}]}}),
        ];
        for claim in others {
            world.verify(claim.to_string()).problem(400, "bad_member");
        }
        // An unprotected header could say anything.
        let claim = json!({"jws": {"payload": "AQID", "protected": good, "signature": "AQID", "header": {"kid": kid}}});
        invalid(&world, &claim, "bad_signature");
    });
}

#[test]
fn a_stranger_verifying_offline_is_as_strict() {
    let world = world();
    let file = |name: &str, content: &str| {
        let path = world.installation.file(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let good =
        String::from_utf8(world.service.get("/.well-known/jwks.json").into_body()).expect("UTF-8");
    let genuine = jws(&world, "es256");
    let verify = |jws: &str, jwks: &str| {
        let (jws, jwks) = (file("offline.jws", jws), file("offline.json", jwks));
        let said = world
            .installation
            .try_chancery(["verify", text(&jws), "--jwks", text(&jwks)]);
        said.code.expect("no signal")
    };
    assert_eq!(verify(&genuine, &good), 0);
    let kid = world.kid("es256");
    let (_, jwk) = forger();
    for header in [
        json!({"alg": "none", "kid": kid}),
        json!({"alg": "HS256", "kid": kid}),
        json!({"alg": "ES256", "kid": kid, "jwk": jwk}),
        json!({"alg": "ES256", "kid": "nobody"}),
    ] {
        assert_eq!(verify(&forged(&header, by_forger), &good), 5, "{header}");
    }
    // What the header asks for and we do not do is refused also where the signature is good.
    let mut own = jwk.clone();
    let public = trust::PublicKey::from_jwk_json(jwk.to_string().as_bytes()).expect("a JWK");
    own["kid"] = json!(public.kid());
    let owned = json!({"keys": [own]}).to_string();
    let plain = json!({"alg": "ES256", "kid": public.kid()});
    assert_eq!(verify(&forged(&plain, by_forger), &owned), 0);
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("jwk", jwk),
        ("jku", json!("http://127.0.0.1:1/")),
    ] {
        let mut header = plain.clone();
        header["exp"] = json!(1);
        header[name] = value;
        assert_eq!(verify(&forged(&header, by_forger), &owned), 5, "{header}");
    }
    // Malformed keys under a kid of ours: nobody's signature is good by them, and the set is to blame.
    let mut set: Value = serde_json::from_str(&good).expect("JSON");
    let at = set["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .position(|key| key["kid"] == kid)
        .expect("it");
    let key = set["keys"][at].clone();
    let y = key["y"].as_str().expect("y");
    let (mut cut, mut off) = (
        y.to_owned(),
        trust::base64url::decode(y).expect("base64url"),
    );
    cut.pop();
    off[31] ^= 1;
    for (name, value) in [
        ("y", json!(cut)),
        ("y", json!(format!("{y}="))),
        ("y", json!(base64url(&off))),
        ("x", json!(null)),
        ("kty", json!("RSA")),
        ("crv", json!("P-384")),
        ("kty", json!("oct")),
        ("alg", json!("ES384")),
    ] {
        set["keys"][at] = key.clone();
        set["keys"][at][name] = value.clone();
        assert_eq!(verify(&genuine, &set.to_string()), 2, "{name} {value}");
    }
    assert_eq!(verify(&genuine, "{}"), 2);
}

#[test]
fn case_v10_a_key_set_of_others_is_read_or_named() {
    let world = world();
    let verify = |jws: &str, keys: &[Value]| {
        let (at, set) = ("foreign.jws", "foreign.json");
        let (at, set) = (world.installation.file(at), world.installation.file(set));
        std::fs::write(&at, jws).expect("written");
        std::fs::write(
            &set,
            json!({"keys": keys, "issuer": "somebody"}).to_string(),
        )
        .expect("written");
        let words = ["verify", text(&at), "--jwks", text(&set)];
        let said = world.installation.try_chancery(words);
        (said.code.expect("no signal"), said.text().to_owned())
    };
    let (_, mut jwk) = forger();
    jwk["kid"] = json!("2026/signing#1");
    (jwk["x5t"], jwk["use"], jwk["key_ops"]) = (json!("x"), json!("sig"), json!(["verify"]));
    let header = json!({"alg": "ES256", "kid": "2026/signing#1"});
    let foreign = forged(&header, by_forger);
    // Keys that nobody here can use stand beside it.
    let strange = json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AQ"});
    assert_eq!(verify(&foreign, &[strange.clone(), jwk.clone()]).0, 0);
    // The name that RFC 9864 gives to the algorithm.
    let ours = jws(&world, "ed25519");
    let mut edwards = edwards_of(&world);
    edwards["alg"] = json!("Ed25519");
    assert_eq!(verify(&ours, &[strange.clone(), edwards]).0, 0);
    // What cannot be used is named.
    let mut broken = jwk.clone();
    broken["y"] = json!("AQ==");
    let mut private = jwk.clone();
    private["d"] = json!("AQ");
    for (keys, expected) in [
        (vec![strange.clone()], "keys[0].kty"),
        (vec![strange.clone(), broken.clone()], "keys[1].y"),
        (vec![edwards_of(&world), broken], "keys[1].y"),
        (vec![jwk, private], "keys[1].d"),
    ] {
        let (code, said) = verify(&foreign, &keys);
        assert!(code == 2 && said.contains(expected), "{code} {said}");
    }
}

fn edwards_of(world: &World) -> Value {
    let kid = world.kid("ed25519");
    world.service.get(&format!("/v1/keys/{kid}/jwk")).json()
}
