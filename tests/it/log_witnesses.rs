//! A service and its witnesses: good ones, absent ones, liars, and those who know more than it does.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;

use crate::support::installation::{Installation, free_port, text};
use crate::support::process::until;
use crate::support::witness::{Cosigner, FakeLog, Witness, WitnessKey, liar};
use crate::support::witnessed_log::{House, figure, lines, readiness, stands_still};

fn seconds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process's own clock is meant"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
    now.as_secs()
}

#[test]
fn two_of_three_witnesses_cosign_and_the_receipt_says_since_when() {
    let house = House::new();
    let at = house.at();
    let keys: Vec<WitnessKey> = ["one", "two", "three"]
        .iter()
        .map(|name| WitnessKey::new(at, &format!("witness.example/{name}")))
        .collect();
    let run = |number: usize, address: &str| {
        let state = at.join(format!("state-{number}"));
        Witness::serve_at(address, &keys[number], &state, &[&house.log])
    };
    let addresses = [free_port(), free_port(), free_port()];
    let one = run(0, &addresses[0]);
    let _two = run(1, &addresses[1]);
    // The third is down.
    let witnesses: Vec<(&str, &VerifierKey, &str)> = ["w1", "w2", "w3"]
        .into_iter()
        .zip(&keys)
        .zip(&addresses)
        .map(|((name, key), address)| (name, &key.key, address.as_str()))
        .collect();
    let policy = WitnessPolicy::parse(&lines(&witnesses, "2")).expect("a policy");
    let service = house.serve(&witnesses, "2");

    let started = seconds();
    let mut indexes = Vec::new();
    for _ in 0..5 {
        let index = house.sign(&service);
        indexes.push(index);
        until("two of three have cosigned", || {
            house.witnessed(&service, index, &policy).complete
        });
        let witnessed = house.witnessed(&service, index, &policy);
        let since = witnessed.at.expect("the quorum is complete").millis() / 1000;
        assert!(
            (started..=seconds()).contains(&u64::try_from(since).unwrap()),
            "{since}"
        );
        assert_eq!(witnessed.cosigners.len(), 2);
    }
    // What is published carries the lines, over HTTP and in the storage.
    until("the published checkpoint is witnessed", || {
        let (note, _) = house.published(&service);
        let ready = readiness(&service);
        policy.satisfied(&note).expect("good lines").complete
            && ready["parts"]["log"]["witnessed"] == true
    });
    let (_, seen) = house.published(&service);
    until("the storage has it", || {
        let stored = fs::read(at.join("log/checkpoint")).expect("a checkpoint");
        let stored = Note::parse(&stored).expect("a note");
        let open = checkpoint::open(&stored, std::slice::from_ref(&house.log));
        let enough = policy.satisfied(&stored).expect("good lines").complete;
        enough && open.expect("by the log").size >= seen.size
    });
    assert_eq!(readiness(&service)["parts"]["log"]["ok"], true);
    assert!(figure(&service, "chancery_log_cosignatures_total", &["w1"]) >= 5.0);
    assert!(
        figure(
            &service,
            "chancery_log_witness_failures_total",
            &["w3", "unreachable"]
        ) >= 1.0
    );
    assert!(figure(&service, "chancery_log_witness_lag_leaves", &["w3"]) >= 5.0);

    // Idle: heartbeats go on being witnessed, and nobody's line stands twice.
    let (_, before) = house.published(&service);
    until("the heartbeat is witnessed", || {
        let (note, now) = house.published(&service);
        now.size > before.size && policy.satisfied(&note).expect("good lines").complete
    });
    for index in &indexes {
        let answer = service.get(&format!("/v1/receipts/{index}"));
        let proof = TlogProof::parse(&answer.body).expect("a tlog-proof");
        let mut names: Vec<String> = proof
            .checkpoint
            .signatures
            .iter()
            .map(|line| line.name.clone())
            .collect();
        let lines = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), lines, "{names:?}");
    }

    // The third comes up and the first goes away: still two of three.
    let _three = run(2, &addresses[2]);
    until("the third has caught up", || {
        figure(&service, "chancery_log_cosignatures_total", &["w3"]) >= 1.0
    });
    drop(one);
    let index = house.sign(&service);
    until("two others have cosigned", || {
        house.witnessed(&service, index, &policy).complete
    });
    let cosigners = house.witnessed(&service, index, &policy).cosigners;
    assert!(
        cosigners
            .iter()
            .any(|(name, _)| name == "witness.example/three")
    );

    // The service forgets where the witnesses stand, and they tell it.
    house.end(service);
    let service = house.serve(&witnesses, "2");
    let index = house.sign(&service);
    until("cosigned after a restart", || {
        house.witnessed(&service, index, &policy).complete
    });
}

#[test]
fn witnesses_that_are_slow_or_lie_change_nothing() {
    let house = House::new();
    let at = house.at();
    // How far the log is before anybody witnesses it.
    let unseen = house.installation.serve();
    house.sign(&unseen);
    house.end(unseen);
    let unseen = house.installation.serve();
    let size = house.published_when_there(&unseen);
    house.end(unseen);

    let good_key = WitnessKey::new(at, "good");
    let good = Witness::serve(&good_key, &at.join("good"), &[&house.log]);
    // Accepts and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = (
        silent.local_addr().expect("its address").to_string(),
        silent,
    );
    let cosigner = |name: &str, seed| Cosigner::new(name, seed);
    let garbage = liar(|_| (200, "\u{2014} garbage AAAAAAAAAAAA\n".to_owned()));
    let prose = liar(|_| (200, "yes\n".to_owned()));
    let endless = liar(|_| (200, "\u{2014} endless AAAAAAAA\n".repeat(9_000)));
    let other_text = liar(|_| {
        (
            200,
            Cosigner::new("text", 13).line("log.example\n1\nAAAA\n", seconds()),
        )
    });
    let other_key = liar(|asked| {
        let line = Cosigner::new("key", 99).line(&asked.note.text, seconds());
        (200, line)
    });
    let future = liar(|asked| {
        (
            200,
            Cosigner::new("future", 15).line(&asked.note.text, seconds() + 400),
        )
    });
    let past = liar(|asked| {
        (
            200,
            Cosigner::new("past", 16).line(&asked.note.text, 1_000_000_000),
        )
    });
    let ahead = liar(|_| (409, format!("{}\n", i64::MAX)));
    let fickle = liar(|asked| (409, format!("{}\n", u64::from(asked.old == 0))));
    let sizeless = liar(|_| (409, "many\n".to_owned()));
    let elsewhere = liar(|_| (301, String::new()));
    // It has seen another history of as many leaves; the log's key did not sign that.
    let mut fake = FakeLog::new(house.log.name(), 7, "another");
    let forked_key = WitnessKey::new(at, "forked");
    let forked = Witness::serve(&forked_key, &at.join("forked"), &[&house.log, &fake.key]);
    assert_eq!(forked.add(&fake.request(0, size)).status, 200);

    let liars = [
        ("garbage", cosigner("garbage", 10), garbage, "cosignature"),
        ("prose", cosigner("prose", 11), prose, "answer"),
        ("endless", cosigner("endless", 12), endless, "answer"),
        ("text", cosigner("text", 13), other_text, "cosignature"),
        ("key", cosigner("key", 14), other_key, "cosignature"),
        ("future", cosigner("future", 15), future, "cosignature"),
        ("past", cosigner("past", 16), past, "cosignature"),
        ("ahead", cosigner("ahead", 17), ahead, "ahead"),
        ("fickle", cosigner("fickle", 18), fickle, "answer"),
        ("sizeless", cosigner("sizeless", 19), sizeless, "answer"),
        ("elsewhere", cosigner("elsewhere", 20), elsewhere, "answer"),
        (
            "silent",
            cosigner("silent", 21),
            silent.0.clone(),
            "unreachable",
        ),
    ];
    let mut witnesses = vec![
        ("good", &good_key.key, good.address.as_str()),
        ("forked", &forked_key.key, forked.address.as_str()),
    ];
    witnesses.extend(liars.iter().map(|l| (l.0, &l.1.key, l.2.as_str())));
    let policy = WitnessPolicy::parse(&lines(&witnesses, "any")).expect("a policy");
    let service = house.serve(&witnesses, "any");

    // None of them holds the log or the good one up.
    house.signs(&service);
    for _ in 0..8 {
        let before = Instant::now();
        let index = house.sign(&service);
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "{:?}",
            before.elapsed()
        );
        until("the good one has cosigned", || {
            house.witnessed(&service, index, &policy).complete
        });
        let cosigners = house.witnessed(&service, index, &policy).cosigners;
        assert_eq!(cosigners.len(), 1);
        assert_eq!(cosigners[0].0, "good");
    }
    for (name, _, _, why) in &liars {
        until(
            &format!("the failures of {name} are counted as {why:?}"),
            || {
                let labels = [&*format!("witness=\"{name}\""), &*format!("why=\"{why}\"")];
                figure(&service, "chancery_log_witness_failures_total", &labels) >= 1.0
            },
        );
    }
    let labels = ["witness=\"forked\"", "why=\"inconsistent\""];
    assert!(figure(&service, "chancery_log_witness_failures_total", &labels) >= 1.0);
    assert!(service.log().contains("a witness contradicts the log"));
    // Nothing of theirs was written down, in any checkpoint.
    let (note, now) = house.published(&service);
    for index in (0..now.size).rev().take(40) {
        let answer = service.get(&format!("/v1/receipts/{index}"));
        let proof = TlogProof::parse(&answer.body).expect("a tlog-proof");
        for line in &proof.checkpoint.signatures {
            assert!(
                line.name == "good" || line.name == house.log.name(),
                "{line:?}"
            );
        }
    }
    assert!(note.signatures.len() <= 2);
    assert_eq!(readiness(&service)["parts"]["log"]["refused"], Value::Null);
}

#[test]
fn a_restored_backup_is_known_by_a_witness_and_stops_signing() {
    let house = House::new();
    let at = house.at();
    let key = WitnessKey::new(at, "w1");
    let witness = Witness::serve(&key, &at.join("state"), &[&house.log]);
    let absent = [Cosigner::new("w2", 2), Cosigner::new("w3", 3)];
    let (down, other) = (free_port(), free_port());
    // One of three, so its word alone would not be enough.
    let witnesses = [
        ("w1", &key.key, witness.address.as_str()),
        ("w2", &absent[0].key, &down),
        ("w3", &absent[1].key, &other),
    ];
    let cosigned = |size: u64| {
        until("the witness has cosigned it", || {
            let answer = witness.checkpoint(house.log.name());
            let note = Note::parse(&answer.body).expect("a note");
            Checkpoint::parse(&note.text).expect("a checkpoint").size >= size
        });
    };
    let service = house.serve(&witnesses, "any");
    cosigned(house.sign(&service) + 1);
    house.end(service);
    house.save("yesterday");
    let service = house.serve(&witnesses, "any");
    for _ in 0..3 {
        house.sign(&service);
    }
    cosigned(house.sign(&service) + 1);
    house.end(service);
    house.save("today");

    // Yesterday's backup, tiles and all: nothing on this machine knows better.
    house.restore("yesterday");
    let service = house.serve(&witnesses, "any");
    stands_still(&house, &service, "the witness w1 has cosigned");
    let (_, stands) = house.published(&service);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(
        house.published(&service).1,
        stands,
        "no other checkpoint is signed"
    );
    stands_still(&house, &service, "the database is older than the log");
    house.end(service);

    // Put right, it goes on.
    house.restore("today");
    let service = house.serve(&witnesses, "any");
    cosigned(house.sign(&service) + 1);
    house.end(service);

    // Yesterday's backup that was let grow while no witness looked: two histories, both signed.
    house.restore("yesterday");
    let service = house.installation.serve();
    for _ in 0..30 {
        house.sign(&service);
    }
    let size = house.published_when_there(&service);
    house.end(service);
    let known = Note::parse(&witness.checkpoint(house.log.name()).body).expect("a note");
    assert!(Checkpoint::parse(&known.text).expect("a checkpoint").size < size);
    let service = house.serve(&witnesses, "any");
    stands_still(&house, &service, "the log has forked");
}

#[test]
fn the_only_witness_stops_the_log_by_its_word_until_it_takes_it_back() {
    let house = House::new();
    let at = house.at();
    let mut fake = FakeLog::new(house.log.name(), 7, "another");
    let key = WitnessKey::new(at, "w1");
    let address = free_port();
    let witness = Witness::serve_at(&address, &key, &at.join("state"), &[&house.log, &fake.key]);
    assert_eq!(witness.add(&fake.request(0, 1_000)).status, 200);
    let witnesses = [("w1", &key.key, address.as_str())];
    let service = house.serve(&witnesses, "any");
    stands_still(&house, &service, "1 witnesses report a tree of 1000 leaves");
    // The process of the service goes on all the while.
    drop(witness);
    stands_still(&house, &service, "1000 leaves");
    let _witness = Witness::serve_at(&address, &key, &at.join("new"), &[&house.log]);
    until("the log goes on", || {
        readiness(&service)["parts"]["log"]["ok"] == true
    });
    let policy = WitnessPolicy::parse(&lines(&witnesses, "any")).expect("a policy");
    let index = house.sign(&service);
    until("it is witnessed", || {
        house.witnessed(&service, index, &policy).complete
    });
}

#[test]
fn a_policy_that_cannot_be_used_is_refused_at_the_start() {
    let house = Installation::new();
    let w = Cosigner::new("w", 1);
    for (policy, why) in [
        (
            format!("witness w {} http://w.example/\nquorum w\n", w.key),
            "the witness w",
        ),
        (format!("witness w {}\n", w.key), "no quorum"),
        (
            "witness w nonsense https://w.example\nquorum w\n".to_owned(),
            "line 1",
        ),
    ] {
        let file = house.file("witnesses.policy");
        fs::write(&file, policy).expect("a policy");
        let mut serve = house.command();
        serve
            .arg("serve")
            .env("CHANCERY_LOG__WITNESSES", text(&file));
        let said = crate::support::process::run(&mut serve, b"");
        assert_ne!(said.code, Some(0));
        assert!(
            said.stderr.contains("log.witnesses") && said.stderr.contains(why),
            "{said:?}"
        );
    }
}
