use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::settings::{Invalid, duration, is_loopback};
use serde::{Deserialize, Serialize};
use url::Url;

/// Most probes, and most verifiers that acknowledge.
const MOST: usize = 16;

/// Longest time that a probe may take.
const LONGEST_PROBE: Duration = Duration::from_secs(8);

/// `[rotation]`: whether this replica rotates what is due, and how it finds out that a new version has arrived.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether this replica takes part in it.
    pub enabled: bool,
    /// How often it looks for jobs and rotations that are due.
    #[serde(with = "duration")]
    pub every: Duration,
    /// Whether rotations may be begun to test rotation itself: said of an installation that is not production. Refused where the
    /// name of the environment says that it is.
    pub tests: bool,
    /// Principals with the role `prober` who have to acknowledge a new key before it becomes the primary.
    pub verifiers: Vec<String>,
    /// URLs that have to show a new key before it becomes the primary, by name.
    pub probes: BTreeMap<String, ProbeSettings>,
}

/// Words of an environment's name that say that it is production, and those that say the contrary before them.
const PRODUCTION: [&str; 4] = ["production", "prod", "prd", "live"];
const NOT: [&str; 3] = ["non", "not", "pre"];

/// Whether the name of an environment says that it is production: one of its words does.
pub fn is_production(environment: &str) -> bool {
    let mut before = "";
    environment.split('-').any(|word| {
        let word = word.trim_end_matches(|end: char| end.is_ascii_digit());
        let says = PRODUCTION.contains(&word) && !NOT.contains(&before);
        before = word;
        says
    })
}

/// `[rotation.probes.NAME]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSettings {
    /// Where a key set is fetched from: this service's public URL from outside, or a verifier's cache.
    pub url: String,
    /// Whether the URL may name this machine or an address of a private network.
    #[serde(default)]
    pub allow_private: bool,
    /// Certificates in PEM that the server's has to lead to, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long it may take.
    #[serde(with = "duration", default = "timeout")]
    pub timeout: Duration,
}

fn timeout() -> Duration {
    Duration::from_secs(5)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            every: Duration::from_secs(60),
            tests: false,
            verifiers: Vec::new(),
            probes: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Paths relative to the configuration file.
    pub fn resolve(&mut self, base: &Path) {
        for probe in self.probes.values_mut() {
            if let Some(file) = &mut probe.ca_file {
                *file = base.join(&file);
            }
        }
    }

    /// Refuses what is out of bounds in this environment.
    pub fn validate(&self, environment: &str) -> Result<(), Invalid> {
        if self.tests && is_production(environment) {
            let what = format!("no rotation is begun as a test in the environment {environment}");
            return Err(Invalid::new("rotation.tests", what));
        }
        let hour = Duration::from_secs(3_600);
        if !(Duration::from_millis(100)..=hour).contains(&self.every) {
            return Err(Invalid::new("rotation.every", "expected 100ms to 1h"));
        }
        if self.verifiers.len() > MOST || self.probes.len() > MOST {
            let what = format!("expected at most {MOST} probes and {MOST} verifiers");
            return Err(Invalid::new("rotation.probes", what));
        }
        for (name, probe) in &self.probes {
            let invalid = |what: String| Invalid::new("rotation.probes", format!("{name}: {what}"));
            let url = probe.url().map_err(invalid)?;
            if !matches!(url.scheme(), "https" | "http") {
                return Err(invalid("expected an https URL".to_owned()));
            }
            // What a name leads to is looked at when it is connected to.
            let private = url.host_str().is_none_or(is_loopback)
                || notify::literal(&url).is_some_and(notify::is_private);
            if private && !probe.allow_private {
                return Err(invalid(format!(
                    "{url} is private: it needs allow_private = true"
                )));
            }
            if url.scheme() == "http" && !private {
                return Err(invalid("expected an https URL".to_owned()));
            }
            if probe.timeout.is_zero() || probe.timeout > LONGEST_PROBE {
                return Err(invalid("expected a timeout of up to 8s".to_owned()));
            }
        }
        Ok(())
    }
}

impl ProbeSettings {
    /// Its address.
    pub fn url(&self) -> Result<Url, String> {
        Url::parse(&self.url).map_err(|error| format!("{:?}: {error}", self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(url: &str, allow_private: bool) -> Settings {
        let probe = ProbeSettings {
            url: url.to_owned(),
            allow_private,
            ca_file: None,
            timeout: timeout(),
        };
        Settings {
            probes: BTreeMap::from([("outside".to_owned(), probe)]),
            ..Settings::default()
        }
    }

    #[test]
    fn probes_lead_outside_unless_it_is_said_otherwise() {
        for url in [
            "http://127.0.0.1:1/jwks",
            "https://10.0.0.1/",
            "https://[::1]/",
        ] {
            assert!(with(url, false).validate("test").is_err(), "{url}");
            assert!(with(url, true).validate("test").is_ok(), "{url}");
        }
        assert!(
            with("https://keys.example/jwks.json", false)
                .validate("test")
                .is_ok()
        );
        for url in ["http://keys.example/", "ftp://keys.example/", "keys"] {
            assert!(with(url, true).validate("test").is_err(), "{url}");
        }
        let never = Settings {
            every: Duration::ZERO,
            ..Settings::default()
        };
        assert!(never.validate("test").is_err());
    }

    #[test]
    fn threat_rotations_are_tested_in_production() {
        let settings = Settings {
            tests: true,
            ..Settings::default()
        };
        for environment in ["production", "prod2", "eu-prod", "live", "prd-2"] {
            let refused = settings.validate(environment).unwrap_err();
            assert!(refused.to_string().contains("rotation.tests"), "{refused}");
            assert!(Settings::default().validate(environment).is_ok());
        }
        for environment in ["staging", "test", "pre-production", "non-prod", "products"] {
            assert!(settings.validate(environment).is_ok(), "{environment}");
        }
    }
}
