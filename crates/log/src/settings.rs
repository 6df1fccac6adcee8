use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use base::settings::{Invalid, Profile, Secret, duration, is_loopback};
use secrecy::ExposeSecret as _;

/// What it means that witnesses do not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Nothing: a database that was restored is noticed when a witness answers.
    GoOn,
    /// After a start nothing is signed until as many agreed with the database as the quorum needs;
    /// after that, nothing.
    #[default]
    Wait,
    /// As [`Self::Wait`], and nothing is signed either while the quorum has not agreed for
    /// longer than twice `log.heartbeat`.
    Stop,
}

/// `[log]`: the transparency log over everything that happens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where tiles and checkpoints stand: a directory (relative to the configuration file), or
    /// `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix`.
    pub tiles: String,
    /// Settings of the object store, as the `object_store` crate names them (`aws_region`,
    /// `aws_endpoint`, …); secrets as `{ file = "…" }` or `{ env = "…" }`.
    pub storage: BTreeMap<String, Secret>,
    /// First line of every checkpoint; the host of `service.issuer` and `/log` when left out. It changes only by a
    /// ceremony, and together with `tiles`.
    pub origin: Option<String>,
    /// How often leaves are integrated and a checkpoint is signed.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// A log that was silent for so long says so, with a leaf and a checkpoint.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// Witnesses and their quorum: a tlog-policy file with the witnesses' URLs.
    pub witnesses: Option<PathBuf>,
    /// How long a witness may take to answer.
    #[serde(with = "duration")]
    pub witness_timeout: Duration,
    /// What it means that witnesses do not answer: `go-on`, `wait` or `stop` (docs/LOG.md).
    pub witnesses_missing: Missing,
    /// How long bodies of signatures are kept.
    #[serde(with = "duration")]
    pub retention: Duration,
    /// Where a replica that halts leaves what it answered and no published checkpoint covers: a directory
    /// (relative to the configuration file).
    pub kept: PathBuf,
    /// Whether partial tiles go when the full one is there; off for a store with object lock.
    pub remove_partial_tiles: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tiles: "log".to_owned(),
            storage: BTreeMap::new(),
            origin: None,
            interval: Duration::from_millis(500),
            heartbeat: Duration::from_secs(600),
            witnesses: None,
            witness_timeout: Duration::from_secs(1),
            witnesses_missing: Missing::default(),
            retention: Duration::from_secs(7 * 366 * 86_400),
            kept: "kept".into(),
            remove_partial_tiles: true,
        }
    }
}

impl Settings {
    pub fn resolve(&mut self, base: &Path) {
        self.kept = base.join(&self.kept);
        if !self.tiles.contains("://") && Path::new(&self.tiles).is_relative() {
            self.tiles = base.join(&self.tiles).display().to_string();
        }
        if let Some(witnesses) = self.witnesses.as_mut().filter(|path| path.is_relative()) {
            *witnesses = base.join(&*witnesses);
        }
    }

    pub fn validate(&self, profile: Profile) -> Result<(), Invalid> {
        let scheme = self.tiles.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| !["file", "s3", "az", "gs"].contains(&scheme)) {
            return Err(Invalid::new(
                "log.tiles",
                "expected a directory, s3://…, az://… or gs://…",
            ));
        }
        if let Some(origin) = &self.origin
            && (origin.is_empty()
                || origin.contains(['+', '\n'])
                || origin.contains(char::is_whitespace))
        {
            return Err(Invalid::new(
                "log.origin",
                "must not contain spaces or \"+\"",
            ));
        }
        for (setting, value, least) in [
            ("log.interval", self.interval, Duration::from_millis(50)),
            ("log.heartbeat", self.heartbeat, Duration::from_secs(1)),
            (
                "log.witness_timeout",
                self.witness_timeout,
                Duration::from_millis(50),
            ),
        ] {
            if value < least {
                return Err(Invalid::new(
                    setting,
                    format!("must be at least {} ms", least.as_millis()),
                ));
            }
        }
        let production = profile == Profile::Production;
        if production && self.retention < Duration::from_secs(86_400) {
            return Err(Invalid::new("log.retention", "must be at least one day"));
        }
        if production {
            self.validate_transport()?;
        }
        for (name, secret) in &self.storage {
            let sensitive = ["secret", "key", "token", "password"];
            let inline = matches!(secret, Secret::Inline(_));
            if production && inline && sensitive.iter().any(|word| name.contains(word)) {
                return Err(Invalid::new(
                    "log.storage",
                    format!(
                        "{name} must be {{ file = \"…\" }} or {{ env = \"…\" }} in the production profile"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The log's storage is reached by verified TLS, or on this machine.
    fn validate_transport(&self) -> Result<(), Invalid> {
        let named = |end: &'static str| {
            let storage = self.storage.iter();
            storage.filter(move |(name, _)| name.to_ascii_lowercase().ends_with(end))
        };
        let off = |secret: &Secret| matches!(secret, Secret::Inline(value) if is_off(value.expose_secret()));
        if let Some((name, _)) =
            named("allow_invalid_certificates").find(|(_, secret)| !off(secret))
        {
            return Err(Invalid::new(
                "log.storage",
                format!(
                    "{name} must not be set in the production profile: anybody on the way could pretend to be the store"
                ),
            ));
        }
        let Some((name, _)) = named("allow_http").find(|(_, secret)| !off(secret)) else {
            return Ok(());
        };
        let mut endpoints = named("endpoint").peekable();
        let local = |secret: &Secret| matches!(secret, Secret::Inline(url) if is_local(url.expose_secret()));
        if endpoints.peek().is_some() && endpoints.all(|(_, secret)| local(secret)) {
            return Ok(());
        }
        Err(Invalid::new(
            "log.storage",
            format!(
                "{name} needs an endpoint with a loopback address in the production profile; give others as https://…"
            ),
        ))
    }

    /// The origin of the checkpoints of a service with this issuer.
    pub fn origin(&self, issuer: &str) -> String {
        match &self.origin {
            Some(origin) => origin.clone(),
            None => {
                let host = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
                format!("{}/log", host.trim_end_matches('/'))
            }
        }
    }
}

fn is_off(value: &str) -> bool {
    ["false", "0", "no", "off", "n"].contains(&value.trim().to_ascii_lowercase().as_str())
}

/// Whether a URL's host is this machine.
fn is_local(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = match host.split_once(']') {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    is_loopback(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_w7_the_storage_of_the_log_is_reached_by_tls() {
        for (options, allowed) in [
            (&[("aws_endpoint", "https://store.example")][..], true),
            (
                &[
                    ("aws_allow_http", "false"),
                    ("aws_endpoint", "https://store.example"),
                ],
                true,
            ),
            (&[("aws_allow_http", "true")], false),
            (
                &[
                    ("aws_allow_http", "true"),
                    ("aws_endpoint", "http://store.example"),
                ],
                false,
            ),
            (
                &[
                    ("AWS_ALLOW_HTTP", "1"),
                    ("endpoint", "http://127.0.0.1@store.example/x"),
                ],
                false,
            ),
            (
                &[
                    ("allow_http", "true"),
                    ("aws_endpoint", "http://127.0.0.1:9000"),
                ],
                true,
            ),
            (
                &[
                    ("allow_http", "true"),
                    ("azure_endpoint", "http://[::1]:9000/a"),
                ],
                true,
            ),
            (
                &[("allow_http", "true"), ("endpoint", "http://[::2]/a")],
                false,
            ),
            (&[("allow_invalid_certificates", "true")], false),
        ] {
            let given = options.iter();
            let given =
                given.map(|(name, value)| ((*name).to_owned(), Secret::Inline((*value).into())));
            let settings = Settings {
                storage: given.collect(),
                ..Settings::default()
            };
            let found = settings.validate(Profile::Production);
            assert_eq!(found.is_ok(), allowed, "{options:?}: {found:?}");
            settings.validate(Profile::Demonstration).unwrap();
        }
    }
}
