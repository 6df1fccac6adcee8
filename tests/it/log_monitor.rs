//! `chancery log monitor` over a service that does nothing wrong, is silent, goes away and comes back.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;
use trust::tlog::note::VerifierKey;

use crate::support::installation::{Installation, Service, member, text};
use crate::support::load::{Load, signed};
use crate::support::past::codes;
use crate::support::process::{Running, Said, signal, until};

fn words<'a>(installation: &'a Installation, url: &'a str, state: &'a str) -> Vec<&'a str> {
    let watch = [
        "log",
        "monitor",
        "--url",
        url,
        "--state",
        state,
        "--genesis",
    ];
    [&watch[..], &[installation.genesis.as_str()]].concat()
}

fn once(installation: &Installation, service: &Service, more: &[&str]) -> Said {
    let url = format!("http://{}", service.api);
    let state = installation.file("state.json");
    let words = words(installation, &url, text(&state));
    installation.try_chancery([&words[..], &["--once"], more].concat())
}

#[test]
fn a_sound_log_is_followed_without_an_alarm_also_under_load() {
    let installation = Installation::new();
    let kid = installation.open_ring("atp");
    let token = installation.grant("integrity-service", "signer:atp");
    let service = installation.serve();
    let said = once(&installation, &service, &[]);
    assert_eq!(
        codes(&said.json()),
        ["checkpoint"],
        "nothing is published yet: {said:?}"
    );
    assert!(!installation.file("state.json").exists());
    installation.open_log();
    until("a checkpoint is published", || {
        service.get("/log/checkpoint").status == 200
    });

    // The first time all of it is read, later what is new.
    let load = Load::start(&service, "atp", &token, 4);
    let mut read = Vec::new();
    for _ in 0..4 {
        let said = once(&installation, &service, &[]);
        assert_eq!(said.code, Some(0), "{said:?}");
        read.push(said.json()["read"].as_u64().expect("a number"));
        load.goes_on(80);
        // Keys that come and go are in the log by the time they are told of, or a moment later.
        installation.give_birth("atp");
    }
    let told = load.stop();
    assert!(signed(&told).len() > 300);
    let said = once(&installation, &service, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    read.push(said.json()["read"].as_u64().expect("a number"));
    assert_eq!(
        read.iter().sum::<u64>(),
        said.json()["size"].as_u64().expect("a size")
    );
    assert!(
        read[1] > 0 && read[1] < read.iter().sum::<u64>() / 2,
        "{read:?}"
    );

    // A key that is revoked leaves the set before anybody is alarmed.
    installation.rotate_when_safe("atp");
    installation.revoke("atp", &kid, &["--because", "superseded"]);
    let said = once(&installation, &service, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");

    // Silence; witnesses that nobody has; another genesis; a state that was touched.
    std::thread::sleep(Duration::from_secs(2));
    let said = once(&installation, &service, &["--max-age", "1s"]);
    assert_eq!((said.code, codes(&said.json())), (Some(5), vec!["stale"]));
    let policy = installation.file("policy");
    let pair = Ed25519KeyPair::generate().expect("a key");
    let key = pair.public_key().as_ref().try_into().expect("32 bytes");
    let witness = VerifierKey::cosigner("w.example", &key).expect("a witness");
    fs::write(&policy, format!("witness w1 {witness}\nquorum w1\n")).expect("a policy");
    let said = once(
        &installation,
        &service,
        &["--witness-policy", text(&policy)],
    );
    match said.code {
        Some(5) => assert_eq!(codes(&said.json()), ["witnesses"]),
        _ => panic!("{said:?}"),
    }
    let state = fs::read_to_string(installation.file("state.json")).expect("a state");
    let touched = state.replacen("\"size\": ", "\"size\": 1", 1);
    fs::write(installation.file("state.json"), &touched).expect("written");
    assert_eq!(once(&installation, &service, &[]).code, Some(2));
    let kept = fs::read_to_string(installation.file("state.json")).expect("a state");
    assert_eq!(kept, touched, "it is not begun anew");
    fs::remove_file(installation.file("state.json")).expect("removed");
    let mut installation = installation;
    installation.made.genesis = "0".repeat(64);
    let said = once(&installation, &service, &[]);
    // Under another genesis no key has signed anything.
    assert_eq!(
        codes(&said.json()),
        ["checkpoint", "key_unlogged"],
        "{said:?}"
    );
    drop(service);
}

/// The lines of a monitor that goes on.
fn follow(installation: &Installation) -> (Running, Receiver<Value>) {
    let url = format!("http://{}", installation.plan.api);
    let state = installation.file("loop.json");
    let mut monitor = installation.command();
    monitor.args(["--output", "json"]);
    monitor.args(words(installation, &url, text(&state)));
    monitor.args(["--interval", "200ms"]).stdout(Stdio::piped());
    let mut child = monitor.spawn().expect("the monitor starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).expect("a JSON line");
            if send.send(line).is_err() {
                return;
            }
        }
    });
    (Running::new(child), receive)
}

#[test]
fn a_monitor_goes_on_while_the_service_is_away() {
    let installation = Installation::new();
    installation.open_log();
    let service = installation.serve();
    until("a checkpoint is published", || {
        service.get("/log/checkpoint").status == 200
    });
    let (mut monitor, lines) = follow(&installation);
    until("it has looked", || installation.file("loop.json").exists());
    signal("KILL", service.child.id());
    drop(service);
    let next = || lines.recv_timeout(Duration::from_secs(60)).expect("a line");
    assert_eq!(member(&next(), "code"), "unreachable");
    let service = installation.serve();
    assert_eq!(member(&next(), "code"), "clear");
    // Alarms come once, not with every look.
    drop(service);
    assert_eq!(member(&next(), "code"), "unreachable");
    std::thread::sleep(Duration::from_secs(1));
    assert!(lines.try_recv().is_err());
    assert!(monitor.is_alive());
}
