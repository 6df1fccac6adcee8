//! kill -9, again and again, under load: what was acknowledged is in the tree, once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::{leaf_hash, verify_consistency};
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;

use crate::support::database::Database;
use crate::support::http::send;
use crate::support::installation::{Installation, Service, base64url, directory};
use crate::support::load::sig_hash;
use crate::support::process::{signal, until};
use testkit::postgres::Server;

/// What a caller was given and will hold against us.
#[derive(Default)]
struct Given {
    /// By index: SHA-256 of the signature.
    signatures: BTreeMap<u64, String>,
    twice: Vec<u64>,
    receipts: Vec<String>,
    checkpoints: Vec<Vec<u8>>,
}

/// Callers that sign without pause at whichever service stands at these addresses.
struct Load {
    stop: Arc<AtomicBool>,
    given: Arc<Mutex<Given>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(apis: &[String], token: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let given = Arc::<Mutex<Given>>::default();
        let threads = (0..6)
            .map(|number| {
                let api = apis[number % apis.len()].clone();
                let (stop, given, token) = (stop.clone(), given.clone(), token.to_owned());
                spawn(move || {
                    let mut round = 0;
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        // One caller in six collects receipts and checkpoints.
                        let receipts = number == 0;
                        one(&api, &token, receipts, number * 1_000_000 + round, &given);
                    }
                })
            })
            .collect();
        Self {
            stop,
            given,
            threads,
        }
    }

    /// Waits until so many more signatures were given from now on; the last index.
    fn goes_on(&self, more: usize) -> u64 {
        let signatures = || self.given.lock().unwrap().signatures.len();
        let enough = signatures() + more;
        until("there are more signatures", || signatures() >= enough);
        let given = self.given.lock().unwrap();
        *given.signatures.keys().next_back().expect("signatures")
    }

    fn until_receipts(&self, more: usize) {
        let receipts = || self.given.lock().unwrap().receipts.len();
        let enough = receipts() + more;
        until("there are more receipts", || receipts() >= enough);
    }

    fn stop(self) -> Given {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a caller");
        }
        std::mem::take(&mut self.given.lock().unwrap())
    }
}

fn one(api: &str, token: &str, receipts: bool, number: usize, given: &Mutex<Given>) {
    let body = json!({"format": "jws", "payload": base64url(&number.to_be_bytes())});
    let path = if receipts {
        "/v1/rings/atp/sign?receipt=wait"
    } else {
        "/v1/rings/atp/sign"
    };
    let bearer = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    let answer = send(api, "POST", path, &headers, body.to_string().as_bytes());
    let Ok(answer) = answer
        .map_err(drop)
        .and_then(|a| if a.status == 200 { Ok(a) } else { Err(()) })
    else {
        sleep(Duration::from_millis(20));
        return;
    };
    let Ok(value) = serde_json::from_slice::<Value>(&answer.body) else {
        return;
    };
    let jws = value["jws"].as_str().expect("a JWS");
    let index = value["log_index"].as_u64().expect("an index");
    let mut given = given.lock().unwrap();
    if given.signatures.insert(index, sig_hash(jws)).is_some() {
        given.twice.push(index);
    }
    if let Some(receipt) = value["receipt"].as_str() {
        given.receipts.push(receipt.to_owned());
    }
    drop(given);
}

fn note_checkpoint(service: &Service, given: &Mutex<Given>) {
    if let Ok(answer) = send(&service.api, "GET", "/log/checkpoint", &[], b"")
        && answer.status == 200
    {
        given.lock().unwrap().checkpoints.push(answer.into_body());
    }
}

/// Every acknowledged signature once, under its index, in a tree that every receipt and every
/// checkpoint ever seen agrees with.
fn holds(installation: &Installation, service: &Service, url: &str, log_kid: &str, given: &Given) {
    assert!(
        given.twice.is_empty(),
        "an index was given twice: {:?}",
        given.twice
    );
    assert!(
        given.signatures.len() > 50,
        "there was load: {}",
        given.signatures.len()
    );
    assert!(!given.receipts.is_empty() && !given.checkpoints.is_empty());
    let keys = [log_key(installation, service, log_kid)];
    let last = *given.signatures.keys().next_back().expect("signatures");
    let newest = covered(service, &keys, last);

    let mut database = Database::open(url);
    for (index, hash) in &given.signatures {
        let row = database.one(&format!(
            "SELECT sig_hash FROM log_leaf WHERE idx = {index}"
        ));
        assert_eq!(row, *hash, "leaf {index} is the acknowledged signature");
    }
    let twice = "SELECT CAST(COUNT(*) - COUNT(DISTINCT sig_hash) AS TEXT) FROM log_leaf WHERE kind = 'sign'";
    assert_eq!(database.one(twice), "0", "no signature has two leaves");

    let nobody = WitnessPolicy::parse("quorum none\n").expect("a policy");
    let mut seen: Vec<Checkpoint> = Vec::new();
    for receipt in &given.receipts {
        let proof = TlogProof::parse(receipt.as_bytes()).expect("a receipt");
        let body = database.one(&format!(
            "SELECT body FROM log_leaf WHERE idx = {}",
            proof.index
        ));
        let logged = proof.verify(leaf_hash(body.as_bytes()), &keys, &nobody);
        seen.push(logged.expect("a receipt that still verifies").checkpoint);
    }
    for note in &given.checkpoints {
        let note = Note::parse(note).expect("a note");
        seen.push(checkpoint::open(&note, &keys).expect("a checkpoint of ours"));
    }
    seen.dedup();
    for old in seen {
        let path = format!("/v1/log/consistency?old={}&new={}", old.size, newest.size);
        let hashes = service.get(&path).ok();
        let hashes: Vec<Sha256Digest> = hashes["hashes"]
            .as_array()
            .expect("hashes")
            .iter()
            .map(|hash| {
                use base64ct::Encoding as _;
                let bytes = base64ct::Base64::decode_vec(hash.as_str().expect("text"));
                Sha256Digest::from_bytes(bytes.expect("base64").try_into().expect("32 bytes"))
            })
            .collect();
        verify_consistency(old.size, newest.size, old.root, newest.root, &hashes)
            .unwrap_or_else(|e| panic!("since {}: {e}", old.size));
    }
}

fn log_key(installation: &Installation, service: &Service, log_kid: &str) -> VerifierKey {
    let jwk = service.get(&format!("/v1/keys/{log_kid}/jwk")).into_body();
    let key = trust::PublicKey::from_jwk_json(&jwk).expect("a JWK");
    let origin = format!("{}/log", installation.plan.api);
    VerifierKey::for_log(&origin, &key).expect("a log key")
}

/// Waits for a checkpoint that covers the leaf.
fn covered(service: &Service, keys: &[VerifierKey], index: u64) -> Checkpoint {
    let mut found = None;
    until("a checkpoint covers the last leaf", || {
        let answer = service.get("/log/checkpoint");
        if answer.status == 200 {
            let note = Note::parse(&answer.body).expect("a note");
            found = Some(checkpoint::open(&note, keys).expect("a checkpoint of ours"));
        }
        found.as_ref().is_some_and(|now| now.size > index)
    });
    found.expect("it was found")
}

#[test]
fn killed_again_and_again_it_loses_and_doubles_nothing() {
    let installation = Installation::new();
    installation.open_ring("atp");
    let log_kid = installation.open_log();
    let token = installation.grant("integrity-service", "signer:atp");
    let load = Load::start(std::slice::from_ref(&installation.plan.api), &token);
    // Small intervals put the kills everywhere: between tiles, swap, checkpoint and publication.
    let fast = [("CHANCERY_LOG__INTERVAL", "50ms")];
    for round in 0..8_u64 {
        let service = installation.serve_with(&fast);
        for _ in 0..(5 + round % 3) {
            sleep(Duration::from_millis(70 + 37 * (round % 5)));
            note_checkpoint(&service, &load.given);
        }
        // Dropping it is kill -9.
        drop(service);
    }
    let service = installation.serve_with(&fast);
    load.goes_on(100);
    load.until_receipts(1);
    let given = load.stop();
    holds(
        &installation,
        &service,
        &installation.sqlite_url(),
        &log_kid,
        &given,
    );
}

#[test]
fn of_two_replicas_on_postgresql_the_one_that_integrates_dies() {
    let place = directory();
    let server = Server::start().expect("PostgreSQL");
    let url = server.create_database("chancery_it").expect("a database");
    let installation = Installation::on(place, &url);
    installation.open_ring("atp");
    let log_kid = installation.open_log();
    let token = installation.grant("integrity-service", "signer:atp");
    let fast = [("CHANCERY_LOG__INTERVAL", "100ms")];
    let mut one = installation.serve_with(&fast);
    let two = installation.replica(&fast);
    let keys = [log_key(&installation, &two, &log_kid)];
    let load = Load::start(&[one.api.clone(), two.api.clone()], &token);
    for _ in 0..3 {
        load.goes_on(60);
        load.until_receipts(1);
        note_checkpoint(&two, &load.given);
        drop(one);
        // The lease of the one that died runs out first; then the other one integrates.
        let last = load.goes_on(60);
        covered(&two, &keys, last);
        note_checkpoint(&two, &load.given);
        one = installation.serve_with(&fast);
    }
    let given = load.stop();
    holds(&installation, &two, &url, &log_kid, &given);
}

#[test]
fn case_a8_a_replica_that_stood_still_beyond_its_lease_forks_and_loses_nothing() {
    let place = directory();
    let server = Server::start().expect("PostgreSQL");
    let url = server.create_database("chancery_it").expect("a database");
    let installation = Installation::on(place, &url);
    installation.open_ring("atp");
    let log_kid = installation.open_log();
    let token = installation.grant("integrity-service", "signer:atp");
    let fast = [("CHANCERY_LOG__INTERVAL", "50ms")];
    let (one, two) = (installation.serve_with(&fast), installation.replica(&fast));
    let keys = [log_key(&installation, &two, &log_kid)];
    let load = Load::start(&[one.api.clone(), two.api.clone()], &token);
    // From the second round on it is the one that integrates that stands still: the other has just done so alone.
    for (still, other) in [(&one, &two), (&two, &one), (&one, &two), (&two, &one)] {
        load.goes_on(60);
        signal("STOP", still.child.id());
        let last = load.goes_on(60);
        covered(other, &keys, last);
        note_checkpoint(other, &load.given);
        // It goes on in the middle of its round, with a lease and a tree of before.
        signal("CONT", still.child.id());
        let last = load.goes_on(60);
        covered(still, &keys, last);
        note_checkpoint(still, &load.given);
    }
    load.until_receipts(1);
    for service in [&one, &two] {
        let ready = send(&service.operations, "GET", "/health/ready", &[], b"");
        let ready = ready.expect("it answers").json();
        assert_eq!(ready["parts"]["log"]["refused"], Value::Null, "{ready}");
    }
    let given = load.stop();
    holds(&installation, &two, &url, &log_kid, &given);
    holds(&installation, &one, &url, &log_kid, &given);
}
