//! Who is calling and what they may do. Credentials are kept as hashes (access tokens) or names
//! (SANs of client certificates); a principal's roles come with the credential. There is no role
//! that skips the quorum: a custodian's approval is a signature, whatever the login.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use store::CredentialRow;

/// What a principal may do. Written `signer:<ring>`, `operator`, `auditor`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// May request signatures on the named ring.
    Signer(String),
    /// May read the inventory and the rings.
    Operator,
    /// May read the audit trail.
    Auditor,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signer(ring) => write!(f, "signer:{ring}"),
            Self::Operator => f.write_str("operator"),
            Self::Auditor => f.write_str("auditor"),
        }
    }
}

/// A role that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("unknown role {0:?}: expected signer:<ring>, operator or auditor")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text.split_once(':') {
            Some(("signer", ring)) if !ring.is_empty() => Ok(Self::Signer(ring.to_owned())),
            None if text == "operator" => Ok(Self::Operator),
            None if text == "auditor" => Ok(Self::Auditor),
            _ => Err(UnknownRole(text.to_owned())),
        }
    }
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: Arc<str>,
    roles: Arc<[Role]>,
    /// Milliseconds since the epoch; the credential ends here.
    expires_at: Option<i64>,
}

impl Principal {
    pub fn may_sign(&self, ring: &str) -> bool {
        self.roles
            .iter()
            .any(|role| matches!(role, Role::Signer(name) if name == ring))
    }

    pub fn is_operator(&self) -> bool {
        self.roles.contains(&Role::Operator)
    }

    pub fn is_auditor(&self) -> bool {
        self.roles.contains(&Role::Auditor)
    }
}

/// Every credential that counts, indexed for look-up by a request. Part of the read model: it is
/// replaced as a whole when the database says that it changed.
#[derive(Debug, Default)]
pub struct Credentials {
    by_token_hash: HashMap<[u8; 32], Principal>,
    by_san: HashMap<String, Principal>,
}

/// A credential row that cannot be read: wrong hash, wrong roles.
#[derive(Debug, thiserror::Error)]
#[error("the credential of {principal:?} is malformed: {why}")]
pub struct MalformedCredential {
    pub principal: String,
    pub why: String,
}

impl Credentials {
    /// Rows that were withdrawn are left out. A row that cannot be read is an error: it would
    /// lock somebody out or let somebody in without a word.
    pub fn new(rows: &[CredentialRow]) -> Result<Self, MalformedCredential> {
        let mut all = Self::default();
        for row in rows.iter().filter(|row| row.withdrawn_at.is_none()) {
            if !is_principal_name(&row.principal) {
                return Err(MalformedCredential {
                    principal: row.principal.chars().take(40).collect(),
                    why: PRINCIPAL_NAME.to_owned(),
                });
            }
            let malformed = |why: String| MalformedCredential {
                principal: row.principal.clone(),
                why,
            };
            let names: Vec<String> =
                serde_json::from_str(&row.roles).map_err(|e| malformed(e.to_string()))?;
            let roles = names
                .iter()
                .map(|name| name.parse::<Role>().map_err(|e| malformed(e.to_string())))
                .collect::<Result<Arc<[Role]>, _>>()?;
            let principal = Principal {
                name: row.principal.as_str().into(),
                roles,
                expires_at: row.expires_at,
            };
            match row.kind.as_str() {
                "access-token" => {
                    let hash = base16(&row.value)
                        .ok_or_else(|| malformed("the hash is not 64 hex digits".to_owned()))?;
                    all.by_token_hash.insert(hash, principal);
                }
                "mtls-san" => {
                    all.by_san.insert(row.value.clone(), principal);
                }
                other => return Err(malformed(format!("unknown kind {other:?}"))),
            }
        }
        Ok(all)
    }

    /// The holder of a bearer access token. The look-up is by SHA-256, so its timing tells
    /// nothing useful about the tokens that exist.
    pub fn by_access_token(&self, access_token: &str, now: i64) -> Option<&Principal> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, access_token.as_bytes()).as_ref());
        self.by_token_hash.get(&hash).filter(|p| p.is_live(now))
    }

    /// The principal that one of a verified client certificate's SANs is mapped to. Two SANs
    /// that name different principals are nobody.
    pub fn by_sans<'a>(
        &self,
        sans: impl IntoIterator<Item = &'a str>,
        now: i64,
    ) -> Option<&Principal> {
        let mut found: Option<&Principal> = None;
        for san in sans {
            if let Some(principal) = self.by_san.get(san).filter(|p| p.is_live(now)) {
                match found {
                    Some(other) if other != principal => return None,
                    _ => found = Some(principal),
                }
            }
        }
        found
    }
}

impl Principal {
    /// The service itself, for what it signs on its own account.
    pub fn signer(name: &str, ring: &str) -> Self {
        Self {
            name: name.into(),
            roles: [Role::Signer(ring.to_owned())].into(),
            expires_at: None,
        }
    }

    fn is_live(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// What a principal may be called.
pub const PRINCIPAL_NAME: &str = "expected 1 to 64 printable ASCII characters without spaces";

/// The name goes into every leaf, which has 1 KiB at most.
pub fn is_principal_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The SHA-256 of an access token, as the database keeps it.
pub fn access_token_hash(access_token: &str) -> String {
    trust::Sha256Digest::of(access_token.as_bytes()).to_string()
}

fn base16(hex: &str) -> Option<[u8; 32]> {
    hex.parse::<trust::Sha256Digest>()
        .ok()
        .map(|digest| *digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, value: &str, principal: &str, roles: &str) -> CredentialRow {
        CredentialRow {
            kind: kind.to_owned(),
            value: value.to_owned(),
            principal: principal.to_owned(),
            roles: roles.to_owned(),
            created_at: 0,
            expires_at: Some(1_000),
            withdrawn_at: None,
        }
    }

    #[test]
    fn an_access_token_opens_only_its_own_ring_and_only_until_it_expires() {
        let rows = [row(
            "access-token",
            &access_token_hash("secret"),
            "integrity",
            r#"["signer:a"]"#,
        )];
        let all = Credentials::new(&rows).expect("rows");
        let caller = all.by_access_token("secret", 999).expect("known");
        assert!(caller.may_sign("a") && !caller.may_sign("b") && !caller.is_operator());
        assert!(all.by_access_token("secret", 1_000).is_none());
        assert!(all.by_access_token("Secret", 0).is_none());
    }

    #[test]
    fn sans_of_two_principals_in_one_certificate_are_nobody() {
        let rows = [
            row("mtls-san", "a.example", "a", r#"["operator"]"#),
            row("mtls-san", "b.example", "b", r#"["operator"]"#),
        ];
        let all = Credentials::new(&rows).expect("rows");
        assert!(all.by_sans(["a.example", "x.example"], 0).is_some());
        assert!(all.by_sans(["a.example", "b.example"], 0).is_none());
    }

    #[test]
    fn a_malformed_row_is_an_error_not_a_silence() {
        let rows = [row("access-token", "00", "x", r#"["operator"]"#)];
        assert!(Credentials::new(&rows).is_err());
        let rows = [row("mtls-san", "x", "x", r#"["root"]"#)];
        assert!(Credentials::new(&rows).is_err());
    }
}
