//! That a new version has arrived is proven, not assumed: URLs that have to show it, and verifiers that acknowledge it.

use calendar::next_step;
use reqwest::Client;
use serde_json::{Value, json};
use store::Store;
use trust::jwk::foreign::parse_set;
use url::Url;

use crate::drivers::Doing;
use crate::settings::Settings;

/// Longest key set that is read, in bytes.
const LONGEST: usize = 512 * 1_024;

/// What a probe sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The new version.
    Yes,
    /// Not yet, and why.
    No(String),
    /// Something else in its place.
    Other(String),
}

/// Looks whether a version has arrived somewhere.
pub trait Probe: Send + Sync {
    /// As the configuration calls it.
    fn name(&self) -> &str;

    /// Whether the key of this kid is there.
    fn look<'a>(&'a self, kid: &'a str) -> Doing<'a, Seen>;
}

/// A URL with a key set.
pub struct HttpProbe {
    name: String,
    url: Url,
    client: Client,
}

/// Probes and verifiers; without any nothing is asked.
#[derive(Default)]
pub struct Propagation {
    probes: Vec<Box<dyn Probe>>,
    verifiers: Vec<String>,
}

impl HttpProbe {
    /// To no other address than the configured one: no redirect, no proxy, and no private address unless that is allowed.
    pub fn new(name: &str, settings: &crate::settings::ProbeSettings) -> Result<Self, String> {
        let url = settings.url()?;
        let (private, ca_file) = (settings.allow_private, settings.ca_file.as_deref());
        let client = notify::http_client(&url, private, ca_file, settings.timeout)?;
        Ok(Self {
            name: name.to_owned(),
            url,
            client,
        })
    }

    async fn fetch(&self) -> Result<Vec<u8>, String> {
        let told = |error: reqwest::Error| trust::error_chain(&error.without_url());
        let request = self.client.get(self.url.clone());
        let mut response = request.send().await.map_err(told)?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(told)? {
            if body.len() + part.len() > LONGEST {
                return Err(format!("the answer is longer than {LONGEST} bytes"));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

impl Probe for HttpProbe {
    fn name(&self) -> &str {
        &self.name
    }

    fn look<'a>(&'a self, kid: &'a str) -> Doing<'a, Seen> {
        Box::pin(async move {
            match self.fetch().await {
                Ok(body) => seen(&body, kid),
                Err(why) => Seen::No(why),
            }
        })
    }
}

/// Whether a set has the key: a kid is the thumbprint of its key, so another key under it is a lie.
fn seen(body: &[u8], kid: &str) -> Seen {
    let set = match parse_set(body) {
        Ok(set) => set,
        Err(error) => return Seen::No(trust::error_chain(&error)),
    };
    let named = set.named(Some(kid));
    match named.iter().find(|key| key.public.kid().as_str() != kid) {
        Some(_) => Seen::Other(format!("another key is published as {kid}")),
        None if named.is_empty() => Seen::No("the key set does not have the key".to_owned()),
        None => Seen::Yes,
    }
}

impl Propagation {
    /// Those of the configuration.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut probes: Vec<Box<dyn Probe>> = Vec::new();
        for (name, probe) in &settings.probes {
            let probe = HttpProbe::new(name, probe);
            probes.push(Box::new(probe.map_err(|why| format!("{name}: {why}"))?));
        }
        Ok(Self::of(probes, settings.verifiers.clone()))
    }

    /// These.
    pub fn of(probes: Vec<Box<dyn Probe>>, verifiers: Vec<String>) -> Self {
        Self { probes, verifiers }
    }

    /// What they say about a key, in a word, with all of it for the validation report.
    pub(super) async fn look(
        &self,
        store: &Store,
        kid: &str,
    ) -> Result<(next_step::Propagation, Value), store::Error> {
        if self.probes.is_empty() && self.verifiers.is_empty() {
            return Ok((next_step::Propagation::NotAsked, Value::Null));
        }
        let mut said = Vec::new();
        let (mut missing, mut contradicted) = (false, false);
        for probe in &self.probes {
            let (word, why) = match probe.look(kid).await {
                Seen::Yes => ("seen", None),
                Seen::No(why) => {
                    missing = true;
                    ("not-seen", Some(why))
                }
                Seen::Other(why) => {
                    contradicted = true;
                    ("contradicts", Some(why))
                }
            };
            said.push(json!({ "probe": probe.name(), "says": word, "why": why }));
        }
        let told = store.acknowledgements(kid).await?;
        for verifier in &self.verifiers {
            let at = told.iter().find(|row| row.principal == *verifier);
            missing |= at.is_none();
            let word = if at.is_some() { "has it" } else { "silent" };
            let at = at.map(|row| row.at);
            said.push(json!({ "verifier": verifier, "says": word, "at": at }));
        }
        let all = match (contradicted, missing) {
            (true, _) => next_step::Propagation::Contradicted,
            (false, true) => next_step::Propagation::Missing,
            (false, false) => next_step::Propagation::Proven,
        };
        Ok((all, Value::Array(said)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"KID"}"#;

    #[test]
    fn threat_a_probe_that_shows_another_key_under_the_kid() {
        let set = |kid: &str| format!(r#"{{"keys":[{}]}}"#, KEY.replace("KID", kid)).into_bytes();
        let public = parse_set(&set("x")).unwrap().keys[0].public.clone();
        let kid = public.kid().to_string();
        assert_eq!(seen(&set(&kid), &kid), Seen::Yes);
        assert!(matches!(seen(&set("other"), &kid), Seen::No(_)));
        assert!(matches!(seen(&set("other"), "other"), Seen::Other(_)));
        assert!(matches!(seen(b"<html>", &kid), Seen::No(_)));
    }
}
