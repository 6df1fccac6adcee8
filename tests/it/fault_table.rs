//! Each fault, and what clients, probes, `doctor`, metrics and the service log say of it: the table in
//! `docs/OPERATION.md` is run as printed. Every code span of a cell is awaited.

use std::fs;
use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::http::send;
use testkit::postgres::Server;

use crate::support::database::Database;
use crate::support::forwarder::Forwarder;
use crate::support::http::{Answer, connect};
use crate::support::installation::{Installation, Service, base64url, directory, member, text};
use crate::support::process::{repository, run, signal, until};
use crate::support::small_disk::SmallDisk;

const RING: &str = "atp";
const DATABASE: &str = "chancery_faults";

/// A row of the table: the code spans of each of its cells.
struct Row {
    clients: Vec<String>,
    readiness: Vec<String>,
    metrics: Vec<String>,
    log: Vec<String>,
    doctor: Vec<String>,
}

fn row(fault: &str) -> Row {
    let text = fs::read_to_string(repository("docs/OPERATION.md")).expect("the document");
    let start = format!("| {fault} |");
    let line = text.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("no row of {fault:?}"));
    let mut cells = line.split('|').skip(2).map(spans);
    let mut next = || cells.next().expect("a cell");
    Row {
        clients: next(),
        readiness: next(),
        metrics: next(),
        log: next(),
        doctor: next(),
    }
}

fn spans(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// An installation with a ring that signs and a log, and what was signed before the fault.
struct Case {
    installation: Installation,
    signer: String,
    jws: String,
    service: Service,
}

impl Case {
    fn on(installation: Installation, start: impl Fn(&Installation) -> Service) -> Self {
        installation.open_ring(RING);
        installation.open_log();
        let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
        let service = start(&installation);
        let mut case = Self {
            installation,
            signer,
            jws: String::new(),
            service,
        };
        case.jws = member(&case.sign().ok(), "jws");
        until("everything is ready", || {
            case.status("/health/ready/signing") == 200
        });
        case
    }

    fn sign(&self) -> Answer {
        let body = json!({"format": "jws", "payload": base64url(b"record")});
        let path = format!("/v1/rings/{RING}/sign?receipt=wait");
        self.service.post(&path, Some(&self.signer), &body)
    }

    fn status(&self, path: &str) -> u16 {
        send(&self.service.operations, "GET", path, &[], b"").map_or(0, |answer| answer.status)
    }

    /// `sign 503 token_unavailable`, `keys 200`, `verify 200`.
    fn client_sees(&self, span: &str) -> bool {
        let (what, told) = span.split_once(' ').expect("a request and its answer");
        let answer = match what {
            "sign" => self.sign(),
            "keys" => self.service.get("/.well-known/jwks.json"),
            "verify" => {
                let claim = json!({"jws": self.jws});
                self.service.post("/v1/verify", None, &claim)
            }
            other => panic!("no request {other:?}"),
        };
        let code = match answer.status {
            200 => String::new(),
            _ => format!(" {}", member(&answer.json(), "code")),
        };
        format!("{}{code}", answer.status) == told
    }

    /// `signing 503`, or words of the body of `/health/ready`.
    fn probe_sees(&self, span: &str) -> bool {
        let status = |path: &str, told: &str| self.status(path).to_string() == told;
        match span.split_once(' ') {
            Some(("live", told)) => status("/health/live", told),
            Some(("ready", told)) => status("/health/ready", told),
            Some(("signing", told)) => status("/health/ready/signing", told),
            _ => {
                let ready = send(&self.service.operations, "GET", "/health/ready", &[], b"");
                ready.is_ok_and(|ready| String::from_utf8_lossy(&ready.body).contains(span))
            }
        }
    }

    /// `0`, or words of a check that is not good.
    fn doctor_says(&self, span: &str, settings: &[(&str, &str)]) -> bool {
        let mut command = self.installation.command();
        command.args(["--output", "json", "doctor"]);
        let said = run(command.envs(settings.iter().copied()), b"");
        if span == "0" {
            return said.code == Some(0);
        }
        let told = said.json();
        let checks = told["checks"].as_array().cloned().unwrap_or_default();
        let wrong = checks.iter().filter(|check| check["good"] == false);
        said.code != Some(0)
            && wrong
                .map(ToString::to_string)
                .any(|check| check.contains(span))
    }

    fn metric_is(&self, span: &str) -> bool {
        let (name, value) = span.rsplit_once(' ').expect("a name and its value");
        let value: f64 = value.parse().expect("a number");
        // Whole numbers stand in the table.
        let found = self.service.metric(name);
        found.is_some_and(|found| (found - value).abs() < 0.5)
    }

    /// A fault begins now.
    fn fault(&self) -> Fault {
        Fault {
            began: Instant::now(),
            told: self.service.log().len(),
        }
    }

    /// Awaits what the row of this fault says, and prints when it was there.
    fn shows(&self, name: &str, fault: &Fault, settings: &[(&str, &str)]) {
        let row = row(name);
        let clients = |span: &str| self.client_sees(span);
        let readiness = |span: &str| self.probe_sees(span);
        let metrics = |span: &str| self.metric_is(span);
        let log = |span: &str| self.service.log()[fault.told..].contains(span);
        let doctor = |span: &str| self.doctor_says(span, settings);
        type Sees<'a> = &'a (dyn Fn(&str) -> bool + Sync);
        let each: [(&str, &Vec<String>, Sees<'_>); 5] = [
            ("clients", &row.clients, &clients),
            ("readiness", &row.readiness, &readiness),
            ("metrics", &row.metrics, &metrics),
            ("service log", &row.log, &log),
            ("doctor", &row.doctor, &doctor),
        ];
        thread::scope(|scope| {
            for (who, spans, sees) in each {
                scope.spawn(move || {
                    for span in spans {
                        until(&format!("{name}: {who}: {span}"), || sees(span));
                    }
                    let after = fault.began.elapsed().as_secs_f64();
                    println!("{name}: {who} after {after:.1} s");
                });
            }
        });
        let told = &self.service.log()[fault.told..];
        let errors = told.contains("\"level\":\"ERROR\"");
        assert!(
            !errors || !row.log.is_empty(),
            "{name}: the table says nothing of {told}"
        );
    }
}

struct Fault {
    began: Instant,
    /// Length of the service log before it.
    told: usize,
}

impl Fault {
    fn of_a_start() -> Self {
        Self {
            began: Instant::now(),
            told: 0,
        }
    }
}

#[test]
fn faults_of_the_process_show_as_the_table_says() {
    let mut case = Case::on(Installation::new(), |at| at.replica(&[]));
    let again = |case: &mut Case| case.service = case.installation.replica(&[]);

    // The configuration is read again.
    let file = case.installation.file("chancery.toml");
    let before = fs::read_to_string(&file).expect("the configuration");
    let changed = before.replace(
        "[telemetry]\n",
        "[telemetry]\nfilter = \"info,web=debug\"\n",
    );
    fs::write(&file, changed).expect("written");
    let fault = case.fault();
    signal("HUP", case.service.child.id());
    case.shows("SIGHUP", &fault, &[]);
    fs::write(&file, before).expect("written");

    let fault = case.fault();
    signal("STOP", case.service.child.id());
    let mut silent = connect(&case.service.api).expect("the kernel accepts");
    silent
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("set");
    let ask = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    silent.write_all(ask).expect("sent");
    assert!(
        silent.read(&mut [0; 1]).is_err(),
        "it is stopped and answers"
    );
    signal("CONT", case.service.child.id());
    case.shows("SIGSTOP, then SIGCONT", &fault, &[]);

    let fault = case.fault();
    signal("TERM", case.service.child.id());
    let ended = case.service.child.wait().expect("it ends");
    assert!(ended.success(), "{ended:?}");
    assert!(connect(&case.service.api).is_err(), "nobody listens");
    let log = case.service.log();
    for words in row("SIGTERM").log {
        assert!(log.contains(&words), "{words}: {log}");
    }
    println!(
        "SIGTERM: it has ended after {:.1} s",
        fault.began.elapsed().as_secs_f64()
    );

    again(&mut case);
    let fault = Fault::of_a_start();
    case.service.child.kill();
    assert!(connect(&case.service.api).is_err(), "nobody listens");
    again(&mut case);
    case.shows("kill -9, then a new start", &fault, &[]);

    let (tokens, away) = (
        case.installation.file("token/tokens"),
        case.installation.file("away"),
    );
    let fault = case.fault();
    fs::rename(&tokens, &away).expect("taken away");
    fs::create_dir(&tokens).expect("an empty token");
    case.shows("wiped token", &fault, &[]);
    let told = case.service.log()[fault.told..]
        .matches("token unavailable")
        .count();
    // Each process tried many times by now; it is told once, and once more if the words changed.
    assert!(told <= 3, "told {told} times");
    fs::remove_dir(&tokens).expect("empty");
    fs::rename(&away, &tokens).expect("brought back");
    until("it signs again", || case.client_sees("sign 200"));

    let (database, backup) = (
        case.installation.file("chancery.db"),
        case.installation.file("backup"),
    );
    let snapshot = format!("VACUUM INTO '{}'", text(&backup));
    Database::open(&case.installation.sqlite_url()).run(&snapshot);
    case.sign().ok();
    signal("TERM", case.service.child.id());
    case.service.child.wait().expect("it ends");
    for more in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{more}", text(&database)));
    }
    fs::copy(&backup, &database).expect("restored");
    let fault = Fault::of_a_start();
    again(&mut case);
    case.shows("restored snapshot", &fault, &[]);
}

#[test]
fn faults_of_postgresql_show_as_the_table_says() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database(DATABASE).expect("a database");
    let forwarder = Forwarder::to(server.port());
    let through = format!(
        "postgres://chancery@127.0.0.1:{}/{DATABASE}?sslmode=disable",
        forwarder.port
    );
    let settings = [("CHANCERY_STORE__URL", through.as_str())];
    let case = Case::on(Installation::on(directory(), &url), |at| {
        at.replica(&settings)
    });
    let sql = |database: &str, sql: &str| {
        let said = run(&mut server.psql(database, sql), b"");
        assert_eq!(said.code, Some(0), "{said:?}");
    };
    // New connections take the settings of the database.
    let cut = || {
        let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ";
        sql("postgres", &format!("{all}'{DATABASE}'"));
    };
    let altered = |what: &str| {
        sql("postgres", &format!("ALTER DATABASE {DATABASE} {what}"));
        cut();
    };
    let signs_again = || {
        until("it signs again", || {
            case.client_sees("sign 200") && case.status("/health/ready/signing") == 200
        });
    };

    let fault = case.fault();
    server.signal_all("STOP").expect("frozen");
    case.shows("frozen PostgreSQL", &fault, &settings);
    server.signal_all("CONT").expect("thawed");
    signs_again();

    let fault = case.fault();
    altered("SET default_transaction_read_only = on");
    case.shows("read-only PostgreSQL", &fault, &settings);
    altered("RESET default_transaction_read_only");
    signs_again();

    sql(
        DATABASE,
        "CREATE SCHEMA apart;
        CREATE FUNCTION apart.clock_timestamp() RETURNS timestamptz LANGUAGE sql
            AS 'SELECT pg_catalog.clock_timestamp() - interval ''1 hour''';
        GRANT USAGE ON SCHEMA apart TO PUBLIC",
    );
    let fault = case.fault();
    altered("SET search_path = apart, pg_catalog, public");
    case.shows("wrong clock", &fault, &settings);
    altered("RESET search_path");
    signs_again();

    let standby = server.standby().expect("a standby");
    let fault = case.fault();
    server.stop().expect("it dies");
    standby.promote().expect("it is promoted");
    forwarder.lead_to(standby.port());
    case.shows("failed-over PostgreSQL", &fault, &settings);
}

#[test]
fn a_full_disk_shows_as_the_table_says() {
    let place = directory();
    let small = SmallDisk::new(&place.path().join("small"));
    let url = format!("sqlite:{}", small.at.join("chancery.db").display());
    let installation = Installation::on(directory(), &url);
    let case = Case::on(installation, |at| {
        at.serve_as(&mut small.limit(at.command().arg("serve")))
    });
    let fault = case.fault();
    small.fill();
    // Where nothing may be mounted, signatures fill it.
    let items = vec![json!({"format": "jws", "payload": "AQID"}); 200];
    let path = format!("/v1/rings/{RING}/sign-batch");
    until("it is full", || {
        let items = json!({ "items": items });
        let answer = case.service.post(&path, Some(&case.signer), &items);
        answer.status != 200 || !answer.json()["items"][0]["jws"].is_string()
    });
    case.shows("full disk", &fault, &[]);
}
