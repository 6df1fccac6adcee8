//! What a credential may be granted for: a name that the log does not use for anybody else, and a name in a
//! certificate in the form in which certificates hold it, or it would never match.

use std::net::IpAddr;

use store::{CredentialName, CredentialRow, NotAPrincipalName, PrincipalName};
use trust::actor::is_reserved;

/// Why nothing can be granted for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error(transparent)]
    Principal(#[from] NotAPrincipalName),
    /// Acts of this principal would look like those of somebody else.
    #[error(
        "the audit trail uses this name for others: `chancery`, `anonymous`, and names that begin with `custodian:`, `member:`, `cli:`, `anonymous@`, `executor:`, `witness:`, `order:` or `oidc:`"
    )]
    Reserved,
    #[error("give the name alone, without `DNS:`, `URI:`, `IP:` or `email:` before it")]
    Prefix,
    #[error(
        "a domain name in a certificate is in ASCII: give its A-label (RFC 5890), such as `xn--bcher-kva.example`"
    )]
    NotAscii,
    #[error("expected a domain name, an IP address, a URI with `://` or `urn:`, or a mail address")]
    NotAName,
}

/// A name for a principal.
pub fn principal(text: &str) -> Result<PrincipalName, GrantError> {
    let name: PrincipalName = text.parse()?;
    match is_reserved(text) {
        true => Err(GrantError::Reserved),
        false => Ok(name),
    }
}

/// Why a row that an earlier version granted is of no use, if it is not.
pub fn useless(row: &CredentialRow) -> Option<&'static str> {
    if is_reserved(row.principal.as_str()) {
        return Some(
            "the audit trail uses the name of its principal for others, so it authenticates nobody",
        );
    }
    match &row.name {
        CredentialName::MtlsSan(san) if certificate_name(san).as_ref() != Ok(san) => {
            Some("no certificate holds its name in this form, so it never matches")
        }
        _ => None,
    }
}

/// A name in subjectAltName (RFC 5280 section 4.2.1.6) as the service reads it from certificates: domain names in
/// lower case, addresses in their usual text, all else as it is.
pub fn certificate_name(text: &str) -> Result<String, GrantError> {
    let lower = text.to_ascii_lowercase();
    let prefixes = ["dns:", "uri:", "ip:", "ip address:", "email:"];
    if prefixes.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(GrantError::Prefix);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if !text.is_ascii() {
        return Err(GrantError::NotAscii);
    }
    let graphic = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_uri = text.contains("://") || text.starts_with("urn:");
    let is_mail = text.contains('@') && !text.contains(':');
    if graphic && (is_uri || is_mail) {
        return Ok(text.to_owned());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte);
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(allowed);
    match lower.split('.').all(is_label) {
        true => Ok(lower),
        false => Err(GrantError::NotAName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_w2_a_principal_has_no_name_of_the_log() {
        for text in [
            "custodian:mary",
            "Custodian:mary",
            "member:mary",
            "cli:0:root",
            "chancery",
            "anonymous",
            "anonymous@192.0.2.1",
            "executor:a",
            "oidc:cluster:a",
            "OIDC:a",
        ] {
            assert_eq!(principal(text), Err(GrantError::Reserved), "{text}");
        }
        for text in ["integrity", "chancery-web", "team:payments"] {
            assert_eq!(principal(text).unwrap().as_str(), text);
        }
        assert!(matches!(principal("a b"), Err(GrantError::Principal(_))));
    }

    #[test]
    fn case_w3_a_certificates_name_is_as_certificates_hold_it() {
        for (text, held) in [
            ("UPPER.Example.org", "upper.example.org"),
            ("*.example.org", "*.example.org"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
            ("spiffe://Example/Service", "spiffe://Example/Service"),
            ("urn:uuid:1", "urn:uuid:1"),
            ("Ops@Example.org", "Ops@Example.org"),
        ] {
            assert_eq!(certificate_name(text).as_deref(), Ok(held));
        }
        for (text, error) in [
            ("DNS:example.org", GrantError::Prefix),
            ("URI:spiffe://a/b", GrantError::Prefix),
            ("bücher.example", GrantError::NotAscii),
            ("", GrantError::NotAName),
            ("example..org", GrantError::NotAName),
            ("example.org.", GrantError::NotAName),
            ("a b", GrantError::NotAName),
            ("example.org:443", GrantError::NotAName),
        ] {
            assert_eq!(certificate_name(text), Err(error), "{text}");
        }
    }
}
