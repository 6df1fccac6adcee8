//! A real Prometheus and a real Alertmanager (Debian `prometheus`, `prometheus-alertmanager`), on loopback and free ports.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::http::send;
use super::installation::{Installation, free_port, text};
use super::process::{Running, repository, until};

/// Receives alerts, and inhibits them as deploy/alertmanager says.
pub struct Alertmanager {
    pub address: String,
    _child: Running,
}

/// Scrapes, evaluates rules, sends alerts.
pub struct Prometheus {
    address: String,
    _child: Running,
}

fn started(program: &str, arguments: &[String]) -> Running {
    let child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}: `make setup` installs it"));
    Running::new(child)
}

fn until_ready(what: &str, address: &str) {
    until(what, || {
        send(address, "GET", "/-/ready", &[], b"").is_ok_and(|answer| answer.status == 200)
    });
}

impl Alertmanager {
    pub fn start(installation: &Installation) -> Self {
        let config = installation.file("alertmanager.yml");
        let deployed = repository("deploy/alertmanager/alertmanager.yml");
        let deployed = fs::read_to_string(deployed).expect("a file");
        // Its receivers are left out: nobody listens.
        let lines = deployed.lines();
        let told = lines.filter(|line| !line.contains("webhook_configs") && !line.contains("url:"));
        let told: String = told.map(|line| format!("{line}\n")).collect();
        fs::write(&config, told).expect("written");
        let address = free_port();
        let arguments = [
            format!("--config.file={}", text(&config)),
            format!(
                "--storage.path={}",
                text(&installation.file("alertmanager"))
            ),
            format!("--web.listen-address={address}"),
            "--cluster.listen-address=".to_owned(),
        ];
        let child = started("prometheus-alertmanager", &arguments);
        until_ready("the Alertmanager is ready", &address);
        Self {
            address,
            _child: child,
        }
    }

    /// Tells it of alerts that hold from now on, each with these labels.
    pub fn post(&self, alerts: &Value) {
        let body = alerts.to_string();
        let headers = [("Content-Type", "application/json")];
        let path = "/api/v2/alerts";
        let answer = send(&self.address, "POST", path, &headers, body.as_bytes());
        assert_eq!(answer.expect("an answer").status, 200);
    }

    /// The alerts of a name that are told, and not silenced or inhibited.
    pub fn active(&self, name: &str) -> Vec<Value> {
        let path = "/api/v2/alerts?active=true&silenced=false&inhibited=false";
        let answer = send(&self.address, "GET", path, &[], b"").expect("an answer");
        let all: Vec<Value> = serde_json::from_slice(&answer.body).expect("alerts");
        let of = all
            .into_iter()
            .filter(|alert| alert["labels"]["alertname"] == name);
        of.collect()
    }
}

impl Prometheus {
    /// As deploy/prometheus configures it, but it looks several times a second, and an alert fires as soon as its condition holds.
    pub fn start(installation: &Installation, operations: &str, alertmanager: &str) -> Self {
        let read = |name: &str| {
            fs::read_to_string(repository("deploy/prometheus").join(name)).expect("a file")
        };
        let rules: String = read("chancery.rules.yml")
            .lines()
            .filter(|line| !line.trim_start().starts_with("for: "))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(installation.file("chancery.rules.yml"), rules).expect("written");
        let config = read("prometheus.yml")
            .replace("interval: 15s", "interval: 500ms")
            .replace("timeout: 5s", "timeout: 500ms")
            .replace("127.0.0.1:9090", operations)
            .replace("127.0.0.1:9093", alertmanager);
        let file = installation.file("prometheus.yml");
        fs::write(&file, config).expect("written");
        let address = free_port();
        let arguments = [
            format!("--config.file={}", text(&file)),
            format!(
                "--storage.tsdb.path={}",
                text(&installation.file("prometheus"))
            ),
            format!("--web.listen-address={address}"),
        ];
        let child = started("prometheus", &arguments);
        until_ready("the Prometheus is ready", &address);
        Self {
            address,
            _child: child,
        }
    }

    /// What its API answers, whatever it is.
    pub fn get(&self, path: &str) -> Value {
        let answer = send(&self.address, "GET", path, &[], b"").expect("an answer");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// Evaluates an expression now; an error where it cannot be parsed.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let encoded: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let said = self.get(&format!("/api/v1/query?query={encoded}"));
        match said["status"].as_str() {
            Some("success") => {
                let result = said["data"]["result"].as_array();
                Ok(result.cloned().unwrap_or_default())
            }
            _ => Err(said["error"].to_string()),
        }
    }

    /// The states of an alert: `pending`, `firing`.
    pub fn alerts(&self, name: &str) -> Vec<Value> {
        let said = self.get("/api/v1/alerts");
        let all = said["data"]["alerts"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let of = all
            .into_iter()
            .filter(|alert| alert["labels"]["alertname"] == name);
        of.collect()
    }
}
