//! The service itself is killed, shut down, left by its clients, rotated and revoked under load.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::thread;

use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::http::{connect, request, send};
use crate::support::installation::{Installation, directory, member};
use crate::support::load::{Load, all_in_trail, signed, tally, unexpected};
use crate::support::process::{signal, until};
use testkit::postgres::Server;

const RING: &str = "integrity";

/// An open ring, a signer and an auditor.
fn open(installation: &Installation) -> (String, String, String) {
    let kid = installation.open_ring(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    (kid, signer, installation.grant("auditor", "auditor"))
}

#[test]
fn kill_9_in_a_loop_under_load_loses_no_acknowledged_signature() {
    let installation = Installation::new();
    let (_, signer, auditor) = open(&installation);
    let mut answers = Vec::new();
    for round in 0..5 {
        let mut service = installation.serve();
        let workers = service.workers();
        assert!(!workers.is_empty());
        let load = Load::start(&service, RING, &signer, 8);
        // Later each time.
        load.goes_on(20 + 37 * round);
        service.child.kill();
        let told = load.stop();
        let told_wrong = unexpected(&told, &["overloaded", "token_unavailable"]);
        assert!(told_wrong.is_empty(), "{told_wrong:?}");
        answers.extend(signed(&told).into_iter().cloned());
        // Its workers hold a PIN; they do not outlive it.
        until("the workers are gone", || {
            !workers.iter().any(|id| is_worker(*id))
        });
    }
    let service = installation.serve();
    assert!(answers.len() > 100, "only {} signatures", answers.len());
    all_in_trail(
        &answers.iter().collect::<Vec<_>>(),
        &service.leaves(&auditor, 0),
    );
    for answer in answers.iter().rev().take(20) {
        assert_eq!(service.verdict(&member(answer, "jws")), "VALID");
    }
    assert!(!service.jws(RING, &signer, b"and on it goes").is_empty());
}

fn is_worker(id: u32) -> bool {
    let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).contains("hsm-worker")
}

#[test]
fn a_service_that_is_told_to_stop_finishes_what_it_began() {
    let installation = Installation::new();
    let (_, signer, auditor) = open(&installation);
    let mut service = installation.serve();
    let load = Load::start(&service, RING, &signer, 4);
    load.goes_on(20);
    signal("TERM", service.child.id());
    let ended = service.child.wait().expect("it ended");
    assert!(ended.success(), "{ended:?}: {}", service.log());
    let told = load.stop();
    assert!(unexpected(&told, &[]).is_empty(), "{:?}", tally(&told));
    let answers: Vec<Value> = signed(&told).into_iter().cloned().collect();
    let service = installation.serve();
    all_in_trail(
        &answers.iter().collect::<Vec<_>>(),
        &service.leaves(&auditor, 0),
    );
}

#[test]
fn case_a4_a_hang_up_never_ends_the_service() {
    let installation = Installation::new();
    let (_, signer, _) = open(&installation);
    let mut service = installation.serve();
    let body = json!({"format": "jws", "payload": "AQID"});
    for _ in 0..3 {
        signal("HUP", service.child.id());
        service.sign(RING, &signer, &body);
    }
    until("it has said so", || service.log().contains("SIGHUP"));
    assert!(service.child.try_wait().expect("a child").is_none());
}

#[test]
fn a_service_over_postgresql_ends_when_it_is_told_to() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database("chancery_it").expect("a database");
    let installation = Installation::on(directory(), &url);
    let (_, signer, _) = open(&installation);
    let mut service = installation.serve();
    let body = json!({"format": "jws", "payload": "AQID"});
    service.sign(RING, &signer, &body);
    signal("TERM", service.child.id());
    let mut ended = None;
    until("it has ended", || {
        ended = service.child.try_wait().expect("a child");
        ended.is_some()
    });
    assert!(
        ended.is_some_and(|status| status.success()),
        "{}",
        service.log()
    );
    assert!(
        !service.log().contains("did not close in time"),
        "{}",
        service.log()
    );
}

#[test]
fn ten_thousand_clients_that_disconnect_leave_nothing_behind() {
    let installation = Installation::new();
    let (_, signer, _) = open(&installation);
    let service = installation.serve();
    let bearer = format!("Bearer {signer}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    let body = br#"{"format":"jws","payload":"AQID"}"#;
    let path = format!("/v1/rings/{RING}/sign");
    let bytes = request(&service.api, "POST", &path, &headers, body);
    service.jws(RING, &signer, b"warm");
    let id = service.child.id();
    let before = descriptors(id);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..1_250 {
                    // Some requests are not even complete.
                    let length = if n % 5 == 0 {
                        bytes.len() - 7
                    } else {
                        bytes.len()
                    };
                    let mut stream = connect(&service.api).expect("the service listens");
                    stream.write_all(&bytes[..length]).expect("sent");
                }
            });
        }
    });
    until("every request and signature has ended", || {
        let ready = send(&service.operations, "GET", "/health/ready", &[], b"")
            .expect("an answer")
            .json();
        ready["parts"]["token"]["queued"] == 0
            && service.metric("chancery_http_requests_in_flight") == Some(0.0)
    });
    until("their connections are closed", || {
        descriptors(id) <= before + 4
    });
    let load = Load::start(&service, RING, &signer, 4);
    load.goes_on(50);
    let told = load.stop();
    assert_eq!(
        tally(&told).keys().collect::<Vec<_>>(),
        ["signed"],
        "{:?}",
        tally(&told)
    );
}

/// Open files and sockets of a process.
fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd"))
        .expect("the process runs")
        .count()
}

#[test]
fn a_revocation_under_load_lets_no_later_signature_out() {
    let installation = Installation::new();
    let (kid, signer, auditor) = open(&installation);
    let standby = installation.give_birth(RING);
    let service = installation.serve();
    let words = [
        "ring",
        "revoke",
        RING,
        "--kid",
        &kid,
        "--because",
        "superseded",
        "--apply",
    ];
    let id = installation.propose_words(&words);
    installation.vote_all("approve", &id);
    installation.until_rotation_is_safe(RING);
    let load = Load::start(&service, RING, &signer, 8);
    load.goes_on(50);
    installation.chancery(["ceremony", "execute", &id]);
    load.goes_on(50);
    let told = load.stop();
    // The standby takes over in the same transaction, so no caller pays for it.
    assert_eq!(
        tally(&told).keys().collect::<Vec<_>>(),
        ["signed"],
        "{:?}",
        tally(&told)
    );
    let answers = signed(&told);
    let leaves = service.leaves(&auditor, 0);
    all_in_trail(&answers, &leaves);
    let revoked = leaves
        .iter()
        .position(|leaf| leaf["kind"] == "key" && leaf["leaf"].to_string().contains("revoke"))
        .expect("the revocation is in the trail");
    let later = |leaf: &&Value| leaf["kind"] == "sign" && leaf["kid"] == kid;
    assert_eq!(leaves[revoked..].iter().filter(later).count(), 0);
    let by = |kid: &str| {
        answers
            .iter()
            .filter(|answer| answer["kid"] == *kid)
            .count()
    };
    assert!(
        by(&kid) > 0 && by(&standby) > 0,
        "{} and {}",
        by(&kid),
        by(&standby)
    );
}

#[test]
fn two_replicas_rotating_at_once_one_wins_and_no_request_fails() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database("chancery_it").expect("a database");
    let installation = Installation::on(directory(), &url);
    let (first, signer, auditor) = open(&installation);
    let replicas = [installation.serve(), installation.replica(&[])];
    let second = installation.give_birth(RING);
    installation.until_rotation_is_safe(RING);
    let load: Vec<Load> = replicas
        .iter()
        .map(|replica| Load::start(replica, RING, &signer, 3))
        .collect();
    load.iter().for_each(|load| load.goes_on(20));
    let said: Vec<_> = thread::scope(|scope| {
        let rotate = || installation.try_chancery(["ring", "rotate", RING, "--apply"]);
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(rotate)).collect();
        asked
            .into_iter()
            .map(|one| one.join().expect("it ran"))
            .collect()
    });
    load.iter().for_each(|load| load.goes_on(50));
    let told: Vec<_> = load.into_iter().flat_map(Load::stop).collect();
    assert_eq!(
        said.iter().filter(|said| said.code == Some(0)).count(),
        1,
        "{said:?}"
    );
    for said in said.iter().filter(|said| said.code != Some(0)) {
        assert_eq!(said.code, Some(3), "{said:?}");
        let why = member(&said.json()["error"], "message");
        assert!(
            why.contains("has changed since the operation was planned") || why.contains("standby"),
            "{why}"
        );
    }
    assert_eq!(
        tally(&told).keys().collect::<Vec<_>>(),
        ["signed"],
        "{:?}",
        tally(&told)
    );
    let answers = signed(&told);
    let kids: BTreeSet<&str> = answers
        .iter()
        .filter_map(|answer| answer["kid"].as_str())
        .collect();
    assert_eq!(kids, BTreeSet::from([first.as_str(), second.as_str()]));
    all_in_trail(&answers, &replicas[1].leaves(&auditor, 0));
    let mut database = Database::open(&url);
    let primaries = "SELECT COUNT(*)::text FROM signing_key WHERE role = 'primary'";
    assert_eq!(database.one(primaries), "1");
    for replica in &replicas {
        until("each replica has seen it", || {
            replica.sign(RING, &signer, &json!({"format": "jws", "payload": "AQID"}))["kid"]
                == *second
        });
        assert_eq!(replica.verdict(&member(answers[0], "jws")), "VALID");
    }
}

#[test]
fn case_c4_a_service_log_in_text_has_no_colours_in_a_file() {
    let installation = Installation::new();
    let service = installation.start(&[("CHANCERY_TELEMETRY__FORMAT", "text")]);
    until("the service says something", || {
        service.log().contains("INFO")
    });
    assert!(!service.log().contains('\u{1b}'), "{}", service.log());
}
