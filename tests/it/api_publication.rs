//! What anybody may fetch: key sets with their cache times, keys, transcripts, the signed history; and what the
//! operations listener says.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use crate::support::http::{Answer, send};
use crate::support::installation::{PUBLISH_SAFETY, text};
use crate::support::world::{RINGS, World, world};

const JWKS: &str = "/.well-known/jwks.json";

fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(&world.service.api, "GET", path, headers, b"").expect("the service answers")
}

#[test]
fn jwks_may_be_cached_and_is_not_sent_twice() {
    let world = world();
    for path in [JWKS.to_owned(), "/v1/rings/ed25519/jwks.json".to_owned()] {
        let answer = get(&world, &path, &[]);
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("application/jwk-set+json")
        );
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let cache = answer.header("cache-control").expect("a cache time");
        for word in [
            "public",
            &format!("max-age={}", PUBLISH_SAFETY.as_secs() / 4),
        ] {
            assert!(cache.split(", ").any(|found| found == word), "{cache}");
        }
        assert!(
            cache.contains("stale-if-error") && cache.contains("stale-while-revalidate"),
            "{cache}"
        );
        let etag = answer.header("etag").expect("an entity tag").to_owned();
        for known in [
            etag.clone(),
            format!("\"other\", {etag}"),
            format!("W/{etag}"),
            "*".to_owned(),
        ] {
            let again = get(&world, &path, &[("if-none-match", &known)]);
            assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
            assert_eq!(again.header("etag"), Some(etag.as_str()));
            assert_eq!(
                again.header("cache-control"),
                answer.header("cache-control")
            );
        }
        let other = get(&world, &path, &[("if-none-match", "\"other\"")]);
        assert_eq!((other.status, &other.body), (200, &answer.body));
        let head = send(&world.service.api, "HEAD", &path, &[], b"");
        // A head has a length and no body, which the client takes for a cut answer.
        assert!(head.is_err() || head.is_ok_and(|head| head.body.is_empty()));
    }
}

#[test]
fn jwks_holds_every_key_once_and_nothing_private() {
    let world = world();
    let set = get(&world, JWKS, &[]).ok();
    let keys = set["keys"].as_array().expect("keys");
    let mut kids: Vec<&str> = keys
        .iter()
        .map(|key| key["kid"].as_str().expect("a kid"))
        .collect();
    kids.sort_unstable();
    let combined = RINGS
        .iter()
        .filter(|(_, algorithm, usage)| *algorithm != "Ed25519" && *usage == "structured");
    let mut expected: Vec<&str> = combined.map(|(ring, ..)| world.kid(ring)).collect();
    expected.sort_unstable();
    assert_eq!(kids, expected);
    for (ring, algorithm, _) in RINGS {
        let set = get(&world, &format!("/v1/rings/{ring}/jwks.json"), &[]).ok();
        let [key] = set["keys"].as_array().expect("keys").as_slice() else {
            panic!("one key: {set}")
        };
        assert_eq!(key["kid"], world.kid(ring));
        assert_eq!(
            (&key["use"], &key["key_ops"]),
            (&json!("sig"), &json!(["verify"]))
        );
        // Libraries disagree on the name for Ed25519.
        let alg = (algorithm != "Ed25519").then_some(algorithm);
        assert_eq!(key.get("alg").and_then(Value::as_str), alg);
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{key}");
        }
        // The kid is the key's own thumbprint.
        let public = trust::PublicKey::from_jwk_json(key.to_string().as_bytes()).expect("a JWK");
        assert_eq!(public.kid().as_str(), world.kid(ring));
    }
}

#[test]
fn one_key_is_found_by_its_kid_and_by_nothing_else() {
    let world = world();
    for (ring, algorithm, _) in RINGS {
        let kid = world.kid(ring);
        let key = get(&world, &format!("/v1/keys/{kid}"), &[]).ok();
        assert_eq!(key["kid"], kid);
        assert_eq!(
            (&key["ring"], &key["algorithm"]),
            (&json!(ring), &json!(algorithm))
        );
        assert_eq!(
            (&key["state"], &key["role"]),
            (&json!("active"), &json!("primary"))
        );
        assert_eq!(
            get(&world, &format!("/v1/keys/{kid}/jwk"), &[]).ok(),
            key["jwk"]
        );
        get(&world, &format!("/v1/keys/{kid}/certificate"), &[]).problem(404, "no_certificate");
        let mut other = kid.to_owned();
        let last = if other.pop() == Some('A') { 'E' } else { 'A' };
        other.push(last);
        get(&world, &format!("/v1/keys/{other}"), &[]).problem(404, "unknown_key");
        get(&world, &format!("/v1/keys/{}", kid.to_lowercase()), &[]).problem(404, "unknown_key");
    }
}

#[test]
fn the_transcript_of_a_key_verifies_offline() {
    let world = world();
    let genesis = world.installation.genesis.as_str();
    for (ring, ..) in RINGS {
        let kid = world.kid(ring);
        let answer = get(&world, &format!("/v1/keys/{kid}/transcript"), &[]);
        assert_eq!(answer.status, 200);
        let file = world.installation.file(&format!("{ring}.transcript"));
        std::fs::write(&file, &answer.body).expect("written");
        let said =
            world
                .installation
                .chancery(["ceremony", "verify", text(&file), "--genesis", genesis]);
        let said = said.json();
        assert_eq!(said["kids"], json!([kid]));
        assert_eq!(said["lines"][0]["subject"], format!("ring/{ring}"));
        assert_eq!(said["approved_by"], json!(["berta", "carl"]));
        assert_eq!(said["accepted_by"], json!(["berta", "carl"]));
        let verify = [
            "ceremony",
            "verify",
            text(&file),
            "--genesis",
            &"0".repeat(64),
        ];
        assert_eq!(world.installation.try_chancery(verify).code, Some(5));
    }
}

#[test]
fn history_is_a_jwt_of_every_key() {
    let world = world();
    let answer = get(&world, "/v1/keys/history", &[]);
    assert_eq!(
        answer.header("content-type"),
        Some("application/jwk-set+jwt")
    );
    let jwt = String::from_utf8(answer.into_body()).expect("text");
    let jwk = get(&world, &format!("/v1/keys/{}/jwk", world.kid("es256")), &[]).ok();
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk).expect("a JWK")).expect("usable");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_required_spec_claims(&["iss"]);
    validation.set_issuer(&[format!("http://{}", world.installation.plan.api)]);
    validation.validate_exp = false;
    let token = decode::<Value>(&jwt, &key, &validation).expect("a stranger accepts it");
    assert_eq!(token.header.typ.as_deref(), Some("jwk-set+jwt"));
    assert_eq!(token.header.kid.as_deref(), Some(world.kid("es256")));
    let keys = token.claims["keys"].as_array().expect("keys");
    for (ring, ..) in RINGS {
        let entry = keys
            .iter()
            .find(|key| key["kid"] == world.kid(ring))
            .expect("every key");
        assert!(entry["exp"].as_i64() > entry["iat"].as_i64(), "{entry}");
        assert!(entry.get("revoked").is_none(), "{entry}");
    }
    assert_eq!(keys.len(), RINGS.len());
    assert!(token.claims["iat"].is_i64());
    // It is signed once for each state of the world, not once for each stranger.
    world.unchanged(|| assert_eq!(get(&world, "/v1/keys/history", &[]).body, jwt.as_bytes()));
}

#[test]
fn health_and_metrics_are_on_their_own_listener() {
    let world = world();
    let operations =
        |path: &str| send(&world.service.operations, "GET", path, &[], b"").expect("an answer");
    assert_eq!(operations("/health/live").ok()["live"], true);
    let ready = operations("/health/ready").ok();
    assert_eq!(ready["ready"], true);
    for part in ["publication", "verification", "signing"] {
        assert_eq!(ready["serves"][part], true, "{ready}");
        assert_eq!(operations(&format!("/health/ready/{part}")).status, 200);
    }
    operations("/health/ready/nothing").json();
    world
        .sign("es256", r#"{"format":"jws","payload":"AQID"}"#)
        .ok();
    get(&world, "/.well-known/jwks.json", &[]).ok();
    let metrics = String::from_utf8(operations("/metrics").into_body()).expect("text");
    for name in [
        "chancery_signatures_total",
        "chancery_hsm_up 1",
        "chancery_keys_refused 0",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    case_c6_every_figure_is_named_and_described(&metrics);
    for path in ["/health/live", "/metrics"] {
        get(&world, path, &[]).problem(404, "not_found");
    }
    assert_eq!(get(&world, "/openapi.json", &[]).ok()["openapi"], "3.1.0");
}

/// Names, types and help of what a running service exposes.
fn case_c6_every_figure_is_named_and_described(metrics: &str) {
    let mut types = 0;
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("# TYPE ") else {
            continue;
        };
        let (name, kind) = rest.split_once(' ').expect("a name and a type");
        types += 1;
        assert!(
            metrics.contains(&format!("# HELP {name} ")),
            "{name} has no help"
        );
        assert_ne!(kind, "summary", "{name} has no buckets");
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name} is a {kind}"
        );
    }
    assert!(types > 20, "{metrics}");
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
    };
    let jwks = "chancery_http_requests_total{route=\"/.well-known/jwks.json\",status=\"2xx\"}";
    assert!(value(jwks) >= 1.0);
    for (name, least) in [
        ("chancery_database_up", 1.0),
        ("chancery_database_writable", 1.0),
        (
            "chancery_database_connections_limit{pool=\"visitors\"}",
            1.0,
        ),
        (
            "chancery_database_connections{pool=\"service\",state=\"idle\"}",
            0.0,
        ),
        (
            "chancery_database_connections{pool=\"visitors\",state=\"used\"}",
            0.0,
        ),
        ("chancery_log_kept_leaves", 0.0),
        ("chancery_log_kept_complete", 0.0),
        ("chancery_clock_offset_seconds", -60.0),
        ("chancery_log_waiting_leaves", 0.0),
        ("chancery_log_integrates", 1.0),
        ("chancery_build_info{", 1.0),
        ("process_start_time_seconds", 1_577_836_800.0),
        ("process_resident_memory_bytes", 1.0),
        ("process_max_fds", value("process_open_fds")),
        ("chancery_keys{ring=\"es256\",state=\"primary\"}", 1.0),
    ] {
        assert!(value(name) >= least, "{name}: {metrics}");
    }
    assert!(value("chancery_log_halted") == 0.0);
}
