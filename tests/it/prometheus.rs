//! A real Prometheus that scrapes the running service, and a real Alertmanager that receives what it fires.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base::names::{self, Kind, Values};
use serde_json::json;
use testkit::postgres::Server;

use crate::prometheus_files::asked;
use crate::support::http::send;
use crate::support::installation::{Installation, Service, directory};
use crate::support::monitoring::{Alertmanager, Prometheus};
use crate::support::process::until;

const RING: &str = "integrity";

/// How long a scrape lets the database be asked, in the background.
const PROBE: Duration = Duration::from_secs(2);

/// Metrics that are there when something has happened, or is configured: not in this test.
const SOMETIMES: &[&str] = &[
    names::TLS_CERTIFICATE_EXPIRES,
    names::OIDC_REFRESHES,
    names::OIDC_KEYS_AGE,
    names::OIDC_USABLE,
    names::EXECUTOR_CEREMONIES,
    names::EXECUTOR_ROUNDS,
    names::COSIGNATURES,
    names::WITNESS_FAILURES,
    names::WITNESS_LAG,
    names::TASK_RESTARTS,
    names::NOTIFY_DELIVERED,
    names::NOTIFY_FAILED,
    names::NOTIFY_GIVEN_UP,
    names::NOTIFY_WAITING,
    names::NOTIFY_OLDEST_SECONDS,
    names::NOTIFY_DEAD,
    names::NOTIFY_ROTATIONS_LEFT,
    names::ROTATION_SECONDS,
];

fn scrape(service: &Service) -> String {
    let answer = send(&service.operations, "GET", "/metrics", &[], b"").expect("metrics");
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.into_body()).expect("text")
}

/// A line of the text format: its name, and its labels with their values.
fn series(line: &str) -> (String, BTreeMap<String, String>) {
    let (series, _) = line.rsplit_once(' ').expect("a value");
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new());
    };
    let labels = labels.trim_end_matches('}').split("\",");
    let labels = labels.map(|label| {
        let (label, value) = label.split_once("=\"").expect("a label");
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name.to_owned(), labels.collect())
}

/// What is exposed is in the table, with the labels and values that it says.
fn is_what_the_table_says(text: &str) {
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        let (name, mut labels) = series(line);
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|end| names::metric(name.strip_suffix(end)?))
            .find(|metric| matches!(metric.kind, Kind::Histogram(_)));
        let metric = base.or_else(|| names::metric(&name));
        let metric = metric.unwrap_or_else(|| panic!("{name} is in no table"));
        seen.insert(metric.name);
        if base.is_some() && name.ends_with("_bucket") {
            labels.remove("le");
        }
        let expected: BTreeSet<&str> = metric.labels.iter().map(|label| label.name).collect();
        let found: BTreeSet<&str> = labels.keys().map(String::as_str).collect();
        assert_eq!(found, expected, "{line}");
        for label in metric.labels {
            if let Values::Of(words) = label.values {
                assert!(words.contains(&labels[label.name].as_str()), "{line}");
            }
        }
    }
    let missing = names::all().filter(|metric| !seen.contains(metric.name));
    let missing: Vec<_> = missing
        .map(|metric| metric.name)
        .filter(|name| !SOMETIMES.contains(name))
        .collect();
    assert!(missing.is_empty(), "in the table only: {missing:?}");
}

#[test]
fn a_frozen_database_fires_in_an_alertmanager_until_it_answers_again() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database("chancery_it").expect("a database");
    let installation = Installation::on(directory(), &url);
    installation.open_log();
    let kid = installation.open_ring(RING);
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let alertmanager = Alertmanager::start(&installation);
    let service = installation.serve_with(&[("CHANCERY_ROTATION__EVERY", "500ms")]);
    let prometheus = Prometheus::start(&installation, &service.operations, &alertmanager.address);

    let sign = || {
        let body = json!({"format": "jws", "payload": "AQID"});
        service.post(&format!("/v1/rings/{RING}/sign"), Some(&signer), &body)
    };
    let jws = sign().ok()["jws"].as_str().expect("a JWS").to_owned();
    until("it verifies", || service.verdict(&jws) == "VALID");
    assert_eq!(service.get("/.well-known/jwks.json").status, 200);
    assert_eq!(service.post("/v1/rings", None, &json!({})).status / 100, 4);
    let refused = service.post(&format!("/v1/rings/{RING}/sign"), None, &json!({}));
    assert_eq!(refused.status, 401);
    installation.chancery(["job", "run", "key_rotation_health_check"]);
    until("log, jobs and inventory were looked at", || {
        let text = scrape(&service);
        let seen = [
            names::JOB_SUCCEEDED,
            names::LOG_TREE_SIZE,
            names::LOG_CHECKPOINT_AGE,
            names::CLOCK_OFFSET,
        ];
        seen.iter().all(|name| text.contains(&format!("\n{name}")))
            && text.contains(&format!("\n{}{{", names::ALERTS))
    });
    is_what_the_table_says(&scrape(&service));

    // It sees what the service says, whatever is asked of it.
    let one = |expression: &str| {
        let found = prometheus.query(expression).expect("an answer");
        let [one] = found.as_slice() else {
            return None;
        };
        one["value"][1].as_str()?.parse::<f64>().ok()
    };
    until("it is scraped", || one("up{job=\"chancery\"}") == Some(1.0));
    until("it has counted", || {
        one(&format!("chancery_signatures_total{{kid=\"{kid}\"}}")) == Some(1.0)
    });
    until("it knows the rings", || {
        one("sum(chancery_assets{key_type=\"signing\"})") == Some(2.0)
    });
    sign().ok();
    let quantile =
        "chancery:http_request_duration_seconds:p99_rate5m{route=\"/v1/rings/{ring}/sign\"}";
    until("a signature has a duration", || {
        one(quantile).is_some_and(|seconds| seconds > 0.0)
    });
    for (place, expression) in asked() {
        let answered = prometheus.query(&expression);
        assert!(answered.is_ok(), "{place}: {answered:?}");
    }
    // All holds were taken out of the rules: one slow answer before fires it.
    let alert = "ChanceryDatabaseUnavailable";
    until("it does not fire", || alertmanager.active(alert).is_empty());

    // A scrape of a frozen database answers at once, with what was known, and says how old that is.
    let waiting = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(names::LOG_WAITING));
        line.expect("a line").to_owned()
    };
    server.signal_all("STOP").expect("frozen");
    let age = || service.metric(names::DATABASE_METRICS_AGE).expect("an age");
    let began = Instant::now();
    let known = waiting(&scrape(&service));
    let took = began.elapsed();
    // It waited for no answer of the database.
    assert!(took < PROBE, "{took:?}");
    until("its age grows", || age() > 1.0);
    // Whoever asked when it froze may have told of its answer since.
    let mut known = known;
    until("nothing of it is told any more", || {
        let before = std::mem::replace(&mut known, waiting(&scrape(&service)));
        before == known
    });
    assert_eq!(waiting(&scrape(&service)), known);
    until("it fires", || alertmanager.active(alert).len() == 1);
    let labels = alertmanager.active(alert)[0]["labels"].clone();
    assert_eq!(labels["severity"], "critical");
    assert_eq!(labels["instance"], service.operations);
    assert_eq!(prometheus.alerts(alert)[0]["state"], "firing");

    server.signal_all("CONT").expect("thawed");
    until("it is resolved", || alertmanager.active(alert).is_empty());
    until("what it says is new", || age() < PROBE.as_secs_f64());
    sign().ok();
}
