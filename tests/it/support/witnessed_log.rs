//! An installation with a log, served beside witnesses, restored and looked at.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::policy::{WitnessPolicy, Witnessed};
use trust::tlog::proof::TlogProof;

use super::database::Database;
use super::http::{Answer, send};
use super::installation::{Installation, Service, base64url, member, text};
use super::process::until;

/// An installation whose log has a key, with somebody who signs and somebody who reads.
pub struct House {
    pub installation: Installation,
    pub signer: String,
    pub auditor: String,
    /// The log's, as `chancery log vkey` prints it.
    pub log: VerifierKey,
}

impl House {
    pub fn new() -> Self {
        let installation = Installation::new();
        installation.open_ring("atp");
        let kid = installation.open_log();
        let said = installation.chancery(["log", "vkey"]).json();
        let origin = format!("{}/log", installation.plan.api);
        assert_eq!(member(&said, "origin"), origin);
        assert_eq!(member(&said["keys"][0], "kid"), kid);
        let log: VerifierKey = member(&said["keys"][0], "vkey").parse().expect("a vkey");
        assert_eq!(log.name(), origin);
        Self {
            signer: installation.grant("integrity-service", "signer:atp"),
            auditor: installation.grant("auditor", "auditor"),
            installation,
            log,
        }
    }

    pub fn at(&self) -> &Path {
        self.installation.directory.path()
    }

    pub fn serve(&self, witnesses: &[(&str, &VerifierKey, &str)], quorum: &str) -> Service {
        self.serve_with(witnesses, quorum, &[])
    }

    pub fn serve_with(
        &self,
        witnesses: &[(&str, &VerifierKey, &str)],
        quorum: &str,
        more: &[(&str, &str)],
    ) -> Service {
        let policy = self.installation.file("witnesses.policy");
        fs::write(&policy, lines(witnesses, quorum)).expect("a policy");
        let mut settings = vec![
            ("CHANCERY_LOG__WITNESSES", text(&policy)),
            ("CHANCERY_LOG__WITNESS_TIMEOUT", "500ms"),
            ("CHANCERY_LOG__INTERVAL", "100ms"),
            ("CHANCERY_LOG__HEARTBEAT", "3s"),
        ];
        settings.extend(more);
        self.installation.serve_with(&settings)
    }

    /// Kills it, and takes its lease back: a process that is killed keeps that for half a minute.
    pub fn end(&self, service: Service) {
        drop(service);
        let url = format!("sqlite:{}", self.installation.file("chancery.db").display());
        Database::open(&url).run("UPDATE lease SET until = 0");
    }

    /// After a start the witnesses are asked first.
    pub fn signs(&self, service: &Service) {
        until("the log can be signed into", || {
            readiness(service)["parts"]["log"]["ok"] == true
        });
    }

    pub fn try_sign(&self, service: &Service) -> Answer {
        let body = json!({"format": "jws", "payload": base64url(b"record")});
        service.post("/v1/rings/atp/sign?receipt=wait", Some(&self.signer), &body)
    }

    /// Signs, and the leaf's index.
    pub fn sign(&self, service: &Service) -> u64 {
        self.signs(service);
        self.try_sign(service).ok()["log_index"]
            .as_u64()
            .expect("an index")
    }

    /// What the receipt of a leaf proves of its witnesses.
    pub fn witnessed(&self, service: &Service, index: u64, policy: &WitnessPolicy) -> Witnessed {
        let answer = service.get(&format!("/v1/receipts/{index}"));
        assert_eq!(answer.status, 200);
        let proof = TlogProof::parse(&answer.body).expect("a tlog-proof");
        let leaf: &Value = &service.leaves(&self.auditor, index as usize)[0]["leaf"];
        let leaf = leaf_hash(&trust::json::canonical(leaf).expect("canonical"));
        let keys = [self.log.clone()];
        proof
            .verify(leaf, &keys, policy)
            .expect("it holds")
            .witnessed
    }

    pub fn published(&self, service: &Service) -> (Note, Checkpoint) {
        let answer = service.get("/log/checkpoint");
        assert_eq!(answer.status, 200);
        let note = Note::parse(&answer.body).expect("a note");
        let open = checkpoint::open(&note, std::slice::from_ref(&self.log));
        (note, open.expect("by the log"))
    }

    /// Database and tiles, while nothing runs.
    pub fn save(&self, to: &str) {
        let to = self.installation.file(to);
        fs::create_dir(&to).expect("a directory");
        self.files()
            .for_each(|path| copy(&path, &to.join(path.file_name().unwrap())));
    }

    pub fn restore(&self, from: &str) {
        for path in self.files().collect::<Vec<_>>() {
            match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            }
            .expect("gone");
        }
        for entry in fs::read_dir(self.installation.file(from)).expect("saved") {
            let entry = entry.expect("saved");
            copy(
                &entry.path(),
                &self.installation.file(text(Path::new(&entry.file_name()))),
            );
        }
    }

    pub fn files(&self) -> impl Iterator<Item = std::path::PathBuf> {
        let entries = fs::read_dir(self.at()).expect("a directory");
        entries
            .map(|entry| entry.expect("a file").path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                name.starts_with("chancery.db") || name == "log"
            })
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a directory");
        for entry in fs::read_dir(from).expect("a directory") {
            let entry = entry.expect("a file");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        match fs::copy(from, to) {
            // What SQLite keeps beside its file goes when the last one closes it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => drop(copied.expect("copied")),
        }
    }
}

pub fn lines(witnesses: &[(&str, &VerifierKey, &str)], quorum: &str) -> String {
    let line = |(name, key, address): &(&str, &VerifierKey, &str)| {
        format!("witness {name} {key} http://{address}\n")
    };
    let names: Vec<&str> = witnesses.iter().map(|witness| witness.0).collect();
    let all: String = witnesses.iter().map(line).collect();
    format!(
        "{all}group enough {quorum} {}\nquorum enough\n",
        names.join(" ")
    )
}

pub fn readiness(service: &Service) -> Value {
    let answer = send(&service.operations, "GET", "/health/ready", &[], b"");
    answer.expect("it answers").json()
}

pub fn figure(service: &Service, name: &str, labels: &[&str]) -> f64 {
    let answer = send(&service.operations, "GET", "/metrics", &[], b"").expect("metrics");
    let text = String::from_utf8(answer.into_body()).expect("text");
    let mut found = text
        .lines()
        .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    let line = found.next().unwrap_or("0");
    line.rsplit(' ')
        .next()
        .expect("a number")
        .parse()
        .expect("a number")
}

impl House {
    /// The size of the log when nothing happens any more.
    pub fn published_when_there(&self, service: &Service) -> u64 {
        until("a checkpoint is published", || {
            service.get("/log/checkpoint").status == 200
        });
        let mut size = 0;
        until("the log is still", || {
            let before = std::mem::replace(&mut size, self.published(service).1.size);
            std::thread::sleep(Duration::from_millis(700));
            before == size
        });
        size
    }
}

pub fn stands_still(house: &House, service: &Service, why: &str) {
    let mut ready = Value::Null;
    until("the log is halted, for this reason", || {
        ready = readiness(service);
        let log = &ready["parts"]["log"];
        let said = log["refused"].as_str();
        log["ok"] == false && said.is_some_and(|said| said.contains(why))
    });
    assert_eq!(ready["serves"]["signing"], false);
    assert_eq!(ready["serves"]["publication"], true);
    house.try_sign(service).problem(503, "log_unavailable");
}
