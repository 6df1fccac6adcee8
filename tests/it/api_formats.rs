//! Every format of every algorithm, checked by a verifier that somebody else wrote: jsonwebtoken.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, crypto, decode};
use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::installation::{base64url, member};
use crate::support::world::{World, world};

const JOSE: [(&str, Algorithm); 5] = [
    ("es256", Algorithm::ES256),
    ("es384", Algorithm::ES384),
    ("ps256", Algorithm::PS256),
    ("rs256", Algorithm::RS256),
    ("ed25519", Algorithm::EdDSA),
];

/// The key under this kid, out of the ring's own JWKS, as a stranger reads it.
fn key(world: &World, ring: &str) -> DecodingKey {
    let set = world
        .service
        .get(&format!("/v1/rings/{ring}/jwks.json"))
        .ok();
    let keys = set["keys"].as_array().expect("keys");
    let jwk = keys
        .iter()
        .find(|key| key["kid"] == world.kid(ring))
        .expect("the key");
    let jwk = serde_json::from_value(jwk.clone()).expect("a JWK");
    DecodingKey::from_jwk(&jwk).expect("a usable JWK")
}

fn sign(world: &World, ring: &str, body: &Value) -> Value {
    let answer = world.sign(ring, body.to_string()).ok();
    assert_eq!(answer["kid"], world.kid(ring));
    assert_eq!(answer["key_number"], 1);
    answer
}

/// What the service itself says of it, and that it is the very entry of the trail.
fn valid(world: &World, claim: &Value, signed: &Value) {
    let answer = world.verify(claim.to_string()).ok();
    assert_eq!(answer["verdict"], "VALID", "{claim}: {answer}");
    assert_eq!(answer["log_index"], signed["log_index"], "{answer}");
    assert_eq!(answer["existed_at"], signed["time"], "{answer}");
    let index = usize::try_from(signed["log_index"].as_u64().expect("an index")).expect("small");
    let leaf = &world.leaves(index)[0];
    assert_eq!(
        (&leaf["kind"], &leaf["kid"]),
        (&json!("sign"), &signed["kid"]),
        "{leaf}"
    );
}

/// The leaf commits to what was signed and gives nothing of it away.
fn committed(world: &World, signed: &Value, input: &[u8]) {
    let salt = trust::base64url::decode(&member(signed, "salt")).expect("base64url");
    let commitment = trust::Sha256Digest::of(&[salt.as_slice(), input].concat()).to_string();
    let index = usize::try_from(signed["log_index"].as_u64().expect("an index")).expect("small");
    let leaf = &world.leaves(index)[0]["leaf"];
    assert_eq!(leaf["input_commit"], commitment, "{leaf}");
}

#[test]
fn a_jws_of_every_algorithm_verifies() {
    let world = world();
    for (ring, algorithm) in JOSE {
        let claims = json!({"sub": "record 1", "iss": ring});
        let payload = base64url(claims.to_string().as_bytes());
        let signed = sign(&world, ring, &json!({"format": "jws", "payload": payload}));
        let jws = member(&signed, "jws");
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        let token =
            decode::<Value>(&jws, &key(&world, ring), &validation).expect("a stranger accepts it");
        assert_eq!(token.claims, claims);
        assert_eq!(token.header.kid.as_deref(), Some(world.kid(ring)));
        assert_eq!(
            signed["alg"],
            serde_json::to_value(algorithm).expect("a name")
        );
        valid(&world, &json!({ "jws": jws }), &signed);
        committed(
            &world,
            &signed,
            jws.rsplit_once('.').expect("three parts").0.as_bytes(),
        );
        // The same in JSON, flattened and general.
        let parts: Vec<&str> = jws.split('.').collect();
        let flat = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]});
        valid(&world, &json!({ "jws": flat }), &signed);
        let signature = json!({"protected": parts[0], "signature": parts[2]});
        let general = json!({"payload": parts[1], "signatures": [signature]});
        valid(&world, &json!({ "jws": general }), &signed);
    }
}

#[test]
fn a_detached_jws_of_every_algorithm_verifies() {
    let world = world();
    let payload = b"any bytes \x00\xff";
    for (ring, algorithm) in JOSE {
        for encoded in [true, false] {
            let body =
                json!({"format": "jws-detached", "payload": base64url(payload), "b64": encoded});
            let signed = sign(&world, ring, &body);
            let jws = member(&signed, "jws");
            let (header, signature) = jws.split_once("..").expect("no payload");
            let mut input = format!("{header}.").into_bytes();
            match encoded {
                true => input.extend(base64url(payload).into_bytes()),
                false => input.extend(payload),
            }
            let good = crypto::verify(signature, &input, &key(&world, ring), algorithm);
            assert!(good.expect("a signature"), "{ring} {encoded}");
            let claim = json!({"jws": jws, "payload": base64url(payload)});
            valid(&world, &claim, &signed);
            committed(&world, &signed, &input);
            let other = json!({"jws": jws, "payload": base64url(b"other bytes")}).to_string();
            assert_eq!(world.verify(other).ok()["verdict"], "INVALID");
        }
    }
}

#[test]
fn case_v9_a_dsse_envelope_of_every_algorithm_verifies() {
    let world = world();
    let payload = b"{\"statement\":1}";
    for (ring, algorithm) in JOSE {
        let kind = "application/vnd.in-toto+json";
        let body = json!({"format": "dsse", "payload": base64url(payload), "payload_type": kind});
        let signed = sign(&world, ring, &body);
        let envelope = &signed["envelope"];
        let signature = &envelope["signatures"][0];
        assert_eq!(signature["keyid"], world.kid(ring));
        // https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
        let pae = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
        let pae = [pae.as_bytes(), payload].concat();
        let bytes = standard_base64(signature["sig"].as_str().expect("sig"));
        // What reads envelopes elsewhere wants ASN.1 from EC keys; the fixed form is read too (case V9).
        let coordinate = match algorithm {
            Algorithm::ES256 => Some(32),
            Algorithm::ES384 => Some(48),
            _ => None,
        };
        let fixed = match coordinate {
            Some(length) => {
                let fixed = trust::signature::der_to_p1363(&bytes, length).expect("DER");
                let mut other = envelope.clone();
                other["signatures"][0]["sig"] = json!(in_base64(&fixed));
                valid(&world, &json!({ "envelope": other }), &signed);
                fixed
            }
            None => bytes.clone(),
        };
        let good = crypto::verify(&base64url(&fixed), &pae, &key(&world, ring), algorithm);
        assert!(good.expect("a signature"), "{ring}");
        assert_eq!(
            standard_base64(envelope["payload"].as_str().expect("payload")),
            payload
        );
        valid(&world, &json!({ "envelope": envelope }), &signed);
        committed(&world, &signed, &pae);
        let mut other = envelope.clone();
        other["payloadType"] = json!("text/plain");
        let answer = world.verify(json!({ "envelope": other }).to_string()).ok();
        assert_eq!(answer["verdict"], "INVALID");
    }
}

fn in_base64(bytes: &[u8]) -> String {
    use base64ct::Encoding as _;
    base64ct::Base64::encode_string(bytes)
}

fn standard_base64(text: &str) -> Vec<u8> {
    use base64ct::Encoding as _;
    base64ct::Base64::decode_vec(text).expect("base64")
}

#[test]
fn a_raw_signature_verifies_in_both_encodings() {
    let world = world();
    let message = b"a message";
    let digest = trust::Hash::Sha256.digest(message);
    let kid = world.kid("raw-es256");
    for encoding in ["p1363", "der"] {
        for input in [
            json!({"digest": base64url(&digest), "hash": "sha-256"}),
            json!({"payload": base64url(message)}),
        ] {
            let mut body = input.clone();
            (body["format"], body["encoding"]) = (json!("raw"), json!(encoding));
            let signed = sign(&world, "raw-es256", &body);
            let signature =
                trust::base64url::decode(&member(&signed, "signature")).expect("base64url");
            let fixed = match encoding {
                "der" => p256::ecdsa::Signature::from_der(&signature)
                    .expect("DER")
                    .to_bytes()
                    .to_vec(),
                _ => signature.clone(),
            };
            let key = key(&world, "raw-es256");
            let good = crypto::verify(&base64url(&fixed), message, &key, Algorithm::ES256);
            assert!(good.expect("a signature"), "{encoding}");
            let mut claim =
                json!({"signature": base64url(&signature), "kid": kid, "encoding": encoding});
            claim["digest"] = json!(base64url(&digest));
            valid(&world, &claim, &signed);
        }
    }
    let body = json!({"format": "raw", "payload": base64url(message)});
    let signed = sign(&world, "raw-ed25519", &body);
    let signature = member(&signed, "signature");
    let good = crypto::verify(
        &signature,
        message,
        &key(&world, "raw-ed25519"),
        Algorithm::EdDSA,
    );
    assert!(good.expect("a signature"));
    let claim = json!({"signature": signature, "kid": world.kid("raw-ed25519"), "payload": base64url(message)});
    valid(&world, &claim, &signed);
}

#[test]
fn verify_batch_answers_each_claim() {
    let world = world();
    let signed = sign(
        &world,
        "es256",
        &json!({"format": "jws", "payload": "AQID"}),
    );
    let jws = member(&signed, "jws");
    let items = json!([{"jws": jws}, {"jws": "a.b"}, {"jws": format!("{jws}AAAA")}, {"jws": jws}]);
    let body = json!({ "items": items }).to_string();
    let answer = world
        .send("/v1/verify-batch", None, &[], body.as_bytes())
        .ok();
    let results = answer["items"].as_array().expect("items");
    assert_eq!(results[0]["verdict"], "VALID");
    assert_eq!(results[1]["problem"]["code"], "bad_member", "{answer}");
    assert_eq!(results[1]["problem"]["member"], "items[1].jws", "{answer}");
    assert_eq!(results[2]["verdict"], "INVALID");
    assert_eq!(results[3]["verdict"], "VALID");
}

fn with_key(world: &World, ring: &str, key: &str, body: &Value) -> Answer {
    let path = format!("/v1/rings/{ring}/sign");
    let headers = [("idempotency-key", key)];
    world.send(
        &path,
        Some(&world.signer),
        &headers,
        body.to_string().as_bytes(),
    )
}

#[test]
fn an_idempotency_key_returns_the_same_signature() {
    let world = world();
    let body = json!({"format": "jws", "payload": base64url(b"once")});
    world.only_signatures(1, || {
        let first = with_key(&world, "es256", "\"order-1\"", &body).ok();
        // Both spellings, and the members in another order.
        assert_eq!(with_key(&world, "es256", "order-1", &body).ok(), first);
        let path = "/v1/rings/es256/sign";
        let turned = format!(
            r#"{{ "payload": "{}", "format": "jws" }}"#,
            base64url(b"once")
        );
        let headers = [("idempotency-key", "order-1")];
        let answer = world.send(path, Some(&world.signer), &headers, turned.as_bytes());
        assert_eq!(answer.ok(), first);
    });
}

#[test]
fn an_idempotency_key_for_another_request_is_refused() {
    let world = world();
    let body = json!({"format": "jws", "payload": base64url(b"first")});
    let other = json!({"format": "jws", "payload": base64url(b"second")});
    let detached = json!({"format": "jws-detached", "payload": base64url(b"first")});
    world.only_signatures(1, || {
        with_key(&world, "es256", "order-2", &body).ok();
        for (ring, body) in [("es256", &other), ("es256", &detached), ("ps256", &body)] {
            let problem =
                with_key(&world, ring, "order-2", body).problem(422, "idempotency_mismatch");
            assert_eq!(problem["member"], "Idempotency-Key");
        }
        for bad in ["", "\"open", "a b", &"k".repeat(129)] {
            with_key(&world, "es256", bad, &body).problem(400, "bad_header");
        }
    });
    // Another caller's key is another key.
    let path = "/v1/rings/others/sign";
    let headers = [("idempotency-key", "order-2")];
    let answer = world.send(
        path,
        Some(&world.other_signer),
        &headers,
        other.to_string().as_bytes(),
    );
    assert_eq!(answer.ok()["kid"], world.kid("others"));
}

#[test]
fn an_idempotency_key_used_at_once_gives_one_signature() {
    let world = world();
    let body = json!({"format": "jws", "payload": base64url(b"at once")});
    for round in 0..5 {
        world.only_signatures(1, || {
            let key = format!("at-once-{round}");
            let answers: Vec<Value> = std::thread::scope(|scope| {
                let ask = || with_key(&world, "es256", &key, &body).ok();
                let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                asked
                    .into_iter()
                    .map(|one| one.join().expect("an answer"))
                    .collect()
            });
            assert!(
                answers.iter().all(|answer| *answer == answers[0]),
                "{answers:?}"
            );
        });
    }
}

#[test]
fn an_idempotency_key_of_a_batch_holds_for_each_item() {
    let world = world();
    let items: Vec<Value> = (0..3)
        .map(|n| json!({"format": "jws", "payload": base64url(&[n])}))
        .collect();
    let path = "/v1/rings/es256/sign-batch";
    let ask = |items: &[Value]| {
        let body = json!({ "items": items }).to_string();
        let headers = [("idempotency-key", "batch-1")];
        world
            .send(path, Some(&world.signer), &headers, body.as_bytes())
            .ok()
    };
    world.only_signatures(3, || {
        let first = ask(&items);
        assert_eq!(ask(&items), first);
        let mut other = items.clone();
        other[1] = json!({"format": "jws", "payload": base64url(b"other")});
        let answer = ask(&other);
        assert_eq!(answer["items"][0], first["items"][0]);
        assert_eq!(
            answer["items"][1]["problem"]["code"],
            "idempotency_mismatch"
        );
        assert_eq!(answer["items"][2], first["items"][2]);
    });
}
