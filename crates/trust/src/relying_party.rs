//! The relying party of WebAuthn: where passkeys are used. It stands in the signed roster, so that no configuration and no
//! database can name another page.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Most pages that may ask.
const MOST_ORIGINS: usize = 10;

/// The relying party of WebAuthn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkeys {
    /// The pages that may ask for an assertion, exactly.
    pub origins: Vec<String>,
    /// Its id, a host name.
    pub rp_id: String,
}

/// Settings under which no browser would ask, or too many would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeysError {
    /// Not a host name in lower case.
    #[error("rp_id: expected a host name in lower case")]
    RpId,
    /// None, too many, or one twice.
    #[error("origins: expected 1 to {MOST_ORIGINS}, each once")]
    Origins,
    /// Not as browsers write origins, or of another host than the relying party's.
    #[error(
        "origins: {0:?} is not https://HOST or https://HOST:PORT with the host rp_id or one under it"
    )]
    Origin(String),
}

impl Passkeys {
    /// Refuses origins that are not spelled as a browser spells them (RFC 6454 section 6.2): they are compared as text.
    /// `http` is for `localhost` alone, which browsers count as secure.
    pub fn check(&self) -> Result<(), PasskeysError> {
        if !is_host(&self.rp_id) {
            return Err(PasskeysError::RpId);
        }
        let different: BTreeSet<_> = self.origins.iter().collect();
        let few = (1..=MOST_ORIGINS).contains(&self.origins.len());
        if !few || different.len() != self.origins.len() {
            return Err(PasskeysError::Origins);
        }
        match self.origins.iter().find(|origin| !self.may_ask(origin)) {
            None => Ok(()),
            Some(origin) => Err(PasskeysError::Origin(origin.clone())),
        }
    }

    /// Whether a browser would let the page ask for the relying party (WebAuthn Level 3 section 5.1.4.1): its host is the
    /// id or a host under it. Whether the id is a public suffix is not known here.
    fn may_ask(&self, origin: &str) -> bool {
        let (rest, default_port, secure) = match origin.split_once("://") {
            Some(("https", rest)) => (rest, "443", true),
            Some(("http", rest)) => (rest, "80", false),
            _ => return false,
        };
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        let canonical = |port: &str| {
            let number = port.parse::<u16>();
            port != default_port && number.is_ok_and(|number| number.to_string() == port)
        };
        let under = host
            .strip_suffix(&self.rp_id)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'));
        is_host(host) && port.is_none_or(canonical) && under && (secure || host == "localhost")
    }
}

/// A host name of letters, digits and hyphens in lower case (RFC 1123 section 2.1), and no IPv4 address.
fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_spelled_as_browsers_spell_it_and_is_of_the_relying_party() {
        let of = |rp_id: &str, origins: &[&str]| {
            let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
            let rp_id = rp_id.to_owned();
            Passkeys { origins, rp_id }.check()
        };
        for (rp_id, origin) in [
            ("seal.example", "https://seal.example"),
            ("seal.example", "https://a-1.seal.example"),
            ("seal.example", "https://seal.example:8443"),
            ("localhost", "http://localhost"),
            ("localhost", "http://localhost:8080"),
        ] {
            assert_eq!(of(rp_id, &[origin]), Ok(()), "{origin}");
        }
        for origin in [
            "http://seal.example",
            "https://seal.example/",
            "https://Seal.example",
            "https://seal.example:443",
            "https://seal.example:08443",
            "https://seal.example:",
            "https://other.example",
            "https://notseal.example",
            "https://seal.example.",
            "https://a@seal.example",
            "android:apk-key-hash:x",
            "seal.example",
            "",
        ] {
            let error = PasskeysError::Origin(origin.to_owned());
            assert_eq!(of("seal.example", &[origin]), Err(error), "{origin}");
        }
        for rp_id in [
            "",
            "Seal.example",
            "192.0.2.1",
            "a..b",
            "-a.b",
            "https://seal.example",
            "[::1]",
        ] {
            assert_eq!(
                of(rp_id, &["https://seal.example"]),
                Err(PasskeysError::RpId),
                "{rp_id}"
            );
        }
        let twice = ["https://seal.example", "https://seal.example"];
        assert_eq!(of("seal.example", &twice), Err(PasskeysError::Origins));
        assert_eq!(of("seal.example", &[]), Err(PasskeysError::Origins));
    }
}
