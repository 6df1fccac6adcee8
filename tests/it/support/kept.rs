//! A small installation of which everything but its secrets is kept as files (tests/golden/upgrade): made, written,
//! described, and opened again with a new token.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::agreement::PYTHON;
use super::custodian::{Custodian, of_text};
use super::database::Database;
use super::installation::{Installation, Service, base64url, directory, member, text};
use super::kept_policy::decided;
use super::past::{check, codes, stop};
use super::process::{done, run, until};
use testkit::postgres::Server;

/// What signs structures, and what signs digests.
pub const RING: &str = "atp";
pub const RAW: &str = "digests";
pub const LOG: &str = "log";
/// What rotates under a standing order, and who carries that out.
const ORDERED: &str = "tokens";
const ROBOT: &str = "robot";
const PARTNERS: &str = "external/partner";

/// In the issuer and in the log's origin, for ever. Nothing listens there: replicas have ports of their own.
const HOST: &str = "127.0.0.1:18080";

const MEMBERS: [&str; 3] = ["ada", "berta", "carl"];

fn custodians(directory: &Path) -> Vec<Custodian> {
    MEMBERS
        .map(|id| {
            of_text(
                directory,
                id,
                &format!("chancery upgrade test custodian {id}"),
            )
        })
        .into()
}

pub enum Engine {
    Sqlite,
    Postgres(Server),
}

impl Engine {
    pub fn postgres() -> Self {
        Self::Postgres(Server::start().expect("PostgreSQL starts"))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The URL of an empty database.
    fn create(&self, directory: &Path, name: &str) -> String {
        match self {
            Self::Sqlite => {
                let file = directory.join(format!("{name}.db"));
                fs::write(&file, "").expect("an empty file");
                format!("sqlite:{}", file.display())
            }
            Self::Postgres(server) => server.create_database(name).expect("a database"),
        }
    }

    /// The URL of a database with what a dump says.
    pub fn load(&self, directory: &Path, name: &str, dump: &Path) -> String {
        let url = self.create(directory, name);
        let sql = fs::read_to_string(dump).expect("a dump");
        match self {
            Self::Sqlite => {
                let mut database = Database::open(&url);
                database.run("PRAGMA foreign_keys = OFF");
                database.run(&sql);
                let broken = database.rows("SELECT \"table\" FROM pragma_foreign_key_check");
                assert!(broken.is_empty(), "{broken:?}");
            }
            Self::Postgres(server) => {
                let mut psql = server.psql(name, "SET client_min_messages = warning");
                let said = run(psql.args(["-f", "-"]), sql.as_bytes());
                assert_eq!(said.code, Some(0), "{said:?}");
            }
        }
        url
    }

    /// As statements, of which a difference can be read.
    fn dump(&self, url: &str) -> String {
        const SCRIPT: &str = "import sqlite3, sys\n\
            for line in sqlite3.connect(sys.argv[1]).iterdump(): print(line)";
        let said = match self {
            Self::Sqlite => {
                let file = url.strip_prefix("sqlite:").expect("a file");
                done(PYTHON, ["-c", SCRIPT, file])
            }
            Self::Postgres(_) => {
                let plain = ["--inserts", "--no-owner", "--no-privileges", "--dbname"];
                done("pg_dump", plain.into_iter().chain([url]))
            }
        };
        // Another version of psql does not know what a newer pg_dump adds for itself.
        let own = ["--", "\\", "SET transaction_timeout"];
        let lines = said.text().lines();
        let lines = lines.filter(|line| !own.iter().any(|own| line.starts_with(own)));
        let mut dump = lines.collect::<Vec<_>>().join("\n");
        while let Some(at) = dump.find("\n\n\n") {
            dump.remove(at);
        }
        dump.trim_start().to_owned() + "\n"
    }

    /// Tables with their columns, triggers, indexes and migrations.
    fn schema(&self, database: &mut Database) -> BTreeSet<String> {
        let queries = match self {
            Self::Sqlite => [
                "SELECT 'column ' || m.name || '.' || c.name || ' ' || c.type FROM sqlite_schema m, \
                 pragma_table_info(m.name) c WHERE m.type = 'table'",
                "SELECT type || ' ' || name FROM sqlite_schema",
                "SELECT 'migration ' || version || ' ' || lower(hex(checksum)) FROM _sqlx_migrations",
            ],
            Self::Postgres(_) => [
                "SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type \
                 FROM information_schema.columns WHERE table_schema = 'public'",
                "SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal \
                 UNION SELECT 'index ' || indexname FROM pg_indexes WHERE schemaname = 'public'",
                "SELECT 'migration ' || version || ' ' || encode(checksum, 'hex') FROM _sqlx_migrations",
            ],
        };
        let rows = queries.iter().flat_map(|query| database.rows(query));
        rows.flatten().collect()
    }
}

/// One folder of tests/golden/upgrade, or one like it, for one engine.
pub struct Kept(pub PathBuf);

impl Kept {
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn genesis(&self) -> String {
        let text = fs::read_to_string(self.file("genesis.sha256")).expect("a digest");
        text.trim().to_owned()
    }

    /// The files of a folder, in the order of their names.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        sorted(&self.file(folder))
    }

    pub fn signatures(&self) -> Vec<Value> {
        let bytes = fs::read(self.file("signatures.json")).expect("signatures");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// Everything as it was left, but for the token: that is a new one, and empty.
    pub fn open(&self, engine: &Engine, name: &str) -> (Installation, String) {
        let to = directory();
        let url = engine.load(to.path(), name, &self.file("database.sql"));
        done("cp", ["-r", text(&self.file("log")), text(to.path())]);
        // A copy of a database is another database, and this one is meant.
        let _ = fs::remove_file(to.path().join("log/database"));
        let custodians = custodians(to.path());
        let host = HOST.to_owned();
        let installation = Installation::with_token(to, &url, custodians, host, self.genesis());
        (installation, url)
    }

    /// Of which form everything here is: whatever another form would have to be kept for.
    pub fn shape(&self, engine: &Engine, directory: &Path, name: &str) -> BTreeSet<String> {
        let url = engine.load(directory, name, &self.file("database.sql"));
        let mut database = Database::open(&url);
        let mut shape = engine.schema(&mut database);
        // Refusals, and what the log says of itself, depend on how fast this machine is.
        let acts = "SELECT body FROM log_leaf WHERE kind NOT IN ('refusal', 'refusals', 'log')";
        for row in database.rows(acts) {
            let leaf: Value = serde_json::from_str(&row[0]).expect("JSON");
            let name = format!("leaf {} {}", leaf["kind"], leaf["action"]);
            members(&name, &leaf, &mut shape);
        }
        let mut document = |kind: &str, file: &Path| {
            let bytes = fs::read(file).expect("a document");
            let value = serde_json::from_slice(&bytes).expect("JSON");
            members(kind, &value, &mut shape);
        };
        document("genesis", &self.file("genesis.json"));
        for kind in ["transcripts", "evidence"] {
            let files = self.files(kind);
            assert!(!files.is_empty(), "{kind}");
            files.iter().for_each(|file| document(kind, file));
        }
        shape
    }
}

pub fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

/// The name of each member, also of JSON that stands in a text.
fn members(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let at = format!("{at}.{name}");
                members(&at, value, found);
                found.insert(at);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| members(at, value, found)),
        Value::String(text) if text.starts_with('{') => {
            if let Ok(value) = serde_json::from_str(text) {
                members(at, &value, found);
            }
        }
        _ => {}
    }
}

/// The service's answer once it is as it has to be.
pub fn verdict_once(service: &Service, claim: &Value, ready: impl Fn(&Value) -> bool) -> Value {
    let mut answer = Value::Null;
    until("the verdict is as it has to be", || {
        answer = service.post("/v1/verify", None, claim).ok();
        ready(&answer)
    });
    answer
}

/// A signature with its receipt, and what the service has to be given to verify it.
pub fn signed(service: &Service, ring: &str, token: &str, body: &Value) -> Value {
    let path = format!("/v1/rings/{ring}/sign?receipt=wait");
    let answer = service.post(&path, Some(token), body).ok();
    let claim = match body["format"].as_str() {
        Some("dsse") => json!({"envelope": answer["envelope"]}),
        Some("raw") => json!({
            "signature": answer["signature"], "kid": answer["kid"], "digest": body["digest"],
            "encoding": body["encoding"],
        }),
        _ => json!({"jws": answer["jws"]}),
    };
    json!({
        "claim": claim, "salt": answer["salt"], "receipt": member(&answer, "receipt"),
        "kid": answer["kid"], "time": answer["time"], "log_index": answer["log_index"],
    })
}

pub fn jws(payload: &[u8]) -> Value {
    json!({"format": "jws", "payload": base64url(payload)})
}

pub fn evidence(service: &Service, signature: &Value) -> Vec<u8> {
    let body = json!({"signature": signature["claim"], "salt": signature["salt"]});
    let answer = service.post("/v1/evidence", None, &body);
    let said = || String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{}", said());
    answer.into_body()
}

/// Makes an installation with a past by the present build, and keeps it in `to`.
pub fn make(engine: &Engine, to: &Path) -> Kept {
    let home: TempDir = directory();
    let url = engine.create(home.path(), "chancery");
    let custodians = custodians(home.path());
    let installation = Installation::founded(home, &url, custodians, HOST.to_owned());
    let kept = Kept(to.to_path_buf());
    for folder in ["transcripts", "evidence"] {
        fs::create_dir_all(kept.file(folder)).expect("a folder");
    }
    let ceremonies = live(&installation, &kept);
    for (number, id) in ceremonies.iter().enumerate() {
        let name = format!("transcripts/revocation-{}.json", number + 1);
        let out = kept.file(&name);
        installation.chancery(["ceremony", "transcript", id, "--out", text(&out)]);
    }
    let report = check(&installation);
    assert_eq!(codes(&report), [""; 0], "{report}");
    fs::copy(installation.file("genesis.json"), kept.file("genesis.json")).expect("copied");
    let digest = format!("{}\n", installation.genesis);
    fs::write(kept.file("genesis.sha256"), digest).expect("written");
    done("cp", ["-r", text(&installation.file("log")), text(to)]);
    remove_outgrown(&kept.file("log"));
    fs::write(kept.file("database.sql"), engine.dump(&url)).expect("written");
    kept
}

/// Of each partial tile all but the longest: a shorter one is the beginning of it.
fn remove_outgrown(folder: &Path) {
    let inside = sorted(folder);
    if folder.extension().is_none_or(|word| word != "p") {
        let folders = inside.iter().filter(|path| path.is_dir());
        return folders.for_each(|folder| remove_outgrown(folder));
    }
    let length = |file: &PathBuf| fs::metadata(file).expect("a tile").len();
    let longest = inside.iter().map(length).max();
    let shorter = inside.iter().filter(|file| Some(length(file)) < longest);
    shorter.for_each(|file| fs::remove_file(file).expect("removed"));
}

/// Its life; returns the revocations, oldest first.
fn live(installation: &Installation, kept: &Kept) -> [String; 2] {
    installation.chancery(["ring", "create", LOG, "--algorithm", "Ed25519", "--apply"]);
    installation.create_ring(RING, &[]);
    installation.create_ring(RAW, &["--usage", "raw"]);
    let [log, first, raw] = [LOG, RING, RAW].map(|ring| installation.give_birth(ring));
    for ring in [LOG, RING, RAW] {
        installation.rotate_when_safe(ring);
    }

    let token = credentials(installation);
    let [ada, _, carl] = installation.custodians.as_slice() else {
        panic!("three")
    };
    for (verb, who) in [("reject", carl), ("cancel", ada)] {
        let id = installation.propose(RING);
        let words = ["ceremony", verb, &id, "--reason", "not today", "--key"];
        installation.chancery(words.into_iter().chain([text(who.key_file())]));
    }

    documents_change(installation);
    stopped_once(installation);
    rotated_by_an_executor(installation);
    rotates_what_others_keep(installation);
    decided(installation, &kept.file("transcripts/policy.json"));
    let service = installation.replica(&[]);
    alert_looked_after(installation);
    let sign = |ring, body: &Value| signed(&service, ring, &token, body);
    let before = sign(RING, &jws(b"before the theft"));
    let late = sign(RING, &jws(b"at the time of the theft"));
    let second = born_with_a_note(installation);
    installation.rotate_when_safe(RING);
    until("the second key signs", || {
        service.get(&format!("/v1/keys/{second}")).ok()["role"] == "primary"
    });
    let new = sign(RING, &jws(b"by the second key"));
    assert_eq!(new["kid"], json!(second));
    let kind = "application/vnd.in-toto+json";
    let body = json!({"format": "dsse", "payload": base64url(b"{}"), "payload_type": kind});
    let envelope = sign(RING, &body);
    let digest = base64url(&trust::Hash::Sha256.digest(b"a message"));
    let body = json!({"format": "raw", "digest": digest, "hash": "sha-256", "encoding": "der"});
    let bare = sign(RAW, &body);

    let superseded = installation.revoke(RING, &first, &["--because", "superseded"]);
    let since = ["--because", "compromised", "--compromised-since"];
    let time = member(&late, "time");
    let compromised = installation.revoke(RING, &first, &[&since[..], &[&time]].concat());

    let told = json!(["key_compromised"]);
    verdict_once(&service, &before["claim"], |answer| {
        answer["reasons"] == told
    });
    let mut whole = Vec::new();
    until("the revocation is in the evidence", || {
        let body = json!({"signature": before["claim"], "salt": before["salt"]});
        whole = service.post("/v1/evidence", None, &body).into_body();
        // The key was revoked twice, and it is the second one that has to be there.
        let file: Value = serde_json::from_slice(&whole).expect("JSON");
        let second = |leaf: &Value| {
            let leaf = leaf["leaf"].as_str().unwrap_or_default();
            leaf.contains("compromised_since")
        };
        let life = file["life"].as_array();
        file["revocation"].is_string() && life.is_some_and(|life| life.iter().any(second))
    });
    fs::write(kept.file("evidence/before.evidence"), whole).expect("written");
    for (name, signature) in [("new", &new), ("bare", &bare)] {
        let file = kept.file(&format!("evidence/{name}.evidence"));
        fs::write(file, evidence(&service, signature)).expect("written");
    }
    for (number, kid) in [&log, &first, &raw, &second].into_iter().enumerate() {
        let file = kept.file(&format!("transcripts/key-{}.json", number + 1));
        fs::write(file, proven(&service, kid)).expect("written");
    }
    let all = [&before, &late, &new, &envelope, &bare].map(|signature| {
        let answer = service.post("/v1/verify", None, &signature["claim"]).ok();
        let mut signature = signature.clone();
        signature["answer"] = answer;
        signature
    });
    let text = serde_json::to_string_pretty(&all).expect("JSON") + "\n";
    fs::write(kept.file("signatures.json"), text).expect("written");
    stop(service);
    [superseded, compromised]
}

/// A fourth custodian, who suspends herself; a policy; and two who may recover. The first three go on.
fn documents_change(installation: &Installation) {
    let home = installation.directory.path();
    let person = |id: &str| of_text(home, id, &format!("chancery upgrade test {id}"));
    let [ada, berta, _] = installation.custodians.as_slice() else {
        panic!("three")
    };
    let [dora, rita, rob, robot] = ["dora", "rita", "rob", ROBOT].map(person);
    let of = |person: &Custodian| format!("{}={}", person.id, text(&person.public_key_file()));
    let file = |words: &[&str]| {
        let key = ["--key", text(ada.key_file())];
        let said = installation.chancery([&["trust"], words, &key].concat());
        member(&said.json(), "statement")
    };
    let sign = |id: &str, who: &Custodian| {
        let words = ["trust", "sign", id, "--key", text(who.key_file())];
        let said = installation.chancery(words).json();
        member(&said, "state")
    };
    let executor = format!("{},executor", of(&robot));
    let roster = file(&["new-roster", "--add", &of(&dora), "--add", &executor]);
    assert_eq!(sign(&roster, berta), "open");
    assert_eq!(sign(&roster, &robot), "open");
    assert_eq!(sign(&roster, &dora), "effective");
    let policy = file(&[
        "new-policy",
        "--threshold",
        "destroy=3",
        "--routine-ring",
        ORDERED,
    ]);
    assert_eq!(sign(&policy, berta), "effective");
    let (one, other) = (of(&rita), of(&rob));
    let words = ["new-recovery-roster", "--threshold", "2", "--member", &one];
    let entitled = file(&[&words[..], &["--member", &other]].concat());
    assert_eq!(sign(&entitled, berta), "open");
    assert_eq!(sign(&entitled, &rita), "open");
    assert_eq!(sign(&entitled, &rob), "effective");
    let suspend = [
        "trust",
        "suspend",
        "dora",
        "--reason",
        "a lost key",
        "--key",
    ];
    let key = text(dora.key_file());
    installation.chancery(suspend.into_iter().chain([key]));
}

/// A ring that a custodian stopped, and that the threshold let go on.
fn stopped_once(installation: &Installation) {
    let [ada, berta, _] = installation.custodians.as_slice() else {
        panic!("three")
    };
    let words = ["emergency", "stop", "--ring", RAW, "--reason", "a trial"];
    let key = ["--key", text(berta.key_file())];
    installation.chancery(words.into_iter().chain(key));
    let words = ["emergency", "resume", "--ring", RAW, "--reason", "its end"];
    let proposer = ["--proposer", &ada.id, "--key", text(ada.key_file())];
    let said = installation.chancery(words.into_iter().chain(proposer));
    let id = member(&said.json(), "ceremony");
    holds(installation, &id);
}

/// A ring's first key by ceremony, and its second one under a standing order.
fn rotated_by_an_executor(installation: &Installation) {
    installation.create_ring(ORDERED, &[]);
    installation.give_birth(ORDERED);
    installation.rotate_when_safe(ORDERED);
    let words = ["ceremony", "new", "order", "--ring", ORDERED];
    let of = ["--executor", ROBOT, "--uses", "2", "--lifetime", "90d"];
    let id = installation.propose_words(&[&words[..], &of].concat());
    holds(installation, &id);
    let orders = installation.chancery(["order", "list"]).json();
    let order = member(&orders[0], "order");
    let robot = installation.file(ROBOT);
    let made = ["order", "use", &order, "--key", text(&robot)];
    let made = installation.chancery(made).json();
    assert_eq!(made["state"], "closed", "{made}");
}

/// A partner's key, a policy of our own for it, and a rotation that waits for the partner.
fn rotates_what_others_keep(installation: &Installation) {
    let words = ["asset", "register", PARTNERS, "--key-type", "api_key"];
    let facts = [
        "--storage",
        "wrapped",
        "--rotated-at",
        "2025-01-01T00:00:00.000Z",
    ];
    installation.chancery([&words[..], &facts].concat());
    let shown = installation.chancery(["policy", "show", "api_key"]).json();
    let mut document = shown["document"].clone();
    document["version"] = json!(2);
    document["interval"] = json!("20d");
    let file = installation.file("policy.json");
    fs::write(&file, document.to_string()).expect("written");
    installation.chancery(["policy", "set", text(&file), "--reason", "faster"]);
    let words = ["rotation", "schedule", "api_key", "--asset", PARTNERS];
    let why = ["--force", "--reason", "a trial"];
    let said = installation.chancery([&words[..], &why].concat()).json();
    assert_eq!(said[0]["asset"], PARTNERS, "{said}");
}

/// That the partner's key is overdue, which somebody knows of.
fn alert_looked_after(installation: &Installation) {
    let list = ["alert", "list", "--name", "rotation-overdue"];
    let mut alert = String::new();
    until("the alert fires", || {
        let listed = installation.chancery(list).json();
        let id = listed["alerts"][0]["id"].as_str().unwrap_or_default();
        alert = id.to_owned();
        !alert.is_empty()
    });
    let why = ["--reason", "the partner was told"];
    let acknowledge = ["alert", "acknowledge", alert.as_str()];
    installation.chancery(acknowledge.into_iter().chain(why));
}

/// A ceremony without a key to compare, from its approvals to its end.
fn holds(installation: &Installation, id: &str) {
    installation.vote_all("approve", id);
    installation.chancery(["ceremony", "execute", id]);
    installation.vote_all("accept", id);
}

/// A key whose record has a note that is not ASCII, and a suspension.
fn born_with_a_note(installation: &Installation) -> String {
    let id = installation.propose(RING);
    let words = [
        "ceremony",
        "note",
        &id,
        "--text",
        "Grüße aus München: 金庫 ✓",
        "--key",
    ];
    let key = text(installation.custodians[0].key_file());
    installation.chancery(words.into_iter().chain([key]));
    for custodian in installation.signers() {
        installation.approve(&id, custodian);
    }
    installation.chancery(["ceremony", "execute", &id]);
    for custodian in installation.signers() {
        installation.accept(&id, custodian);
    }
    installation.only_kid(&id)
}

/// The transcript of a key with its proofs.
fn proven(service: &Service, kid: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    until("the proofs are in the transcript", || {
        let answer = service.get(&format!("/v1/keys/{kid}/transcript"));
        let proofs = answer.json()["log_proofs"].as_array().map(Vec::len);
        bytes = answer.into_body();
        proofs.is_some_and(|proofs| proofs > 0)
    });
    bytes
}

/// Of every kind, one of them withdrawn; returns the one that signs, which is not kept.
fn credentials(installation: &Installation) -> String {
    let gone = installation.grant("another", "auditor");
    let hash = trust::Sha256Digest::of(gone.as_bytes()).to_string();
    installation.chancery(["access", "withdraw", "--token-hash", &hash]);
    let san = ["--san", "mesh.example"];
    let role = format!("signer:{RING}");
    let grant = ["access", "grant", "mesh", "--role", &role];
    installation.chancery(grant.into_iter().chain(san));
    grant_signer(installation)
}

/// An access token that may sign on both rings.
pub fn grant_signer(installation: &Installation) -> String {
    let roles = [RING, RAW].map(|ring| format!("signer:{ring}"));
    let grant = ["access", "grant", "integrity-service"];
    let roles = roles.iter().flat_map(|role| ["--role", role]);
    let said = installation.chancery(grant.into_iter().chain(roles));
    member(&said.json(), "access_token")
}

/// A program of the repository's second verifier, with its arguments to come.
pub fn second_verifier() -> Command {
    let mut second = Command::new(PYTHON);
    second.arg(super::process::repository(
        "deploy/verifier/chancery_verify.py",
    ));
    second
}
