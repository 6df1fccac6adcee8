//! The archive: what was published then, what the log tells of a key, every key in signed pages.

use std::thread::sleep;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Value, json};
use trust::history::History;
use trust::leaf::Leaf;
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::VerifierKey;
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;
use trust::{KeyState, Kid, PublicKey, Time};

use crate::support::http::Answer;
use crate::support::installation::{Installation, Service, member};
use crate::support::process::until;

const PATHS: [(&str, &str); 3] = [
    ("/.well-known/jwks.json", "/v1/jwks"),
    ("/v1/rings/atp/jwks.json", "/v1/rings/atp/jwks"),
    ("/v1/rings/log/jwks.json", "/v1/rings/log/jwks"),
];

/// What is served at this moment, and the moment, by a signature of it.
fn served(service: &Service, token: &str) -> (String, Vec<Answer>) {
    let sets = PATHS.iter().map(|(now, _)| service.get(now)).collect();
    let body = json!({"format": "jws", "payload": "AQID"});
    let at = member(&service.sign("atp", token, &body), "time");
    // The next change is not of the same millisecond.
    sleep(Duration::from_millis(5));
    (at, sets)
}

/// Waits for a replica to have heard of a change.
fn until_changed(service: &Service, before: &[Answer]) {
    until("the change is published", || {
        service.get(PATHS[1].0).body != before[1].body
    });
}

fn claims(jwt: &[u8]) -> Value {
    let text = std::str::from_utf8(jwt).expect("text");
    let claims = text.split('.').nth(1).expect("three parts");
    let bytes = Base64UrlUnpadded::decode_vec(claims).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The state of a key by its acts, each proven under the log's key.
fn state_by_log(installation: &Installation, service: &Service, kid: &str) -> (KeyState, Vec<u64>) {
    let whole = |answer: &Value| answer.get("pending").is_none();
    let mut answer = Value::Null;
    until("every act is covered by a checkpoint", || {
        answer = service.get(&format!("/v1/keys/{kid}/log")).ok();
        whole(&answer)
    });
    let mut keys = Vec::new();
    for kid in answer["log_keys"].as_array().expect("kids") {
        let path = format!("/v1/keys/{}/jwk", kid.as_str().expect("a kid"));
        let key = PublicKey::from_jwk_json(&service.get(&path).body).expect("a JWK");
        let origin = format!("{}/log", installation.plan.api);
        keys.push(VerifierKey::for_log(&origin, &key).expect("a log key"));
    }
    let kid: Kid = kid.parse().expect("a kid");
    let mut history = History::new(kid.clone(), Time::from_millis(0));
    let mut indexes = Vec::new();
    for act in answer["life"].as_array().expect("acts") {
        let leaf = member(act, "leaf");
        let proof = TlogProof::parse(member(act, "proof").as_bytes()).expect("a proof");
        let nobody = WitnessPolicy::parse("quorum none\n").expect("a policy");
        let logged = proof
            .verify(leaf_hash(leaf.as_bytes()), &keys, &nobody)
            .expect("it is in the log");
        indexes.push(logged.index);
        let Ok(Leaf::Act(act)) = Leaf::parse(leaf.as_bytes()) else {
            panic!("no act: {leaf}")
        };
        assert!(History::concerns(&act, &kid), "{leaf}");
        history.apply(&act).expect("a life");
    }
    (history.state().expect("a state"), indexes)
}

#[test]
fn what_was_published_then_is_told_to_the_byte() {
    let installation = Installation::new();
    let first = installation.open_ring("atp");
    let log = installation.open_log();
    let history = [("CHANCERY_SERVICE__HISTORY_RING", "atp")];
    let token = installation.grant("integrity-service", "signer:atp");
    let service = installation.serve_with(&history);
    let mut moments = vec![served(&service, &token)];
    let mut change = |act: &dyn Fn()| {
        act();
        until_changed(&service, &moments.last().expect("a moment").1);
        moments.push(served(&service, &token));
    };
    let second = std::cell::OnceCell::new();
    change(&|| {
        let _ = second.set(installation.give_birth("atp"));
    });
    let second = second.get().expect("a kid").clone();
    installation.rotate_when_safe("atp");
    let compromised = ["--because", "compromised", "--compromised-since"];
    let body = json!({"format": "jws", "payload": "AQID"});
    let since = member(&service.sign("atp", &token, &body), "time");
    change(&|| {
        installation.revoke("atp", &first, &[&compromised[..], &[&since]].concat());
    });

    for (at, sets) in &moments {
        for ((_, path), then) in PATHS.iter().zip(sets) {
            let told = service.get(&format!("{path}?at={at}"));
            assert_eq!(told.status, then.status, "{path} at {at}");
            assert_eq!(told.body, then.body, "{path} at {at}");
            for header in ["etag", "content-type", "access-control-allow-origin"] {
                assert_eq!(told.header(header), then.header(header), "{header}");
            }
        }
    }
    // The three moments are three different sets, and the first key is gone from the last.
    let sets: Vec<&[u8]> = moments.iter().map(|(_, sets)| &sets[1].body[..]).collect();
    assert!(sets[0] != sets[1] && sets[1] != sets[2]);
    let text = |set: &[u8]| String::from_utf8(set.to_vec()).expect("text");
    assert!(text(sets[1]).contains(&first) && !text(sets[2]).contains(&first));
    assert!(text(sets[1]).contains(&second) && !text(sets[0]).contains(&second));
    let answer = service.get("/v1/jwks?at=2020-01-01T00:00:00Z");
    answer.problem(404, "not_found");
    let answer = service.get("/v1/jwks?at=2200-01-01T00:00:00Z");
    answer.problem(400, "bad_query");

    the_log_tells_of_each_key(&installation, &service, &[&first, &second, &log]);
    the_history_comes_in_pages(&service, &[&first, &log, &second]);
}

fn the_log_tells_of_each_key(installation: &Installation, service: &Service, kids: &[&str]) {
    for kid in kids {
        let view = service.get(&format!("/v1/keys/{kid}")).ok();
        let (state, indexes) = state_by_log(installation, service, kid);
        assert_eq!(view["state"], state.word(), "{kid}");
        assert_eq!(view["log_index"], json!(indexes[0]), "of its acceptance");
        let revoked = view["revocation"].get("log_index");
        let told = state.life().revocation.map(|_| json!(indexes.last()));
        assert_eq!(revoked, told.as_ref(), "{kid}");
        assert_eq!(view["role"] == "primary", state.is_primary());
    }
}

/// By acceptance, those of the log too.
fn the_history_comes_in_pages(service: &Service, kids: &[&str]) {
    let answer = service.get("/v1/keys/history?limit=10");
    let claims = claims(&answer.body);
    assert!(claims.get("next").is_none(), "{claims}");
    let keys = claims["keys"].as_array().expect("keys");
    let found: Vec<&str> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
    assert_eq!(found, kids);
    for key in keys {
        let view = service
            .get(&format!("/v1/keys/{}", member(key, "kid")))
            .ok();
        for name in ["log_index", "ring", "key_number", "ceremony"] {
            assert_eq!(key[name], view[name], "{name}");
        }
        let revocation = &view["revocation"];
        assert_eq!(key.get("revoked").is_some(), revocation.is_object());
        let place = key.get("revocation_log_index");
        assert_eq!(place, revocation.get("log_index"));
        assert_eq!(key["compromised_since"].is_i64(), revocation.is_object());
    }
    let last = keys.last().expect("a key")["log_index"].as_i64();
    let from = last.expect("an index");
    let same = service.get(&format!("/v1/keys/history?limit=10&from={from}"));
    assert_eq!(
        same.body, answer.body,
        "the page that it is in, signed once"
    );
    let beyond = format!("/v1/keys/history?from={}", from + 1);
    service.get(&beyond).problem(404, "not_found");
}
