//! A clock that was wrong: a ceremony says of leaves that they are not younger than a bound.

use serde_json::{Value, json};
use trust::evidence::verify;
use trust::{Purpose, Request};

use crate::support::agreement::PYTHON;
use crate::support::installation::{Installation, Service, base64url, member, text};
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

    let note = String::from_utf8_lossy(&service.get("/log/checkpoint").body).into_owned();
    let origin = note.lines().next().expect("a note");
    let request = correction(&installation, origin, index, &bound);
    let request = trust::json::canonical(&request).expect("canonical");
    let read = Request::decode(&request).expect("a request");
    let file = installation.file("request");
    std::fs::write(&file, read.message(Purpose::Propose, &request)).expect("written");
    let namespace = read.namespace(Purpose::Propose).to_string();
    let signature = installation.custodians[0].sign(&file, &namespace);
    let propose = [
        "ceremony",
        "propose",
        text(&file),
        "--signature",
        text(&signature),
    ];
    let id = member(&installation.chancery(propose).json(), "ceremony");
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
