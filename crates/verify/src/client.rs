//! The service's HTTP interface, from the caller's side.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::output::{Code, Failure};

/// Longest that one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest answer that is read. A bundle of the longest entries has half of it.
const LONGEST: usize = 32 << 20;

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    access_token: Option<String>,
}

impl Client {
    pub fn new(url: &str, access_token: Option<String>) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| Failure::new(Code::Failed, e))?;
        Ok(Self {
            http,
            base: url.trim_end_matches('/').to_owned(),
            access_token,
        })
    }

    /// With the access token that a file holds; it never travels by argument.
    pub fn with_token_file(url: &str, file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the access token from {}", file.display()))?;
        Self::new(url, Some(text.trim().to_owned()))
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
        let response = request.send().await.map_err(Failure::unavailable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(Failure::unavailable)?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        let value: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("the service answered {status} without JSON"))?;
        let code = match status.as_u16() {
            400..=499 if status.as_u16() != 429 => Code::Refused,
            _ => Code::Unavailable,
        };
        let said = |member: &str| value[member].as_str().unwrap_or_default().to_owned();
        let text = format!("{status} {}: {}", said("code"), said("detail"));
        Err(Failure::new(code, anyhow::anyhow!(text)))
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
