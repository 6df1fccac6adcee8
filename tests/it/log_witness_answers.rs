//! Whose answers signing waits for: a restored snapshot signs nothing, whatever else a witness serves.

use std::sync::{Arc, Mutex};

use trust::tlog::checkpoint::Checkpoint;

use crate::support::installation::{free_port, member};
use crate::support::process::until;
use crate::support::witness::{Cosigner, Witness, WitnessKey, liar};
use crate::support::witnessed_log::{House, readiness, stands_still};

/// Since the epoch.
pub fn seconds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process's own clock is meant"
    )]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("now").as_secs()
}

/// A witness that answers `POST /add-checkpoint` and nothing else, as most of them do. It believes
/// every proof; each checkpoint that it was shown is kept.
fn submissions_alone(name: &'static str, seed: u8) -> (String, Arc<Mutex<Vec<Checkpoint>>>) {
    let shown = Arc::new(Mutex::new(Vec::<Checkpoint>::new()));
    let held = shown.clone();
    let cosigned = Mutex::new(0);
    let address = liar(move |asked| {
        let checkpoint = Checkpoint::parse(&asked.note.text).expect("a checkpoint");
        held.lock().expect("no panic").push(checkpoint.clone());
        let mut cosigned = cosigned.lock().expect("no panic");
        if asked.old != *cosigned || checkpoint.size < *cosigned {
            return (409, format!("{cosigned}\n"));
        }
        *cosigned = checkpoint.size;
        let line = Cosigner::new(name, seed).line(&asked.note.text, seconds());
        (200, line)
    });
    (address, shown)
}

#[test]
fn case_g1_a_restored_snapshot_signs_nothing() {
    let house = House::new();
    let (address, shown) = submissions_alone("w1", 21);
    let key = Cosigner::new("w1", 21).key;
    // With the quorum at one of three its word alone would not do.
    let absent = [Cosigner::new("w2", 2).key, Cosigner::new("w3", 3).key];
    let (down, other) = (free_port(), free_port());
    let witnesses = [
        ("w1", &key, address.as_str()),
        ("w2", &absent[0], &down),
        ("w3", &absent[1], &other),
    ];
    let largest = || {
        let shown = shown.lock().expect("no panic");
        shown
            .iter()
            .map(|checkpoint| checkpoint.size)
            .max()
            .unwrap_or(0)
    };
    let service = house.serve(&witnesses, "any");
    let index = house.sign(&service);
    until("it is cosigned", || largest() > index);
    house.end(service);
    house.save("snapshot");
    let service = house.serve(&witnesses, "any");
    house.sign(&service);
    let index = house.sign(&service);
    until("it is cosigned", || largest() > index);
    house.end(service);

    house.restore("snapshot");
    let service = house.serve(&witnesses, "any");
    stands_still(&house, &service, "no agreement so far from: w1, w2, w3");
    let (_, published) = house.published(&service);
    until("the witness was asked again", || {
        house.try_sign(&service).problem(503, "log_unavailable");
        shown
            .lock()
            .expect("no panic")
            .iter()
            .filter(|it| it.size == published.size)
            .count()
            > 3
    });
    assert_eq!(house.published(&service).1, published);
    // No size has two roots.
    let shown = shown.lock().expect("no panic");
    for one in shown.iter() {
        for other in shown.iter().filter(|other| other.size == one.size) {
            assert_eq!(one.root, other.root, "{} leaves", one.size);
        }
    }
}

#[test]
fn case_g2_what_a_missing_witness_means_is_a_setting() {
    let house = House::new();
    let at = house.at();
    let keys = [WitnessKey::new(at, "w1"), WitnessKey::new(at, "w2")];
    let addresses = [free_port(), free_port()];
    let run = |number: usize| {
        let state = at.join(format!("state-{number}"));
        Witness::serve_at(&addresses[number], &keys[number], &state, &[&house.log])
    };
    let witnesses = [
        ("w1", &keys[0].key, addresses[0].as_str()),
        ("w2", &keys[1].key, addresses[1].as_str()),
    ];
    let serve = |missing| {
        let settings = [
            ("CHANCERY_LOG__WITNESSES_MISSING", missing),
            ("CHANCERY_LOG__HEARTBEAT", "1s"),
        ];
        house.serve_with(&witnesses, "all", &settings)
    };
    let _one = run(0);

    // The second is down: it is asked, and not waited for.
    let service = serve("go-on");
    house.sign(&service);
    house.end(service);

    // It is waited for, by name; once it agreed it may go.
    let service = serve("wait");
    stands_still(&house, &service, "no agreement so far from: w2");
    let two = run(1);
    house.sign(&service);
    drop(two);
    until("it is missed", || {
        let log = &readiness(&service)["parts"]["log"];
        log["witnessed"] == false && log["ok"] == true
    });
    house.sign(&service);
    house.end(service);

    // And where a signature without it is worse than none, it is missed later too.
    let two = run(1);
    let service = serve("stop");
    house.sign(&service);
    drop(two);
    stands_still(&house, &service, "have not answered for 2 s");
    let said = member(&readiness(&service)["parts"]["log"], "refused");
    assert!(said.contains("w2"), "{said}");
    let _two = run(1);
    until("signing goes on", || house.try_sign(&service).status == 200);
}
