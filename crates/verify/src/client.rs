//! The service's HTTP interface, from the caller's side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use reqwest::{Certificate, ClientBuilder, Identity, Url};
use serde_json::Value;

use crate::output::{Code, Failure};

/// Longest that one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest answer that is read. A bundle of the longest entries has half of it.
const LONGEST: usize = 32 << 20;

/// By what TLS the service is reached.
#[derive(Debug, Clone, Default, Args)]
pub struct Connect {
    /// Trust the certificate authorities in this PEM file, and not those of the system.
    #[arg(long, value_name = "PEM")]
    ca_file: Option<PathBuf>,
    /// The client certificate in PEM, with its chain.
    #[arg(long, value_name = "PEM", requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// The private key of the client certificate, in PEM.
    #[arg(long, value_name = "PEM", requires = "client_certificate")]
    client_key: Option<PathBuf>,
}

impl Connect {
    /// Whether a certificate is shown, which may say who calls.
    pub fn is_identified(&self) -> bool {
        self.client_certificate.is_some()
    }

    /// Options that would change nothing are refused: somebody counts on them.
    pub fn not_used(&self, why: &str) -> Result<(), Failure> {
        match self.ca_file.is_some() || self.is_identified() {
            false => Ok(()),
            true => Err(Failure::usage(format!(
                "--ca-file, --client-certificate and --client-key are used {why}"
            ))),
        }
    }

    fn apply(&self, url: &str, mut builder: ClientBuilder) -> Result<ClientBuilder, Failure> {
        let parsed = Url::parse(url);
        let parsed = parsed.map_err(|error| Failure::usage(format!("--url {url}: {error}")))?;
        if parsed.scheme() != "https" {
            self.not_used("with an https URL only")?;
        }
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
        };
        if let Some(path) = &self.ca_file {
            let all = Certificate::from_pem_bundle(&read(path)?).unwrap_or_default();
            if all.is_empty() {
                return Err(Failure::usage(format!(
                    "{}: expected certificates in PEM",
                    path.display()
                )));
            }
            builder = builder.tls_certs_only(all);
        }
        if let (Some(certificate), Some(key)) = (&self.client_certificate, &self.client_key) {
            let pem = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
            let identity = Identity::from_pem(&pem).map_err(|_| {
                Failure::usage(format!(
                    "{} and {}: expected a certificate chain and one private key in PEM",
                    certificate.display(),
                    key.display()
                ))
            })?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }
}

/// The body of an answer, which is not read without end, or the problem that it tells of.
async fn answered(mut response: reqwest::Response) -> Result<Vec<u8>, Failure> {
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::unavailable)? {
        if bytes.len() + chunk.len() > LONGEST {
            let text = anyhow::anyhow!("the answer has more than {LONGEST} bytes");
            return Err(Failure::unavailable(text));
        }
        bytes.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(bytes);
    }
    let value: Value = serde_json::from_slice(&bytes)
        .with_context(|| format!("the service answered {status} without JSON"))?;
    let code = match status.as_u16() {
        400..=499 if status.as_u16() != 429 => Code::Refused,
        _ => Code::Unavailable,
    };
    // It is not trusted: nothing in it moves the cursor.
    let said = |member: &str| trust::text::spelled_out(value[member].as_str().unwrap_or_default());
    let text = format!("{status} {}: {}", said("code"), said("detail"));
    Err(Failure::new(code, anyhow::anyhow!(text)))
}

/// Of the directives of a `Cache-Control`: `max-age`, unless it forbids to keep the answer.
fn max_age(control: &str) -> Duration {
    let mut directives = control.split(',').map(str::trim);
    if directives
        .clone()
        .any(|one| one == "no-store" || one == "no-cache")
    {
        return Duration::ZERO;
    }
    let seconds = directives.find_map(|one| one.strip_prefix("max-age=")?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    access_token: Option<String>,
}

impl Client {
    pub fn new(
        url: &str,
        connect: &Connect,
        access_token: Option<String>,
    ) -> Result<Self, Failure> {
        let builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let built = connect.apply(url, builder)?.build();
        // What remains to go wrong here are the files: a key that is not the certificate's.
        let http = built.map_err(|e| Failure::usage(trust::error_chain(&e)))?;
        Ok(Self {
            http,
            base: url.trim_end_matches('/').to_owned(),
            access_token,
        })
    }

    /// With the access token that a file holds; it never travels by argument.
    pub fn with_token_file(url: &str, connect: &Connect, file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the access token from {}", file.display()))?;
        Self::new(url, connect, Some(text.trim().to_owned()))
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let bytes = self.post_for_bytes(path, body).await?;
        Ok(serde_json::from_slice(&bytes).context("the service answered without JSON")?)
    }

    /// The answer as it was written: what is signed or hashed is not read and written again.
    pub async fn post_for_bytes(&self, path: &str, body: &Value) -> Result<Vec<u8>, Failure> {
        let mut request = self.http.post(format!("{}{path}", self.base)).json(body);
        if let Some(access_token) = &self.access_token {
            request = request.bearer_auth(access_token);
        }
        answered(request.send().await.map_err(Failure::unavailable)?).await
    }

    /// With headers that say who reads; of a refusal its problem is told.
    pub async fn get_with(
        &self,
        path: &str,
        headers: &[(&str, String)],
    ) -> Result<Vec<u8>, Failure> {
        let mut request = self.http.get(format!("{}{path}", self.base));
        if let Some(access_token) = &self.access_token {
            request = request.bearer_auth(access_token);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        answered(request.send().await.map_err(Failure::unavailable)?).await
    }

    /// With how long it may be kept, as a cache reads it (RFC 9111, section 5.2.2.1): not at all where nothing is said.
    pub async fn get_kept(&self, path: &str) -> Result<(Vec<u8>, Duration), Failure> {
        let sent = self.http.get(format!("{}{path}", self.base)).send().await;
        let response = sent.map_err(Failure::unavailable)?;
        let control = response.headers().get(reqwest::header::CACHE_CONTROL);
        let control = control.and_then(|value| value.to_str().ok());
        let max_age = control.map_or(Duration::ZERO, max_age);
        Ok((answered(response).await?, max_age))
    }

    /// None where there is no such thing. What answers here need not be trusted: it is not read
    /// without end.
    pub async fn find(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let sent = self.http.get(format!("{}{path}", self.base)).send().await;
        let response = sent.map_err(Failure::unavailable)?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let mut response = response.error_for_status().map_err(Failure::unavailable)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Failure::unavailable)? {
            if bytes.len() + chunk.len() > LONGEST {
                let text = anyhow::anyhow!("{path}: the answer has more than {LONGEST} bytes");
                return Err(Failure::unavailable(text));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    pub async fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let response = self
            .http
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(Failure::unavailable)?;
        let bytes = response.bytes().await.map_err(Failure::unavailable)?;
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_as_long_as_it_says() {
        for (control, seconds) in [
            ("public, max-age=300, stale-while-revalidate=600", 300),
            ("max-age=0", 0),
            ("no-store", 0),
            ("no-cache, max-age=300", 0),
            ("s-maxage=10", 0),
            ("max-age=soon", 0),
        ] {
            assert_eq!(max_age(control), Duration::from_secs(seconds), "{control}");
        }
    }
}
