//! A hand in the database, up to its superuser's: whatever stands in there, no replica believes it and each says so.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::custodian::{Custodian, with_key};
use crate::support::database::Database;
use crate::support::installation::{
    Installation, Service, base64url, directory, member, must, text,
};
use crate::support::process::{run, until};
use testkit::postgres::Server;

pub const RING: &str = "integrity";

/// A ring that is open, its service, and a hand in the database.
pub struct Case {
    pub service: Service,
    signer: String,
    kid: String,
    pub database: Database,
    pub installation: Installation,
    /// Kept running for as long as the case.
    _server: Option<Server>,
}

impl Case {
    pub fn sqlite() -> Self {
        let installation = Installation::new();
        let url = installation.sqlite_url();
        Self::new(installation, &url, None)
    }

    pub fn postgres() -> Self {
        let server = Server::start().expect("PostgreSQL starts");
        let url = server.create_database("chancery_it").expect("a database");
        let installation = Installation::on(directory(), &url);
        Self::new(installation, &url, Some(server))
    }

    fn new(installation: Installation, url: &str, server: Option<Server>) -> Self {
        let kid = installation.open_ring(RING);
        let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
        Self {
            service: installation.serve(),
            signer,
            kid,
            database: Database::open(url),
            installation,
            _server: server,
        }
    }

    /// Signing and publication are as they were: by this key and no other.
    pub fn is_sound(&self, service: &Service) {
        let body = json!({"format": "jws", "payload": base64url(b"a record")});
        let signed = service.sign(RING, &self.signer, &body);
        assert_eq!(signed["kid"], self.kid);
        assert_eq!(service.verdict(&member(&signed, "jws")), "VALID");
        assert_eq!(
            published(service).as_slice(),
            std::slice::from_ref(&self.kid)
        );
    }

    fn objects_on_token(&self) -> usize {
        let said = self
            .installation
            .token_tool(&["--list-objects", "--type", "privkey"]);
        said.text().matches("Private Key Object").count()
    }
}

fn published(service: &Service) -> Vec<String> {
    let set = service.get("/.well-known/jwks.json").ok();
    let keys = set["keys"].as_array().expect("keys");
    keys.iter().map(|key| member(key, "kid")).collect()
}

/// A replica that is started now does not come up, and says why.
pub fn does_not_start(installation: &Installation, environment: &[(&str, &str)], words: &str) {
    let mut serve = installation.command();
    serve.arg("serve").envs(environment.iter().copied());
    serve.env("CHANCERY_HTTP__LISTEN", "127.0.0.1:0");
    serve.env("CHANCERY_HTTP__OPERATIONS_LISTEN", "127.0.0.1:0");
    let said = run(&mut serve, b"");
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.stderr.contains(words),
        "{words:?} is not in {}",
        said.stderr
    );
}

/// Puts another member's key into the roster, as the database has it.
fn edit_roster(case: &mut Case, mallory: &Custodian) {
    let mut document: Value = serde_json::from_slice(
        &case
            .database
            .read_bytes("body", "FROM trust_document WHERE kind = 'genesis'"),
    )
    .expect("JSON");
    let berta = &case.installation.custodians[1];
    let body = document["body"].as_str().expect("a body");
    let edited = body.replace(&must(berta.public_key()), &must(mallory.public_key()));
    assert_ne!(edited, body);
    document["body"] = json!(edited);
    let bytes = trust::json::canonical(&document).expect("JSON");
    let bytes = case.database.bytes(&bytes);
    case.database.disarm(&["trust_document"]);
    case.database.run(&format!(
        "UPDATE trust_document SET body = {bytes} WHERE kind = 'genesis'"
    ));
    case.database.announce();
}

fn roster_is_edited(mut case: Case) {
    // The database itself refuses it from anybody but its superuser.
    let update = "UPDATE trust_document SET version = 1";
    assert!(case.database.try_run(update).is_err());
    let id = case.installation.propose(RING);
    let mallory = with_key(case.installation.directory.path(), "mallory", "ed25519");
    edit_roster(&mut case, &mallory);
    until("the replica says so", || {
        case.service.log().contains("the previous ones stay in use")
    });
    assert!(
        case.service.log().contains("pinned"),
        "{}",
        case.service.log()
    );
    case.is_sound(&case.service);
    does_not_start(
        &case.installation,
        &[],
        "the roster and policy in the database do not verify",
    );
    for custodian in [&mallory, &case.installation.custodians[2]] {
        assert_eq!(
            case.installation.try_vote("approve", &id, custodian).code,
            Some(3)
        );
    }
    assert_eq!(
        case.installation
            .try_chancery(["ceremony", "execute", &id])
            .code,
        Some(3)
    );
    let verify = ["key", "list"];
    assert_ne!(case.installation.try_chancery(verify).code, Some(0));
    assert_eq!(case.objects_on_token(), 1);
    // It says so in words, not in a flood.
    let said = case
        .service
        .log()
        .matches("the previous ones stay in use")
        .count();
    assert!((1..60).contains(&said), "said {said} times");
}

#[test]
fn roster_edited_in_the_database() {
    roster_is_edited(Case::sqlite());
}

#[test]
fn roster_appended_in_the_database_by_one_who_was_never_elected() {
    let mut case = Case::sqlite();
    // Another installation's whole genesis, signed by all of its own members, as the next roster.
    let other = Installation::foreign();
    let document = Database::open(&other.sqlite_url())
        .read_bytes("body", "FROM trust_document WHERE kind = 'genesis'");
    let bytes = case.database.bytes(&document);
    case.database.run(&format!(
        "INSERT INTO trust_document (place, kind, version, body) VALUES (1, 'roster', 2, {bytes})"
    ));
    case.database.announce();
    until("the replica says so", || {
        case.service.log().contains("the previous ones stay in use")
    });
    case.is_sound(&case.service);
    does_not_start(&case.installation, &[], "do not verify");
    let words = ["ceremony", "new", "generate", "--ring", RING];
    assert_eq!(case.installation.try_propose_words(&words).code, Some(3));
}

#[test]
fn threshold_lowered_in_the_database() {
    let mut case = Case::sqlite();
    let id = case.installation.propose(RING);
    let berta = &case.installation.custodians[1];
    assert_eq!(
        case.installation.try_vote("approve", &id, berta).code,
        Some(0)
    );
    // The ceremony's row says it is approved: nobody's permission.
    case.database.run(&format!(
        "UPDATE ceremony SET state = 'approved' WHERE id = '{id}'"
    ));
    let execute = ["ceremony", "execute", &id];
    assert_eq!(case.installation.try_chancery(execute).code, Some(3));
    assert_eq!(case.objects_on_token(), 1);
    // The policy says that one is enough.
    let document = case
        .database
        .read_bytes("body", "FROM trust_document WHERE kind = 'genesis'");
    let text = String::from_utf8(document).expect("text");
    let edited = text.replace(":2", ":1");
    assert_ne!(edited, text);
    let bytes = case.database.bytes(edited.as_bytes());
    case.database.disarm(&["trust_document"]);
    case.database
        .run(&format!("UPDATE trust_document SET body = {bytes}"));
    case.database.announce();
    assert_eq!(case.installation.try_chancery(execute).code, Some(3));
    until("the replica says so", || {
        case.service.log().contains("the previous ones stay in use")
    });
    does_not_start(&case.installation, &[], "do not verify");
    case.is_sound(&case.service);
    assert_eq!(case.objects_on_token(), 1);
}

/// A signature of these bytes by this key, in the armour that the database keeps.
/// As the database keeps it.
fn armoured(custodian: &Custodian, file: &Path, namespace: &str) -> String {
    kept(&std::fs::read_to_string(must(custodian.sign(file, namespace))).expect("a signature"))
}

fn kept(armoured: &str) -> String {
    json!({"kind": "ssh", "signature": armoured}).to_string()
}

#[test]
fn approvals_fabricated_in_the_database_by_its_superuser() {
    let mut case = Case::sqlite();
    let installation = &case.installation;
    let (first, _) = installation.hold(RING);
    let id = installation.propose(RING);
    let at = installation.directory.path();
    let file = installation.file("fabricated");
    let said = installation.chancery(["ceremony", "request", &id, "--out", text(&file)]);
    let namespace = member(&said.json(), "namespace");
    let strangers = [
        with_key(at, "mallory", "ed25519"),
        with_key(at, "trudy", "ecdsa"),
    ];
    let ada = &installation.custodians[0];
    // By strangers, by the proposer, by nobody, and the genuine approvals of the ceremony before.
    let mut signatures: Vec<String> = strangers
        .iter()
        .chain([ada])
        .map(|who| armoured(who, &file, &namespace))
        .collect();
    let sealed = "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----";
    signatures.push(kept(sealed));
    let genuine = format!(
        "SELECT signature FROM ceremony_signature WHERE ceremony = '{first}' AND purpose = 'approve'"
    );
    signatures.extend(
        case.database
            .rows(&genuine)
            .into_iter()
            .map(|mut row| row.remove(0)),
    );
    assert_eq!(signatures.len(), 6);
    case.database.disarm(&["ceremony", "ceremony_signature"]);
    let body = case.database.bytes(b"");
    for (n, signature) in signatures.iter().enumerate() {
        case.database.run(&format!(
            "INSERT INTO ceremony_signature (ceremony, purpose, body, signature, received_at, idx)
             SELECT id, 'approve', {body}, '{signature}', created_at, {} FROM ceremony WHERE id = '{id}'",
            1_000_000 + n
        ));
    }
    case.database.run(&format!(
        "UPDATE ceremony SET state = 'approved' WHERE id = '{id}'"
    ));
    let said = case.installation.try_chancery(["ceremony", "execute", &id]);
    assert_eq!(said.code, Some(3), "{said:?}");
    let show = case.installation.chancery(["ceremony", "show", &id]).json();
    assert_eq!(show["approved_by"], json!([]), "{show}");
    assert_eq!(
        show["not_counted"].as_array().map(Vec::len),
        Some(6),
        "{show}"
    );
    // The request itself rewritten after genuine approvals.
    let next = case.installation.propose(RING);
    case.installation.vote_all("approve", &next);
    let request = case
        .database
        .read_bytes("request", &format!("FROM ceremony WHERE id = '{next}'"));
    let text = String::from_utf8(request).expect("text");
    let number = text
        .split_once("\"number\":")
        .expect("a number")
        .1
        .split([',', '}'])
        .next()
        .expect("it");
    let edited = text.replace(&format!("\"number\":{number}"), "\"number\":9");
    assert_ne!(edited, text);
    let bytes = case.database.bytes(edited.as_bytes());
    case.database.run(&format!(
        "UPDATE ceremony SET request = {bytes} WHERE id = '{next}'"
    ));
    assert_eq!(
        case.installation
            .try_chancery(["ceremony", "execute", &next])
            .code,
        Some(3)
    );
    assert_eq!(case.objects_on_token(), 2);
    let refusals = "SELECT CAST(COUNT(*) AS TEXT) FROM log_leaf
         WHERE kind = 'refusal' AND body NOT LIKE '%\"rotate\"%'";
    // The approvals that did not count, and the request that is not the one its id names.
    assert_eq!(case.database.one(refusals), "2");
}

/// Writes a key into the database as if a ceremony had been held: request, transcript, object and key.
fn insert_key(
    case: &mut Case,
    (kid, spki, cka_id): (&str, &[u8], &str),
    (request, transcript): (&[u8], &[u8]),
    as_primary: bool,
) {
    let ceremony =
        trust::Sha256Digest::of([request, kid.as_bytes()].concat().as_slice()).to_string();
    let database = &mut case.database;
    let (spki, request, transcript) = (
        database.bytes(spki),
        database.bytes(request),
        database.bytes(transcript),
    );
    database.disarm(&["ceremony", "key_object", "signing_key", "ring"]);
    let number = database.one("SELECT CAST(MAX(number) + 1 AS TEXT) FROM key_object");
    let old = case.kid.as_str();
    database.run(&format!(
        "INSERT INTO ceremony (id, operation, ring, state, nonce, request, execution, transcript, created_at, updated_at)
         SELECT '{ceremony}', operation, ring, 'closed', substr('{ceremony}', 1, 32), {request}, execution, {transcript}, created_at, updated_at
         FROM ceremony WHERE id = (SELECT ceremony FROM signing_key WHERE kid = '{old}');
         INSERT INTO key_object (id, kind, device, label, place, location, ring, number, ceremony, state, kid, created_at, updated_at)
         SELECT device || '/{cka_id}', kind, device, label || '{number}', place, location, ring, {number}, '{ceremony}', state, '{kid}', created_at, updated_at
         FROM key_object WHERE kid = '{old}';"
    ));
    if as_primary {
        database.run(&format!("UPDATE signing_key SET role = 'secondary', demoted_at = activated_at WHERE kid = '{old}'"));
    }
    let (state, role, activated) = match as_primary {
        true => ("'active'", "'primary'", "activated_at"),
        false => ("'prepared'", "NULL", "NULL"),
    };
    database.run(&format!(
        "INSERT INTO signing_key
         (kid, ring, number, state, role, spki, object, published_at, activate_at, retire_at, activated_at, ceremony)
         SELECT '{kid}', ring, {number}, {state}, {role}, {spki}, (SELECT id FROM key_object WHERE kid = '{kid}'), published_at, activate_at, retire_at,
         {activated}, '{ceremony}' FROM signing_key WHERE kid = '{old}'"
    ));
    database.run(&format!(
        "UPDATE ring SET version = version + 1 WHERE name = '{RING}'"
    ));
    database.announce();
}

/// A key made on the token by somebody with the PIN; its kid, SPKI and CKA_ID.
fn made_by_hand(case: &Case, cka_id: &str) -> (String, Vec<u8>, String) {
    let made = [
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--id",
        cka_id,
        "--label",
        "by-hand",
    ];
    let said = case.installation.token_tool(&made);
    assert_eq!(said.code, Some(0), "{said:?}");
    let file = case.installation.file(&format!("{cka_id}.der"));
    let read = [
        "--read-object",
        "--type",
        "pubkey",
        "--id",
        cka_id,
        "--output-file",
        text(&file),
    ];
    let said = case.installation.token_tool(&read);
    assert_eq!(said.code, Some(0), "{said:?}");
    let spki = std::fs::read(file).expect("a public key");
    let public = trust::PublicKey::from_spki_der(&spki).expect("SPKI");
    (
        public.kid().as_str().to_owned(),
        public.to_spki_der(),
        cka_id.to_owned(),
    )
}

fn key_is_inserted(mut case: Case) {
    let before = published(&case.service);
    let (id, other_kid) = case.installation.hold(RING);
    until("the standby is published", || {
        published(&case.service).contains(&other_kid)
    });
    let ceremony = format!("FROM ceremony WHERE id = '{id}'");
    let request = case.database.read_bytes("request", &ceremony);
    let transcript = case.database.read_bytes("transcript", &ceremony);
    // The same transcript with the other key's name in it; and a genuine one of somebody else's quorum.
    let by_hand = made_by_hand(&case, &"a1".repeat(16));
    let renamed = String::from_utf8(transcript.clone())
        .expect("text")
        .replace(&other_kid, &by_hand.0);
    insert_key(
        &mut case,
        (&by_hand.0, &by_hand.1, &by_hand.2),
        (&request, &transcript),
        false,
    );
    let second = made_by_hand(&case, &"a2".repeat(16));
    insert_key(
        &mut case,
        (&second.0, &second.1, &second.2),
        (&request, renamed.as_bytes()),
        false,
    );
    let mallory = Installation::foreign();
    mallory.create_ring(RING, &[]);
    let (held, theirs) = mallory.hold(RING);
    let mut their_database = Database::open(&mallory.sqlite_url());
    let ceremony = format!("FROM ceremony WHERE id = '{held}'");
    let their_request = their_database.read_bytes("request", &ceremony);
    let their_transcript = their_database.read_bytes("transcript", &ceremony);
    let key = format!("FROM signing_key WHERE kid = '{theirs}'");
    let their_spki = their_database.read_bytes("spki", &key);
    let their_id = their_database.one(&format!("SELECT substr(object, length(object) - 31) {key}"));
    insert_key(
        &mut case,
        (&theirs, &their_spki, &their_id),
        (&their_request, &their_transcript),
        true,
    );

    let forged = [&by_hand.0, &second.0, &theirs];
    let replica = case.installation.replica(&[]);
    for service in [&case.service, &replica] {
        until("the replica says so", || {
            service.metric("chancery_keys_refused ") == Some(3.0)
        });
        for kid in forged {
            assert!(
                service.log().contains(kid.as_str()),
                "{kid}: {}",
                service.log()
            );
            service
                .get(&format!("/v1/keys/{kid}"))
                .problem(404, "unknown_key");
        }
        let mut kids = published(service);
        kids.sort_unstable();
        let mut expected = [before.clone(), vec![other_kid.clone()]].concat();
        expected.sort_unstable();
        assert_eq!(kids, expected);
        // The forged primary signs nothing, and nothing else takes its place by itself.
        let body = json!({"format": "jws", "payload": "AQID"});
        let answer = service.post(&format!("/v1/rings/{RING}/sign"), Some(&case.signer), &body);
        answer.problem(409, "no_active_key");
    }
    let list = case.installation.chancery(["key", "list"]).json();
    let refused = list["refused"].as_array().expect("refused");
    assert_eq!(refused.len(), 3, "{list}");
    for entry in refused {
        assert!(
            entry["why"].as_str().is_some_and(|why| !why.is_empty()),
            "{entry}"
        );
    }
    // What is on the token without a ceremony is reported, and neither adopted nor destroyed.
    let before = case.objects_on_token();
    case.installation
        .chancery(["ceremony", "reconcile", "--alone"]);
    assert_eq!(case.objects_on_token(), before);
}

#[test]
fn key_generated_without_a_ceremony_and_inserted() {
    key_is_inserted(Case::sqlite());
}

#[test]
fn a_superuser_of_postgresql_forges_no_more_than_one_of_sqlite() {
    let mut case = Case::postgres();
    let installation = &case.installation;
    let (first, kid) = installation.hold(RING);
    until("the standby is published", || {
        published(&case.service).contains(&kid)
    });
    let id = installation.propose(RING);
    case.database.disarm(&["ceremony", "ceremony_signature"]);
    case.database.run(&format!(
        "INSERT INTO ceremony_signature (ceremony, purpose, body, signature, received_at, idx)
         SELECT '{id}', purpose, body, signature, received_at, idx + 1000000
         FROM ceremony_signature WHERE ceremony = '{first}' AND purpose = 'approve';
         UPDATE ceremony SET state = 'approved' WHERE id = '{id}'"
    ));
    assert_eq!(
        case.installation
            .try_chancery(["ceremony", "execute", &id])
            .code,
        Some(3)
    );
    key_is_inserted(case);
}

#[test]
fn roster_edited_in_postgresql() {
    roster_is_edited(Case::postgres());
}

#[test]
fn key_swapped_between_execution_and_acceptance() {
    let mut case = Case::sqlite();
    let installation = &case.installation;
    let id = installation.propose(RING);
    installation.vote_all("approve", &id);
    installation.chancery(["ceremony", "execute", &id]);
    let berta = &installation.custodians[1];
    assert_eq!(installation.try_vote("accept", &id, berta).code, Some(0));
    let carl = &installation.custodians[2];
    let file = installation.file("seen");
    let said = installation.chancery(["ceremony", "acceptance", &id, "--out", text(&file)]);
    let seen = must(carl.sign(&file, &member(&said.json(), "namespace")));

    // In the database: the custodian has seen and signed another key than is there now.
    let rest = format!("FROM ceremony WHERE id = '{id}'");
    let genuine = case.database.read_bytes("execution", &rest);
    let by_hand = made_by_hand(&case, &"a3".repeat(16));
    let kid = case.installation.only_kid(&id);
    let forged = String::from_utf8(genuine.clone())
        .expect("text")
        .replace(&kid, &by_hand.0);
    assert_ne!(forged.as_bytes(), genuine);
    case.database.disarm(&["ceremony"]);
    let mut put = |bytes: &[u8]| {
        let bytes = case.database.bytes(bytes);
        case.database.run(&format!(
            "UPDATE ceremony SET execution = {bytes} WHERE id = '{id}'"
        ));
    };
    put(forged.as_bytes());
    let accept = ["ceremony", "accept", &id, "--signature", text(&seen)];
    assert_eq!(case.installation.try_chancery(accept).code, Some(3));
    put(&genuine);

    // On the token: the same CKA_ID, another key. It is accepted, because nobody asked the token again; it never signs.
    let cka_id = case.database.one(&format!(
        "SELECT substr(id, length(id) - 31) FROM key_object WHERE ceremony = '{id}'"
    ));
    for kind in ["privkey", "pubkey"] {
        let delete = ["--delete-object", "--type", kind, "--id", &cka_id];
        assert_eq!(case.installation.token_tool(&delete).code, Some(0));
    }
    made_by_hand(&case, &cka_id);
    assert_eq!(case.installation.try_chancery(accept).code, Some(0));
    let reconcile = case
        .installation
        .chancery(["ceremony", "reconcile", "--alone"])
        .json();
    until("the key is published", || {
        published(&case.service).len() == 2
    });
    let body = json!({"format": "jws", "payload": "AQID"});
    let path = format!("/v1/rings/{RING}/sign");
    let mut refused = 0;
    let rotate = ["ring", "rotate", RING, "--apply"];
    until("it is primary", || {
        case.installation.try_chancery(rotate).code == Some(0)
    });
    until("the service has seen it", || {
        let answer = case.service.post(&path, Some(&case.signer), &body);
        refused += u32::from(answer.status != 200);
        answer.status != 200 || answer.json()["kid"] == kid
    });
    let answer = case.service.post(&path, Some(&case.signer), &body);
    answer.problem(503, "token_unavailable");
    assert!(refused > 0, "{reconcile}");
    // The one before is still good, and is gone back to.
    case.installation
        .chancery(["ring", "roll-back", RING, "--apply"]);
    until("the ring signs again", || {
        case.service.post(&path, Some(&case.signer), &body).status == 200
    });
}
