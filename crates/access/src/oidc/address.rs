//! Where an issuer is asked. Who answers there decides who everybody is, so it is https, or this machine.

use base::settings::is_loopback;
use reqwest::Url;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// An address that nothing is asked of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{0:?}: expected an https URL without user, query or fragment, or http on loopback")]
    Form(String),
    /// The issuer's document could otherwise send the service anywhere.
    #[error(
        "the key set is on another host than the issuer, at {0:?}: name it in jwks_uri if that is right"
    )]
    Elsewhere(String),
}

/// The discovery document of an issuer (OpenID Connect Discovery 1.0 section 4).
pub fn discovery(issuer: &str) -> Result<Url, AddressError> {
    let base = checked(issuer, false)?;
    let trimmed = issuer.strip_suffix('/').unwrap_or(issuer);
    let url = Url::parse(&format!("{trimmed}{WELL_KNOWN}"));
    let url = url.map_err(|_| AddressError::Form(issuer.to_owned()))?;
    match url.origin() == base.origin() {
        true => Ok(url),
        false => Err(AddressError::Form(issuer.to_owned())),
    }
}

/// A key set that the configuration names.
pub fn key_set(uri: &str) -> Result<Url, AddressError> {
    checked(uri, true)
}

/// A key set that a discovery document names: where that document was.
pub fn discovered(uri: &str, document: &Url) -> Result<Url, AddressError> {
    let url = checked(uri, true)?;
    match url.origin() == document.origin() {
        true => Ok(url),
        false => Err(AddressError::Elsewhere(uri.to_owned())),
    }
}

fn checked(text: &str, query: bool) -> Result<Url, AddressError> {
    let refused = || AddressError::Form(text.to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    let host = url.host_str().ok_or_else(refused)?;
    let scheme = match url.scheme() {
        "https" => true,
        "http" => is_loopback(host),
        _ => false,
    };
    let plain = (query || url.query().is_none())
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    match scheme && plain {
        true => Ok(url),
        false => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_asked_by_https_or_on_this_machine() {
        for (issuer, asked) in [
            (
                "https://id.example",
                "https://id.example/.well-known/openid-configuration",
            ),
            (
                "https://id.example/",
                "https://id.example/.well-known/openid-configuration",
            ),
            (
                "https://id.example/a",
                "https://id.example/a/.well-known/openid-configuration",
            ),
            (
                "http://127.0.0.1:1",
                "http://127.0.0.1:1/.well-known/openid-configuration",
            ),
        ] {
            assert_eq!(discovery(issuer).unwrap().as_str(), asked);
        }
        for issuer in [
            "http://id.example",
            "http://127.0.0.1.example",
            "https://u@id.example",
            "https://id.example/?a",
            "https://id.example/#a",
            "file:///etc/passwd",
            "id.example",
            "",
        ] {
            assert!(discovery(issuer).is_err(), "{issuer}");
        }
    }

    #[test]
    fn threat_a_discovery_document_names_another_host() {
        let document = discovery("https://id.example").unwrap();
        assert!(discovered("https://id.example/keys?p=1", &document).is_ok());
        for uri in [
            "https://other.example/keys",
            "https://id.example:8443/keys",
            "http://id.example/keys",
            "http://127.0.0.1/keys",
            "http://169.254.169.254/latest/meta-data",
        ] {
            assert!(discovered(uri, &document).is_err(), "{uri}");
        }
    }
}
