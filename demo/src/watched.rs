//! A real Prometheus that watches the demonstration, where one is installed: by the rules and the scrape configuration of
//! deploy/prometheus, but several times a second. What the dashboards of deploy/grafana would show becomes pictures.

mod picture;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use testkit::http::send;
use testkit::installation::free_port;
use testkit::process::Running;

use self::picture::{Panel, Series};
use super::stage::Stage;
use base::system::now;
use verify::output::{Failure, Output};

/// How long it may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two points of a picture, in seconds.
const STEP: f64 = 0.5;

/// Parts of the sources, in which the demonstration is run.
const CONFIGURATION: &str = "deploy/prometheus";
const DASHBOARDS: &str = "deploy/grafana";

/// What Grafana fills in.
const VARIABLES: [(&str, &str); 2] = [("$__rate_interval", "5s"), ("$ring", ".*")];

/// It ends when it is let go of.
pub struct Prometheus {
    address: String,
    started: f64,
    _child: Running,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of this century do not come near 2^53"
)]
fn seconds() -> f64 {
    now().millis() as f64 / 1_000.0
}

impl Prometheus {
    /// None where no Prometheus is installed.
    pub fn start(stage: &Stage, output: &Output) -> Result<Option<Self>, Failure> {
        let installation = &stage.installation;
        let read = |name: &str| {
            let path = Path::new(CONFIGURATION).join(name);
            fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
        };
        if !Path::new(CONFIGURATION).is_dir() {
            output.remark("  (nobody watches: the source tree is missing)");
            return Ok(None);
        }
        fs::write(
            installation.file("chancery.rules.yml"),
            read("chancery.rules.yml")?,
        )?;
        let config = read("prometheus.yml")?
            .replace("interval: 15s", "interval: 250ms")
            .replace("timeout: 5s", "timeout: 250ms")
            .replace("127.0.0.1:9090", &installation.plan.operations)
            .replace("127.0.0.1:9093", &free_port()?);
        let file = installation.file("prometheus.yml");
        fs::write(&file, config)?;
        let address = free_port()?;
        let data = installation.file("prometheus");
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            output.remark("  (nobody watches: there is no Prometheus; `.ci/setup watch`)");
            return Ok(None);
        };
        let new = Self {
            address,
            started: seconds(),
            _child: Running::new(child),
        };
        let end = Instant::now() + PATIENCE;
        let is_ready = || {
            send(&new.address, "GET", "/-/ready", &[], b"").is_ok_and(|answer| answer.status == 200)
        };
        while !is_ready() {
            if Instant::now() > end {
                return Err(anyhow!("the Prometheus is not ready").into());
            }
            sleep(Duration::from_millis(50));
        }
        output.remark(format!(
            "$ prometheus --config.file=prometheus.yml --web.listen-address={} &",
            new.address
        ));
        Ok(Some(new))
    }

    /// The alerts that fire, each with how often.
    pub fn firing(&self) -> Result<Vec<(String, u64)>, Failure> {
        let said = self.get("/api/v1/alerts")?;
        let mut names: Vec<(String, u64)> = Vec::new();
        for alert in said["alerts"].as_array().into_iter().flatten() {
            let name = alert["labels"]["alertname"].as_str().unwrap_or_default();
            if alert["state"] != "firing" {
                continue;
            }
            match names.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => names.push((name.to_owned(), 1)),
            }
        }
        Ok(names)
    }

    /// One picture for each dashboard, of what it would have shown since the Prometheus was started.
    pub fn draw(&self, into: &Path) -> Result<usize, Failure> {
        fs::create_dir_all(into)?;
        let mut drawn = 0;
        for entry in fs::read_dir(DASHBOARDS)? {
            let path = entry?.path();
            let board: Value =
                serde_json::from_str(&fs::read_to_string(&path)?).context("a dashboard")?;
            let panels = board["panels"].as_array().into_iter().flatten();
            let panels = panels.map(|panel| self.panel(panel));
            let panels = panels.collect::<Result<Vec<_>, Failure>>()?;
            let title = board["title"].as_str().unwrap_or_default();
            let name = path.with_extension("svg");
            let name = name.file_name().context("a dashboard without a name")?;
            fs::write(into.join(name), picture::draw(title, &panels))?;
            drawn += 1;
        }
        Ok(drawn)
    }

    fn panel(&self, panel: &Value) -> Result<Panel, Failure> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut series = Vec::new();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let mut expression = text(&target["expr"]);
            for (variable, value) in VARIABLES {
                expression = expression.replace(variable, value);
            }
            let legend = text(&target["legendFormat"]);
            for found in self.range(&expression)?.as_array().into_iter().flatten() {
                let found = self.series(&legend, found);
                if !found.points.is_empty() {
                    series.push(found);
                }
            }
        }
        Ok(Panel {
            title: text(&panel["title"]),
            unit: text(&panel["fieldConfig"]["defaults"]["unit"]),
            series,
        })
    }

    fn series(&self, legend: &str, found: &Value) -> Series {
        let mut name = legend.to_owned();
        for (label, value) in found["metric"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            name = name.replace(&format!("{{{{{label}}}}}"), value);
        }
        let points = found["values"].as_array().into_iter().flatten();
        let points = points.filter_map(|point| {
            let value: f64 = point[1].as_str()?.parse().ok()?;
            Some((point[0].as_f64()? - self.started, value)).filter(|_| value.is_finite())
        });
        Series {
            name,
            points: points.collect(),
        }
    }

    fn range(&self, expression: &str) -> Result<Value, Failure> {
        let bytes = expression.bytes();
        let query: String = bytes.map(|byte| format!("%{byte:02X}")).collect();
        let (start, end) = (self.started, seconds());
        let said = self.get(&format!(
            "/api/v1/query_range?query={query}&start={start:.3}&end={end:.3}&step={STEP}"
        ))?;
        Ok(said["result"].clone())
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        let answer = send(&self.address, "GET", path, &[], b"")?;
        let said = answer.json()?;
        match said["status"] == "success" {
            true => Ok(said["data"].clone()),
            false => Err(anyhow!("the Prometheus: {}", said["error"]).into()),
        }
    }
}
