//! Signatures as others write them down, and what is missing beside them.

use serde_json::{Value, json};

use crate::support::installation::{base64url, member, text};
use crate::support::process::{Said, run};
use crate::support::world::{World, world};

fn verdict(world: &World, claim: &Value) -> Value {
    world.verify(claim.to_string()).ok()["verdict"].clone()
}

/// The other alphabet, without padding.
fn url_safe(text: &Value) -> Value {
    let text = text.as_str().expect("base64");
    json!(
        text.replace('+', "-")
            .replace('/', "_")
            .trim_end_matches('=')
    )
}

#[test]
fn case_v5_envelopes_of_others_are_read() {
    let world = world();
    let kid = world.kid("es256");
    // In base64 it has both characters in which the alphabets differ.
    let payload = base64url(&[0xfb, 0xff, 0xfe, 0x01]);
    let body = json!({"format": "dsse", "payload_type": "text/plain", "payload": payload});
    let signed = world.service.sign("es256", &world.signer, &body);
    let genuine = signed["envelope"].clone();
    let valid = |envelope: &Value| {
        let answer = world
            .verify(json!({ "envelope": envelope }).to_string())
            .ok();
        assert_eq!(answer["verdict"], "VALID", "{envelope}: {answer}");
        assert_eq!(answer["log_index"], signed["log_index"], "{answer}");
    };
    valid(&genuine);

    let mut safe = genuine.clone();
    safe["payload"] = url_safe(&genuine["payload"]);
    safe["signatures"][0]["sig"] = url_safe(&genuine["signatures"][0]["sig"]);
    valid(&safe);
    let mut mixed = genuine.clone();
    mixed["payload"] = json!("-//-AQ==");
    let claim = json!({ "envelope": mixed });
    world.verify(claim.to_string()).problem(400, "bad_member");

    let mut extended = genuine.clone();
    extended["mediaType"] = json!({"a": [1]});
    extended["signatures"][0]["cert"] = json!("-----BEGIN");
    valid(&extended);

    // A signature of somebody else, before and after.
    let theirs = json!({"keyid": "SHA256:abc", "sig": "AQID", "x": 1});
    let ours = genuine["signatures"][0].clone();
    let nameless = json!({"sig": "AQID"});
    for signatures in [
        json!([theirs, ours]),
        json!([ours, theirs, nameless]),
        json!([nameless, {"keyid": "k", "sig": "!"}, ours]),
    ] {
        let mut several = genuine.clone();
        several["signatures"] = signatures;
        valid(&several);
        // Theirs does not make a changed payload good.
        several["payload"] = json!("AQID");
        assert_eq!(verdict(&world, &json!({ "envelope": several })), "INVALID");
    }

    // Without a name, or under a name that others gave the key, where the caller knows the key.
    for keyid in [None, Some(""), Some("SHA256:abc")] {
        let mut unnamed = genuine.clone();
        match keyid {
            None => drop(
                unnamed["signatures"][0]
                    .as_object_mut()
                    .expect("it")
                    .remove("keyid"),
            ),
            Some(keyid) => unnamed["signatures"][0]["keyid"] = json!(keyid),
        }
        let alone = json!({ "envelope": unnamed });
        let answer = world.verify(alone.to_string()).ok();
        assert_eq!(answer["reasons"], json!(["unknown_key"]), "{answer}");
        let named = json!({"envelope": unnamed, "kid": kid});
        assert_eq!(verdict(&world, &named), "VALID");
        let other = json!({"envelope": unnamed, "kid": world.kid("others")});
        assert_eq!(verdict(&world, &other), "INVALID");
        let at = world.installation.file("unnamed.json");
        std::fs::write(&at, serde_json::to_string_pretty(&unnamed).expect("JSON"))
            .expect("written");
        let url = format!("http://{}", world.service.api);
        let words = ["verify", text(&at), "--url", &url, "--kid", kid];
        world.installation.chancery(words);
    }
}

#[test]
fn case_v5_a_jws_in_json_of_others_is_read() {
    let world = world();
    let body = json!({"format": "jws", "payload": base64url(b"a record")});
    let signed = world.service.sign("es256", &world.signer, &body);
    let jws = member(&signed, "jws");
    let [header, payload, signature] = jws.split('.').collect::<Vec<_>>()[..] else {
        panic!("{jws}");
    };
    let ours = json!({"protected": header, "signature": signature, "x": 1});
    let protected = base64url(
        json!({"alg": "ES256", "kid": "theirs"})
            .to_string()
            .as_bytes(),
    );
    let theirs = json!({"protected": protected, "signature": signature});
    let unprotected = json!({"header": {"kid": "x", "alg": "none"}, "signature": "AQ"});
    for signatures in [
        json!([theirs, ours]),
        json!([ours, unprotected, theirs]),
        json!([unprotected, ours]),
    ] {
        let general = json!({"payload": payload, "signatures": signatures, "extra": true});
        assert_eq!(
            verdict(&world, &json!({ "jws": general })),
            "VALID",
            "{general}"
        );
        let other = json!({"payload": base64url(b"x"), "signatures": signatures});
        assert_eq!(verdict(&world, &json!({ "jws": other })), "INVALID");
    }
    let only = json!({"payload": payload, "signatures": [theirs]});
    let answer = world.verify(json!({ "jws": only }).to_string()).ok();
    assert_eq!(answer["reasons"], json!(["unknown_key"]), "{answer}");
}

/// As a person types it, without `--output json`.
fn typed(world: &World, words: &[&str]) -> Said {
    run(world.installation.command().args(words), b"")
}

#[test]
fn case_v7_a_detached_signature_without_its_payload_says_so() {
    let world = world();
    let file = |name: &str| world.installation.file(name);
    let (record, jws, token) = (file("record.txt"), file("record.txt.jws"), file("v7.token"));
    std::fs::write(&record, "a record").expect("written");
    std::fs::write(&token, &world.signer).expect("written");
    let url = format!("http://{}", world.service.api);
    let sign = ["sign", text(&record), "--ring", "es256", "--url", &url];
    let said = typed(
        &world,
        &[&sign[..], &["--access-token-file", text(&token)]].concat(),
    );
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("detached"), "{said:?}");
    std::fs::write(&jws, &said.stdout).expect("written");

    let set = file("v7.jwks");
    let keys = world.service.get("/v1/rings/es256/jwks.json");
    std::fs::write(&set, &keys.body).expect("written");
    let ways = [["--url", url.as_str()], ["--jwks", text(&set)]];
    for way in ways {
        let said = typed(&world, &["verify", text(&jws), way[0], way[1]]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.stderr.contains("record.txt"), "{said:?}");
    }
    let moved = file("elsewhere.txt");
    std::fs::rename(&record, &moved).expect("moved");
    for way in ways {
        let said = typed(&world, &["verify", text(&jws), way[0], way[1]]);
        assert_eq!(said.code, Some(6), "{said:?}");
        assert!(said.stderr.contains("--payload FILE"), "{said:?}");
        let given = ["--payload", text(&moved)];
        let words = [&["verify", text(&jws), way[0], way[1]], &given[..]].concat();
        assert_eq!(typed(&world, &words).code, Some(0));
        // With a payload that is another one it is a bad signature.
        let words = [
            "verify",
            text(&jws),
            way[0],
            way[1],
            "--payload",
            text(&token),
        ];
        assert_eq!(typed(&world, &words).code, Some(5));
    }
    let out = file("v7.evidence");
    let export = [
        "evidence",
        "export",
        text(&jws),
        "--url",
        &url,
        "--out",
        text(&out),
    ];
    let said = typed(&world, &export);
    assert_eq!(said.code, Some(6), "{said:?}");

    let compact = std::fs::read_to_string(&jws).expect("read");
    let claim = json!({"jws": compact.trim()});
    let answer = world.verify(claim.to_string()).ok();
    assert_eq!(answer["reasons"], json!(["bad_signature"]), "{answer}");
    let explanation = member(&answer, "explanation");
    assert!(explanation.contains("no payload"), "{explanation}");
    // A JWS over no bytes looks the same and is good.
    let body = json!({"format": "jws", "payload": ""});
    let empty = world.service.sign("es256", &world.signer, &body);
    assert_eq!(verdict(&world, &json!({"jws": empty["jws"]})), "VALID");
}

#[test]
fn case_c4_an_envelope_over_several_lines_is_one_signature() {
    let world = world();
    let payload = base64url(b"statement");
    let body = json!({"format": "dsse", "payload_type": "text/plain", "payload": payload});
    let signed = world.service.sign("es256", &world.signer, &body);
    let at = world.installation.file("pretty.json");
    let pretty = serde_json::to_string_pretty(&signed["envelope"]).expect("JSON");
    std::fs::write(&at, pretty).expect("written");
    let url = format!("http://{}", world.service.api);
    world
        .installation
        .chancery(["verify", text(&at), "--url", &url]);
    let out = world.installation.file("pretty.evidence");
    // It is read and found; this world has no key for checkpoints.
    let export = [
        "evidence",
        "export",
        text(&at),
        "--url",
        &url,
        "--out",
        text(&out),
    ];
    let said = world.installation.try_chancery(export);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.text().contains("checkpoint"), "{said:?}");
}
