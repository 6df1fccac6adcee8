//! A database superuser rewrites rows: each deed is found by `log check`, and what shows outside by the monitor.

use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::installation::{Installation, directory};
use crate::support::past::{Past, alarms, check, codes};
use crate::support::process::run;
use testkit::postgres::Server;

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

pub fn leaf_is_rewritten(database: &mut Database, _: &Past) -> Option<i64> {
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
    database.disarm(&["ceremony", "key_object", "signing_key"]);
    let (kid, old) = ("A".repeat(43), &past.revoked);
    let (ceremony, cka_id) = ("c".repeat(64), "d".repeat(32));
    let spki = database.bytes(b"no key at all");
    database.run(&format!(
        "INSERT INTO ceremony (id, operation, ring, state, nonce, request, execution, transcript, created_at, updated_at)
            SELECT '{ceremony}', operation, ring, 'closed', substr('{ceremony}', 1, 32), request, execution,
            transcript, created_at, updated_at FROM ceremony
            WHERE id = (SELECT ceremony FROM signing_key WHERE kid = '{old}');
         INSERT INTO key_object (id, kind, device, label, place, location, ring, number, ceremony, state, kid,
            created_at, updated_at)
            SELECT device || '/{cka_id}', kind, device, 'another', place, location, ring, 90, '{ceremony}', state,
            '{kid}', created_at, updated_at FROM key_object WHERE kid = '{old}';
         INSERT INTO signing_key (kid, ring, number, state, spki, object, published_at,
            activate_at, retire_at, ceremony)
            SELECT '{kid}', ring, 90, 'prepared', {spki}, (SELECT id FROM key_object WHERE kid = '{kid}'), published_at,
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
        "INSERT INTO trust_document (place, kind, version, body) VALUES (1, 'roster', 2, {bytes})"
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

#[test]
fn bodies_that_went_after_retention_are_no_finding_and_hide_none() {
    let past = Past::sqlite();
    let installation = past.copy(None);
    let mut database = Database::open(&installation.sqlite_url());
    // As the archivist does it, by the rules of the schema.
    database.run("UPDATE log_tree SET pruned = size");
    database.run("UPDATE log_leaf SET body = '' WHERE kind = 'sign'");
    let report = check(&installation);
    assert_eq!(codes(&report), [""; 0], "{report}");
    assert_eq!(
        report["remarks"].as_array().map(Vec::len),
        Some(1),
        "{report}"
    );
    // The bundles still have them.
    let index = column_is_rewritten(&mut database, past);
    let report = check(&installation);
    assert_eq!(codes(&report), ["columns"], "{report}");
    assert_eq!(report["findings"][0]["index"], json!(index));
}
