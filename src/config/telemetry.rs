use std::path::{Path, PathBuf};
use std::time::Duration;

use base::settings::{Invalid, duration};
use serde::{Deserialize, Serialize};

/// `[telemetry]`: what is logged, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// A `tracing` filter such as `info` or `info,hsm=debug`.
    pub filter: String,
    pub format: Format,
    /// Where spans are exported to; nowhere when left out.
    pub traces: Option<Traces>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Text,
}

/// `[telemetry.traces]`: a collector that takes OTLP over HTTP, in protobuf.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// The whole URL, as a rule with the path `/v1/traces`.
    pub endpoint: String,
    /// Whether the URL may lead to this machine or into a private network.
    #[serde(default)]
    pub allow_private: bool,
    /// Certificates in PEM that the collector's has to lead to, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The share of requests, and of steps of rotations, whose spans are exported, whatever their callers say: 1 is all.
    #[serde(default = "one_of_a_hundred")]
    pub ratio: f64,
    /// Spans that may wait; what comes then is dropped.
    #[serde(default = "some_spans")]
    pub queue: usize,
    /// How often what waits is sent, at the latest.
    #[serde(with = "duration", default = "five_seconds")]
    pub every: Duration,
    /// How long the collector may take; then what it was sent is dropped.
    #[serde(with = "duration", default = "five_seconds")]
    pub timeout: Duration,
}

fn one_of_a_hundred() -> f64 {
    0.01
}

fn some_spans() -> usize {
    4_096
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: Format::Json,
            traces: None,
        }
    }
}

impl Telemetry {
    pub fn resolve(&mut self, base: &Path) {
        let traces = self.traces.iter_mut();
        for file in traces.filter_map(|traces| traces.ca_file.as_mut()) {
            *file = base.join(&file);
        }
    }

    pub fn validate(&self) -> Result<(), Invalid> {
        self.traces.as_ref().map_or(Ok(()), Traces::validate)
    }
}

impl Traces {
    fn validate(&self) -> Result<(), Invalid> {
        let invalid = |what: &str| Err(Invalid::new("telemetry.traces", what));
        if !has_host_alone(&self.endpoint) {
            return invalid(
                "endpoint: expected an http or https URL without user, password and query",
            );
        }
        if self.endpoint.starts_with("http:") && !self.allow_private {
            return invalid("endpoint: expected https, or allow_private = true");
        }
        if !(self.ratio > 0.0 && self.ratio <= 1.0) {
            return invalid("ratio: expected more than 0 and at most 1");
        }
        if !(512..=65_536).contains(&self.queue) {
            return invalid("queue: expected 512 to 65536");
        }
        let times = Duration::from_millis(100)..=Duration::from_secs(60);
        if !times.contains(&self.every) || !times.contains(&self.timeout) {
            return invalid("every and timeout: expected 100ms to 60s");
        }
        Ok(())
    }
}

/// Whether nothing of it may be a secret, as far as it is looked at before a client is made of it: it is shown where settings are.
fn has_host_alone(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or(url.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.split(':').next().unwrap_or_default();
        !host.is_empty() && !authority.contains('@') && !rest.contains(['?', '#'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        let settings: Telemetry = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.validate().map_err(|error| error.to_string())
    }

    #[test]
    fn a_collector_is_named_in_full_and_everything_about_it_is_bounded() {
        let with = |more: &str| {
            let endpoint = "[traces]\nendpoint = \"https://otel.example/v1/traces\"\n";
            checked(&format!("{endpoint}{more}"))
        };
        assert_eq!(checked(""), Ok(()));
        assert_eq!(with(""), Ok(()));
        assert_eq!(with("ratio = 1.0"), Ok(()));
        for bad in [
            "ratio = 0.0",
            "ratio = 1.5",
            "ratio = nan",
            "queue = 0",
            "queue = 10000000",
            "every = \"1ms\"",
            "timeout = \"1h\"",
            "endpoints = 1",
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
        assert!(checked("[traces]\nratio = 1.0").is_err(), "no endpoint");
        for (endpoint, good) in [
            ("https://otel.example:4318", true),
            ("https://[2001:db8::1]:4318/v1/traces", true),
            // As for receivers: this machine is private too.
            ("http://127.0.0.1:4318/v1/traces", false),
            ("http://[::1]:4318/v1/traces", false),
            ("http://otel.example/v1/traces", false),
            ("https://otel.example/v1/traces?key=secret", false),
            ("https://otel.example/v1/traces#secret", false),
            ("https://user:password@otel.example/", false),
            ("grpc://otel.example", false),
            ("https://", false),
        ] {
            let text = format!("[traces]\nendpoint = \"{endpoint}\"");
            assert_eq!(checked(&text).is_ok(), good, "{endpoint}");
            let private = checked(&format!("{text}\nallow_private = true"));
            let http = endpoint.starts_with("http:");
            assert_eq!(private.is_ok(), good || http, "{endpoint}");
        }
    }
}
