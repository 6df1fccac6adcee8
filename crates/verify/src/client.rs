//! The service's HTTP interface, from the caller's side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap};
use reqwest::{Certificate, ClientBuilder, Identity, StatusCode, Url};
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

    /// For another place: it is not shown who calls, and the authorities that were named are those of the service's host alone.
    pub fn elsewhere(&self, url: &str, service: &str) -> Self {
        let host = |url: &str| Url::parse(url).ok()?.host_str().map(str::to_owned);
        let same = url.starts_with("https:") && host(url) == host(service);
        Self {
            ca_file: self.ca_file.clone().filter(|_| same),
            ..Self::default()
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
    Err(problem(status, &bytes))
}

/// What stands before the service answers in its place while it is away, and not in JSON.
fn problem(status: StatusCode, bytes: &[u8]) -> Failure {
    let code = match status.as_u16() {
        400..=499 if status.as_u16() != 429 => Code::Refused,
        _ => Code::Unavailable,
    };
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => {
            let code = match code {
                Code::Refused => Code::Failed,
                other => other,
            };
            let text = format!("the service answered {status} without JSON");
            return Failure::new(code, anyhow::Error::new(error).context(text));
        }
    };
    // It is not trusted: nothing in it moves the cursor.
    let said = |member: &str| trust::text::spelled_out(value[member].as_str().unwrap_or_default());
    let text = format!("{status} {}: {}", said("code"), said("detail"));
    Failure::new(code, anyhow::anyhow!(text))
}

/// Of the directives of a `Cache-Control`: `max-age`, unless it forbids to keep the answer.
fn max_age(control: &str) -> Duration {
    let control = control.to_ascii_lowercase();
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

/// How long an answer may be kept from now on, of which a cache on the way may have kept it already (section 4.2).
fn kept(headers: &HeaderMap) -> Duration {
    let control = headers.get_all(CACHE_CONTROL).iter();
    let control: Vec<&str> = control.filter_map(|value| value.to_str().ok()).collect();
    let age = headers.get(AGE).and_then(|value| value.to_str().ok());
    let age = age.and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    max_age(&control.join(",")).saturating_sub(Duration::from_secs(age))
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
        let kept = kept(response.headers());
        Ok((answered(response).await?, kept))
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
    fn what_a_cache_on_the_way_kept_already_is_kept_for_less() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, "public".parse().unwrap());
        headers.append(CACHE_CONTROL, "max-age=300".parse().unwrap());
        assert_eq!(kept(&headers), Duration::from_secs(300));
        headers.insert(AGE, "299".parse().unwrap());
        assert_eq!(kept(&headers), Duration::from_secs(1));
        headers.insert(AGE, "301".parse().unwrap());
        assert_eq!(kept(&headers), Duration::ZERO);
    }

    #[test]
    fn threat_another_place_is_shown_the_certificate_of_the_caller() {
        let connect = Connect {
            ca_file: Some("ca.pem".into()),
            client_certificate: Some("client.pem".into()),
            client_key: Some("client.key".into()),
        };
        let service = "https://seal.example:8443";
        let same = connect.elsewhere("https://seal.example/jwks.json", service);
        let other = connect.elsewhere("https://cdn.example/jwks.json", service);
        assert!(!same.is_identified() && !other.is_identified());
        assert!(same.ca_file.is_some() && other.ca_file.is_none());
    }

    #[test]
    fn a_load_balancer_that_has_no_service_behind_it_says_that_it_is_away() {
        let html = b"<html>502 Bad Gateway</html>";
        for (status, bytes, code) in [
            (502, &html[..], Code::Unavailable),
            (503, b"", Code::Unavailable),
            (429, html, Code::Unavailable),
            (404, html, Code::Failed),
            (403, b"{}", Code::Refused),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(problem(status, bytes).code, code, "{status}");
        }
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_says() {
        for (control, seconds) in [
            ("public, max-age=300, stale-while-revalidate=600", 300),
            ("max-age=0", 0),
            ("no-store", 0),
            ("Public, Max-Age=300", 300),
            ("max-age=300,No-Store", 0),
            ("no-cache, max-age=300", 0),
            ("s-maxage=10", 0),
            ("max-age=soon", 0),
        ] {
            assert_eq!(max_age(control), Duration::from_secs(seconds), "{control}");
        }
    }
}
