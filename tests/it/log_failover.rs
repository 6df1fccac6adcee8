//! Two PostgreSQL servers with asynchronous streaming replication; the primary dies and the standby, which lacks the
//! last seconds, is promoted under load.

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::http::send;
use testkit::postgres::Server;

use crate::support::forwarder::Forwarder;
use crate::support::installation::{Installation, Service, base64url, directory, member, text};
use crate::support::past::{codes, monitor, stop};
use crate::support::process::until;

const DATABASE: &str = "chancery_it";
const RING: &str = "atp";

fn url(port: u16) -> String {
    format!("postgres://chancery@127.0.0.1:{port}/{DATABASE}?sslmode=disable")
}

/// A replica that sees the database through a port of its own.
fn replica(installation: &Installation, forwarder: &Forwarder) -> Service {
    installation.replica(&[("CHANCERY_STORE__URL", &url(forwarder.port))])
}

fn sign(service: &Service, token: &str, path: &str) -> testkit::http::Answer {
    let body = json!({"format": "jws", "payload": base64url(b"record")}).to_string();
    let bearer = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    send(&service.api, "POST", path, &headers, body.as_bytes()).expect("it answers")
}

/// A signature that was answered: its index and the JWS.
fn answered(service: &Service, token: &str, receipt: bool) -> (u64, String) {
    let wait = if receipt { "?receipt=wait" } else { "" };
    let answer = sign(service, token, &format!("/v1/rings/{RING}/sign{wait}"));
    assert_eq!(answer.status, 200);
    let answer: Value = answer.json().expect("JSON");
    let index = answer["log_index"].as_u64().expect("an index");
    (index, member(&answer, "jws"))
}

fn health(service: &Service, path: &str) -> (u16, Value) {
    let answer = send(&service.operations, "GET", path, &[], b"").expect("it answers");
    (answer.status, answer.json().unwrap_or_default())
}

/// It says that it is halted, and why.
fn is_halted(service: &Service) {
    until("it is halted", || {
        let (_, ready) = health(service, "/health/ready");
        let why = ready["parts"]["log"]["refused"].as_str();
        why.is_some_and(|why| why.contains("log recover"))
    });
    assert_eq!(health(service, "/health/ready/signing").0, 503);
    assert_eq!(service.get("/.well-known/jwks.json").status, 200);
}

#[test]
fn case_l1_after_a_promotion_nothing_is_answered_and_everything_answered_comes_back() {
    let primary = Server::start().expect("PostgreSQL starts");
    let at = primary.create_database(DATABASE).expect("a database");
    let installation = Installation::on(directory(), &at);
    installation.open_ring(RING);
    installation.open_log();
    let token = installation.grant("integrity-service", &format!("signer:{RING}"));
    let standby = primary.standby().expect("a standby");
    let near = Forwarder::to(primary.port());
    let lagging = Forwarder::to(primary.port());
    let replicas = [
        replica(&installation, &near),
        replica(&installation, &lagging),
    ];
    let mut told = Vec::new();
    for replica in &replicas {
        told.push(answered(replica, &token, true));
    }
    let said = monitor(&installation, &replicas[0], "monitor.json");
    assert_eq!(said.code, Some(0), "{said:?}");

    // The standby falls behind: some of what follows is published, the last is not.
    standby.disconnect().expect("it is cut off");
    for replica in &replicas {
        for _ in 0..3 {
            told.push(answered(replica, &token, true));
        }
    }
    for _ in 0..5 {
        for replica in &replicas {
            told.push(answered(replica, &token, false));
        }
    }
    primary.stop().expect("it dies");
    standby.promote().expect("it is promoted");
    near.lead_to(standby.port());
    until("the first is told", || {
        let answer = sign(&replicas[0], &token, &format!("/v1/rings/{RING}/sign"));
        assert_ne!(answer.status, 200, "signed on a database that lacks leaves");
        health(&replicas[0], "/health/ready").1["parts"]["log"]["refused"].is_string()
    });
    is_halted(&replicas[0]);
    lagging.lead_to(standby.port());
    until("the other is told", || {
        let answer = sign(&replicas[1], &token, &format!("/v1/rings/{RING}/sign"));
        assert_ne!(answer.status, 200, "signed on a database that lacks leaves");
        health(&replicas[1], "/health/ready").1["parts"]["log"]["refused"].is_string()
    });
    is_halted(&replicas[1]);
    // One that starts only now has seen nothing, and does not sign either.
    let late = replica(&installation, &near);
    is_halted(&late);
    assert_ne!(
        sign(&late, &token, &format!("/v1/rings/{RING}/sign")).status,
        200
    );
    let unknown = late.post("/v1/verify", None, &json!({"jws": told[0].1}));
    unknown.problem(503, "log_unavailable");
    // Nor does a command write to it.
    let chancery = |arguments: &[&str]| {
        let mut command = installation.command();
        command.env("CHANCERY_STORE__URL", url(standby.port()));
        command.args(["--output", "json"]).args(arguments);
        crate::support::process::run(&mut command, b"")
    };
    let refused = chancery(&["access", "grant", "another", "--role", "signer:atp"]);
    assert_ne!(refused.code, Some(0), "{refused:?}");

    let kept: Vec<PathBuf> = replicas
        .iter()
        .zip(["one", "two"])
        .map(|(replica, name)| {
            let file = installation.file(name);
            let answer = send(&replica.operations, "GET", "/log/kept", &[], b"");
            std::fs::write(&file, answer.expect("it answers").body).expect("written");
            file
        })
        .collect();
    for service in [late].into_iter().chain(replicas) {
        stop(service);
    }
    let files: Vec<&str> = kept
        .iter()
        .flat_map(|file| ["--kept", text(file)])
        .collect();
    let recover = |more: &[&str]| {
        let words = [&["log", "recover"], files.as_slice(), more].concat();
        let said = chancery(&words);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.json()
    };
    let plan = recover(&[]);
    assert_eq!(plan["applied"], false, "{plan}");
    let done = recover(&["--apply"]);
    assert_eq!(done["applied"], true, "{done}");
    assert_eq!(done["by_hand"], json!([]), "{done}");

    let service = replica(&installation, &near);
    until("it signs", || {
        health(&service, "/health/ready/signing").0 == 200
    });
    for (index, jws) in &told {
        let answer = service.post("/v1/verify", None, &json!({"jws": jws})).ok();
        assert_eq!(answer["verdict"], "VALID", "{index}: {answer}");
        assert_eq!(answer["log_index"], *index, "{answer}");
    }
    let (next, _) = answered(&service, &token, true);
    let last = told.iter().map(|(index, _)| *index).max().expect("some");
    assert!(next > last, "{next} {last}");
    let said = monitor(&installation, &service, "monitor.json");
    assert_eq!(said.code, Some(0), "{said:?}");
    stop(service);
    let report = chancery(&["log", "check"]);
    assert_eq!(report.code, Some(0), "{report:?}");
    assert_eq!(codes(&report.json()), [""; 0]);
}
