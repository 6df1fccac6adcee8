//! A database superuser, up to one who owns the log's storage and signs with the log's key: whatever is rewritten is
//! detected, and here stands by what: by `log check`, by the monitor's memory, or by an old receipt.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::verify_consistency;
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;
use trust::{PublicKey, Sha256Digest};

use super::log_check::{check, codes};
use crate::support::database::Database;
use crate::support::installation::{Installation, Service, base64url, directory, member, text};
use crate::support::postgres::Server;
use crate::support::process::{Said, done, run, signal, until};

const RING: &str = "atp";

/// An installation with a history, its service stopped.
struct Past {
    installation: Installation,
    url: String,
    revoked: String,
    rejected: String,
    /// A receipt of the last signature.
    receipt: String,
    token: String,
    log_kid: String,
    _watchdog: Child,
}

impl Past {
    fn new(installation: Installation, url: &str) -> Self {
        // Statics are never dropped.
        let mut sh = Command::new("sh");
        sh.args(["-c", "cat >/dev/null; sleep 1; rm -rf -- \"$1\"", "sh"]);
        sh.arg(installation.directory.path()).stdin(Stdio::piped());
        let _watchdog = sh.spawn().expect("a watchdog");
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
    fn sqlite() -> &'static Self {
        static PAST: OnceLock<Past> = OnceLock::new();
        PAST.get_or_init(|| {
            let installation = Installation::new();
            let url = installation.sqlite_url();
            Self::new(installation, &url)
        })
    }

    /// A copy of all files, with the database at `url` if it is not one of them. Its origin stays
    /// the same; its replicas have ports of their own.
    fn copy(&self, url: Option<&str>) -> Installation {
        let (from, to) = (self.installation.directory.path(), directory());
        let all = format!("{}/.", from.display());
        done("cp", ["-r", &all, text(to.path())]);
        for file in ["chancery.toml", "token/softhsm2.conf"] {
            let mut words = fs::read_to_string(to.path().join(file)).expect("a file");
            if let Some(url) = url {
                words = words.replace(&self.url, url);
            }
            words = words.replace(text(from), text(to.path()));
            fs::write(to.path().join(file), words).expect("a file");
        }
        Installation {
            directory: to,
            custodians: Vec::new(),
            genesis: self.installation.genesis.clone(),
            api: self.installation.api.clone(),
            operations: self.installation.operations.clone(),
        }
    }

    /// That the receipt is of the log that stands there now.
    fn receipt_fits(&self, service: &Service) -> bool {
        let jwk = service.get(&format!("/v1/keys/{}/jwk", self.log_kid)).body;
        let key = PublicKey::from_jwk_json(&jwk).expect("a JWK");
        let origin = format!("{}/log", self.installation.api);
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
        let note = Note::parse(&service.get("/log/checkpoint").body).expect("a note");
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

/// A signature that is covered by a checkpoint; its receipt.
fn signed(service: &Service, token: &str) -> String {
    let body = json!({"format": "jws", "payload": base64url(b"a record")});
    let path = format!("/v1/rings/{RING}/sign?receipt=wait");
    member(&service.post(&path, Some(token), &body).ok(), "receipt")
}

fn stop(mut service: Service) {
    signal("TERM", service.child.0.id());
    until("it has stopped", || !service.child.is_alive());
}

fn monitor(installation: &Installation, service: &Service, state: &str) -> Said {
    let url = format!("http://{}", service.api);
    let state = installation.file(state);
    let watch = ["log", "monitor", "--once", "--url", &url, "--genesis"];
    let watch = watch.into_iter().chain([installation.genesis.as_str()]);
    installation.try_chancery(watch.chain(["--state", text(&state)]))
}

/// What the monitor of this installation says, which remembers the past.
fn alarms(installation: &Installation, service: &Service) -> Vec<String> {
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

/// One thing that a superuser does, and what `log check` has to say of it, with the leaf if that is known.
struct Deed {
    name: &'static str,
    act: fn(&mut Database, &Past) -> Option<i64>,
    found: &'static [&'static str],
}

const DEEDS: &[Deed] = &[
    Deed {
        name: "a leaf and its hash are rewritten",
        act: leaf_is_rewritten,
        found: &["leaf", "root"],
    },
    Deed {
        name: "a column beside a leaf is rewritten",
        act: column_is_rewritten,
        found: &["columns"],
    },
    Deed {
        name: "a revocation is taken back",
        act: revocation_is_taken_back,
        found: &["key_state"],
    },
    Deed {
        name: "a key is inserted",
        act: key_is_inserted,
        found: &["ceremony_unlogged", "key_unlogged"],
    },
    Deed {
        name: "a roster is inserted",
        act: roster_is_inserted,
        found: &["document_unlogged"],
    },
    Deed {
        name: "an approval is inserted",
        act: approval_is_inserted,
        found: &["vote_unlogged"],
    },
    Deed {
        name: "a rejection is deleted",
        act: rejection_is_deleted,
        found: &["ceremony_state", "vote_missing"],
    },
    Deed {
        name: "a credential is widened",
        act: credential_is_widened,
        found: &["credential_unlogged"],
    },
    Deed {
        name: "the actor of an act is another",
        act: actor_is_another,
        found: &["leaf", "root"],
    },
];

fn index(database: &mut Database, rest: &str) -> i64 {
    let index = database.one(&format!(
        "SELECT CAST(MIN(idx) AS TEXT) FROM log_leaf WHERE {rest}"
    ));
    index.parse().expect("an index")
}

fn leaf_is_rewritten(database: &mut Database, _: &Past) -> Option<i64> {
    let index = index(database, "kind = 'sign'");
    database.disarm(&["log_leaf"]);
    let hash = "ab".repeat(32);
    database.run(&format!(
        "UPDATE log_leaf SET body = replace(body, sig_hash, '{hash}'), sig_hash = '{hash}' WHERE idx = {index}"
    ));
    Some(index)
}

fn column_is_rewritten(database: &mut Database, past: &Past) -> Option<i64> {
    let index = index(database, "kind = 'sign'");
    database.disarm(&["log_leaf"]);
    database.run(&format!(
        "UPDATE log_leaf SET kid = '{}' WHERE idx = {index}",
        past.revoked
    ));
    Some(index)
}

fn revocation_is_taken_back(database: &mut Database, past: &Past) -> Option<i64> {
    database.disarm(&["signing_key"]);
    database.run(&format!(
        "UPDATE signing_key SET state = 'active', role = 'secondary', revoked_at = NULL, revocation_reason = NULL
         WHERE kid = '{}'",
        past.revoked
    ));
    Some(index(
        database,
        "kind = 'key' AND body LIKE '%\"action\":\"revoke\"%'",
    ))
}

fn key_is_inserted(database: &mut Database, past: &Past) -> Option<i64> {
    database.disarm(&["ceremony", "token_object", "signing_key"]);
    let (kid, old) = ("A".repeat(43), &past.revoked);
    let (ceremony, cka_id) = ("c".repeat(64), "d".repeat(32));
    let spki = database.bytes(b"no key at all");
    database.run(&format!(
        "INSERT INTO ceremony SELECT '{ceremony}', seq + 100, operation, ring, 'closed', request, execution,
            transcript, created_at, updated_at FROM ceremony
            WHERE id = (SELECT ceremony FROM signing_key WHERE kid = '{old}');
         INSERT INTO token_object (cka_id, token_serial, token_label, label, ring, number, ceremony, state, kid,
            created_at, updated_at)
            SELECT '{cka_id}', token_serial, token_label, 'another', ring, 90, '{ceremony}', state, '{kid}',
            created_at, updated_at FROM token_object WHERE kid = '{old}';
         INSERT INTO signing_key (kid, ring, number, state, spki, cka_id, token_serial, token_label, published_at,
            activate_at, retire_at, ceremony)
            SELECT '{kid}', ring, 90, 'prepared', {spki}, '{cka_id}', token_serial, token_label, published_at,
            activate_at, retire_at, '{ceremony}' FROM signing_key WHERE kid = '{old}'"
    ));
    None
}

fn roster_is_inserted(database: &mut Database, _: &Past) -> Option<i64> {
    let genesis = database.read_bytes("body", "FROM trust_document WHERE kind = 'genesis'");
    let edited = String::from_utf8(genesis)
        .expect("text")
        .replace("berta", "mallory");
    let bytes = database.bytes(edited.as_bytes());
    database.run(&format!(
        "INSERT INTO trust_document VALUES ('roster', 2, {bytes})"
    ));
    None
}

fn approval_is_inserted(database: &mut Database, past: &Past) -> Option<i64> {
    database.disarm(&["ceremony_signature"]);
    database.run(&format!(
        "INSERT INTO ceremony_signature (ceremony, purpose, body, signature, received_at, idx)
         SELECT '{}', purpose, body, signature, received_at, 1000000 FROM ceremony_signature
         WHERE purpose = 'approve' ORDER BY idx LIMIT 1",
        past.rejected
    ));
    Some(1_000_000)
}

fn rejection_is_deleted(database: &mut Database, past: &Past) -> Option<i64> {
    database.disarm(&["ceremony", "ceremony_signature"]);
    database.run(&format!(
        "DELETE FROM ceremony_signature WHERE purpose = 'reject';
         UPDATE ceremony SET state = 'proposed' WHERE id = '{}'",
        past.rejected
    ));
    Some(index(
        database,
        "kind = 'ceremony' AND body LIKE '%\"action\":\"reject\"%'",
    ))
}

fn credential_is_widened(database: &mut Database, _: &Past) -> Option<i64> {
    database.run("UPDATE credential SET roles = '[\"signer:atp\",\"operator\"]'");
    None
}

fn actor_is_another(database: &mut Database, _: &Past) -> Option<i64> {
    let index = index(
        database,
        "kind = 'ceremony' AND body LIKE '%\"action\":\"reject\"%'",
    );
    database.disarm(&["log_leaf"]);
    database.run(&format!(
        "UPDATE log_leaf SET body = replace(body, 'custodian:carl', 'custodian:berta') WHERE idx = {index}"
    ));
    Some(index)
}

/// The report of the check after the deed; the check without it is clean.
fn judge(deed: &Deed, past: &Past, installation: &Installation, url: &str) -> Value {
    let mut database = Database::open(url);
    let index = (deed.act)(&mut database, past);
    drop(database);
    let report = check(installation);
    let found = codes(&report);
    for code in deed.found {
        assert!(
            found.contains(code),
            "{}: {code} is not in {report}",
            deed.name
        );
    }
    let findings = report["findings"].as_array().expect("findings");
    if let Some(index) = index {
        let named = |finding: &Value| {
            deed.found
                .contains(&finding["code"].as_str().expect("a code"))
        };
        let mut there = findings.iter().filter(|finding| named(finding));
        assert!(
            there.any(|finding| finding["index"] == index),
            "{}: {report}",
            deed.name
        );
    }
    report
}

fn by_name(name: &str) -> Value {
    let deed = DEEDS.iter().find(|deed| deed.name == name);
    let past = Past::sqlite();
    let installation = past.copy(None);
    judge(
        deed.expect("a deed"),
        past,
        &installation,
        &installation.sqlite_url(),
    )
}

#[test]
fn a_leaf_and_its_hash_are_rewritten() {
    let report = by_name("a leaf and its hash are rewritten");
    // The column was rewritten with it, and the tiles are as they were.
    assert!(!codes(&report).contains(&"columns"), "{report}");
    assert!(!codes(&report).contains(&"tiles"), "{report}");
}

#[test]
fn a_column_beside_a_leaf_is_rewritten() {
    let report = by_name("a column beside a leaf is rewritten");
    assert_eq!(codes(&report), ["columns"], "{report}");
}

#[test]
fn a_revocation_is_taken_back() {
    let past = Past::sqlite();
    let installation = past.copy(None);
    let deed = DEEDS
        .iter()
        .find(|deed| deed.name == "a revocation is taken back");
    let url = installation.sqlite_url();
    let report = judge(deed.expect("a deed"), past, &installation, &url);
    assert_eq!(codes(&report), ["key_state"], "{report}");
    // From outside: the key is published again, and the log says that it was revoked.
    let service = installation.replica(&[]);
    let set = service.get("/.well-known/jwks.json").ok().to_string();
    assert!(set.contains(&past.revoked), "{set}");
    assert_eq!(alarms(&installation, &service), ["revoked_in_jwks"]);
}

#[test]
fn a_key_is_inserted() {
    by_name("a key is inserted");
}

#[test]
fn a_roster_is_inserted() {
    let report = by_name("a roster is inserted");
    assert!(codes(&report).contains(&"chain"), "{report}");
}

#[test]
fn an_approval_is_inserted() {
    let report = by_name("an approval is inserted");
    assert_eq!(codes(&report), ["vote_unlogged"], "{report}");
}

#[test]
fn a_rejection_is_deleted() {
    let report = by_name("a rejection is deleted");
    assert_eq!(
        codes(&report),
        ["ceremony_state", "vote_missing"],
        "{report}"
    );
}

#[test]
fn a_credential_is_widened() {
    let report = by_name("a credential is widened");
    assert_eq!(
        codes(&report),
        ["credential_missing", "credential_unlogged"],
        "{report}"
    );
}

#[test]
fn the_actor_of_an_act_is_another() {
    let report = by_name("the actor of an act is another");
    assert!(!codes(&report).contains(&"columns"), "{report}");
}

#[test]
fn a_superuser_of_postgresql_is_seen_as_well() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database("chancery_past").expect("a database");
    let past = Past::new(Installation::on(directory(), &url), &url);
    for (number, deed) in DEEDS.iter().enumerate() {
        let copy = format!("chancery_copy_{number}");
        let create = format!("CREATE DATABASE {copy} TEMPLATE chancery_past");
        let said = run(&mut server.psql("postgres", &create), b"");
        assert_eq!(said.code, Some(0), "{said:?}");
        let url = server.url(&copy);
        let installation = past.copy(Some(&url));
        assert_eq!(codes(&check(&installation)), [""; 0]);
        judge(deed, &past, &installation, &url);
    }
}

/// Cuts leaves, head, tree and checkpoints off behind an earlier checkpoint.
fn cut_tail(installation: &Installation) {
    let mut database = Database::open(&installation.sqlite_url());
    database.disarm(&["log_leaf", "log_head", "log_tree", "log_checkpoint"]);
    let sizes = database.rows("SELECT CAST(size AS TEXT) FROM log_checkpoint ORDER BY size DESC");
    let size = &sizes[2][0];
    database.run(&format!(
        "DELETE FROM log_leaf WHERE idx >= {size};
         UPDATE log_head SET size = {size};
         UPDATE log_tree SET size = {size},
            root = (SELECT root FROM log_checkpoint WHERE size = {size}),
            clock = (SELECT clock FROM log_checkpoint WHERE size = {size});
         DELETE FROM log_checkpoint WHERE size > {size}"
    ));
}

/// A service on this installation does not start, because of the log.
fn does_not_start(installation: &Installation) {
    let mut serve = installation.command();
    serve.arg("serve");
    serve.env("CHANCERY_HTTP__LISTEN", "127.0.0.1:0");
    serve.env("CHANCERY_HTTP__OPERATIONS_LISTEN", "127.0.0.1:0");
    let said = run(&mut serve, b"");
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.stderr.contains("the log must not go on"), "{said:?}");
}

/// Takes the log's files away; the integrator writes them again from the leaves that are there.
fn wipe_files(installation: &Installation) {
    fs::remove_dir_all(installation.file("log")).expect("the log's files");
}

#[test]
fn the_tail_is_deleted() {
    let past = Past::sqlite();
    let installation = past.copy(None);
    cut_tail(&installation);
    let report = check(&installation);
    assert!(codes(&report).contains(&"behind"), "{report}");
    does_not_start(&installation);
    // With the log's files too nothing inside remembers; outside it is remembered.
    wipe_files(&installation);
    let service = installation.replica(&[]);
    until("a checkpoint is published", || {
        service.get("/log/checkpoint").status == 200
    });
    assert_eq!(alarms(&installation, &service), ["shrunk"]);
    assert!(!past.receipt_fits(&service));
}

#[test]
fn yesterdays_backup_is_restored() {
    let past = Past::sqlite();
    let installation = past.copy(None);
    let (database, backup) = (
        installation.file("chancery.db"),
        installation.file("backup"),
    );
    fs::copy(&database, &backup).expect("a backup");
    done(
        "cp",
        [
            "-r",
            text(&installation.file("log")),
            text(&installation.file("log.backup")),
        ],
    );
    let service = installation.replica(&[]);
    assert!(past.receipt_fits(&service));
    for _ in 0..3 {
        signed(&service, &past.token);
    }
    assert_eq!(alarms(&installation, &service), [""; 0]);
    stop(service);
    restore(&backup, &database);
    let report = check(&installation);
    assert_eq!(codes(&report), ["behind"], "{report}");
    does_not_start(&installation);
    // Restored with the log's files: the log is shorter than the one that was seen.
    fs::remove_dir_all(installation.file("log")).expect("the log's files");
    fs::rename(installation.file("log.backup"), installation.file("log")).expect("a backup");
    let service = installation.replica(&[]);
    assert_eq!(alarms(&installation, &service), ["shrunk"]);
    // And another one, as soon as it has grown again.
    for _ in 0..4 {
        signed(&service, &past.token);
    }
    assert_eq!(alarms(&installation, &service), ["forked"]);
}

fn restore(backup: &Path, database: &Path) {
    for more in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{more}", text(database)));
    }
    fs::copy(backup, database).expect("restored");
}

#[test]
fn history_is_rewritten_as_a_whole_and_signed_by_the_logs_own_key() {
    let past = Past::sqlite();
    let installation = past.copy(None);
    let mut database = Database::open(&installation.sqlite_url());
    database.disarm(&["log_leaf", "log_tree", "log_checkpoint"]);
    leaf_is_rewritten(&mut database, past);
    let empty = Sha256Digest::of(b"");
    database.run(&format!(
        "DELETE FROM log_checkpoint; UPDATE log_tree SET size = 0, root = '{empty}', clock = 0"
    ));
    drop(database);
    wipe_files(&installation);
    // The token signs for whoever holds it: here the service itself, over the leaves that it finds.
    let service = installation.replica(&[]);
    until("a checkpoint is published", || {
        service.get("/log/checkpoint").status == 200
    });
    signed(&service, &past.token);
    // Inside all fits together: nothing there remembers.
    let report = check(&installation);
    assert_eq!(codes(&report), [""; 0], "{report}");
    // Outside two things do.
    assert_eq!(alarms(&installation, &service), ["forked"]);
    assert!(
        !past.receipt_fits(&service),
        "an old receipt shows the fork"
    );
}
