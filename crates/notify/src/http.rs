//! HTTP to what is configured, receivers of notifications and probes of rotations: to no other address than the configured one,
//! no redirect, no proxy.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Client, RequestBuilder, redirect};
use trust::Time;
use url::Url;

use crate::address::{Resolver, is_private, literal};
use crate::retry::{Outcome, retry_after};

/// A client for one receiver or probe. Errors say what is wrong with its settings.
pub fn client(
    url: &Url,
    allow_private: bool,
    ca_file: Option<&Path>,
    timeout: Duration,
) -> Result<Client, String> {
    if !allow_private && literal(url).is_some_and(is_private) {
        return Err(format!("{url} is private: it needs allow_private = true"));
    }
    let mut builder = Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(Resolver { allow_private }))
        .user_agent("chancery");
    if let Some(path) = ca_file {
        let read = |error| format!("cannot read {}: {error}", path.display());
        let pem = std::fs::read(path).map_err(read)?;
        let all = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if all.is_empty() {
            return Err(format!("{}: expected certificates in PEM", path.display()));
        }
        builder = builder.tls_certs_only(all);
    }
    builder
        .build()
        .map_err(|error| trust::error_chain(&error.without_url()))
}

/// Sends it and says what came of it. What the answer holds is of no interest, and not repeated anywhere: it may be what
/// we sent.
pub async fn send(request: RequestBuilder, now: Time) -> Outcome {
    let response = match request.send().await {
        Ok(response) => response,
        // The URL is in the configuration; an error is read by more people.
        Err(error) => return Outcome::failed(trust::error_chain(&error.without_url())),
    };
    let status = response.status();
    let header = response.headers().get(RETRY_AFTER);
    let asked = header.and_then(|value| retry_after(value.to_str().ok()?, now));
    if status.is_success() {
        // The body is not read: the status acknowledges.
        return Outcome::Acknowledged;
    }
    let why = format!("the receiver answered {}", status.as_u16());
    match status.as_u16() {
        // It says that it will never want anything again.
        410 => Outcome::Refused { why },
        // Of this message, perhaps of others too.
        400 | 413 | 415 | 422 => Outcome::Failed {
            why,
            retry_after: asked,
            everything: false,
        },
        _ => Outcome::Failed {
            why,
            retry_after: asked,
            everything: true,
        },
    }
}
