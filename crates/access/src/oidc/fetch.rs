//! Reading an issuer's keys: its discovery document, then its key set. Neither is believed further than it is there.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, Client, StatusCode, Url, redirect};
use serde::Deserialize;

use super::address::{self, AddressError};
use super::keys::{KeySet, KeySetError};
use super::settings::IssuerSettings;

/// Bytes of an answer that are read: a hundred keys with their certificates.
const MOST_BYTES: usize = 512 * 1_024;

/// Bytes of a file that are read.
const MOST_OF_A_FILE: u64 = 1 << 20;

/// Why the keys of an issuer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}: expected certificates in PEM")]
    Authorities(PathBuf),
    #[error("{0}: expected an access token in one line")]
    Bearer(PathBuf),
    #[error("the HTTP client could not be created")]
    Client(#[source] reqwest::Error),
    #[error("{0} is unavailable")]
    Unreachable(String, #[source] reqwest::Error),
    #[error("{0} responded with {1}")]
    Status(String, u16),
    #[error("the response of {0} is longer than {MOST_BYTES} bytes")]
    TooLong(String),
    #[error("{0} is no discovery document")]
    Document(String, #[source] serde_json::Error),
    /// Whoever serves it could otherwise have its keys believed in the name of another.
    #[error("the discovery document is of the issuer {0:?}")]
    OtherIssuer(String),
    #[error("{0}")]
    Keys(String, #[source] KeySetError),
}

/// What of OpenID Connect Discovery 1.0 section 3 is read.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Asks the issuer. Files are read anew each time, so that they can be replaced.
pub async fn key_set(issuer: &IssuerSettings) -> Result<KeySet, FetchError> {
    let asking = Asking::new(issuer)?;
    let url = match &issuer.jwks_uri {
        Some(uri) => address::key_set(uri)?,
        None => asking.discover(&issuer.issuer).await?,
    };
    let bytes = asking.get(&url).await?;
    KeySet::parse(&bytes, &issuer.algorithms).map_err(|error| FetchError::Keys(shown(&url), error))
}

struct Asking {
    http: Client,
    bearer: Option<String>,
}

impl Asking {
    fn new(issuer: &IssuerSettings) -> Result<Self, FetchError> {
        let mut builder = Client::builder()
            .timeout(issuer.time_limit)
            // Each is asked for what it was asked for, and nobody else is.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(path) = &issuer.ca_file {
            let all = Certificate::from_pem_bundle(&read(path)?).unwrap_or_default();
            if all.is_empty() {
                return Err(FetchError::Authorities(path.clone()));
            }
            builder = builder.tls_certs_only(all);
        }
        let bearer = match &issuer.bearer_file {
            None => None,
            Some(path) => {
                let wrong = || FetchError::Bearer(path.clone());
                let text = String::from_utf8(read(path)?).map_err(|_| wrong())?;
                let text = text.trim_end_matches(['\r', '\n']);
                let graphic = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
                Some(graphic.then(|| text.to_owned()).ok_or_else(wrong)?)
            }
        };
        Ok(Self {
            http: builder.build().map_err(FetchError::Client)?,
            bearer,
        })
    }

    /// Where the issuer says that its keys are.
    async fn discover(&self, issuer: &str) -> Result<Url, FetchError> {
        let at = address::discovery(issuer)?;
        let bytes = self.get(&at).await?;
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|error| FetchError::Document(shown(&at), error))?;
        if document.issuer != issuer {
            return Err(FetchError::OtherIssuer(document.issuer));
        }
        Ok(address::discovered(&document.jwks_uri, &at)?)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let unreachable = |error: reqwest::Error| {
            // The URL is named already.
            FetchError::Unreachable(shown(url), error.without_url())
        };
        let mut request = self.http.get(url.clone());
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(shown(url), response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(FetchError::TooLong(shown(url)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Without its query, which may hold what is nobody else's business.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

fn read(path: &Path) -> Result<Vec<u8>, FetchError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MOST_OF_A_FILE).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(source) => Err(FetchError::File {
            path: path.to_owned(),
            source,
        }),
    }
}
