//! A key's usage is part of its publication and of every verdict: a key for bare digests makes no structure, whatever
//! somebody assembles from its signatures.

use serde_json::{Value, json};
use trust::approval::{NewKey, Outcome, Statement, possession_message};
use trust::request::Request;
use trust::transcript::Transcript;

use crate::support::http::send;
use crate::support::installation::{base64url, member, text};
use crate::support::world::{World, world};

/// A signature by the raw ring over bytes of the caller's choice.
fn raw_signature(world: &World, bytes: &[u8]) -> Vec<u8> {
    let digest = trust::Hash::Sha256.digest(bytes);
    let body = json!({"format": "raw", "digest": base64url(&digest), "hash": "sha-256"});
    let signed = world.service.sign("raw-es256", &world.signer, &body);
    trust::base64url::decode(&member(&signed, "signature")).expect("base64url")
}

fn verdict(world: &World, claim: &Value) -> (Value, Value) {
    let answer = world.verify(claim.to_string()).ok();
    (answer["verdict"].clone(), answer["reasons"].clone())
}

#[test]
fn case_v8_a_structure_put_together_from_a_raw_signature_is_invalid() {
    let world = world();
    let kid = world.kid("raw-es256");
    let wrong = (json!("INVALID"), json!(["wrong_usage"]));

    let header = base64url(json!({"alg": "ES256", "kid": kid}).to_string().as_bytes());
    let input = format!("{header}.{}", base64url(b"{\"sub\":\"anybody\"}"));
    let signature = raw_signature(&world, input.as_bytes());
    let jws = format!("{input}.{}", base64url(&signature));
    assert_eq!(verdict(&world, &json!({ "jws": jws })), wrong);

    let pae = trust::dsse::pae("text/plain", b"anything");
    let signature = raw_signature(&world, &pae);
    let envelope = trust::dsse::Envelope::new("text/plain", b"anything", kid, &signature);
    let envelope: Value = serde_json::to_value(&envelope).expect("JSON");
    assert_eq!(verdict(&world, &json!({ "envelope": envelope })), wrong);

    // As what it is, it is valid.
    let raw = json!({"signature": base64url(&signature), "kid": kid, "payload": base64url(&pae)});
    assert_eq!(verdict(&world, &raw), (json!("VALID"), json!([])));

    // Strangers' libraries do not meet the key: it stands in its own ring's set, which says what it is for.
    let set = |path: &str| {
        let answer = send(&world.service.api, "GET", path, &[], b"").expect("an answer");
        answer.ok()["keys"].as_array().expect("keys").clone()
    };
    let combined = set("/.well-known/jwks.json");
    assert!(
        combined.iter().all(|key| key["usage"] == "structured"),
        "{combined:?}"
    );
    let own = set("/v1/rings/raw-es256/jwks.json");
    assert_eq!(
        (&own[0]["kid"], &own[0]["usage"]),
        (&json!(kid), &json!("raw"))
    );

    // And the command line refuses it with that very set.
    let at = world.installation.file("forged.jws");
    std::fs::write(&at, &jws).expect("written");
    let jwks = world.installation.file("raw.jwks");
    std::fs::write(&jwks, json!({ "keys": own }).to_string()).expect("written");
    let verify = ["verify", text(&at), "--jwks", text(&jwks)];
    let said = world.installation.try_chancery(verify);
    assert_eq!(said.code, Some(5), "{said:?}");
    assert!(said.text().contains("wrong_usage"), "{said:?}");
}

/// The proof of possession is in the key's public transcript, checks with the key and is in no leaf: as a
/// signature over data it would raise the alarm of a theft.
#[test]
fn case_s6_a_proof_of_possession_raises_no_alarm() {
    let world = world();
    let wrong = (json!("INVALID"), json!(["wrong_usage"]));
    for ring in ["es256", "raw-es256"] {
        let kid = world.kid(ring);
        let answer = world.service.get(&format!("/v1/keys/{kid}/transcript"));
        let transcript = Transcript::decode(&answer.body).expect("a transcript");
        let request: Request = serde_json::from_str(&transcript.record.request).expect("a request");
        let statement = &transcript.acceptance.statement;
        let statement: Statement = serde_json::from_str(statement).expect("a statement");
        let Outcome::Generated(generated) = statement.outcome else {
            panic!("not of a generation: {statement:?}");
        };
        let NewKey::Public {
            kid, possession, ..
        } = &generated.key
        else {
            panic!("no public half: {generated:?}");
        };
        let (kid, signature) = (kid.clone(), possession.0.clone());
        let message = possession_message(&request, statement.request_digest, &kid);
        let message = message.expect("a message");
        let (name, challenge) = trust::dsse::parse_pae(&message).expect("an encoding");
        let claims = match ring {
            "es256" => {
                let envelope =
                    trust::dsse::Envelope::new(name, challenge, kid.as_str(), &signature);
                vec![json!({"envelope": serde_json::to_value(envelope).expect("JSON")})]
            }
            _ => {
                let digest = trust::Hash::Sha256.digest(&message);
                let signature = base64url(&signature);
                vec![
                    json!({"signature": signature, "kid": kid, "payload": base64url(&message)}),
                    json!({"signature": signature, "kid": kid, "digest": base64url(&digest)}),
                ]
            }
        };
        for claim in claims {
            assert_eq!(verdict(&world, &claim), wrong, "{claim}");
        }
    }
}

#[test]
fn case_v6_every_form_is_verified_with_a_key_set_alone() {
    let world = world();
    let set = world.service.get("/.well-known/jwks.json");
    let jwks = world.installation.file("all.jwks");
    std::fs::write(&jwks, &set.body).expect("written");
    let payload = base64url(b"a record");
    let jws = world.service.sign(
        "es256",
        &world.signer,
        &json!({"format": "jws", "payload": payload}),
    );
    let compact = member(&jws, "jws");
    let [header, payload_part, signature] = compact.split('.').collect::<Vec<_>>()[..] else {
        panic!("{compact}");
    };
    let flat = json!({"protected": header, "payload": payload_part, "signature": signature});
    let body = json!({"format": "dsse", "payload_type": "text/plain", "payload": payload});
    let dsse = world.service.sign("es256", &world.signer, &body);
    let envelope = dsse["envelope"].clone();
    let mut other = envelope.clone();
    other["payload"] = json!("b3RoZXI=");
    let verify = |lines: &[String], code: i32| {
        let at = world.installation.file("forms.txt");
        std::fs::write(&at, lines.join("\n")).expect("written");
        let words = ["verify", text(&at), "--jwks", text(&jwks)];
        let said = world.installation.try_chancery(words);
        assert_eq!(said.code, Some(code), "{said:?}");
    };
    verify(
        &[compact.clone(), flat.to_string(), envelope.to_string()],
        0,
    );
    verify(&[other.to_string()], 5);

    // Keys of this kind carry no `alg` in our own sets: an envelope takes the only one there is.
    let edwards = world.service.sign("ed25519", &world.signer, &body);
    let set = world.service.get("/v1/rings/ed25519/jwks.json");
    assert!(set.json()["keys"][0].get("alg").is_none());
    std::fs::write(&jwks, &set.body).expect("written");
    let mut other = edwards["envelope"].clone();
    verify(&[other.to_string()], 0);
    other["payload"] = json!("b3RoZXI=");
    verify(&[other.to_string()], 5);
}

#[test]
fn case_v4_a_twin_of_a_genuine_signature_is_the_same_signature() {
    let world = world();
    let body = json!({"format": "jws", "payload": base64url(b"a record")});
    let signed = world.service.sign("es256", &world.signer, &body);
    let jws = member(&signed, "jws");
    let (input, signature) = jws.rsplit_once('.').expect("a JWS");
    let signature = trust::base64url::decode(signature).expect("base64url");
    let pair = p256::ecdsa::Signature::from_slice(&signature).expect("a pair");
    let twin = p256::ecdsa::Signature::from_scalars(pair.r(), -*pair.s()).expect("a pair");
    assert_ne!(twin.to_bytes().as_slice(), signature);
    let twin = format!("{input}.{}", base64url(&twin.to_bytes()));
    let answer = world.verify(json!({ "jws": twin }).to_string()).ok();
    assert_eq!(answer["verdict"], "VALID", "{answer}");
    assert_eq!(answer["reasons"], json!([]), "{answer}");
    assert_eq!(answer["log_index"], signed["log_index"], "{answer}");
}
