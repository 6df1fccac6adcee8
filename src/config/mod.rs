//! `chancery.toml`, one file per section. Every value can also be given as
//! `CHANCERY_SECTION__NAME`; unknown settings are errors, because a setting that is silently
//! ignored is a setting that somebody relies on.

mod http;
mod log;
mod publication;
mod secret;
mod service;
mod store;
mod telemetry;
mod token;
mod trust;
mod verification;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use http::Http;
pub use log::Log;
pub use publication::Publication;
pub use secret::Secret;
pub use service::Service;
pub use store::Store;
pub use telemetry::{Format, Telemetry};
pub use trust::Trust;
pub use verification::Verification;

/// Prefix of settings in the environment.
const PREFIX: &str = "CHANCERY_";

/// Names the configuration file; see `--config`.
const FILE_VARIABLE: &str = "CHANCERY_CONFIG";

/// The whole configuration, validated.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub profile: Profile,
    pub service: Service,
    #[serde(default)]
    pub http: Http,
    pub store: Store,
    pub token: ::token::Settings,
    /// The executor's own way to the token: a PIN that may create and destroy. Used by
    /// `ceremony new generate`, `ceremony execute` and `ceremony reconcile`; without it this
    /// configuration executes no ceremony but revocations.
    pub executor: Option<::token::Settings>,
    #[serde(default)]
    pub publication: Publication,
    #[serde(default)]
    pub log: Log,
    #[serde(default)]
    pub verification: Verification,
    pub trust: Trust,
    #[serde(default)]
    pub telemetry: Telemetry,
}

/// What short times and inline values are allowed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    Production,
    /// Times of seconds, so that a rotation can be watched. Never trust its signatures.
    Demonstration,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not TOML")]
    Syntax {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("{variable} does not name a setting: expected {PREFIX}SECTION__NAME")]
    Variable { variable: String },
    #[error("the configuration does not fit")]
    Shape(#[source] Box<toml::de::Error>),
    #[error("{setting}: {problem}")]
    Value {
        setting: &'static str,
        problem: String,
    },
}

/// A value that is well-formed but must not be.
fn refuse(setting: &'static str, problem: impl Into<String>) -> Error {
    Error::Value {
        setting,
        problem: problem.into(),
    }
}

impl Config {
    /// Reads the file and lays the given environment over it. The environment is a parameter so
    /// that only `main` reads the real one.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let table = text.parse().map_err(|source| Error::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::from_table(table, environment, base)
    }

    fn from_table(
        mut table: toml::Table,
        environment: impl IntoIterator<Item = (String, String)>,
        base: &Path,
    ) -> Result<Self, Error> {
        for (variable, value) in environment {
            // Where the file is, is said to the command line and not in the file.
            if variable == FILE_VARIABLE {
                continue;
            }
            if let Some(rest) = variable.strip_prefix(PREFIX) {
                overlay(&mut table, rest, &value).ok_or(Error::Variable { variable })?;
            }
        }
        let mut config: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|e| Error::Shape(Box::new(e)))?;
        config.store.resolve(base);
        config.log.resolve(base);
        config.verification.resolve(base);
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), Error> {
        self.service.validate()?;
        self.http.validate(self.profile)?;
        self.store.validate(self.profile)?;
        token::validate(&self.token, "token.uri")?;
        if let Some(executor) = &self.executor {
            token::validate(executor, "executor.uri")?;
        }
        self.log.validate(self.profile)?;
        self.publication.validate(self.profile)
    }
}

/// `SECTION__NAME` (or `SECTION__SUB__NAME`, or a bare top-level `NAME`) with a TOML value, or
/// plain text where it is not one.
fn overlay(table: &mut toml::Table, path: &str, text: &str) -> Option<()> {
    let mut names: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
    let last = names.pop().filter(|name| !name.is_empty())?;
    let mut at = table;
    for name in names {
        at = at
            .entry(name)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()?;
    }
    let value = format!("v = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    at.insert(last, value);
    Some(())
}

/// Durations as people write them: `24h`, `90d`, `300s`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
        match jiff::SignedDuration::try_from(*value) {
            Ok(signed) => out.serialize_str(&format!("{signed:#}")),
            Err(_) => out.serialize_str("too long"),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).map_err(D::Error::custom)
    }

    /// Hours and smaller as [`jiff`] reads them, and whole days of 24 hours.
    pub fn parse(text: &str) -> Result<Duration, String> {
        let shown = || format!("{text:?} is not a duration such as \"24h\", \"90d\" or \"300s\"");
        if let Some(days) = text.strip_suffix('d').and_then(|n| n.parse::<u32>().ok()) {
            return Ok(Duration::from_secs(u64::from(days) * 86_400));
        }
        let signed: jiff::SignedDuration = text.parse().map_err(|_| shown())?;
        signed.try_into().map_err(|_| shown())
    }
}

pub use duration::parse as parse_duration;

#[cfg(test)]
mod tests;
