//! Verdicts through the whole life of keys: rotated, rolled back, retired, archived and revoked by real ceremonies.

use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::installation::{Installation, Service, base64url, member, text};
use crate::support::load::sig_hash;
use crate::support::process::until;

const RETIRING: &str = "retiring";
const SUPERSEDED: &str = "superseded";
const COMPROMISED: &str = "compromised";
const RINGS: [&str; 3] = [RETIRING, SUPERSEDED, COMPROMISED];

fn verdict(service: &Service, jws: &str) -> Value {
    service
        .post("/v1/verify", None, &json!({ "jws": jws }))
        .ok()
}

fn expect(service: &Service, jws: &str, verdict: &str, reasons: &[&str]) {
    let found = self::verdict(service, jws);
    assert_eq!(found["verdict"], verdict, "{found}");
    assert_eq!(found["reasons"], json!(reasons), "{found}");
}

/// Waits until the service has seen what was changed by a command.
pub fn state_is(service: &Service, kid: &str, state: &str) {
    until(&format!("{kid} is {state}"), || {
        let key = service.get(&format!("/v1/keys/{kid}")).ok();
        key["state"] == state || key["role"] == state
    });
}

fn published(service: &Service, ring: &str) -> Vec<String> {
    let set = service.get(&format!("/v1/rings/{ring}/jwks.json")).ok();
    let keys = set["keys"].as_array().expect("keys");
    keys.iter().map(|key| member(key, "kid")).collect()
}

/// Somebody who has the PIN signs past the service: correct, and not in the log.
pub fn behind_the_service(installation: &Installation, kid: &str) -> String {
    let mut database = Database::open(&installation.sqlite_url());
    let cka_id = database.one(&format!(
        "SELECT substr(object, length(object) - 31) FROM signing_key WHERE kid = '{kid}'"
    ));
    let header = base64url(json!({"alg": "ES256", "kid": kid}).to_string().as_bytes());
    let input = format!("{header}.{}", base64url(b"never asked for"));
    let (digest, signature) = (installation.file("digest"), installation.file("signature"));
    std::fs::write(&digest, trust::Hash::Sha256.digest(input.as_bytes())).expect("written");
    let said = installation.token_tool(&[
        "--sign",
        "--mechanism",
        "ECDSA",
        "--id",
        &cka_id,
        "--input-file",
        text(&digest),
        "--output-file",
        text(&signature),
    ]);
    assert_eq!(said.code, Some(0), "{said:?}");
    format!(
        "{input}.{}",
        base64url(&std::fs::read(signature).expect("a signature"))
    )
}

#[test]
fn every_signature_keeps_its_verdict_through_the_life_of_its_key() {
    let installation = Installation::new();
    let mut roles = Vec::new();
    for ring in RINGS {
        installation.create_ring(ring, &[]);
        roles.extend(["--role".to_owned(), format!("signer:{ring}")]);
    }
    let first = RINGS.map(|ring| installation.give_birth(ring));
    let second = RINGS.map(|ring| installation.give_birth(ring));
    RINGS
        .iter()
        .for_each(|ring| installation.rotate_when_safe(ring));
    let grant = ["access", "grant", "integrity-service"].into_iter();
    let said = installation.chancery(grant.chain(roles.iter().map(String::as_str)));
    let signer = member(&said.json(), "access_token");
    let service = installation.serve();

    let old = RINGS.map(|ring| service.jws(ring, &signer, b"by the first key"));
    let thefts = [0, 1, 2].map(|n| behind_the_service(&installation, &first[n]));
    for n in [0, 1, 2] {
        expect(&service, &old[n], "VALID", &[]);
        expect(&service, &thefts[n], "VALID", &["not_in_log"]);
        // A standby key signs for nobody.
        let early = behind_the_service(&installation, &second[n]);
        expect(
            &service,
            &early,
            "INDETERMINATE",
            &["never_active", "not_in_log"],
        );
    }

    // Rotated: the old key is secondary and its signatures are as good as before.
    RINGS
        .iter()
        .for_each(|ring| installation.rotate_when_safe(ring));
    for n in [0, 1, 2] {
        state_is(&service, &second[n], "primary");
        expect(&service, &old[n], "VALID", &[]);
        let new = service.sign(
            RINGS[n],
            &signer,
            &json!({"format": "jws", "payload": "AQID"}),
        );
        assert_eq!(
            (&new["kid"], &new["key_number"]),
            (&json!(second[n]), &json!(2))
        );
        expect(&service, &member(&new, "jws"), "VALID", &[]);
        assert_eq!(published(&service, RINGS[n]).len(), 2);
    }

    retires_and_is_archived(&installation, &service, &first[0], &old[0], &thefts[0]);
    is_superseded(
        &installation,
        &service,
        &signer,
        &first[1],
        &old[1],
        &thefts[1],
    );
    is_compromised(
        &installation,
        &service,
        &signer,
        [&first[2], &second[2]],
        &thefts[2],
    );
    the_trail_tells_of_everything(&installation, &service, &first, &second);
}

fn retires_and_is_archived(
    installation: &Installation,
    service: &Service,
    kid: &str,
    old: &str,
    theft: &str,
) {
    // It can be primary again until it is retired, and is then rotated away once more.
    installation.chancery(["ring", "roll-back", RETIRING, "--apply"]);
    state_is(service, kid, "primary");
    installation.chancery(["ring", "roll-back", RETIRING, "--apply"]);
    state_is(service, kid, "secondary");
    let retire = ["ring", "retire", RETIRING, "--kid", kid, "--apply"];
    until("it may retire", || {
        installation.try_chancery(retire).code == Some(0)
    });
    state_is(service, kid, "retired");
    expect(service, old, "VALID_RETIRED_KEY", &[]);
    expect(
        service,
        theft,
        "INDETERMINATE",
        &["no_proof_of_existence", "not_in_log"],
    );
    assert!(
        published(service, RETIRING).contains(&kid.to_owned()),
        "it verifies for ever"
    );
    let roll_back = installation.try_chancery(["ring", "roll-back", RETIRING, "--apply"]);
    assert_eq!(
        roll_back.code,
        Some(3),
        "a retired key signs never again: {roll_back:?}"
    );

    installation.hold_words(&["ring", "archive", RETIRING, "--kid", kid, "--apply"]);
    state_is(service, kid, "archived");
    expect(service, old, "VALID_RETIRED_KEY", &[]);
    expect(
        service,
        theft,
        "INDETERMINATE",
        &["no_proof_of_existence", "not_in_log"],
    );
    assert!(published(service, RETIRING).contains(&kid.to_owned()));
    let mut database = Database::open(&installation.sqlite_url());
    let cka_id = database.one(&format!(
        "SELECT substr(object, length(object) - 31) FROM signing_key WHERE kid = '{kid}'"
    ));
    let listed = installation.token_tool(&["--list-objects", "--id", &cka_id]);
    assert!(
        !listed.text().contains(&cka_id),
        "the private half is gone: {listed:?}"
    );
}

fn is_superseded(
    installation: &Installation,
    service: &Service,
    signer: &str,
    kid: &str,
    old: &str,
    theft: &str,
) {
    let id = installation.revoke(SUPERSEDED, kid, &["--because", "superseded"]);
    assert_eq!(installation.ceremony_state(&id), "closed");
    state_is(service, kid, "revoked");
    expect(service, old, "VALID_RETIRED_KEY", &["key_revoked"]);
    expect(
        service,
        theft,
        "INDETERMINATE",
        &["key_revoked", "no_proof_of_existence", "not_in_log"],
    );
    assert!(
        !published(service, SUPERSEDED).contains(&kid.to_owned()),
        "a revoked key is never published"
    );
    let view = service.get(&format!("/v1/keys/{kid}")).ok();
    assert_eq!(view["revocation"]["reason"], "superseded", "{view}");
    assert!(
        !service.jws(SUPERSEDED, signer, b"on").is_empty(),
        "the ring goes on signing"
    );
    // A leaf that claims it was signed after the revocation: whoever wrote it, it is too late.
    let mut database = Database::open(&installation.sqlite_url());
    let hash = sig_hash(theft);
    database.run(&format!(
        "BEGIN IMMEDIATE;
         INSERT INTO log_leaf SELECT size, 4102444800000, 'sign', '{SUPERSEDED}', '{kid}', '{hash}', '{{}}' FROM log_head;
         UPDATE log_head SET size = size + 1; COMMIT"
    ));
    expect(service, theft, "REVOKED", &["key_revoked"]);
}

fn is_compromised(
    installation: &Installation,
    service: &Service,
    signer: &str,
    [left, kid]: [&str; 2],
    theft: &str,
) {
    let before = service.sign(
        COMPROMISED,
        signer,
        &json!({"format": "jws", "payload": "AQID"}),
    );
    std::thread::sleep(std::time::Duration::from_millis(50));
    let after = service.sign(
        COMPROMISED,
        signer,
        &json!({"format": "jws", "payload": "AQIE"}),
    );
    let since = member(&after, "time");
    let more = [
        "--because",
        "compromised",
        "--compromised-since",
        since.as_str(),
    ];
    installation.revoke(COMPROMISED, kid, &more);
    state_is(service, kid, "revoked");
    expect(
        service,
        &member(&before, "jws"),
        "VALID_RETIRED_KEY",
        &["key_compromised"],
    );
    expect(
        service,
        &member(&after, "jws"),
        "REVOKED",
        &["key_compromised"],
    );
    let stolen = behind_the_service(installation, kid);
    let reasons = ["key_compromised", "no_proof_of_existence", "not_in_log"];
    expect(service, &stolen, "INDETERMINATE", &reasons);
    // Another key's signature is judged by its own key.
    expect(service, theft, "VALID", &["not_in_log"]);
    assert!(!published(service, COMPROMISED).contains(&kid.to_owned()));
    // The ring has its primary in the same instant: with no standby, the secondary that is left.
    let body = json!({"format": "jws", "payload": "AQID"});
    assert_eq!(service.sign(COMPROMISED, signer, &body)["kid"], *left);
    state_is(service, left, "primary");
    // It cannot be undone, and not be revoked twice.
    let again = ["ring", "revoke", COMPROMISED, "--kid", kid, "--apply"];
    let said = installation.try_propose_words(&again);
    if said.code == Some(0) {
        let id = member(&said.json(), "ceremony");
        installation.vote_all("approve", &id);
        assert_eq!(
            installation.try_chancery(["ceremony", "execute", &id]).code,
            Some(3)
        );
    }
    // Nobody is left: the ring says so, and nothing is signed by anybody.
    installation.revoke(COMPROMISED, left, &["--because", "unspecified"]);
    state_is(service, left, "revoked");
    let path = format!("/v1/rings/{COMPROMISED}/sign");
    service
        .post(&path, Some(signer), &body)
        .problem(409, "no_active_key");
    expect(
        service,
        theft,
        "INDETERMINATE",
        &["key_revoked", "no_proof_of_existence", "not_in_log"],
    );
}

fn the_trail_tells_of_everything(
    installation: &Installation,
    service: &Service,
    first: &[String; 3],
    second: &[String; 3],
) {
    let auditor = installation.grant("auditor", "auditor");
    until("the auditor is known", || {
        let bearer = format!("Bearer {auditor}");
        let headers = [("authorization", bearer.as_str())];
        crate::support::http::send(&service.api, "GET", "/v1/audit", &headers, b"")
            .expect("an answer")
            .status
            == 200
    });
    let leaves = service.leaves(&auditor, 0);
    for (n, leaf) in leaves.iter().enumerate() {
        assert_eq!(leaf["index"], n, "indexes are contiguous");
    }
    let acts = |kid: &str| {
        let about = |leaf: &&Value| leaf["kind"] == "key" && leaf.to_string().contains(kid);
        leaves
            .iter()
            .filter(about)
            .map(|leaf| leaf["leaf"].to_string())
            .collect::<Vec<_>>()
    };
    for kid in first.iter().chain(second) {
        assert!(!acts(kid).is_empty(), "nothing is told of {kid}");
    }
    for (kid, word) in [
        (&first[0], "retire"),
        (&first[0], "archive"),
        (&first[1], "revoke"),
        (&second[2], "revoke"),
    ] {
        assert!(
            acts(kid).iter().any(|leaf| leaf.contains(word)),
            "{word} {kid}: {:?}",
            acts(kid)
        );
    }
}

/// One question with further members.
fn asked(service: &Service, jws: &str, more: Value) -> Value {
    let mut question = json!({ "jws": jws });
    let more = more.as_object().expect("members").clone();
    question.as_object_mut().expect("members").extend(more);
    service.post("/v1/verify", None, &question).ok()
}

fn expect_as_of(service: &Service, jws: &str, at: &str, verdict: &str, reasons: &[&str]) -> Value {
    let found = asked(service, jws, json!({ "at": at }));
    assert_eq!(found["verdict"], verdict, "as of {at}: {found}");
    assert_eq!(found["reasons"], json!(reasons), "as of {at}: {found}");
    found
}

/// An instant some milliseconds after another.
fn later(instant: &str, millis: i64) -> String {
    let instant: trust::Time = instant.parse().expect("an instant");
    trust::Time::from_millis(instant.millis() + millis).to_string()
}

#[test]
fn verdicts_as_of_an_instant_and_the_blast_radius() {
    let installation = Installation::new();
    let kid = installation.open_ring(COMPROMISED);
    let signer = installation.grant("integrity-service", &format!("signer:{COMPROMISED}"));
    let service = installation.serve();
    let signed = [b"one", b"two", b"tri"].map(|payload| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let body = json!({"format": "jws", "payload": base64url(payload)});
        service.sign(COMPROMISED, &signer, &body)
    });
    let times = signed.each_ref().map(|answer| member(answer, "time"));
    let jws = signed.each_ref().map(|answer| member(answer, "jws"));
    let theft = behind_the_service(&installation, &kid);
    unknown_kid_and_bad_signature_are_invalid(&service, &jws[0]);

    let radius = format!("/v1/keys/{kid}/blast-radius");
    service.get(&radius).problem(400, "bad_query");
    let more = ["--because", "compromised", "--compromised-since", &times[1]];
    installation.revoke(COMPROMISED, &kid, &more);
    state_is(&service, &kid, "revoked");
    let view = service.get(&format!("/v1/keys/{kid}")).ok();
    let revoked_at = member(&view["revocation"], "revoked_at");

    // Today, with hindsight.
    let compromised = ["key_compromised"];
    expect(&service, &jws[0], "VALID_RETIRED_KEY", &compromised);
    expect(&service, &jws[1], "REVOKED", &compromised);
    // Then, without.
    let unknown = "2020-01-01T00:00:00Z";
    expect_as_of(&service, &jws[0], unknown, "INVALID", &["unknown_key"]);
    let standby = later(&member(&view, "published_at"), 1);
    let never = ["never_active", "not_in_log"];
    expect_as_of(&service, &jws[0], &standby, "INDETERMINATE", &never);
    let no_proof = ["no_proof_of_existence", "not_in_log"];
    let early = later(&times[0], -1);
    let found = expect_as_of(&service, &jws[0], &early, "INDETERMINATE", &no_proof);
    assert!(found.get("log_index").is_none(), "{found}");
    let found = expect_as_of(&service, &jws[0], &times[0], "VALID", &[]);
    assert_eq!(found["as_of"], times[0]);
    assert_eq!(found["log_index"], signed[0]["log_index"]);
    let explanation = member(&found, "explanation");
    assert!(explanation.contains("today the key is revoked"), "{found}");
    let before = later(&revoked_at, -1);
    expect_as_of(&service, &jws[1], &before, "VALID", &[]);
    expect_as_of(&service, &jws[1], &revoked_at, "REVOKED", &compromised);
    // A thief cannot ask about a better day.
    for at in [&times[1], &before] {
        expect_as_of(&service, &theft, at, "INDETERMINATE", &no_proof);
    }
    let offset = "2020-01-01T01:00:00+01:00";
    expect_as_of(&service, &jws[0], offset, "INVALID", &["unknown_key"]);
    for (at, expected) in [
        ("2100-01-01T00:00:00Z", "not later than now"),
        ("today", "RFC 3339"),
    ] {
        let question = json!({"jws": jws[0], "at": at});
        let problem = service.post("/v1/verify", None, &question);
        let problem = problem.problem(400, "bad_member");
        assert_eq!(problem["member"], "at");
        assert!(
            problem["detail"].to_string().contains(expected),
            "{problem}"
        );
    }
    let items = json!({"items": [
        {"jws": jws[1], "at": before},
        {"jws": jws[1], "at": "2100-01-01T00:00:00Z"},
        {"jws": jws[1]},
    ]});
    let answer = service.post("/v1/verify-batch", None, &items).ok();
    let items = &answer["items"];
    assert_eq!(items[0]["verdict"], "VALID");
    assert_eq!(items[1]["problem"]["member"], "items[1].at");
    assert_eq!(items[2]["verdict"], "REVOKED");

    blast_radius_is_what_was_signed_since(&service, &radius, &signed);
}

fn unknown_kid_and_bad_signature_are_invalid(service: &Service, jws: &str) {
    let (input, signature) = jws.rsplit_once('.').expect("a JWS");
    let (header, _) = input.split_once('.').expect("a JWS");
    let other = format!("{header}.{}.{signature}", base64url(b"another payload"));
    expect(service, &other, "INVALID", &["bad_signature"]);
    let header = json!({"alg": "ES256", "kid": "A".repeat(43)}).to_string();
    let (_, payload) = input.split_once('.').expect("a JWS");
    let stranger = format!("{}.{payload}.{signature}", base64url(header.as_bytes()));
    expect(service, &stranger, "INVALID", &["unknown_key"]);
}

fn blast_radius_is_what_was_signed_since(service: &Service, path: &str, signed: &[Value; 3]) {
    let hash = |answer: &Value| {
        let jws = member(answer, "jws");
        sig_hash(&jws)
    };
    let entries = signed.each_ref().map(|answer| {
        json!({
            "index": answer["log_index"],
            "time": answer["time"],
            "sig_hash": hash(answer),
        })
    });
    // Since the compromise, if nothing is said: the first signature is out of doubt.
    let answer = service.get(path).ok();
    assert_eq!(answer["since"], signed[1]["time"]);
    assert_eq!(answer["signatures"], json!(entries[1..]));
    assert_eq!(answer["next"], Value::Null);
    let summary = &answer["summary"];
    assert_eq!(summary["total"], 2);
    assert_eq!(summary["first"]["index"], signed[1]["log_index"]);
    assert_eq!(summary["last"]["time"], signed[2]["time"]);
    let days = summary["by_day"].as_array().expect("days");
    let counted = days.iter().filter_map(|day| day["signatures"].as_i64());
    assert_eq!(counted.sum::<i64>(), 2);

    // Page by page from any instant.
    let mut page = format!("{path}?since=2026-01-01T00:00:00Z&limit=2");
    let mut listed = Vec::new();
    for first in [true, false] {
        let answer = service.get(&page).ok();
        assert_eq!(answer.get("summary").is_some(), first, "{answer}");
        listed.extend(answer["signatures"].as_array().expect("entries").clone());
        let next = answer["next"].to_string();
        page = format!("{path}?since=2026-01-01T00:00:00Z&limit=2&from={next}");
        // The key's revocation is a leaf of it as well, and no signature.
        assert!(listed.len() <= 3, "{listed:?}");
    }
    assert_eq!(listed, entries);
    let nothing = service
        .get(&format!("{path}?since=2100-01-01T00:00:00Z"))
        .ok();
    assert_eq!(nothing["summary"]["total"], 0);
    assert_eq!(nothing["signatures"], json!([]));
    let unknown = format!("/v1/keys/{}/blast-radius", "A".repeat(43));
    service.get(&unknown).problem(404, "unknown_key");
    let bad = service.get(&format!("{path}?since=yesterday"));
    assert_eq!(bad.problem(400, "bad_query")["member"], "since");
}
