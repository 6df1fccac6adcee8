//! Bad input over HTTP: the exact status and stable code, and a world that is as it was.

use std::io::Write as _;
use std::net::Shutdown;

use serde_json::{Value, json};

use crate::support::http::{connect, receive, send};
use crate::support::installation::base64url;
use crate::support::world::{BODY_LIMIT, CLOSED, World, world};

const GOOD: &str = r#"{"format":"jws","payload":"AQID"}"#;

/// Every resource that takes a body, and a good one for it.
fn doors(world: &World) -> [(&'static str, Option<&str>, &'static str); 4] {
    let signer = Some(world.signer.as_str());
    [
        ("/v1/rings/es256/sign", signer, GOOD),
        (
            "/v1/rings/es256/sign-batch",
            signer,
            r#"{"items":[{"format":"jws","payload":"AQID"}]}"#,
        ),
        ("/v1/verify", None, r#"{"jws":"a.b.c"}"#),
        ("/v1/verify-batch", None, r#"{"items":[{"jws":"a.b.c"}]}"#),
    ]
}

#[test]
fn wrong_content_type_is_refused() {
    let world = world();
    world.unchanged(|| {
        for (path, caller, body) in doors(&world) {
            for kind in [
                "text/plain",
                "application/jsonx",
                "application/json; charset=latin1",
                "",
            ] {
                let answer = world.send(path, caller, &[("content-type", kind)], body.as_bytes());
                let problem = answer.problem(415, "unsupported_media_type");
                assert_eq!(problem["member"], "Content-Type", "{path} {kind}");
            }
        }
    });
}

#[test]
fn truncated_bodies_are_refused() {
    let world = world();
    world.unchanged(|| {
        for (path, caller, body) in doors(&world) {
            for end in [0, 1, body.len() / 2, body.len() - 1] {
                let answer = world.send(path, caller, &[], &body.as_bytes()[..end]);
                answer.problem(400, "bad_json");
            }
            // More is announced than comes.
            let mut stream = connect(&world.service.api).expect("the service listens");
            let bearer = format!("authorization: Bearer {}\r\n", caller.unwrap_or_default());
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{}content-length: {}\r\n\r\n",
                caller.map(|_| bearer).unwrap_or_default(),
                body.len() + 10,
            );
            stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("sent");
            stream.shutdown(Shutdown::Write).expect("half closed");
            // The connection may be gone before the answer, but there is no other answer.
            if let Ok(answer) = receive(&mut stream) {
                answer.problem(400, "body_incomplete");
            }
        }
    });
}

#[test]
fn over_long_bodies_are_refused() {
    let world = world();
    let filler = "A".repeat(BODY_LIMIT);
    world.unchanged(|| {
        for (path, caller, body) in doors(&world) {
            let long = body.replace("AQID", &filler).replace("a.b.c", &filler);
            assert!(long.len() > BODY_LIMIT);
            world.send(path, caller, &[], long.as_bytes()).problem(413, "body_too_large");
            // Without a length in advance.
            let mut stream = connect(&world.service.api).expect("the service listens");
            let bearer = format!("authorization: Bearer {}\r\n", caller.unwrap_or_default());
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n{}\
                 transfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
                caller.map(|_| bearer).unwrap_or_default(),
                long.len(),
            );
            stream.write_all(head.as_bytes()).expect("sent");
            receive(&mut stream).expect("an answer").problem(413, "body_too_large");
        }
    });
}

/// Refused as a request to sign on this ring, about this member.
fn refused(world: &World, ring: &str, body: &str, status: u16, code: &str, about: Option<&str>) {
    let problem = world.sign(ring, body).problem(status, code);
    assert_eq!(problem["member"].as_str(), about, "{body}: {problem}");
    assert!(problem["detail"].is_string(), "{body}: {problem}");
}

#[test]
fn duplicate_members_are_refused() {
    let world = world();
    world.unchanged(|| {
        for body in [
            r#"{"format":"jws","payload":"AQID","payload":"AQIE"}"#,
            r#"{"format":"jws","payload":"AQID","pa\u0079load":"AQIE"}"#,
        ] {
            refused(&world, "es256", body, 400, "bad_json", Some("payload"));
        }
        let body = r#"{"jws":"a.b.c","jws":"a.b.d"}"#;
        world.verify(body).problem(400, "bad_json");
        let body = r#"{"jws":{"payload":"","protected":"e30","signature":"","signature":""}}"#;
        world.verify(body).problem(400, "bad_json");
    });
}

#[test]
fn unknown_members_are_refused() {
    let world = world();
    world.unchanged(|| {
        for (body, about) in [
            (r#"{"format":"jws","payload":"AQID","kid":"x"}"#, "kid"),
            (
                r#"{"format":"jws","payload":"AQID","digest":"AQID"}"#,
                "digest",
            ),
            (
                r#"{"format":"jws","payload":"AQID","encoding":"der"}"#,
                "encoding",
            ),
            (
                r#"{"format":"dsse","payload":"AQID","payload_type":"a","b64":true}"#,
                "b64",
            ),
            (
                r#"{"format":"jws-detached","payload":"AQID","payload_type":"a"}"#,
                "payload_type",
            ),
        ] {
            let problem = world.sign("es256", body).problem(400, "bad_member");
            assert!(problem.to_string().contains(about), "{problem}");
        }
        for body in [
            r#"{"jws":"a.b.c","alg":"ES256"}"#,
            r#"{"jws":"a.b.c","kid":"x"}"#,
        ] {
            world.verify(body).problem(400, "bad_member");
        }
        // Neither is a parameter that nobody reads.
        let path = "/v1/rings/es256/sign?receipt=maybe";
        world
            .send(path, Some(&world.signer), &[], GOOD.as_bytes())
            .problem(400, "bad_query");
    });
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    let world = world();
    world.unchanged(|| {
        for body in [
            r#"{"format":"jwt","payload":"AQID"}"#,
            r#"{"format":"jws","payload":7}"#,
            r#"{"format":"jws"}"#,
            r#"{"payload":"AQID"}"#,
            r#"{"format":"dsse","payload":"AQID"}"#,
            r#"{"format":"dsse","payload":"AQID","payload_type":""}"#,
            r#"{"format":"jws-detached","payload":"AQID","b64":"false"}"#,
        ] {
            world.sign("es256", body).problem(400, "bad_member");
        }
        for body in ["[]", "null", "7", "\"x\""] {
            let answer = world.sign("es256", body);
            let code = answer.json()["code"].clone();
            assert!(
                answer.status == 400 && (code == "bad_member" || code == "bad_json"),
                "{body}: {code}"
            );
        }
        for body in [
            r#"{"format":"jws","payload":"AQID","n":1.5}"#,
            r#"{"format":"jws","payload":"AQID","n":9007199254740993}"#,
            "{\"format\":\"jws\",\"payload\":\"AQID\"}\0",
            "\u{feff}{\"format\":\"jws\",\"payload\":\"AQID\"}",
        ] {
            world.sign("es256", body).problem(400, "bad_json");
        }
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        world.sign("es256", deep).problem(400, "bad_json");
        world
            .sign("es256", b"{\"format\":\"jws\",\"payload\":\"\xff\"}")
            .problem(400, "bad_member");
    });
}

#[test]
fn wrong_base64url_is_refused() {
    let world = world();
    world.unchanged(|| {
        // Padding, bits that are not zero, the other alphabet, white space, a length that no bytes have.
        for text in ["AQI=", "AQJ", "A+I-", "A/I_", "AQ ID", "AQID\\n", "A", "é"] {
            let body = format!(r#"{{"format":"jws","payload":"{text}"}}"#);
            refused(&world, "es256", &body, 400, "bad_member", Some("payload"));
            let body = format!(r#"{{"format":"raw","digest":"{text}","hash":"sha-256"}}"#);
            refused(
                &world,
                "raw-es256",
                &body,
                400,
                "bad_member",
                Some("digest"),
            );
        }
    });
}

#[test]
fn digest_of_the_wrong_length_is_refused() {
    let world = world();
    world.unchanged(|| {
        for (length, hash) in [
            (31, "sha-256"),
            (33, "sha-256"),
            (0, "sha-256"),
            (32, "sha-384"),
        ] {
            let digest = base64url(&vec![7; length]);
            let body = json!({"format": "raw", "digest": digest, "hash": hash}).to_string();
            refused(
                &world,
                "raw-es256",
                &body,
                400,
                "bad_member",
                Some("digest"),
            );
        }
        let digest = base64url(&[7; 48]);
        let body = json!({"format": "raw", "digest": digest, "hash": "sha-384"}).to_string();
        refused(&world, "raw-es256", &body, 422, "wrong_hash", Some("hash"));
        let body = json!({"format": "raw", "digest": digest, "hash": "md5"}).to_string();
        refused(&world, "raw-es256", &body, 400, "bad_member", Some("hash"));
        let body = json!({"format": "raw", "digest": base64url(&[7; 32])}).to_string();
        refused(&world, "raw-es256", &body, 400, "bad_member", Some("hash"));
        // Ed25519 has no digest.
        let body = json!({"format": "raw", "digest": base64url(&[7; 64]), "hash": "sha-512"});
        refused(
            &world,
            "raw-ed25519",
            &body.to_string(),
            422,
            "wrong_hash",
            Some("digest"),
        );
    });
}

#[test]
fn raw_and_structured_never_mix() {
    let world = world();
    let raw =
        json!({"format": "raw", "digest": base64url(&[7; 32]), "hash": "sha-256"}).to_string();
    world.only_refusals(2, || {
        refused(&world, "es256", &raw, 422, "wrong_usage", Some("format"));
        refused(
            &world,
            "raw-es256",
            GOOD,
            422,
            "wrong_usage",
            Some("format"),
        );
    });
}

#[test]
fn unknown_ring_is_refused() {
    let world = world();
    // Who may not sign there does not learn that there is nothing.
    world.only_refusals(1, || {
        world.sign("nowhere", GOOD).problem(404, "unknown_ring");
        world.sign("elsewhere", GOOD).problem(403, "forbidden");
        world.sign(CLOSED, GOOD).problem(409, "no_active_key");
        world
            .service
            .get("/v1/rings/nowhere/jwks.json")
            .problem(404, "unknown_ring");
        world
            .service
            .get("/v1/keys/nobody")
            .problem(404, "unknown_key");
        let kid = "A".repeat(43);
        world
            .service
            .get(&format!("/v1/keys/{kid}"))
            .problem(404, "unknown_key");
        world
            .service
            .get(&format!("/v1/keys/{kid}/transcript"))
            .problem(404, "unknown_key");
    });
}

#[test]
fn algorithm_that_is_not_the_rings_is_refused() {
    let world = world();
    world.unchanged(|| {
        for (ring, algorithm) in [("es256", "ES384"), ("ps256", "RS256"), ("rs256", "PS256")] {
            for asked in [algorithm, "none", "HS256", "es256", ""] {
                let body = json!({"format": "jws", "payload": "AQID", "alg": asked}).to_string();
                refused(&world, ring, &body, 422, "wrong_algorithm", Some("alg"));
            }
        }
    });
}

#[test]
fn callers_without_credentials_and_with_wrong_ones_are_refused() {
    let world = world();
    let (installation, signer) = (&world.installation, world.signer.as_str());
    let mut cut = signer.to_owned();
    cut.pop();
    let withdrawn = installation.grant("gone", "signer:es256");
    let hash = trust::Sha256Digest::of(withdrawn.as_bytes()).to_string();
    installation.chancery(["access", "withdraw", "--token-hash", &hash]);
    let grant = [
        "access",
        "grant",
        "short",
        "--role",
        "signer:es256",
        "--expires-in",
        "1s",
    ];
    let said = installation.chancery(grant);
    let ended = said.json()["access_token"]
        .as_str()
        .expect("an access token")
        .to_owned();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let path = "/v1/rings/es256/sign";
    let bad = ["nobody", &cut, &withdrawn, &ended, "", &"x".repeat(4_096)];
    // Refusals of strangers are counted, and no leaf of their own.
    world.unchanged(|| {
        for path in [path, "/v1/rings/es256/sign-batch", "/v1/rings/nowhere/sign"] {
            let answer = world.send(path, None, &[], GOOD.as_bytes());
            answer.problem(401, "unauthenticated");
            assert_eq!(
                answer.header("www-authenticate"),
                Some("Bearer realm=\"chancery\"")
            );
        }
        for access_token in bad {
            let answer = world.send(path, Some(access_token), &[], GOOD.as_bytes());
            let problem = answer.problem(401, "invalid_credentials");
            let challenge = answer.header("www-authenticate").expect("a challenge");
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            assert!(access_token.is_empty() || !problem.to_string().contains(access_token));
        }
        for scheme in ["Basic", "bearer2"] {
            let header = format!("{scheme} {signer}");
            let answer = world.send(path, None, &[("authorization", &header)], GOOD.as_bytes());
            answer.problem(401, "invalid_credentials");
        }
        // Two at once are none.
        let bearer = format!("Bearer {signer}");
        let answer = world.send(
            path,
            Some(signer),
            &[("authorization", &bearer)],
            GOOD.as_bytes(),
        );
        answer.problem(401, "invalid_credentials");
    });
}

#[test]
fn signer_on_anothers_ring_is_refused() {
    let world = world();
    let path = |ring: &str| format!("/v1/rings/{ring}/sign");
    world.only_refusals(5, || {
        world.sign("others", GOOD).problem(403, "forbidden");
        for caller in [&world.other_signer, &world.auditor, &world.operator] {
            let answer = world.send(&path("es256"), Some(caller), &[], GOOD.as_bytes());
            answer.problem(403, "forbidden");
        }
        // Nor in a batch; and before the body is looked at.
        let path = "/v1/rings/others/sign-batch";
        world
            .send(path, Some(&world.signer), &[], b"{")
            .problem(403, "forbidden");
    });
    let answer = world.send(
        &path("others"),
        Some(&world.other_signer),
        &[],
        GOOD.as_bytes(),
    );
    assert_eq!(answer.ok()["kid"], world.kid("others"));
}

#[test]
fn only_their_own_roles_open_the_other_doors() {
    let world = world();
    let get = |path: &str, caller: &str| {
        let bearer = format!("Bearer {caller}");
        send(
            &world.service.api,
            "GET",
            path,
            &[("authorization", &bearer)],
            b"",
        )
        .expect("an answer")
    };
    world.only_refusals(5, || {
        for path in ["/v1/audit", "/v1/rings", "/v1/inventory", "/v1/keys"] {
            get(path, &world.signer).problem(403, "forbidden");
            world.service.get(path).problem(401, "unauthenticated");
        }
        get("/v1/audit", &world.operator).problem(403, "forbidden");
    });
    assert!(get("/v1/rings", &world.operator).ok()["rings"].is_array());
}

#[test]
fn wrong_parameters_methods_and_paths_are_refused() {
    let world = world();
    let bearer = format!("Bearer {}", world.auditor);
    let auditor = [("authorization", bearer.as_str())];
    world.unchanged(|| {
        for query in [
            "from=-1",
            "from=x",
            "limit=0",
            "limit=1001",
            "until=3",
            "from=1&from=2",
        ] {
            let path = format!("/v1/audit?{query}");
            let answer = send(&world.service.api, "GET", &path, &auditor, b"").expect("an answer");
            answer.problem(400, "bad_query");
        }
        world.service.get("/v1/nothing").problem(404, "not_found");
        world.service.get("/").problem(404, "not_found");
        let answer = world.service.get("/v1/rings/es256/sign");
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"));
    });
}

#[test]
fn a_batch_of_no_item_and_of_too_many_is_refused() {
    let world = world();
    world.unchanged(|| {
        for count in [0, 51] {
            let items = vec![json!({"format": "jws", "payload": "AQID"}); count];
            let body = json!({ "items": items }).to_string();
            let path = "/v1/rings/es256/sign-batch";
            let answer = world.send(path, Some(&world.signer), &[], body.as_bytes());
            assert_eq!(answer.problem(400, "bad_member")["member"], "items");
            let body = json!({"items": vec![json!({"jws": "a.b.c"}); count]}).to_string();
            let answer = world.send("/v1/verify-batch", None, &[], body.as_bytes());
            assert_eq!(answer.problem(400, "bad_member")["member"], "items");
        }
    });
}

#[test]
fn a_batch_with_bad_items_signs_the_good_ones() {
    let world = world();
    let good = json!({"format": "jws", "payload": "AQID"});
    let items = json!([
        good,
        {"format": "jws", "payload": "AQI="},
        {"format": "jws", "payload": "AQID", "alg": "RS256"},
        {"format": "raw", "digest": base64url(&[7; 32]), "hash": "sha-256"},
        good,
        {"format": "jws", "payload": "AQID", "extra": 1},
        {"format": 7, "payload": "AQID"},
        ["jws", "AQID"],
    ]);
    let size = world.leaves(0).len();
    let body = json!({ "items": items }).to_string();
    let path = "/v1/rings/es256/sign-batch";
    let answer = world
        .send(path, Some(&world.signer), &[], body.as_bytes())
        .ok();
    let results = answer["items"].as_array().expect("items");
    let code = |result: &Value| result["problem"]["code"].as_str().map(str::to_owned);
    let codes: Vec<_> = results.iter().map(code).collect();
    let expected = [
        None,
        Some("bad_member"),
        Some("wrong_algorithm"),
        Some("wrong_usage"),
        None,
        Some("bad_member"),
        Some("bad_member"),
        Some("bad_member"),
    ];
    assert_eq!(
        codes,
        expected.map(|code| code.map(str::to_owned)),
        "{answer}"
    );
    assert_eq!(results[1]["problem"]["member"], "items[1].payload");
    assert_eq!(results[5]["problem"]["member"], "items[5].extra");
    assert_eq!(results[6]["problem"]["member"], "items[6].format");
    assert_eq!(results[7]["problem"]["member"], "items[7]");
    for result in [&results[0], &results[4]] {
        let jws = result["jws"].as_str().expect("a signature");
        assert_eq!(world.service.verdict(jws), "VALID");
    }
    let new = world.leaves(size);
    let signed = new.iter().filter(|leaf| leaf["kind"] == "sign").count();
    assert_eq!(signed, 2, "{new:?}");
}
