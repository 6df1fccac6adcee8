//! The database is locked, gone, back, or full: a clear answer with a stable code, no signature without its row, and
//! keys and verification stay up as far as they need no database.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::http::send;
use crate::support::installation::{Installation, Service, directory, member, text};
use crate::support::load::{Load, all_in_trail, signed, tally, unexpected};
use crate::support::process::{run, until};
use crate::support::small_disk::SmallDisk;
use testkit::postgres::Server;

const RING: &str = "integrity";

fn open(installation: &Installation) -> (String, String, String) {
    let kid = installation.open_ring(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    (kid, signer, installation.grant("auditor", "auditor"))
}

fn try_sign(service: &Service, signer: &str) -> crate::support::http::Answer {
    let body = json!({"format": "jws", "payload": "AQID"});
    service.post(&format!("/v1/rings/{RING}/sign"), Some(signer), &body)
}

/// What strangers need most is answered from memory.
fn publication_is_up(service: &Service, kid: &str) {
    for path in [
        "/.well-known/jwks.json".to_owned(),
        format!("/v1/keys/{kid}"),
        format!("/v1/keys/{kid}/jwk"),
    ] {
        assert_eq!(service.get(&path).status, 200, "{path}");
    }
    assert_eq!(
        service.verdict(&format!(
            "{}..AAAA",
            crate::support::installation::base64url(
                json!({"alg": "ES256", "kid": kid}).to_string().as_bytes()
            )
        )),
        "INVALID"
    );
}

fn readiness(service: &Service) -> Value {
    send(&service.operations, "GET", "/health/ready", &[], b"")
        .expect("an answer")
        .json()
}

#[test]
fn a_locked_database_is_a_clear_503_and_passes() {
    let installation = Installation::new();
    let (kid, signer, auditor) = open(&installation);
    let service = installation.serve();
    let before = service.jws(RING, &signer, b"before");
    let size = service.leaves(&auditor, 0).len();

    let mut database = Database::open(&installation.sqlite_url());
    database.run("BEGIN EXCLUSIVE");
    let began = Instant::now();
    try_sign(&service, &signer).problem(503, "database_unavailable");
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "not a hang: {:?}",
        began.elapsed()
    );
    publication_is_up(&service, &kid);
    assert_eq!(service.verdict(&before), "VALID", "reading goes on");
    let rotate = installation.try_chancery(["ring", "create", "another", "--apply"]);
    assert_eq!(rotate.code, Some(4), "{rotate:?}");
    database.run("ROLLBACK");

    let after = service.sign(RING, &signer, &json!({"format": "jws", "payload": "AQID"}));
    assert_eq!(
        after["log_index"], size,
        "nothing was written of what was not released"
    );
    // A lock that ends in time is not even noticed.
    database.run("BEGIN EXCLUSIVE");
    let answer = thread::scope(|scope| {
        let asked = scope.spawn(|| try_sign(&service, &signer));
        thread::sleep(Duration::from_millis(700));
        database.run("ROLLBACK");
        asked.join().expect("an answer")
    });
    assert_eq!(answer.ok()["log_index"], size + 1);
}

#[test]
fn a_database_that_goes_and_comes_back_loses_nothing() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database("chancery_it").expect("a database");
    let installation = Installation::on(directory(), &url);
    let (kid, signer, auditor) = open(&installation);
    let service = installation.serve();
    let before = service.jws(RING, &signer, b"before");

    let load = Load::start(&service, RING, &signer, 4);
    for _ in 0..2 {
        load.goes_on(20);
        server.stop().expect("stopped");
        until("it is noticed", || {
            try_sign(&service, &signer).status == 503
        });
        let problem = try_sign(&service, &signer);
        problem.problem(503, "database_unavailable");
        publication_is_up(&service, &kid);
        let claim = json!({ "jws": before });
        service
            .post("/v1/verify", None, &claim)
            .problem(503, "database_unavailable");
        service
            .get(&format!("/v1/keys/{kid}/transcript"))
            .problem(503, "database_unavailable");
        let ready = readiness(&service);
        assert_eq!(
            ready["serves"],
            json!({"publication": true, "verification": false, "signing": false})
        );
        assert_eq!(installation.try_chancery(["ring", "list"]).code, Some(4));
        server.resume().expect("started");
        until("it signs again by itself", || {
            try_sign(&service, &signer).status == 200
        });
        assert_eq!(service.verdict(&before), "VALID");
    }
    load.goes_on(20);
    let told = load.stop();
    // What was on its way when the connection broke may or may not be written; the answer says so.
    let wrong = unexpected(
        &told,
        &["database_unavailable", "outcome_unknown", "overloaded"],
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(!tally(&told).contains_key("nothing"), "{:?}", tally(&told));
    assert!(tally(&told)["signed"] > 20, "{:?}", tally(&told));
    all_in_trail(&signed(&told), &service.leaves(&auditor, 0));
    until("everything is ready", || {
        readiness(&service)["serves"]["signing"] == true
    });
    // A change made afterwards is seen: it follows the database again.
    let other = installation.grant("late", &format!("signer:{RING}"));
    until("the new credential is known", || {
        try_sign(&service, &other).status == 200
    });
}

#[test]
fn case_c7_a_database_that_is_away_is_told_once_and_again_when_it_is_back() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database("chancery_it").expect("a database");
    let installation = Installation::on(directory(), &url);
    let (_, signer, _) = open(&installation);
    let service = installation.serve();
    try_sign(&service, &signer).ok();
    server.stop().expect("stopped");
    until("it is noticed", || {
        try_sign(&service, &signer).status == 503
    });
    for _ in 0..40 {
        assert_eq!(try_sign(&service, &signer).status, 503);
    }
    until("it is told", || {
        service.log().contains("no signature can be made")
    });
    let told = service.log();
    let count = |words: &str| told.lines().filter(|line| line.contains(words)).count();
    // At most one for each code, and one more if a minute has gone by.
    assert!((1..=4).contains(&count("request failed")), "{told}");
    assert!(count("integration of the log failed") <= 4, "{told}");
    server.resume().expect("started");
    until("it signs again by itself", || {
        try_sign(&service, &signer).status == 200
    });
    until("it is told", || {
        service.log().contains("signatures can be made again")
    });
}

fn asks(service: &Service, path: &str) -> Option<crate::support::http::Answer> {
    send(&service.operations, "GET", path, &[], b"").ok()
}

/// Until the operations listener answers; whatever the readiness is.
fn until_alive(service: &Service) {
    until("it is alive", || {
        asks(service, "/health/live").is_some_and(|answer| answer.status == 200)
    });
}

/// Until readiness says that it waits, with these words.
fn until_waits(service: &Service, words: &str) {
    until(words, || {
        asks(service, "/health/ready").is_some_and(|answer| {
            let status = answer.status;
            let why = answer.json()["why"].as_str().unwrap_or_default().to_owned();
            status == 503 && why.contains(words)
        })
    });
}

#[test]
fn case_a6_a_service_waits_for_its_database() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database("chancery_it").expect("a database");
    let installation = Installation::on(directory(), &url);
    let (kid, signer, _) = open(&installation);
    server.stop().expect("stopped");
    // One that is told to stop while it waits stops in order.
    let mut waiting = installation.start(&[]);
    until_waits(&waiting, "waiting for the database");
    waiting.child.terminate();
    let ended = waiting.child.try_wait().expect("a status");
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");

    let mut service = installation.start(&[]);
    until_alive(&service);
    until_waits(&service, "waiting for the database");
    for part in ["publication", "signing", "signing/integrity"] {
        let answer = asks(&service, &format!("/health/ready/{part}")).expect("an answer");
        assert_eq!(answer.status, 503, "{part}");
    }
    assert_eq!(asks(&service, "/metrics").expect("an answer").status, 200);
    assert!(send(&service.api, "GET", "/.well-known/jwks.json", &[], b"").is_err());
    assert_eq!(installation.try_chancery(["ring", "list"]).code, Some(4));
    assert!(service.child.is_alive());
    server.resume().expect("started");
    until("it signs", || {
        asks(&service, "/health/ready/signing").is_some_and(|answer| answer.status == 200)
    });
    publication_is_up(&service, &kid);
    try_sign(&service, &signer).ok();
    let told = service.log();
    assert_eq!(
        told.matches("the database is available").count(),
        1,
        "{told}"
    );
}

#[test]
fn case_a6_a_service_waits_for_a_migration_and_not_for_an_older_program() {
    let installation = Installation::new();
    let url = format!("sqlite:{}", installation.file("empty.db").display());
    let elsewhere = [("CHANCERY_STORE__URL", url.as_str())];
    let mut service = installation.start(&elsewhere);
    until_waits(&service, "run `chancery migrate`");
    let mut migrate = installation.command();
    migrate.arg("migrate").envs(elsewhere);
    assert_eq!(run(&mut migrate, b"").code, Some(0));
    until("it serves", || {
        asks(&service, "/health/ready").is_some_and(|answer| answer.status == 200)
    });
    assert!(
        service.log().contains("the database is available"),
        "{}",
        service.log()
    );
    service.child.terminate();

    let mut database = Database::open(&url);
    database.run("UPDATE _sqlx_migrations SET version = 99 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)");
    for arguments in [&["serve"][..], &["ring", "list"]] {
        let mut command = installation.command();
        let said = run(command.args(arguments).envs(elsewhere), b"");
        assert_eq!(said.code, Some(4), "{said:?}");
        let text = format!("{}{}", said.stderr, said.stdout.escape_ascii());
        assert!(text.contains("newer version of this program"), "{text}");
    }
}

#[test]
fn a_full_disk_lets_no_signature_out() {
    let place = directory();
    let small = SmallDisk::new(&place.path().join("small"));
    let file = small.at.join("chancery.db");
    let url = format!("sqlite:{}", file.display());
    let installation = Installation::on(directory(), &url);
    let (kid, signer, auditor) = open(&installation);
    let mut serve = installation.command();
    let mut serve = small.limit(serve.arg("serve"));
    let service = installation.serve_as(&mut serve);
    let bearer = format!("Bearer {signer}");
    let batch =
        json!({"items": vec![json!({"format": "jws", "payload": "AQID"}); 200]}).to_string();
    let path = format!("/v1/rings/{RING}/sign-batch");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    let mut answers: Vec<Value> = Vec::new();
    let mut full = None;
    for _ in 0..200 {
        let answer =
            send(&service.api, "POST", &path, &headers, batch.as_bytes()).expect("an answer");
        if answer.status != 200 {
            full = Some(answer);
            break;
        }
        let items = answer.json()["items"].as_array().cloned().expect("items");
        let (good, bad): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| item["jws"].is_string());
        answers.extend(good);
        if let Some(bad) = bad.first() {
            assert_eq!(bad["problem"]["code"], "database_unavailable", "{bad}");
            break;
        }
    }
    if let Some(answer) = full {
        answer.problem(503, "database_unavailable");
    }
    assert!(!answers.is_empty());
    // A small one may still find room, and then it has its row.
    let refused = (0..500).find_map(|_| match try_sign(&service, &signer) {
        answer if answer.status == 200 => {
            answers.push(answer.json());
            None
        }
        answer => Some(answer),
    });
    let refused = refused.expect("every disk has an end");
    refused.problem(503, "database_unavailable");
    publication_is_up(&service, &kid);
    assert_eq!(service.verdict(&member(&answers[0], "jws")), "VALID");
    // Whatever the disk says: every signature that left has its row, and no row is half there.
    all_in_trail(
        &answers.iter().collect::<Vec<_>>(),
        &service.leaves(&auditor, 0),
    );
    let mut database = Database::open(&url);
    assert_eq!(database.one("PRAGMA integrity_check"), "ok");
    if small.mounted {
        // Somebody makes room.
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,size=64m", text(&small.at)]);
        assert_eq!(run(&mut mount, b"").code, Some(0));
        until("it signs again by itself", || {
            try_sign(&service, &signer).status == 200
        });
        all_in_trail(
            &answers.iter().collect::<Vec<_>>(),
            &service.leaves(&auditor, 0),
        );
    }
}
