//! An installation with a past, copied for each test that does something to it; and what watches over its log.

use std::fs;
use std::process::Child;
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::verify_consistency;
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;
use trust::{PublicKey, Sha256Digest};

use super::installation::{Installation, Service, base64url, directory, text};
use super::process::{Said, signal, until};
use super::template::{copy, moved, removed_at_the_end};

/// The ring that signs.
pub const RING: &str = "atp";

/// What the check says, whatever that is.
pub fn check(installation: &Installation) -> Value {
    let said = installation.try_chancery(["log", "check", "--full"]);
    let report = said.json();
    let findings = report["findings"].as_array();
    let findings = findings.unwrap_or_else(|| panic!("{said:?}"));
    let code = if findings.is_empty() { 0 } else { 5 };
    assert_eq!(said.code, Some(code), "{report}");
    report
}

/// The codes of what it finds, each once.
pub fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    let mut codes: Vec<&str> = findings
        .iter()
        .map(|finding| finding["code"].as_str().expect("a code"))
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// An installation with a history, its service stopped.
pub struct Past {
    pub installation: Installation,
    url: String,
    pub revoked: String,
    pub rejected: String,
    /// A receipt of the last signature.
    receipt: String,
    pub token: String,
    log_kid: String,
    _watchdog: Child,
}

impl Past {
    pub fn new(installation: Installation, url: &str) -> Self {
        let _watchdog = removed_at_the_end(installation.directory.path());
        let log_kid = installation.open_log();
        let revoked = installation.open_ring(RING);
        installation.give_birth(RING);
        installation.rotate_when_safe(RING);
        installation.revoke(RING, &revoked, &["--because", "superseded"]);
        let rejected = installation.propose(RING);
        let carl = &installation.custodians[2];
        let reject = ["ceremony", "reject", &rejected, "--reason", "not today"];
        let key = ["--key", text(carl.key_file())];
        installation.chancery(reject.into_iter().chain(key));
        let token = installation.grant("integrity-service", &format!("signer:{RING}"));
        let service = installation.serve();
        let mut receipt = String::new();
        for _ in 0..4 {
            receipt = signed(&service, &token);
        }
        let said = monitor(&installation, &service, "monitor.json");
        assert_eq!(said.code, Some(0), "{said:?}");
        stop(service);
        let report = check(&installation);
        assert_eq!(codes(&report), [""; 0], "{report}");
        Self {
            installation,
            url: url.to_owned(),
            revoked,
            rejected,
            receipt,
            token,
            log_kid,
            _watchdog,
        }
    }

    /// Made once; every test works on a copy.
    pub fn sqlite() -> &'static Self {
        static PAST: OnceLock<Past> = OnceLock::new();
        PAST.get_or_init(|| {
            let installation = Installation::new();
            let url = installation.sqlite_url();
            Self::new(installation, &url)
        })
    }

    /// A copy of all files, with the database at `url` if it is not one of them. Its origin stays
    /// the same; its replicas have ports of their own.
    pub fn copy(&self, url: Option<&str>) -> Installation {
        let to = directory();
        let url = url.map(|url| (self.url.as_str(), url));
        copy(&self.installation, to.path(), url.as_slice());
        let plan = &self.installation.plan;
        let (api, operations) = (plan.api.clone(), plan.operations.clone());
        Installation {
            made: moved(&self.installation, to.path(), api, operations),
            directory: to,
            opened: Mutex::default(),
        }
    }

    /// That the receipt is of the log that stands there now.
    pub fn receipt_fits(&self, service: &Service) -> bool {
        let jwk = service
            .get(&format!("/v1/keys/{}/jwk", self.log_kid))
            .into_body();
        let key = PublicKey::from_jwk_json(&jwk).expect("a JWK");
        let origin = format!("{}/log", self.installation.plan.api);
        let keys = [VerifierKey::for_log(&origin, &key).expect("a log key")];
        // Both are signed by the same key: two of them that do not fit are the proof of a fork.
        let proof = TlogProof::parse(self.receipt.as_bytes()).expect("a receipt");
        let before = checkpoint::open(&proof.checkpoint, &keys).expect("by the log's key");
        let none = WitnessPolicy::none();
        assert!(
            proof
                .verify(Sha256Digest::of(b"another"), &keys, &none)
                .is_err()
        );
        let said = service.get("/log/checkpoint");
        let text = String::from_utf8_lossy(&said.body);
        let note = Note::parse(&said.body).unwrap_or_else(|error| panic!("{error}: {text}"));
        let now = checkpoint::open(&note, &keys).expect("by the log's key");
        consistent(service, &before, &now)
    }
}

fn consistent(service: &Service, before: &Checkpoint, now: &Checkpoint) -> bool {
    let path = format!("/v1/log/consistency?old={}&new={}", before.size, now.size);
    let answer = service.get(&path);
    if answer.status != 200 {
        assert!(before.size > now.size, "{answer:?}");
        return false;
    }
    let hashes: Vec<Sha256Digest> = answer.json()["hashes"]
        .as_array()
        .expect("hashes")
        .iter()
        .map(|hash| {
            use base64ct::Encoding as _;
            let bytes = base64ct::Base64::decode_vec(hash.as_str().expect("text"));
            Sha256Digest::from_bytes(bytes.expect("base64").try_into().expect("32 bytes"))
        })
        .collect();
    verify_consistency(before.size, now.size, before.root, now.root, &hashes).is_ok()
}

/// A signature that is covered by a checkpoint; its receipt. The lease of an integrator that was stopped runs out first.
pub fn signed(service: &Service, token: &str) -> String {
    let body = json!({"format": "jws", "payload": base64url(b"a record")});
    let path = format!(
        "/v1/receipts/{}",
        service.sign(RING, token, &body)["log_index"]
    );
    let mut receipt = Vec::new();
    until("there is a receipt", || {
        let answer = service.get(&path);
        let there = answer.status == 200;
        receipt = answer.into_body();
        there
    });
    String::from_utf8(receipt).expect("text")
}

pub fn stop(mut service: Service) {
    signal("TERM", service.child.id());
    until("it has stopped", || !service.child.is_alive());
}

pub fn monitor(installation: &Installation, service: &Service, state: &str) -> Said {
    let url = format!("http://{}", service.api);
    let state = installation.file(state);
    let watch = ["log", "monitor", "--once", "--url", &url, "--genesis"];
    let watch = watch.into_iter().chain([installation.genesis.as_str()]);
    installation.try_chancery(watch.chain(["--state", text(&state)]))
}

/// What the monitor of this installation says, which remembers the past.
pub fn alarms(installation: &Installation, service: &Service) -> Vec<String> {
    let state = fs::read(installation.file("monitor.json")).expect("a state");
    let said = monitor(installation, service, "monitor.json");
    let report = said.json();
    let found: Vec<String> = codes(&report).into_iter().map(str::to_owned).collect();
    let code = if found.is_empty() { 0 } else { 5 };
    assert_eq!(said.code, Some(code), "{report}");
    let broken = ["forked", "shrunk", "entries", "checkpoint"];
    if found.iter().any(|code| broken.contains(&code.as_str())) {
        let now = fs::read(installation.file("monitor.json")).expect("a state");
        assert_eq!(now, state, "the evidence is kept");
    }
    found
}
