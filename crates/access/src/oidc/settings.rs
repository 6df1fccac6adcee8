//! `[access.oidc]`: whose bearer tokens are believed, and what they are worth here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::settings::{Invalid, duration};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use trust::Algorithm;

use super::address;
use super::pointer::Pointer;
use super::words::{algorithms, roles};
use crate::Role;

/// The most that the clocks of issuer and service may differ by.
const LONGEST_SKEW: Duration = Duration::from_secs(120);

/// Longest life that a token may be allowed: it cannot be withdrawn before its end.
const LONGEST_LIFETIME: Duration = Duration::from_secs(31 * 86_400);

/// Longest that keys of an issuer are believed which cannot be asked.
const LONGEST_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Longest name: `oidc:NAME:` and a digest of 43 characters and its sign fit into a principal's name.
const LONGEST_NAME: usize = 14;

const SETTING: &str = "access.oidc.issuer";

/// `[access]`: who may call, as far as it does not stand in the database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub oidc: OidcSettings,
}

/// `[access.oidc]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OidcSettings {
    pub issuer: Vec<IssuerSettings>,
}

/// `[[access.oidc.issuer]]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// Its principals are called `oidc:NAME:…`.
    pub name: String,
    /// `iss` of its tokens, to the letter.
    pub issuer: String,
    /// `aud` of its tokens, to the letter.
    pub audience: String,
    /// What its tokens may be signed with: ES256, ES384, RS256, PS256, EdDSA.
    #[serde(with = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Where the principal's name is in the claims (RFC 6901).
    #[serde(default = "subject")]
    pub principal: Pointer,
    /// `typ` that its tokens have to have, such as `at+jwt` (RFC 9068). Without it `JWT`, `at+jwt` and none are taken.
    pub token_type: Option<String>,
    /// Where its keys are. Without it they are found by its discovery document.
    pub jwks_uri: Option<String>,
    /// The authorities that its TLS certificate is by, in PEM; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// A file with the access token that is shown to it, read each time.
    pub bearer_file: Option<PathBuf>,
    #[serde(with = "duration", default = "clock_skew")]
    pub clock_skew: Duration,
    /// Tokens that are valid for longer are refused.
    #[serde(with = "duration", default = "max_lifetime")]
    pub max_lifetime: Duration,
    /// How often its keys are read.
    #[serde(with = "duration", default = "refresh")]
    pub refresh: Duration,
    /// The least time between two attempts, whatever tokens name.
    #[serde(with = "duration", default = "refresh_floor")]
    pub refresh_floor: Duration,
    /// How long keys are believed that could not be read again.
    #[serde(with = "duration", default = "keep_keys")]
    pub keep_keys: Duration,
    /// Of one request to it.
    #[serde(with = "duration", default = "time_limit")]
    pub time_limit: Duration,
    /// What claims are worth.
    #[serde(default)]
    pub map: Vec<Mapping>,
}

/// `[[access.oidc.issuer.map]]`: who has exactly this value in this claim has these roles.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Where the claim is (RFC 6901): a string, or an array of which one element is the value.
    pub claim: Pointer,
    pub value: String,
    #[serde(with = "roles")]
    pub roles: Vec<Role>,
}

fn subject() -> Pointer {
    Pointer::subject()
}

fn clock_skew() -> Duration {
    Duration::from_secs(30)
}

fn max_lifetime() -> Duration {
    Duration::from_secs(24 * 3_600)
}

fn refresh() -> Duration {
    Duration::from_secs(300)
}

fn refresh_floor() -> Duration {
    Duration::from_secs(30)
}

fn keep_keys() -> Duration {
    Duration::from_secs(24 * 3_600)
}

fn time_limit() -> Duration {
    Duration::from_secs(5)
}

impl Settings {
    /// Files that are named by relative paths are beside the configuration.
    pub fn resolve(&mut self, base: &Path) {
        for issuer in &mut self.oidc.issuer {
            let files = [&mut issuer.ca_file, &mut issuer.bearer_file];
            for path in files.into_iter().flatten() {
                *path = base.join(&path);
            }
        }
    }

    pub fn validate(&self) -> Result<(), Invalid> {
        let (mut names, mut issuers) = (BTreeSet::new(), BTreeSet::new());
        for issuer in &self.oidc.issuer {
            let invalid = |problem: String| {
                Invalid::new(
                    SETTING,
                    format!("{}: {problem}", issuer.name.escape_debug()),
                )
            };
            issuer.check().map_err(invalid)?;
            if !names.insert(&issuer.name) {
                return Err(invalid("another issuer has the same name".to_owned()));
            }
            if !issuers.insert(&issuer.issuer) {
                return Err(invalid("it stands there twice".to_owned()));
            }
        }
        Ok(())
    }
}

impl IssuerSettings {
    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=LONGEST_NAME).contains(&self.name.len()) || !self.name.chars().all(plain) {
            return Err(format!(
                "name: expected 1 to {LONGEST_NAME} lower-case letters, digits or hyphens"
            ));
        }
        let graphic = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !graphic(&self.issuer) || !graphic(&self.audience) {
            return Err("issuer, audience: expected printable ASCII without spaces".to_owned());
        }
        let mut addresses = Vec::new();
        match &self.jwks_uri {
            Some(uri) => addresses.push(address::key_set(uri).map_err(|e| e.to_string())?),
            None => addresses.push(address::discovery(&self.issuer).map_err(|e| e.to_string())?),
        }
        let encrypted = |url: &Url| url.scheme() == "https";
        if self.ca_file.is_some() && !addresses.iter().all(encrypted) {
            return Err("ca_file: it is used with https only".to_owned());
        }
        if self
            .token_type
            .as_deref()
            .is_some_and(|word| !graphic(word))
        {
            return Err("token_type: expected a media type such as at+jwt".to_owned());
        }
        self.check_algorithms()?;
        self.check_times()?;
        self.check_mappings()
    }

    fn check_algorithms(&self) -> Result<(), String> {
        let different: BTreeSet<_> = self.algorithms.iter().collect();
        if self.algorithms.is_empty() || different.len() < self.algorithms.len() {
            return Err("algorithms: expected at least one, each once".to_owned());
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), String> {
        let second = Duration::from_secs(1);
        for (setting, value, least, most) in [
            ("clock_skew", self.clock_skew, Duration::ZERO, LONGEST_SKEW),
            ("max_lifetime", self.max_lifetime, second, LONGEST_LIFETIME),
            ("refresh_floor", self.refresh_floor, second, self.refresh),
            ("refresh", self.refresh, second, self.keep_keys),
            ("keep_keys", self.keep_keys, second, LONGEST_KEPT),
            ("time_limit", self.time_limit, second, 30 * second),
        ] {
            if !(least..=most).contains(&value) {
                let (least, most) = (duration::spelled(least), duration::spelled(most));
                return Err(format!("{setting}: expected {least} to {most}"));
            }
        }
        Ok(())
    }

    fn check_mappings(&self) -> Result<(), String> {
        if self.map.is_empty() {
            return Err("map: without one nobody has a role".to_owned());
        }
        let mut seen = BTreeSet::new();
        for Mapping {
            claim,
            value,
            roles,
        } in &self.map
        {
            if value.is_empty() || roles.is_empty() {
                return Err(format!("map: {claim} needs a value and roles"));
            }
            if !seen.insert((claim.as_str(), value)) {
                let value = value.escape_debug();
                return Err(format!(
                    "map: {claim} with the value \"{value}\" stands there twice"
                ));
            }
        }
        Ok(())
    }
}
