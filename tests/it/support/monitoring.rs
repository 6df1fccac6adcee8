//! A real Prometheus and a real Alertmanager (Debian `prometheus`, `prometheus-alertmanager`), on loopback and free ports.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::http::send;
use super::installation::{Installation, free_port, text};
use super::process::{Running, repository, until};

/// Receives alerts, and inhibits them as deploy/alertmanager says.
pub struct Alertmanager {
    pub address: String,
    arguments: Vec<String>,
    child: Running,
}

/// Whoever an Alertmanager tells, by a webhook.
pub struct People {
    address: String,
    told: Receiver<Value>,
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
        // Its receivers are left out: nobody listens.
        Self::with(installation, |deployed| {
            let lines = deployed.lines();
            let told =
                lines.filter(|line| !line.contains("webhook_configs") && !line.contains("url:"));
            told.map(|line| format!("{line}\n")).collect()
        })
    }

    /// One that tells people what is new at once.
    pub fn telling(installation: &Installation, people: &People) -> Self {
        Self::with(installation, |deployed| {
            deployed
                .replace("127.0.0.1:9095", &people.address)
                .replace("group_wait: 30s", "group_wait: 100ms")
                .replace("group_wait: 10s", "group_wait: 100ms")
                .replace("group_interval: 5m", "group_interval: 500ms")
        })
    }

    fn with(installation: &Installation, change: impl Fn(&str) -> String) -> Self {
        let config = installation.file("alertmanager.yml");
        let deployed = repository("deploy/alertmanager/alertmanager.yml");
        let deployed = fs::read_to_string(deployed).expect("a file");
        fs::write(&config, change(&deployed)).expect("written");
        let address = free_port();
        let arguments = vec![
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
            arguments,
            child,
        }
    }

    /// It ends as it is told to, and comes back: with what it wrote down, which is who was told and not what holds.
    pub fn restart(&mut self) {
        self.child.terminate();
        self.child = started("prometheus-alertmanager", &self.arguments);
        until_ready("the Alertmanager is ready again", &self.address);
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

impl People {
    /// Their thread ends with this process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (tell, told) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || listens(stream, &tell));
            }
        });
        Self { address, told }
    }

    /// What they are told next.
    pub fn next(&self) -> Value {
        let told = self.told.recv_timeout(Duration::from_secs(60));
        told.expect("they are told")
    }
}

/// Requests with a body each, and an answer without one.
fn listens(stream: TcpStream, tell: &Sender<Value>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(1..) if line.trim().is_empty() => break,
                Ok(1..) => {}
                _ => return,
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        let read = reader.read_exact(&mut body);
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        if read.is_err() || reader.get_mut().write_all(ok).is_err() {
            return;
        }
        let message = serde_json::from_slice(&body).expect("JSON");
        if tell.send(message).is_err() {
            return;
        }
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
