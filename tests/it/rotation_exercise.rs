//! The tests of rotation that operators run, and the check of everything against its policy: on one installation with a real token
//! and a real service, each as a process of its own that knows nothing but a URL and a token. The time is the simulation's; whoever
//! waits for it lets it go on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use trust::Time;

use crate::support::forwarder::Forwarder;
use crate::support::http::send;
use crate::support::installation::{Service, directory, member, must};
use crate::support::process::{Running, signal, until};
use crate::support::simulated::{ASSET, RING, Simulated};

const HOUR: Duration = Duration::from_secs(3_600);

/// What came of a command.
struct Came {
    code: Option<i32>,
    report: Value,
    progress: String,
}

struct Operator<'a> {
    world: &'a Simulated,
    service: &'a Service,
    bearer: String,
}

impl Operator<'_> {
    fn get(&self, path: &str) -> Value {
        let headers = [("authorization", self.bearer.as_str())];
        let answer = send(&self.service.api, "GET", path, &headers, b"");
        answer.expect("the service answers").ok()
    }

    fn newest(&self, asset: &str) -> Value {
        let path = format!("/v1/key-rotation/events?limit=1&asset={asset}");
        self.get(&path)["events"][0].clone()
    }

    /// A command as a process, with the token of `file`. What it says on the way goes into a file.
    fn start(&self, words: &[&str], file: &str) -> Child {
        let url = format!("http://{}", self.service.api);
        self.start_at(&url, words, file)
    }

    fn start_at(&self, url: &str, words: &[&str], file: &str) -> Child {
        let installation = &self.world.installation;
        let progress = fs::File::create(installation.file("progress")).expect("a file");
        let report = fs::File::create(installation.file("report")).expect("a file");
        let style = match words.contains(&"--rate") {
            true => "human",
            false => "json",
        };
        let mut command = installation.made.command();
        command
            .args(["--output", style, "rotation"])
            .args(words)
            .args(["--url", url, "--access-token-file", file])
            .stdout(report)
            .stderr(progress)
            .stdin(Stdio::null());
        command.spawn().expect("it starts")
    }

    fn ended(&self, child: &mut Child) -> Came {
        let status = child.wait().expect("it ends");
        let read =
            |name: &str| fs::read_to_string(self.world.installation.file(name)).unwrap_or_default();
        let report = read("report");
        Came {
            code: status.code(),
            report: serde_json::from_str(&report).unwrap_or(Value::String(report)),
            progress: read("progress"),
        }
    }

    /// A command that is refused, or has not to wait for anything.
    fn says(&self, words: &[&str]) -> Came {
        self.ended(&mut self.start(words, "operator.token"))
    }

    /// A command to its end; the time goes on whenever the rotation waits for it. With `promoted` no further than that.
    fn runs(&self, words: &[&str], to: To) -> Came {
        let mut child = self.start(words, "operator.token");
        until("the command ends", || {
            self.time_goes_on(to);
            child.try_wait().expect("a child").is_some()
        });
        self.ended(&mut child)
    }

    /// The rotation that is open comes to its end.
    fn comes_to_its_end(&self) {
        until("the rotation is over", || {
            self.time_goes_on(To::TheEnd);
            !self.newest(ASSET)["ended_at"].is_null()
        });
    }

    /// By as much as the rotation waits for, if it waits for nothing else.
    fn time_goes_on(&self, to: To) {
        let event = self.newest(ASSET);
        let is_there = to == To::ThePromotion && !event["promoted_at"].is_null();
        if event["state"].is_null() || !event["ended_at"].is_null() || is_there {
            return;
        }
        match event["waits"].as_str() {
            Some("executor") => {
                let Some(ceremony) = event["ceremony"].as_str() else {
                    return;
                };
                let path = format!("/v1/ceremonies/{ceremony}/transcript");
                let answer = send(&self.service.api, "GET", &path, &[], b"");
                if answer.expect("the service answers").status == 200 {
                    self.world.passes(Duration::from_secs(31));
                }
            }
            Some("old-still-used") => self.world.passes(HOUR),
            Some(_) => {}
            None => {
                let time = |text: &Value| text.as_str().and_then(|text| text.parse::<Time>().ok());
                let now = self.get("/v1/key-rotation/scheduler/status");
                let waits = time(&event["look_at"]).zip(time(&now["now"]));
                let waits = waits
                    .map(|(until, now)| until.since(now))
                    .unwrap_or_default();
                if !waits.is_zero() {
                    self.world.passes(waits + Duration::from_secs(1));
                }
            }
        }
    }
}

/// How far the time goes on by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    ThePromotion,
    TheEnd,
}

/// A place that shows one key set for ever.
struct Frozen {
    url: String,
    stop: Arc<AtomicBool>,
}

impl Frozen {
    fn showing(set: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("bound"));
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let mut stream = stream;
                let _ = stream.read(&mut [0; 4_096]);
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncache-control: max-age=60\r\nconnection: close\r\n\r\n",
                    set.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &set].concat());
            }
        });
        Self { url, stop }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("checks").iter();
    let mut found = checks.filter(|check| check["check"] == name);
    found.next().unwrap_or_else(|| panic!("{name}: {report:#}"))
}

fn verdicts(report: &Value) -> Vec<(&str, &str)> {
    let steps = report["steps"].as_array().expect("steps").iter();
    steps
        .map(|step| {
            let word = |member: &str| step[member].as_str().expect("text");
            (word("step"), word("verdict"))
        })
        .collect()
}

#[test]
fn operators_test_rotation_roll_back_and_zero_downtime_and_check_compliance() {
    let directory = directory();
    let url = format!("sqlite:{}", directory.path().join("chancery.db").display());
    let world = Simulated::new(directory, &url, "6");
    let installation = &world.installation;
    let roles = ["administrator", "auditor", "signer:integrity"];
    let operator = must(installation.made.grant("operator", &roles));
    fs::write(installation.file("operator.token"), &operator).expect("written");
    let auditor = must(installation.made.grant("auditor", &["auditor"]));
    fs::write(installation.file("auditor.token"), &auditor).expect("written");
    // Evidence needs checkpoints.
    world.opened("log", "Ed25519");
    world.opened("plain", "ES256");
    let quick = ["--ring", RING, "--poll", "100ms", "--within", "50s"];
    let with = |test: &'static str, more: &[&'static str]| {
        let words = [test].into_iter().chain(quick);
        words.chain(more.iter().copied()).collect::<Vec<&str>>()
    };
    {
        let service = installation.serve();
        let bearer = format!("Bearer {operator}");
        let operator = Operator {
            world: &world,
            service: &service,
            bearer,
        };
        let refused = operator.says(&with("test", &[]));
        assert_eq!(refused.code, Some(3), "{}", refused.report);
        assert!(refused.report.to_string().contains("rotation.tests = true"));
        // Neither is it the client alone that refuses.
        let body = serde_json::json!({
            "key_type": "signing", "asset": ASSET, "force": true, "test": true,
        });
        let token = operator.bearer.trim_start_matches("Bearer ").to_owned();
        let path = "/v1/key-rotation/schedule";
        let problem = service.post(path, Some(&token), &body);
        let problem = problem.problem(403, "forbidden");
        assert!(problem["detail"].to_string().contains("rotation.tests"));
        assert_eq!(operator.newest(ASSET), Value::Null);
    }
    let service = installation.serve_with(&[("CHANCERY_ROTATION__TESTS", "true")]);
    let _executor: Running = world.executor_runs();
    let operator = Operator {
        world: &world,
        service: &service,
        bearer: format!("Bearer {operator}"),
    };

    a_whole_rotation_passes(&operator, &with);
    a_roll_back_passes(&operator, &with);
    no_request_fails_under_load(&operator, &with);
    a_cache_that_never_fetches_again_fails_the_test(&operator, &with);
    an_end_by_ctrl_c_is_said(&operator, &with);
    a_lost_answer_begins_once_and_a_service_that_was_away_is_said(&operator, &with);
    what_cannot_be_tested_is_refused(&operator, &with);
    compliance_finds_what_is_overdue(&operator);
}

type With<'a> = dyn Fn(&'static str, &[&'static str]) -> Vec<&'static str> + 'a;

fn a_whole_rotation_passes(operator: &Operator<'_>, with: &With<'_>) {
    let file = operator.world.installation.file("rotation.json");
    let came = operator.runs(&with("test", &["--out", "rotation.json"]), To::TheEnd);
    let report = &came.report;
    assert_eq!(came.code, Some(0), "{report:#}\n{}", came.progress);
    let steps = verdicts(report);
    assert_eq!(steps.len(), 8);
    let passed = steps.iter().filter(|step| step.1 == "passed").count();
    assert_eq!(
        (passed, steps[7]),
        (7, ("archive", "not-needed")),
        "{report:#}"
    );
    assert_ne!(report["old_kid"], report["new_kid"]);
    assert_eq!(report["signatures"]["failed"], 0);
    for name in ["evidence", "leaves", "old-signatures", "old-key-ended"] {
        assert_eq!(check(report, name)["verdict"], "passed", "{report:#}");
    }
    let written: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    assert_eq!(written["rotation"], report["rotation"]);
    // Before anything is begun it is said that there is no place for the report.
    let again = operator.says(&with("test", &["--out", "rotation.json"]));
    assert_eq!(again.code, Some(2), "{}", again.report);
}

fn a_roll_back_passes(operator: &Operator<'_>, with: &With<'_>) {
    let came = operator.runs(&with("roll-back-test", &[]), To::ThePromotion);
    let report = &came.report;
    assert_eq!(came.code, Some(0), "{report:#}\n{}", came.progress);
    assert_eq!(check(report, "old-key-signs-again")["verdict"], "passed");
    assert_eq!(check(report, "keys")["verdict"], "passed", "{report:#}");
    assert!(report["left"].to_string().contains("rolled back"));
    assert_eq!(operator.newest(ASSET)["state"], "rolled-back");
}

fn no_request_fails_under_load(operator: &Operator<'_>, with: &With<'_>) {
    let load = ["--rate", "40", "--before", "1s", "--after", "1s"];
    let files = ["--picture", "latency.svg", "--out", "load.json"];
    let words = [&load[..], &files].concat();
    let came = operator.runs(&with("zero-downtime-test", &words), To::ThePromotion);
    assert_eq!(came.code, Some(0), "{}\n{}", came.report, came.progress);
    let file = |name: &str| fs::read_to_string(operator.world.installation.file(name));
    assert!(file("latency.svg").expect("a picture").starts_with("<svg"));
    let report = file("load.json").expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["signatures"]["failed"], 0);
    assert_eq!(report["signatures"]["rejected"], 0);
    let phases = report["load"]["phases"].as_array().expect("phases");
    assert_eq!(phases.len(), 3, "{report:#}");
    let of = |phase: usize, kid: &str| phases[phase]["by_kid"][member(&report, kid)].as_u64();
    assert!(
        of(0, "old_kid") > Some(0) && of(2, "new_kid") > Some(0),
        "{phases:#?}"
    );
    // People see when it was slow.
    let text = came.report.as_str().expect("text");
    assert!(
        text.contains("longest gap") && text.contains("95 % in"),
        "{text}"
    );
    // The rotation goes on by itself, as the report says.
    let left = member(&report, "left");
    assert!(left.contains("goes on by itself"), "{left}");
    operator.comes_to_its_end();
    assert_eq!(operator.newest(ASSET)["state"], "done");
}

/// What verifiers see is broken: the report says where, and in which words.
fn a_cache_that_never_fetches_again_fails_the_test(operator: &Operator<'_>, with: &With<'_>) {
    let path = format!("/v1/rings/{RING}/jwks.json");
    let frozen = Frozen::showing(operator.service.get(&path).into_body());
    let url: &'static str = String::leak(frozen.url.clone());
    let came = operator.runs(&with("test", &["--jwks-url", url]), To::TheEnd);
    let report = &came.report;
    assert_eq!(came.code, Some(1), "{report:#}\n{}", came.progress);
    assert_eq!(report["passed"], false);
    let made = member(report, "new_kid");
    let expected = format!("{url}: the key set does not have its key {made}");
    let trouble = report["signatures"]["trouble"].to_string();
    assert!(trouble.contains(&expected), "{report:#}");
    assert!(
        verdicts(report).contains(&("publish", "failed")),
        "{report:#}"
    );
    // All else is as it should be.
    assert_eq!(check(report, "verdicts")["verdict"], "passed");
    assert_eq!(check(report, "leaves")["verdict"], "passed");
}

fn an_end_by_ctrl_c_is_said(operator: &Operator<'_>, with: &With<'_>) {
    let words = with("test", &[]);
    let mut child = operator.start(&words, "operator.token");
    until("the rotation is begun", || {
        let event = operator.newest(ASSET);
        event["ended_at"].is_null() && event["steps"].is_array()
    });
    signal("INT", child.id());
    let came = operator.ended(&mut child);
    assert_eq!(came.code, Some(1), "{:#}", came.report);
    assert!(
        check(&came.report, "completed")["found"]
            .to_string()
            .contains("interrupted")
    );
    assert!(
        came.report["left"].to_string().contains("cancelled"),
        "{:#}",
        came.report
    );
    until("it is cancelled", || {
        operator.newest(ASSET)["state"] == "cancelled"
    });
}

/// The rotation whose beginning was not answered is found again, not begun twice; the test outlives a service that is away, and fails
/// because of it.
fn a_lost_answer_begins_once_and_a_service_that_was_away_is_said(
    operator: &Operator<'_>,
    with: &With<'_>,
) {
    let port = operator.service.api.rsplit_once(':').expect("a port").1;
    let port = port.parse().expect("a number");
    let way = Forwarder::to(port);
    way.lose_the_answer_to("POST /v1/key-rotation/schedule");
    let before = operator.newest(ASSET);
    let url = format!("http://127.0.0.1:{}", way.port);
    let mut child = operator.start_at(&url, &with("test", &[]), "operator.token");
    until("the rotation is begun", || {
        way.has_lost() && operator.newest(ASSET)["id"] != before["id"]
    });
    // It was found, and is looked at.
    way.lose_the_answer_to("GET /v1/key-rotation/events/kr_");
    until("a look is lost", || way.has_lost());
    // Nothing listens on port 0.
    way.lead_to(0);
    until("it is away for several looks", || way.turned_away() > 4);
    way.lead_to(port);
    until("the command ends", || {
        operator.time_goes_on(To::TheEnd);
        child.try_wait().expect("a child").is_some()
    });
    let came = operator.ended(&mut child);
    assert_eq!(came.code, Some(1), "{:#}\n{}", came.report, came.progress);
    let answered = check(&came.report, "answered");
    assert_eq!(answered["verdict"], "failed", "{:#}", came.report);
    assert_eq!(check(&came.report, "completed")["verdict"], "passed");
    assert_eq!(came.report["rotation"], operator.newest(ASSET)["id"]);
    let path = format!("/v1/key-rotation/events?limit=2&asset={ASSET}");
    assert_eq!(operator.get(&path)["events"][1]["id"], before["id"]);
}

fn what_cannot_be_tested_is_refused(operator: &Operator<'_>, with: &With<'_>) {
    let installation = &operator.world.installation;
    let refused = |came: Came, why: &str| {
        assert_eq!(came.code, Some(3), "{why}: {}", came.report);
        assert!(
            came.report.to_string().contains(why),
            "{why}: {}",
            came.report
        );
    };
    let open = operator.world.scheduled();
    refused(operator.says(&with("test", &[])), "rotates already");
    installation.chancery(["rotation", "cancel", &open]);
    until("it is cancelled", || {
        operator.newest(ASSET)["state"] == "cancelled"
    });
    installation.chancery(["job", "pause", "--reason", "an audit"]);
    refused(operator.says(&with("test", &[])), "chancery job resume");
    installation.chancery(["job", "resume"]);
    let mut by_auditor = operator.start(&with("test", &[]), "auditor.token");
    refused(operator.ended(&mut by_auditor), "role administrator");
    let unknown = ["test", "--ring", "nothing"];
    refused(operator.says(&unknown), "unknown_asset");
    let mut away = operator.start(&with("test", &[]), "nothing.token");
    assert_ne!(operator.ended(&mut away).code, Some(0));
    // Without a standing order people are told which ceremony it needs, and nothing stays open.
    let token = must(
        installation
            .made
            .grant("plain", &["administrator", "auditor", "signer:plain"]),
    );
    fs::write(installation.file("plain.token"), token).expect("written");
    let plain = [
        "test", "--ring", "plain", "--poll", "100ms", "--within", "50s",
    ];
    let mut waits = operator.start(&plain, "plain.token");
    until("the rotation waits for a ceremony", || {
        operator.newest("signing/plain")["waits"] == "approval"
    });
    signal("INT", waits.id());
    let came = operator.ended(&mut waits);
    assert_eq!(came.code, Some(1), "{:#}", came.report);
    let found = check(&came.report, "completed")["found"].to_string();
    let command = "chancery ceremony new generate --ring plain --ticket kr_";
    assert!(found.contains(command), "{:#}", came.report);
    assert!(
        came.report["left"].to_string().contains("cancelled"),
        "{:#}",
        came.report
    );
}

fn compliance_finds_what_is_overdue(operator: &Operator<'_>) {
    let installation = &operator.world.installation;
    let mut last = Value::Null;
    until("the replica has read the log", || {
        last = operator.says(&["compliance-check"]).report;
        !last["findings"].to_string().contains("\"audited\"")
    });
    let rules = |report: &Value, severity: &str| -> Vec<String> {
        let findings = report["findings"].as_array().expect("findings").iter();
        let of = findings.filter(|one| one["severity"] == severity);
        of.map(|one| member(one, "rule")).collect()
    };
    assert_eq!(rules(&last, "error"), Vec::<String>::new(), "{last:#}");
    assert_eq!(last["passed"], true);
    assert!(
        rules(&last, "warning").contains(&"no-order".to_owned()),
        "{last:#}"
    );
    let sheet = "asset,key_type,storage,rotated_at\nexternal/partner,api_key,wrapped,2020-01-01T00:00:00.000Z\n";
    fs::write(installation.file("assets.csv"), sheet).expect("written");
    installation.chancery(["asset", "import", "assets.csv", "--apply"]);
    let came = operator.says(&["compliance-check"]);
    assert_eq!(came.code, Some(1), "{:#}", came.report);
    let findings = came.report["findings"].as_array().expect("findings").iter();
    let mut overdue = findings.filter(|one| one["rule"] == "overdue");
    let overdue = overdue
        .next()
        .unwrap_or_else(|| panic!("{:#}", came.report));
    assert_eq!(overdue["subject"], "external/partner");
    assert!(member(overdue, "remedy").contains("chancery asset report external/partner"));
    assert_eq!(overdue["runbook"], "deploy/runbooks/rotation-overdue.md");
}
