//! The service's account can add and not change; the archivist's removes bodies beyond retention and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::verdict::Outcome;

use crate::support::database::Database;
use crate::support::http::Answer;
use crate::support::installation::{Installation, Service, directory, member, text};
use crate::support::process::{Said, repository, run, until};
use testkit::postgres::Server;

const DATABASE: &str = "chancery_it";
const RING: &str = "integrity";

/// An installation on PostgreSQL whose service and commands run as `chancery_service`.
struct House {
    installation: Installation,
    server: Server,
}

impl House {
    fn new() -> Self {
        let server = Server::start().expect("PostgreSQL starts");
        let url = server.create_database(DATABASE).expect("a database");
        let installation = Installation::on(directory(), &url);
        let house = Self {
            installation,
            server,
        };
        // It may be repeated.
        house.roles();
        house.roles();
        let path = house.installation.file("chancery.toml");
        let settings = fs::read_to_string(&path).expect("settings");
        fs::write(
            &path,
            settings.replace(&url, &house.url("chancery_service")),
        )
        .expect("settings");
        house
    }

    fn roles(&self) {
        let sql = fs::read_to_string(repository("deploy/postgres/roles.sql")).expect("roles");
        let said = run(&mut self.server.psql(DATABASE, &sql), b"");
        assert_eq!(said.code, Some(0), "{said:?}");
    }

    fn url(&self, role: &str) -> String {
        let superuser = self.server.url(DATABASE);
        superuser.replace("//chancery@", &format!("//{role}@"))
    }

    fn prune(&self, role: &str, more: &[&str]) -> Said {
        let mut command = self.installation.command();
        command
            .args(["--output", "json", "log", "prune"])
            .args(more);
        command.env("CHANCERY_STORE__URL", self.url(role));
        command.env("CHANCERY_LOG__RETENTION", "1s");
        run(&mut command, b"")
    }

    /// PostgreSQL says no to each, as this account.
    fn refuses(&self, role: &str, statements: &[&str]) {
        let mut hand = Database::open(&self.url(role));
        for sql in statements {
            let refused = hand.try_run(sql);
            assert!(refused.is_err(), "{role}: {sql}");
        }
    }
}

impl House {
    /// Not a trigger, which could be satisfied: the account has no such right.
    fn denies(&self, role: &str, statements: &[&str]) {
        let mut hand = Database::open(&self.url(role));
        for sql in statements {
            let refused = hand.try_run(sql).expect_err(sql);
            assert!(
                refused.contains("permission denied"),
                "{role}: {sql}: {refused}"
            );
        }
    }
}

/// So many signatures, covered by a checkpoint; the indexes and the last of the answers.
fn signed(service: &Service, token: &str, count: usize) -> (Vec<i64>, Value) {
    let item = json!({"format": "jws", "payload": "AQID"});
    let body = json!({"items": vec![item; count]});
    let path = format!("/v1/rings/{RING}/sign-batch");
    let answer = service.post(&path, Some(token), &body).ok();
    let items = answer["items"].as_array().expect("items");
    let index = |item: &Value| item["log_index"].as_i64().expect("an index");
    let indexes: Vec<i64> = items.iter().map(index).collect();
    let last = indexes.last().expect("one at least");
    until("a checkpoint covers them", || {
        service.get(&format!("/v1/receipts/{last}")).status == 200
    });
    (indexes, items.last().expect("one").clone())
}

impl House {
    /// The archivist's command as docs/LOG.md prints it, with the places of this installation.
    fn case_c8_prunes_as_documented(&self) -> Said {
        let document = fs::read_to_string(repository("docs/LOG.md")).expect("the document");
        let from = document
            .find("    CHANCERY_STORE__URL=")
            .expect("the command");
        let command = document[from..].split("\n\n").next().expect("its lines");
        let password = self.installation.file("archivist-password");
        fs::write(&password, "whatever").expect("written");
        let url = self.url("chancery_archivist");
        let command = command
            .replace(
                "postgres://chancery_archivist@127.0.0.1:5432/chancery",
                &format!("'{url}'"),
            )
            .replace("/etc/chancery/archivist-password", text(&password))
            .replace(
                "/etc/chancery/chancery.toml",
                text(&self.installation.file("chancery.toml")),
            );
        assert!(!command.contains("/etc/"), "{command}");
        let mut shell = Command::new("sh");
        shell
            .arg("-ec")
            .arg(format!("{} --output json", command.trim_end()));
        let plain = self.installation.command();
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let program = Path::new(plain.get_program())
            .parent()
            .expect("a directory");
        shell.env("PATH", format!("{}:/usr/bin:/bin", text(program)));
        shell.env("CHANCERY_LOG__RETENTION", "1s");
        let said = run(&mut shell, b"");
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    }
}

fn evidence(service: &Service, index: i64) -> Answer {
    service.get(&format!("/v1/evidence/{index}"))
}

const NOBODY_MAY: &[&str] = &[
    "UPDATE log_leaf SET time = 0 WHERE idx = 0",
    "UPDATE log_leaf SET sig_hash = NULL",
    "DELETE FROM log_leaf",
    "TRUNCATE log_leaf",
    "ALTER TABLE log_leaf DISABLE TRIGGER ALL",
    "ALTER TABLE log_leaf ADD COLUMN x TEXT",
    "DROP TRIGGER log_leaf_no_update ON log_leaf",
    "DROP TABLE log_checkpoint",
    "CREATE OR REPLACE FUNCTION chancery_leaf_pruned() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN RETURN NEW; END $$",
    "CREATE TEMPORARY TABLE log_tree (pruned BIGINT)",
    "CREATE SCHEMA mine",
    "CREATE TABLE mine (x BIGINT)",
    "SET session_replication_role = replica",
    "SET ROLE chancery_owner",
    "UPDATE signing_key SET spki = decode('00', 'hex')",
    "UPDATE signing_key SET kid = 'x'",
    "UPDATE signing_key SET ceremony = 'x'",
    "DELETE FROM signing_key",
    "UPDATE ceremony SET request = decode('00', 'hex')",
    "DELETE FROM ceremony",
    "UPDATE ceremony_signature SET signature = 'x'",
    "DELETE FROM ceremony_signature",
    "UPDATE trust_document SET body = decode('00', 'hex')",
    "TRUNCATE trust_document",
    "UPDATE key_object SET label = 'x'",
    "DELETE FROM key_object",
    "UPDATE ceremony_line SET seq = seq + 1",
    "DELETE FROM ceremony_line",
    "UPDATE order_use SET use_number = 2",
    "DELETE FROM order_use",
    "INSERT INTO leaf_kind (word) VALUES ('rumour')",
    "INSERT INTO operation (word) VALUES ('whatever')",
    "DELETE FROM algorithm",
    "UPDATE usage SET word = 'x'",
    "UPDATE log_checkpoint SET note = 'x'",
    "DELETE FROM log_checkpoint",
    "DELETE FROM log_head",
    "UPDATE log_head SET size = size - 1",
    "DELETE FROM log_tree",
    "UPDATE log_signature SET idx = 0",
    "DELETE FROM log_signature",
    "UPDATE log_indexed SET size = size - 1",
    "UPDATE log_counted SET size = size - 1",
    "UPDATE log_key_day SET first_index = first_index + 1",
    "DELETE FROM log_key_day",
    "DELETE FROM log_key_block",
    "INSERT INTO log_tree SELECT * FROM log_tree",
    "UPDATE ring SET algorithm = 'RS256'",
    "DELETE FROM credential",
    "UPDATE _sqlx_migrations SET checksum = decode('00', 'hex')",
];

const SERVICE_MAY_NOT: &[&str] = &[
    "UPDATE log_leaf SET body = ''",
    "UPDATE log_leaf SET body = body WHERE idx = 0",
    "UPDATE log_tree SET pruned = 256",
];

const ARCHIVIST_MAY_NOT: &[&str] = &[
    "UPDATE log_tree SET root = 'x'",
    "UPDATE log_tree SET pruned = 0",
    "UPDATE signing_key SET state = 'active'",
    "INSERT INTO signing_key SELECT * FROM signing_key",
    "INSERT INTO ceremony_line SELECT * FROM ceremony_line",
    "UPDATE ceremony_line SET done = 0",
    "INSERT INTO trust_document SELECT * FROM trust_document",
    "INSERT INTO credential SELECT * FROM credential",
    "UPDATE ring SET version = version + 1",
    "UPDATE log_checkpoint SET cosignatures = 'x'",
    // Acts, and what is not marked.
    "UPDATE log_leaf SET body = '' WHERE idx = 0",
    "UPDATE log_leaf SET body = '' WHERE idx = (SELECT MAX(idx) FROM log_leaf)",
    "UPDATE log_leaf SET body = '{}' WHERE body = ''",
];

#[test]
fn the_service_adds_and_the_archivist_removes_and_neither_rewrites() {
    let house = House::new();
    let installation = &house.installation;
    installation.open_ring(RING);
    installation.open_log();
    let token = installation.grant("integrity-service", &format!("signer:{RING}"));
    let service = installation.serve();
    let genesis: Sha256Digest = installation.genesis.parse().expect("a digest");

    // The whole way, as the service's account.
    let (old, signature) = signed(&service, &token, 700);
    assert_eq!(service.verdict(&member(&signature, "jws")), "VALID");
    let file = evidence(&service, old[300]).into_body();
    let found = trust::evidence::verify(&file, genesis, None).expect("evidence");
    assert_eq!(found.verdict.outcome, Outcome::Valid);
    house.refuses("chancery_service", NOBODY_MAY);
    house.denies("chancery_service", SERVICE_MAY_NOT);

    std::thread::sleep(Duration::from_millis(1_300));
    let (young, _) = signed(&service, &token, 1);
    let plan = house.prune("chancery_archivist", &[]).json();
    assert_eq!(
        (&plan["applied"], &plan["from"]),
        (&json!(false), &json!(0))
    );
    let below = plan["below"].as_i64().expect("an index");
    assert!(below % 256 == 0 && below >= 512, "{plan}");
    assert_eq!(plan["bundles_with_acts"], 1, "{plan}");

    // Not as the service, and then nothing has happened.
    let refused = house.prune("chancery_service", &["--apply"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert_eq!(house.prune("chancery_archivist", &[]).json(), plan);
    let done = house.case_c8_prunes_as_documented().json();
    assert_eq!(
        (&done["applied"], &done["gone"]),
        (&json!(true), &plan["bodies"])
    );
    house.refuses("chancery_archivist", NOBODY_MAY);
    house.refuses("chancery_archivist", ARCHIVIST_MAY_NOT);

    let mut hand = Database::open(&house.url("chancery_archivist"));
    let gone = hand.rows("SELECT idx::text FROM log_leaf WHERE body = ''");
    let gone: BTreeSet<i64> = gone.iter().map(|row| row[0].parse().expect("n")).collect();
    let expected: BTreeSet<i64> = old.iter().copied().filter(|index| *index < below).collect();
    assert_eq!(gone, expected);
    let act = hand.one("SELECT body FROM log_leaf WHERE body LIKE '%\"prune\"%'");
    let act: Value = serde_json::from_str(&act).expect("a leaf");
    assert_eq!(
        (&act["kind"], &act["ref"]),
        (&json!("admin"), &json!(format!("0..{below}")))
    );

    pruned_leaves_say_so(&service, old[300], genesis, &file);
    let unpruned = evidence(&service, *young.last().expect("one"));
    trust::evidence::verify(&unpruned.body, genesis, None).expect("evidence");
    // The log goes on, and a replica starts from what is left.
    let (_, signature) = signed(&service, &token, 300);
    assert_eq!(service.verdict(&member(&signature, "jws")), "VALID");
    drop(service);
    let service = installation.serve();
    signed(&service, &token, 1);
}

fn pruned_leaves_say_so(service: &Service, index: i64, genesis: Sha256Digest, before: &[u8]) {
    for path in ["receipts", "evidence"] {
        let answer = service.get(&format!("/v1/{path}/{index}"));
        let problem = answer.problem(410, "pruned");
        let detail = member(&problem, "detail");
        assert!(
            detail.contains("a receipt obtained earlier still verifies"),
            "{detail}"
        );
    }
    trust::evidence::verify(before, genesis, None).expect("what was taken before still holds");
    service
        .get("/log/tile/entries/001")
        .problem(404, "not_found");
    assert_eq!(service.get("/log/tile/0/001").status, 200, "hashes stay");
    assert_eq!(
        service.get("/log/tile/entries/000").status,
        200,
        "acts stay"
    );
}

/// A verifier is told that nothing proves it any more, and is not told that we did not make it.
#[test]
fn a_signature_beyond_retention_is_no_finding_against_us() {
    let installation = Installation::new();
    let kid = installation.open_ring(RING);
    installation.open_log();
    let token = installation.grant("integrity-service", &format!("signer:{RING}"));
    let service = installation.serve();
    let (old, signature) = signed(&service, &token, 600);
    let jws = member(&signature, "jws");
    let first = service.post("/v1/verify", None, &json!({"jws": jws})).ok();
    assert_eq!(first["log_index"], json!(old.last()));
    std::thread::sleep(Duration::from_millis(1_300));
    signed(&service, &token, 300);
    std::thread::sleep(Duration::from_millis(1_300));
    signed(&service, &token, 1);
    let mut prune = installation.command();
    prune
        .args(["log", "prune", "--apply"])
        .env("CHANCERY_LOG__RETENTION", "1s");
    assert_eq!(run(&mut prune, b"").code, Some(0));
    installation.revoke(RING, &kid, &["--because", "superseded"]);
    let mut answer = Value::Null;
    until("the revocation is known", || {
        answer = service.post("/v1/verify", None, &json!({"jws": jws})).ok();
        answer["verdict"] != "VALID"
    });
    assert_eq!(answer["verdict"], "INDETERMINATE", "{answer}");
    assert_eq!(
        answer["reasons"],
        json!(["key_revoked", "no_proof_of_existence"])
    );
    assert_eq!(answer["log_index"], first["log_index"]);
    assert!(
        member(&answer, "explanation").contains("retention"),
        "{answer}"
    );
}

/// What is shipped for PostgreSQL does not run as the owner.
#[test]
fn the_roles_are_named_in_the_configuration() {
    let roles = fs::read_to_string(repository("deploy/postgres/roles.sql")).expect("roles");
    for name in ["postgres-softhsm", "luna", "azure"] {
        let file = repository(&format!("deploy/config/{name}.toml"));
        let text = fs::read_to_string(file).expect("settings");
        assert!(text.contains("postgres://chancery_service@"), "{name}");
    }
    assert!(roles.contains("'chancery_service'"));
}
