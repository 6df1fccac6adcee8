//! `chancery.toml`, one file per section. Every value can also be given as
//! `CHANCERY_SECTION__NAME`; unknown settings are errors, because a setting that is silently
//! ignored is a setting that somebody relies on.

mod executor;
mod offline;
mod orders;
mod service;
mod simulation;
mod telemetry;
mod token;
mod trust;

use std::path::{Path, PathBuf};

use ::trust::{Name, Pin};
use base::settings::Profile;
use serde::{Deserialize, Serialize};

pub use executor::Executor;
pub use offline::Offline;
pub use orders::Orders;
pub use service::Service;
pub use simulation::{Simulation, simulated};
pub use telemetry::{Format, Telemetry, Traces};
pub use trust::Trust;

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
    pub http: web::Http,
    #[serde(default)]
    pub access: ::access::oidc::Settings,
    pub store: ::store::Settings,
    pub token: ::token::Settings,
    pub executor: Option<Executor>,
    #[serde(default)]
    pub orders: Orders,
    #[serde(default)]
    pub publication: keyring::keys::PublicationSettings,
    #[serde(default)]
    pub log: ::log::Settings,
    #[serde(default)]
    pub verification: keyring::verification::Settings,
    pub trust: Trust,
    #[serde(default)]
    pub notify: notify::Settings,
    #[serde(default)]
    pub rotation: ::rotation::settings::Settings,
    pub simulation: Option<Simulation>,
    #[serde(default)]
    pub telemetry: Telemetry,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not valid TOML")]
    Syntax {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("{variable} is not a setting: expected {PREFIX}SECTION__NAME")]
    Variable { variable: String },
    #[error("the configuration is invalid")]
    Shape(#[source] Box<toml::de::Error>),
    #[error(transparent)]
    Value(#[from] base::settings::Invalid),
}

impl Config {
    /// Whom the service believes, and how it publishes.
    pub fn keyring(&self) -> Result<keyring::keys::Settings, String> {
        let name = |text: &str| text.parse::<Name>().map_err(|e| format!("{text:?}: {e}"));
        let pin = Pin {
            genesis: self.trust.genesis,
            service: name(&self.service.name)?,
            environment: name(&self.service.environment)?,
        };
        keyring::keys::Settings::new(pin, &self.publication)
    }

    /// Asked by the processes that run: the PIN of the replicas is not the executor's, or that is accepted.
    pub fn pins_are_apart(&self) -> Result<(), base::settings::Invalid> {
        let executor = self.executor.iter();
        let mut apart = executor.map(|own| own.is_apart_from(&self.token, self.profile));
        apart.next().unwrap_or(Ok(()))
    }

    /// Who notifications are from, and where custodians reach the service.
    pub fn sender(&self) -> notify::Sender {
        let url = self.notify.public_url.as_ref();
        let url = url.unwrap_or(&self.service.issuer);
        notify::Sender {
            service: self.service.name.clone(),
            environment: self.service.environment.clone(),
            url: url.trim_end_matches('/').to_owned(),
            genesis: self.trust.genesis,
        }
    }

    /// Reads the file and lays the given environment over it. The environment is a parameter so
    /// that only `main` reads the real one.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let base = path.parent().unwrap_or(Path::new("."));
        Self::from_table(read(path)?, environment, base)
    }

    fn from_table(
        mut table: toml::Table,
        environment: impl IntoIterator<Item = (String, String)>,
        base: &Path,
    ) -> Result<Self, Error> {
        lay_over(&mut table, environment)?;
        let mut config: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|e| Error::Shape(Box::new(e)))?;
        config.store.resolve(base);
        config.access.resolve(base);
        config.log.resolve(base);
        config.verification.resolve(base);
        config.notify.resolve(base);
        config.rotation.resolve(base);
        config.orders.resolve(base);
        config.telemetry.resolve(base);
        if let Some(simulation) = &mut config.simulation {
            simulation.resolve(base);
        }
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), Error> {
        self.service.validate()?;
        self.http.validate(self.profile)?;
        self.access.validate()?;
        self.store.validate(self.profile)?;
        token::validate(&self.token, "token.uri")?;
        if let Some(executor) = &self.executor {
            executor.validate(self.profile)?;
        }
        self.log.validate(self.profile)?;
        self.notify.validate(self.profile)?;
        self.rotation.validate(&self.service.environment)?;
        self.telemetry.validate()?;
        if let Some(simulation) = &self.simulation {
            simulation.validate(&self.service, self.profile)?;
        }
        Ok(self.publication.validate(self.profile)?)
    }
}

fn read(path: &Path) -> Result<toml::Table, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    text.parse().map_err(|source| Error::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn lay_over(
    table: &mut toml::Table,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(), Error> {
    for (variable, value) in environment {
        // Where the file is, is said to the command line and not in the file.
        if variable == FILE_VARIABLE {
            continue;
        }
        if let Some(rest) = variable.strip_prefix(PREFIX) {
            overlay(table, rest, &value).ok_or(Error::Variable { variable })?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests;
