//! The only witness of the log is away while a ring rotates, and nothing is signed without it (`log.witnesses_missing = "stop"`): the
//! rotation goes on, because what it does is written in the log's own order and cosigned later.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use trust::tlog::checkpoint::Checkpoint;

use crate::log_witness_answers::seconds;
use crate::support::database::Database;
use crate::support::forwarder::Forwarder;
use crate::support::installation::{base64url, directory, member, must, text};
use crate::support::process::until;
use crate::support::simulated::{DAY, RING, Simulated};
use crate::support::witness::{Cosigner, liar};
use crate::support::witnessed_log::{lines, readiness};

/// A witness whose clock is the simulation's: where it answers, and how many leaves it has cosigned.
fn witness(world: &Simulated) -> (u16, Arc<AtomicU64>) {
    let clock = world.installation.file("clock");
    let size = Arc::<AtomicU64>::default();
    let cosigned = size.clone();
    let address = liar(move |asked| {
        let shown = Checkpoint::parse(&asked.note.text).expect("a checkpoint");
        let known = size.load(Ordering::SeqCst);
        if asked.old != known || shown.size < known {
            return (409, format!("{known}\n"));
        }
        size.store(shown.size, Ordering::SeqCst);
        let ahead = fs::read_to_string(&clock).expect("a clock");
        let now = seconds() + ahead.parse::<u64>().expect("seconds");
        (200, Cosigner::new("w1", 21).line(&asked.note.text, now))
    });
    let (_, port) = address.rsplit_once(':').expect("a port");
    (port.parse().expect("a number"), cosigned)
}

#[test]
fn fault_the_witness_is_down_while_a_rotation_runs() {
    let directory = directory();
    let url = format!("sqlite:{}", directory.path().join("chancery.db").display());
    let world = Simulated::new(directory, &url, "2");
    let installation = &world.installation;
    world.opened("log", "Ed25519");
    let signer = must(installation.made.grant("signer", &["signer:integrity"]));
    let (port, cosigned) = witness(&world);
    let way = Forwarder::to(port);
    let key = Cosigner::new("w1", 21).key;
    let policy = installation.file("witnesses.policy");
    let place = format!("127.0.0.1:{}", way.port);
    fs::write(&policy, lines(&[("w1", &key, &place)], "any")).expect("written");
    let service = installation.serve_with(&[
        ("CHANCERY_LOG__WITNESSES", text(&policy)),
        ("CHANCERY_LOG__WITNESS_TIMEOUT", "500ms"),
        ("CHANCERY_LOG__WITNESSES_MISSING", "stop"),
        ("CHANCERY_LOG__INTERVAL", "100ms"),
        ("CHANCERY_LOG__HEARTBEAT", "1s"),
    ]);
    let sign = || {
        let body = json!({"format": "jws", "payload": base64url(b"record")});
        service.post(&format!("/v1/rings/{RING}/sign"), Some(&signer), &body)
    };
    until("it signs", || sign().status == 200);

    way.lead_to(0);
    until("nothing is signed without it", || {
        let refused = readiness(&service)["parts"]["log"]["refused"].clone();
        refused.as_str().is_some_and(|why| why.contains("w1"))
    });
    sign().problem(503, "log_unavailable");
    let before = cosigned.load(Ordering::SeqCst);
    let id = world.scheduled();
    world.until("the executor is asked", &id, |it| it["waits"] == "executor");
    let made = world.executor_once();
    assert_eq!(made["executed"].as_array().map(Vec::len), Some(1), "{made}");
    world.until("it is published", &id, |it| !it["published_at"].is_null());
    world.passes(DAY);
    world.until("the key is primary", &id, |it| !it["promoted_at"].is_null());
    world.passes(DAY);
    world.until("it is over", &id, |it| it["state"] == "done");
    // That it signs again is no business of the rotation.
    sign().problem(503, "log_unavailable");
    assert_eq!(cosigned.load(Ordering::SeqCst), before);

    way.lead_to(port);
    until("it signs again", || sign().status == 200);
    let ring = installation.chancery(["ring", "show", RING]).json();
    let keys = ring["keys"].as_array().expect("keys");
    let primary = keys.iter().find(|key| key["state"] == "primary");
    assert_eq!(sign().ok()["kid"], member(primary.expect("one"), "kid"));
    let leaves = Database::open(&url).one("SELECT CAST(COUNT(*) AS TEXT) FROM log_leaf");
    let leaves = leaves.parse::<u64>().expect("a number");
    until("all of it is cosigned", || {
        cosigned.load(Ordering::SeqCst) >= leaves
    });
    let checked = installation.try_chancery(["log", "check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}
