//! A clock that was wrong: a ceremony says of leaves that they are not younger than a bound.

use serde_json::{Value, json};
use testkit::http::send;
use trust::evidence::verify;
use trust::leaf::Leaf;
use trust::{Pin, Purpose, Request, Time};

use crate::support::agreement::PYTHON;
use crate::support::database::Database;
use crate::support::installation::{Installation, Service, base64url, member, must, text};
use crate::support::past::{check, codes, monitor, stop};
use crate::support::process::{repository, run, until};

/// A request for a correction, by the form of one for a key.
fn correction(installation: &Installation, origin: &str, index: u64, bound: &str) -> Value {
    let file = installation.file("form");
    let ada = &installation.custodians[0].id;
    let new = ["ceremony", "new", "generate", "--ring", "atp"];
    let more = ["--reason", "clock", "--proposer", ada, "--out", text(&file)];
    installation.chancery(new.into_iter().chain(more));
    let form = std::fs::read_to_string(file).expect("a request");
    let (_, form) = form.split_at(form.find('{').expect("what is signed holds it"));
    let mut request: Value = serde_json::from_str(form).expect("JSON");
    request["operation"] = json!({"clock-correction": {"bound": bound, "first": index, "last": index, "origin": origin}});
    request["lines"] = json!([{"previous": null, "sequence": 1, "subject": "log"}]);
    request
}

/// First line of the log's checkpoints.
fn origin(service: &Service) -> String {
    let note = String::from_utf8_lossy(&service.get("/log/checkpoint").body).into_owned();
    note.lines().next().expect("a note").to_owned()
}

/// Signed by the first custodian; its id.
fn propose(installation: &Installation, request: &Value) -> String {
    let request = trust::json::canonical(request).expect("canonical");
    let read = Request::decode(&request).expect("a request");
    let file = installation.file("request");
    std::fs::write(&file, read.message(Purpose::Propose, &request)).expect("written");
    let namespace = read.namespace(Purpose::Propose).to_string();
    let signature = must(installation.custodians[0].sign(&file, &namespace));
    let propose = [
        "ceremony",
        "propose",
        text(&file),
        "--signature",
        text(&signature),
    ];
    member(&installation.chancery(propose).json(), "ceremony")
}

fn existed_at(service: &Service, jws: &str) -> String {
    let answer = service.post("/v1/verify", None, &json!({"jws": jws})).ok();
    assert_eq!(answer["verdict"], "VALID", "{answer}");
    member(&answer, "existed_at")
}

#[test]
fn a_correction_bounds_the_time_of_a_signature_everywhere() {
    let installation = Installation::new();
    installation.open_ring("atp");
    installation.open_log();
    let token = installation.grant("integrity-service", "signer:atp");
    let service = installation.serve();
    let sign = || {
        let body = json!({"format": "jws", "payload": base64url(b"record")});
        let path = "/v1/rings/atp/sign?receipt=wait";
        service.post(path, Some(&token), &body).ok()
    };
    let (before, signed) = (sign(), sign());
    let (jws, salt) = (member(&signed, "jws"), member(&signed, "salt"));
    let index = signed["log_index"].as_u64().expect("an index");
    let (bound, written) = (
        existed_at(&service, &member(&before, "jws")),
        existed_at(&service, &jws),
    );
    assert!(bound < written, "{bound} {written}");

    let (ada, named) = (&installation.custodians[0], index.to_string());
    let new = ["ceremony", "new", "clock-correction", "--reason", "a clock"];
    let by = ["--proposer", &ada.id, "--key", text(ada.key_file())];
    let leaves = ["--first", &named, "--last", &named, "--bound", &bound];
    let words = new.into_iter().chain(by).chain(leaves);
    let id = member(&installation.chancery(words).json(), "ceremony");
    installation.vote_all("approve", &id);
    installation.chancery(["ceremony", "execute", &id]);
    assert_eq!(existed_at(&service, &jws), written, "not yet accepted");
    installation.vote_all("accept", &id);
    assert_eq!(installation.ceremony_state(&id), "closed");
    until("the correction is known", || {
        existed_at(&service, &jws) == bound
    });

    // What is after it in the log, is not behind it; and what is in it, has its proofs.
    sign();
    let answer = service.post(
        "/v1/evidence",
        None,
        &json!({"signature": {"jws": jws}, "salt": salt}),
    );
    let genesis = installation.genesis.parse().expect("a digest");
    let found = verify(&answer.body, genesis, None).expect("the file holds");
    assert_eq!(
        found.verdict.existed_at.map(|at| at.to_string()),
        Some(bound.clone())
    );
    let path = installation.file("one.evidence");
    std::fs::write(&path, &answer.body).expect("written");
    let mut second = std::process::Command::new(PYTHON);
    second.arg(repository("deploy/verifier/chancery_verify.py"));
    second.args([text(&path), "--genesis", &installation.genesis]);
    let said = run(&mut second, b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.text().contains(&bound), "{said:?}");
    let checked = installation.chancery(["log", "check"]).json();
    assert_eq!(checked["findings"], json!([]), "{checked}");
}

/// The last leaf, which no tree has yet, as a clock a hundred years ahead would have written it; its
/// index, and the time of the leaf before it.
fn write_ahead(installation: &Installation) -> (u64, Time) {
    let mut database = Database::open(&installation.sqlite_url());
    database.disarm(&["log_leaf"]);
    let last = "SELECT CAST(idx AS TEXT), body FROM log_leaf ORDER BY idx DESC LIMIT 2";
    let rows = database.rows(last);
    let body = &rows[0][1];
    let written = Leaf::parse(body.as_bytes()).expect("a leaf");
    let Leaf::Act(written) = written else {
        panic!("{body}")
    };
    let right = written.time.to_string();
    let wrong = format!("21{}", &right[2..]);
    let body = body.replace(&right, &wrong);
    let wrong: Time = wrong.parse().expect("an instant");
    let index = &rows[0][0];
    database.run(&format!(
        "UPDATE log_leaf SET body = '{body}', time = {} WHERE idx = {index}",
        wrong.millis()
    ));
    let before: Value = serde_json::from_str(&rows[1][1]).expect("JSON");
    let before = member(&before, "time").parse().expect("an instant");
    (index.parse().expect("an index"), before)
}

#[test]
fn a_corrected_log_alarms_no_monitor_and_an_uncorrected_one_does() {
    let installation = Installation::new();
    installation.open_ring("atp");
    installation.open_log();
    let token = installation.grant("integrity-service", "signer:atp");
    let sign = |service: &Service| {
        let body = json!({"format": "jws", "payload": base64url(b"record")});
        let path = "/v1/rings/atp/sign?receipt=wait";
        service.post(path, Some(&token), &body).ok()
    };
    let service = installation.serve();
    sign(&service);
    let said = monitor(&installation, &service, "follows.json");
    assert_eq!(said.code, Some(0), "{said:?}");
    stop(service);
    installation.grant("another", "signer:atp");
    let (index, bound) = write_ahead(&installation);
    let service = installation.serve();
    sign(&service);

    let found = |state: &str| {
        let said = monitor(&installation, &service, state);
        let report = said.json();
        let code = match report["findings"] == json!([]) {
            true => 0,
            false => 5,
        };
        assert_eq!(said.code, Some(code), "{said:?}");
        codes(&report).join(" ")
    };
    assert_eq!(found("follows.json"), "backdated");
    assert_eq!(
        found("follows.json"),
        "",
        "it is told by the look that read it"
    );
    sign(&service);
    assert_eq!(found("follows.json"), "backdated");
    assert_eq!(codes(&check(&installation)), ["backdated"]);

    let request = correction(&installation, &origin(&service), index, &bound.to_string());
    let id = propose(&installation, &request);
    let transcript = format!("/v1/ceremonies/{id}/transcript");
    service.get(&transcript).problem(404, "unknown_ceremony");
    installation.vote_all("approve", &id);
    installation.chancery(["ceremony", "execute", &id]);
    sign(&service);
    service.get(&transcript).problem(404, "unknown_ceremony");
    assert_eq!(found("before.json"), "backdated", "not yet accepted");
    installation.vote_all("accept", &id);
    sign(&service);

    // The acts of the ceremony stand before the correction, and alarm nobody who reads both.
    assert_eq!(found("follows.json"), "");
    assert_eq!(found("begins.json"), "");
    sign(&service);
    for state in ["follows.json", "before.json", "begins.json"] {
        assert_eq!(found(state), "", "{state}");
    }
    assert_eq!(codes(&check(&installation)), [""; 0]);

    // What it rests on is everybody's, and holds from the genesis alone.
    let answer = service.get(&transcript);
    let age = answer.header("cache-control").expect("a header");
    assert!(age.contains("immutable"), "{age}");
    let pin = Pin {
        genesis: installation.genesis.parse().expect("a digest"),
        service: request["service"]
            .as_str()
            .expect("a name")
            .parse()
            .expect("a name"),
        environment: request["environment"]
            .as_str()
            .expect("a name")
            .parse()
            .expect("a name"),
    };
    let verified = trust::verify_transcript(&answer.body, &pin).expect("it holds");
    assert_eq!(verified.statement().request_digest.to_string(), id);
}

#[test]
fn case_v1_what_a_wrong_clock_wrote_halts_the_log_until_a_ceremony_corrects_it() {
    let installation = Installation::new();
    installation.open_ring("atp");
    installation.open_log();
    let token = installation.grant("integrity-service", "signer:atp");
    let body = json!({"format": "jws", "payload": base64url(b"record")});
    let service = installation.serve();
    let path = "/v1/rings/atp/sign?receipt=wait";
    let signed = service.post(path, Some(&token), &body).ok();
    stop(service);
    installation.grant("another", "signer:atp");
    let (index, _) = write_ahead(&installation);
    let clock =
        format!("UPDATE log_head SET clock = (SELECT time FROM log_leaf WHERE idx = {index})");
    Database::open(&installation.sqlite_url()).run(&clock);

    let service = installation.serve();
    let health = || {
        let ready = send(&service.operations, "GET", "/health/ready", &[], b"");
        ready.expect("it answers").json().expect("JSON")
    };
    until("it says why it signs nothing", || {
        let why = health()["parts"]["log"]["refused"].to_string();
        why.contains("ahead of the clock")
    });
    let refused = service.post("/v1/rings/atp/sign", Some(&token), &body);
    refused.problem(503, "log_unavailable");
    assert_eq!(health()["serves"]["verification"], true);
    let verdict = service.verdict(&member(&signed, "jws"));
    assert_eq!(verdict, "VALID");
    let grant = ["access", "grant", "a-third", "--role", "signer:atp"];
    assert_eq!(installation.try_chancery(grant).code, Some(4));

    let shown = installation.chancery(["log", "clock"]).json();
    assert_eq!(shown["ahead"], json!([index, index]), "{shown}");
    let ada = &installation.custodians[0];
    let new = ["ceremony", "new", "clock-correction", "--reason", "a clock"];
    let by = ["--proposer", &ada.id, "--key", text(ada.key_file())];
    // From her own machine, where nothing is signed that she did not name.
    let url = format!("http://{}", service.api);
    let at = ["--url", &url, "--genesis", &installation.genesis];
    let words = || new.into_iter().chain(by).chain(at);
    let plan = installation.chancery(words()).json();
    assert_eq!(plan["applied"], false, "{plan}");
    let (first, bound) = (index.to_string(), member(&shown, "bound"));
    assert!(plan["lines"].to_string().contains(&first), "{plan}");
    let leaves = ["--first", &first, "--last", &first, "--bound", &bound];
    let proposed = installation.chancery(words().chain(leaves)).json();
    let id = member(&proposed, "ceremony");
    installation.vote_all("approve", &id);
    installation.chancery(["ceremony", "execute", &id]);
    installation.vote_all("accept", &id);
    until("it signs again", || {
        service.post(path, Some(&token), &body).status == 200
    });
    let log = service.log();
    assert!(log.contains("the log is halted"), "{log}");
    assert!(log.contains("the log is integrated again"), "{log}");
    stop(service);
    assert_eq!(codes(&check(&installation)), [""; 0]);
}
