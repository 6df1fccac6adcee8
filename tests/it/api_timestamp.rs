//! RFC 3161 tokens of an authority made by OpenSSL, as proof that a signature existed.

use std::fs;

use serde_json::{Value, json};

use super::api_verdicts::{behind_the_service, state_is};
use crate::support::authority::Authority;
use crate::support::database::Database;
use crate::support::installation::{Installation, Service, base64url, member};
use crate::support::load::sig_hash;
use crate::support::process::{signal, until};

const RETIRING: &str = "retiring";
const SUPERSEDED: &str = "superseded";
const COMPROMISED: &str = "compromised";
const RINGS: [&str; 3] = [RETIRING, SUPERSEDED, COMPROMISED];
/// Relative to the configuration file.
const TRUSTED: (&str, &str) = (
    "CHANCERY_VERIFICATION__TIMESTAMP_AUTHORITIES",
    "[\"clock-root.pem\"]",
);

/// The raw bytes that a token is about.
fn signature_of(jws: &str) -> Vec<u8> {
    let signature = jws.rsplit_once('.').expect("a JWS").1;
    trust::base64url::decode(signature).expect("base64url")
}

fn asked(service: &Service, jws: &str, token: Option<&[u8]>) -> Value {
    let mut question = json!({ "jws": jws });
    if let Some(token) = token {
        question["timestamp"] = base64url(token).into();
    }
    service.post("/v1/verify", None, &question).ok()
}

fn expect(service: &Service, jws: &str, token: &[u8], verdict: &str, reasons: &[&str]) -> Value {
    let found = asked(service, jws, Some(token));
    assert_eq!(found["verdict"], verdict, "{found}");
    assert_eq!(found["reasons"], json!(reasons), "{found}");
    found
}

/// A whole second goes by: tokens tell no finer time.
fn next_second() {
    std::thread::sleep(std::time::Duration::from_millis(1_100));
}

#[test]
fn timestamp_is_proof_of_existence_and_not_of_origin() {
    let installation = Installation::new();
    let clock = Authority::new(&installation, "clock");
    let stranger = Authority::new(&installation, "stranger");
    let kids = RINGS.map(|ring| {
        installation.create_ring(ring, &[]);
        installation.give_birth(ring)
    });
    installation.give_birth(RETIRING);
    RINGS
        .iter()
        .for_each(|ring| installation.rotate_when_safe(ring));
    let signer = installation.grant("integrity-service", &format!("signer:{COMPROMISED}"));
    let service = installation.serve_with(&[TRUSTED]);

    // Made by whoever has the PIN, so in nobody's log; stamped while the keys were good.
    let thefts = kids
        .each_ref()
        .map(|kid| behind_the_service(&installation, kid));
    let tokens = thefts.each_ref().map(|jws| clock.stamp(&signature_of(jws)));
    let logged = service.jws(COMPROMISED, &signer, b"by the service");
    let found = expect(&service, &thefts[0], &tokens[0], "VALID", &["not_in_log"]);
    assert_eq!(found["existed_at"], found["timestamp"]["at"]);
    assert_eq!(found["timestamp"]["authority"], "CN=clock-root");
    assert_eq!(found["timestamp"]["policy"], "1.2.3.4.1");
    token_that_does_not_verify_is_a_finding(&service, &stranger, &thefts, &tokens);

    next_second();
    let since = member(&asked(&service, &logged, None), "existed_at");
    let late = service.sign(
        COMPROMISED,
        &signer,
        &json!({"format": "jws", "payload": "AQID"}),
    );
    let more = [
        "--because",
        "compromised",
        "--compromised-since",
        &member(&late, "time"),
    ];
    installation.revoke(COMPROMISED, &kids[2], &more);
    installation.revoke(SUPERSEDED, &kids[1], &["--because", "superseded"]);
    installation.rotate_when_safe(RETIRING);
    let retire = ["ring", "retire", RETIRING, "--kid", &kids[0], "--apply"];
    until("it may retire", || {
        installation.try_chancery(retire).code == Some(0)
    });
    state_is(&service, &kids[0], "retired");
    state_is(&service, &kids[1], "revoked");
    state_is(&service, &kids[2], "revoked");
    next_second();
    let after = thefts.each_ref().map(|jws| clock.stamp(&signature_of(jws)));

    // Retired: in time or not, wherever it came from.
    let valid = "VALID_RETIRED_KEY";
    expect(&service, &thefts[0], &tokens[0], valid, &["not_in_log"]);
    let ended = ["no_proof_of_existence", "after_end", "not_in_log"];
    expect(&service, &thefts[0], &after[0], "INDETERMINATE", &ended);
    let garbage = ["no_proof_of_existence", "not_in_log", "bad_timestamp"];
    expect(&service, &thefts[0], b"garbage", "INDETERMINATE", &garbage);
    // Superseded: before or after.
    let revoked = ["key_revoked", "not_in_log"];
    expect(&service, &thefts[1], &tokens[1], valid, &revoked);
    expect(&service, &thefts[1], &after[1], "REVOKED", &revoked);
    // Compromised: in time is not enough, it has to be ours.
    let stolen = ["key_compromised", "not_in_log"];
    expect(&service, &thefts[2], &tokens[2], "INDETERMINATE", &stolen);
    expect(&service, &thefts[2], &after[2], "REVOKED", &stolen);
    // Ours, and a token of today does not make it younger.
    let token = clock.stamp(&signature_of(&logged));
    let found = expect(&service, &logged, &token, valid, &["key_compromised"]);
    assert_eq!(found["existed_at"], since);
    assert!(found["timestamp"]["at"].as_str() > Some(&since), "{found}");

    as_of_an_instant_a_token_counts_from_its_own(&service, &thefts[0], &tokens[0]);
    algorithm_withdrawn_needs_an_earlier_proof(&installation, &clock);
    without_an_authority_no_token_counts(&installation, &thefts[0], &tokens[0]);
}

fn token_that_does_not_verify_is_a_finding(
    service: &Service,
    stranger: &Authority<'_>,
    thefts: &[String; 3],
    tokens: &[Vec<u8>; 3],
) {
    let foreign = stranger.stamp(&signature_of(&thefts[0]));
    let mut tampered = tokens[0].clone();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    for (token, why) in [
        (&tokens[1], "a different signature"),
        (&foreign, "does not chain to a configured authority"),
        (&tampered, "signature of the timestamp token is invalid"),
        (&b"garbage".to_vec(), "cannot be parsed"),
        (&Vec::new(), "cannot be parsed"),
    ] {
        let reasons = ["not_in_log", "bad_timestamp"];
        let found = expect(service, &thefts[0], token, "VALID", &reasons);
        assert!(found.get("existed_at").is_none(), "{found}");
        assert!(found.get("timestamp").is_none(), "{found}");
        let explanation = member(&found, "explanation");
        assert!(explanation.contains(why), "{explanation}");
    }
    // Of what is no signature there is nothing to prove.
    let other = thefts[0].replacen('.', ".AAAA", 1);
    let found = expect(service, &other, &tokens[0], "INVALID", &["bad_signature"]);
    assert!(found["explanation"].to_string().contains("was not checked"));
    let question = json!({"jws": thefts[0], "timestamp": "AQ=="});
    let answer = service.post("/v1/verify", None, &question);
    assert_eq!(answer.problem(400, "bad_member")["member"], "timestamp");

    // Each item of a batch has a token of its own, and a bare signature too, whose token is over
    // r and s however it is sent.
    let (input, signature) = thefts[0].rsplit_once('.').expect("a JWS");
    let fixed = trust::base64url::decode(signature).expect("base64url");
    let der = trust::signature::p1363_to_der(&fixed).expect("DER");
    let header = trust::base64url::decode(input.split('.').next().expect("a header"));
    let header: Value = serde_json::from_slice(&header.expect("base64url")).expect("JSON");
    let raw = |signature: &[u8], encoding: &str| {
        json!({
            "signature": base64url(signature),
            "encoding": encoding,
            "kid": header["kid"],
            "payload": base64url(input.as_bytes()),
            "timestamp": base64url(&tokens[0]),
        })
    };
    let items = json!({"items": [
        {"jws": thefts[0], "timestamp": base64url(&tokens[0])},
        {"jws": thefts[1], "timestamp": base64url(&tokens[0])},
        {"jws": thefts[2]},
        {"jws": thefts[2], "timestamp": "="},
        raw(&fixed, "p1363"),
        raw(&der, "der"),
    ]});
    let answer = service.post("/v1/verify-batch", None, &items).ok();
    let reasons = [0, 1, 2, 4, 5].map(|n| answer["items"][n]["reasons"].clone());
    let (good, bad) = (
        json!(["not_in_log"]),
        json!(["not_in_log", "bad_timestamp"]),
    );
    // A key of structures makes no bare signatures; its token is read all the same.
    let bare = json!(["wrong_usage"]);
    assert_eq!(reasons, [good.clone(), bad, good, bare.clone(), bare]);
    assert_eq!(
        answer["items"][3]["problem"]["member"],
        "items[3].timestamp"
    );
    for n in [0, 4, 5] {
        assert!(answer["items"][n]["timestamp"].is_object(), "{n}: {answer}");
    }
}

fn as_of_an_instant_a_token_counts_from_its_own(service: &Service, theft: &str, token: &[u8]) {
    let stamped = asked(service, theft, Some(token));
    let at: trust::Time = member(&stamped["timestamp"], "at")
        .parse()
        .expect("an instant");
    let before = trust::Time::from_millis(at.millis() - 1);
    for (at, verdict, reasons) in [
        (at, "VALID", json!(["not_in_log"])),
        (
            before,
            "INDETERMINATE",
            json!(["no_proof_of_existence", "not_in_log"]),
        ),
    ] {
        let question = json!({"jws": theft, "timestamp": base64url(token), "at": at});
        let found = service.post("/v1/verify", None, &question).ok();
        assert_eq!(found["verdict"], verdict, "{at}: {found}");
        assert_eq!(found["reasons"], reasons, "{at}: {found}");
    }
}

/// The row that a configuration makes: `[verification] withdrawn`.
fn algorithm_withdrawn_needs_an_earlier_proof(installation: &Installation, clock: &Authority<'_>) {
    const SOUND: &str = "sound";
    let kid = installation.open_ring(SOUND);
    installation.open_log();
    let signer = installation.grant("archivist", &format!("signer:{SOUND}"));
    let service = installation.replica(&[TRUSTED]);
    let body = json!({"format": "jws", "payload": "AQID"});
    let early = service.sign(SOUND, &signer, &body);
    let theft = behind_the_service(installation, &kid);
    let token = clock.stamp(&signature_of(&theft));
    next_second();
    let late = service.sign(SOUND, &signer, &body);
    drop(service);

    let day = format!("{{ ES256 = \"{}\" }}", member(&late, "time"));
    let withdrawn = ("CHANCERY_VERIFICATION__WITHDRAWN", day.as_str());
    let service = installation.replica(&[TRUSTED, withdrawn]);
    let verdict = |jws: &str, token: Option<&[u8]>| {
        let found = asked(&service, jws, token);
        (found["verdict"].clone(), found["reasons"].clone())
    };
    let late_index = late["log_index"].clone();
    let (early, late) = (member(&early, "jws"), member(&late, "jws"));
    assert_eq!(verdict(&early, None), (json!("VALID"), json!([])));
    let reasons = json!(["algorithm_withdrawn"]);
    assert_eq!(verdict(&late, None), (json!("INDETERMINATE"), reasons));
    let reasons = json!(["algorithm_withdrawn", "no_proof_of_existence", "not_in_log"]);
    assert_eq!(verdict(&theft, None), (json!("INDETERMINATE"), reasons));
    let reasons = json!(["not_in_log"]);
    assert_eq!(verdict(&theft, Some(&token)), (json!("VALID"), reasons));

    // A row that was slipped into the database later and dated back is not from before that day.
    let covered = format!("/v1/receipts/{late_index}");
    until("the log covers the later one", || {
        service.get(&covered).status == 200
    });
    let hash = sig_hash(&theft);
    Database::open(&installation.sqlite_url()).run(&format!(
        "BEGIN IMMEDIATE;
         INSERT INTO log_leaf SELECT size, 1000, 'sign', '{SOUND}', '{kid}', '{hash}', '{{}}' FROM log_head;
         UPDATE log_head SET size = size + 1; COMMIT"
    ));
    let reasons = json!(["algorithm_withdrawn", "no_proof_of_existence"]);
    assert_eq!(verdict(&theft, None), (json!("INDETERMINATE"), reasons));
}

fn without_an_authority_no_token_counts(installation: &Installation, jws: &str, token: &[u8]) {
    let service = installation.replica(&[]);
    let reasons = ["no_proof_of_existence", "not_in_log", "bad_timestamp"];
    let found = expect(&service, jws, token, "INDETERMINATE", &reasons);
    let explanation = member(&found, "explanation");
    assert!(explanation.contains("no timestamp authority"), "{found}");
    drop(service);
    // A file that is not there, or holds no certificate, is said at the start.
    for authorities in ["[\"nowhere.pem\"]", "[\"chancery.toml\"]"] {
        let mut serve = installation.command();
        serve.arg("serve").env(TRUSTED.0, authorities);
        let said = crate::support::process::run(&mut serve, b"");
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains("timestamp_authorities"), "{said:?}");
    }
}

/// What is read again at a hang-up, and what is said of everything else.
#[test]
fn case_a4_a_hang_up_reads_authorities_and_the_filter_again() {
    let installation = Installation::new();
    let clock = Authority::new(&installation, "clock");
    let _stranger = Authority::new(&installation, "stranger");
    installation.open_ring(RETIRING);
    let signer = installation.grant("integrity-service", &format!("signer:{RETIRING}"));
    let file = |name: &str| installation.file(name);
    let trust = |name: &str| fs::copy(file(name), file("trusted.pem")).expect("copied");
    trust("stranger-root.pem");
    let edit = |from: &str, to: &str| {
        let text = fs::read_to_string(file("chancery.toml")).expect("the configuration");
        assert!(text.contains(from), "{text}");
        fs::write(file("chancery.toml"), text.replace(from, to)).expect("written");
    };
    let section = "[verification]\ntimestamp_authorities = [\"trusted.pem\"]\n\n[telemetry]\n";
    edit("[telemetry]\n", section);
    let service = installation.serve();
    let jws = service.jws(RETIRING, &signer, b"stamped");
    let token = clock.stamp(&signature_of(&jws));
    let counts = || asked(&service, &jws, Some(&token))["timestamp"].is_object();
    assert!(!counts());

    let hang_up = || signal("HUP", service.child.id());
    let says = |words: &str| until(words, || service.log().contains(words));
    trust("clock-root.pem");
    hang_up();
    until("the other authority is trusted", counts);
    // What cannot be used changes nothing.
    fs::write(file("trusted.pem"), "nothing").expect("written");
    hang_up();
    says("the time-stamp authorities cannot be used; the old ones stay in use");
    assert!(counts());
    edit("[telemetry]\n", "[telemetry]\nfilter = \"info,=x=\"\n");
    hang_up();
    says("telemetry.filter cannot be used; the old one stays in use");
    edit("info,=x=", "info,web=debug");
    edit("drain_delay_ms = 0", "drain_delay_ms = 1");
    hang_up();
    says("the filter of the service log was replaced");
    says("changed settings of these sections need a restart");
    service
        .post("/v1/verify", None, &json!({}))
        .problem(400, "bad_member");
    says("request refused");
    assert!(counts());
}
