//! Who is calling and what they may do. Credentials are kept as hashes (access tokens) or names
//! (SANs of client certificates); a principal's roles come with the credential. There is no role
//! that skips the quorum: a custodian's approval is a signature, whatever the login.

pub mod calls;
pub mod grant;
pub mod oidc;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use trust::actor::is_reserved;
use trust::{Sha256Digest, Time};

pub use calls::{Allowed, Call};
use store::{CredentialName, CredentialRow, Rows};
pub use store::{PrincipalName, Role, RoleKind, UnknownRole};

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: Arc<str>,
    roles: Arc<[Role]>,
    /// The credential ends here.
    expires_at: Option<Time>,
}

impl Principal {
    pub fn may_sign(&self, ring: &str) -> bool {
        self.roles
            .iter()
            .any(|role| matches!(role, Role::Signer(name) if name == ring))
    }

    /// Whether it may say that a step of an asset's rotation is done: an administrator, or a reporter of just that asset.
    pub fn may_report(&self, asset: &str) -> bool {
        self.roles.iter().any(|role| match role {
            Role::Administrator => true,
            Role::Reporter(pattern) => match pattern.strip_suffix('*') {
                Some(beginning) => asset.starts_with(beginning),
                None => pattern == asset,
            },
            _ => false,
        })
    }

    /// Whether it may say that somebody else may have what an asset is: a reporter of just that asset, or whoever is called for
    /// it and may see all of them.
    pub fn may_report_compromise(&self, asset: &str) -> bool {
        let watches = |role: &Role| matches!(role, Role::Operator | Role::OnCall);
        self.may_report(asset) || self.roles.iter().any(watches)
    }
}

/// Why a certificate is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmapped {
    Unknown,
    Expired,
    Several,
    Unreadable,
}

impl Unmapped {
    pub fn text(self) -> &'static str {
        match self {
            Self::Unknown => "no principal is mapped to the certificate's names",
            Self::Expired => "the mapping of the certificate's names has expired",
            Self::Several => "the certificate's names are mapped to several principals",
            Self::Unreadable => "the mapping of one of the certificate's names cannot be read",
        }
    }
}

/// Every credential that counts, indexed for look-up by a request. Part of the read model: it is
/// replaced as a whole when the database says that it changed.
#[derive(Debug, Default)]
pub struct Credentials {
    by_token_hash: HashMap<Sha256Digest, Principal>,
    by_san: HashMap<String, Principal>,
    /// Mapped to somebody, and nobody knows to whom.
    unreadable_sans: HashSet<String>,
}

impl Credentials {
    /// Rows that were withdrawn are left out. One that cannot be read authenticates nobody, and
    /// leaves the others as they are.
    pub fn new(rows: &Rows<CredentialRow>) -> Self {
        let mut all = Self::default();
        let mut reserved = Vec::new();
        for row in rows.read.iter().filter(|row| row.withdrawn_at.is_none()) {
            // Granted by an earlier version: what this principal does would look like the act of somebody else.
            if is_reserved(row.principal.as_str()) {
                if let CredentialName::MtlsSan(san) = &row.name {
                    reserved.push(san.clone());
                }
                continue;
            }
            let principal = Principal {
                name: row.principal.as_str().into(),
                roles: row.roles.as_slice().into(),
                expires_at: row.expires_at,
            };
            match &row.name {
                CredentialName::AccessToken(hash) => {
                    all.by_token_hash.insert(*hash, principal);
                }
                CredentialName::MtlsSan(san) => {
                    all.by_san.insert(san.clone(), principal);
                }
            }
        }
        let sans = rows.unreadable.iter();
        let sans = sans.filter_map(CredentialRow::unreadable_san);
        all.unreadable_sans = sans.map(str::to_owned).chain(reserved).collect();
        all
    }

    /// The holder of a bearer access token. The look-up is by SHA-256, so its timing tells
    /// nothing useful about the tokens that exist.
    pub fn by_access_token(&self, access_token: &str, now: Time) -> Option<&Principal> {
        let hash = access_token_hash(access_token);
        self.by_token_hash.get(&hash).filter(|p| p.is_live(now))
    }

    /// The principal that one of a verified client certificate's SANs is mapped to. Two SANs
    /// that name different principals are nobody, and so is one whose row cannot be read: it could
    /// name another.
    pub fn by_sans<'a>(
        &self,
        sans: impl IntoIterator<Item = &'a str>,
        now: Time,
    ) -> Result<&Principal, Unmapped> {
        let mut found = Err(Unmapped::Unknown);
        for san in sans {
            if self.unreadable_sans.contains(san) {
                return Err(Unmapped::Unreadable);
            }
            match (self.by_san.get(san), found) {
                (Some(principal), _) if !principal.is_live(now) => {
                    found = found.or(Err(Unmapped::Expired));
                }
                (Some(principal), Ok(other)) if other != principal => {
                    return Err(Unmapped::Several);
                }
                (Some(principal), _) => found = Ok(principal),
                (None, _) => (),
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

    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    pub fn expires_at(&self) -> Option<Time> {
        self.expires_at
    }

    fn is_live(&self, now: Time) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// The SHA-256 of an access token, as the database keeps it.
pub fn access_token_hash(access_token: &str) -> Sha256Digest {
    Sha256Digest::of(access_token.as_bytes())
}

#[cfg(test)]
mod tests {
    use store::UnreadableRow;

    use super::*;

    fn at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    fn row(name: CredentialName, principal: &str, role: &str) -> CredentialRow {
        CredentialRow {
            name,
            principal: principal.parse().expect("a name"),
            roles: vec![role.parse().expect("a role")],
            created_at: at(0),
            expires_at: Some(at(1_000)),
            withdrawn_at: None,
        }
    }

    fn token(access_token: &str) -> CredentialName {
        CredentialName::AccessToken(access_token_hash(access_token))
    }

    fn san(name: &str) -> CredentialName {
        CredentialName::MtlsSan(name.to_owned())
    }

    fn readable(read: Vec<CredentialRow>) -> Credentials {
        let unreadable = Vec::new();
        Credentials::new(&Rows { read, unreadable })
    }

    #[test]
    fn an_access_token_opens_only_its_own_ring_and_only_until_it_expires() {
        let all = readable(vec![row(token("secret"), "integrity", "signer:a")]);
        let caller = all.by_access_token("secret", at(999)).expect("known");
        assert!(caller.may_sign("a") && !caller.may_sign("b"));
        assert!(all.by_access_token("secret", at(1_000)).is_none());
        assert!(all.by_access_token("Secret", at(0)).is_none());
    }

    #[test]
    fn threat_a_reporter_reports_of_an_asset_of_others() {
        let may = |role: &str, asset: &str| {
            let all = readable(vec![row(token("secret"), "bot", role)]);
            all.by_access_token("secret", at(0))
                .expect("known")
                .may_report(asset)
        };
        assert!(may("reporter:external/shop", "external/shop"));
        assert!(may("reporter:external/shop/*", "external/shop/eu"));
        assert!(may("reporter:*", "external/shop"));
        assert!(may("administrator", "external/shop"));
        for role in [
            "reporter:external/shop",
            "reporter:external/shop/*",
            "signer:external/shop",
            "operator",
        ] {
            assert!(!may(role, "external/shopping"), "{role}");
        }
        assert!(!may("reporter:external/shop/*", "external/shop"));
    }

    #[test]
    fn sans_of_two_principals_in_one_certificate_are_nobody() {
        let all = readable(vec![
            row(san("a.example"), "a", "operator"),
            row(san("b.example"), "b", "operator"),
        ]);
        assert!(all.by_sans(["a.example", "x.example"], at(0)).is_ok());
        assert!(all.by_sans(["a.example", "b.example"], at(0)).is_err());
    }

    #[test]
    fn case_c4_why_a_certificate_is_nobodys_is_said() {
        let late = CredentialRow {
            expires_at: Some(at(2_000)),
            ..row(san("late.example"), "a", "operator")
        };
        let all = readable(vec![
            row(san("a.example"), "a", "operator"),
            row(san("b.example"), "b", "operator"),
            late,
        ]);
        let why = |sans: [&str; 2], now| all.by_sans(sans, at(now)).map(|found| &*found.name);
        assert_eq!(why(["x.example", "y.example"], 0), Err(Unmapped::Unknown));
        assert_eq!(why(["a.example", "b.example"], 0), Err(Unmapped::Several));
        assert_eq!(
            why(["a.example", "b.example"], 1_000),
            Err(Unmapped::Expired)
        );
        assert_eq!(why(["a.example", "late.example"], 1_500), Ok("a"));
        assert_eq!(why(["late.example", "a.example"], 1_500), Ok("a"));
    }

    #[test]
    fn what_was_withdrawn_authenticates_nobody() {
        let withdrawn = CredentialRow {
            withdrawn_at: Some(at(1)),
            ..row(token("secret"), "a", "operator")
        };
        let all = readable(vec![withdrawn]);
        assert!(all.by_access_token("secret", at(0)).is_none());
    }

    /// It could name another principal than the readable one.
    #[test]
    fn case_s9_a_certificate_with_an_unreadable_san_is_nobody() {
        let all = Credentials::new(&Rows {
            read: vec![row(san("a.example"), "a", "operator")],
            unreadable: vec![UnreadableRow {
                table: "credential",
                key: "mtls-san b.example".to_owned(),
                why: "credential.roles is \"root\"".to_owned(),
            }],
        });
        assert!(all.by_sans(["a.example"], at(0)).is_ok());
        for sans in [["a.example", "b.example"], ["b.example", "a.example"]] {
            assert_eq!(all.by_sans(sans, at(0)), Err(Unmapped::Unreadable));
        }
    }

    #[test]
    fn case_w2_an_old_row_with_a_reserved_name_authenticates_nobody() {
        let san = |name: &str| CredentialName::MtlsSan(name.to_owned());
        let all = Credentials::new(&Rows {
            read: vec![
                row(token("old"), "custodian:mary", "operator"),
                row(san("old.example"), "Chancery", "operator"),
                row(token("new"), "team:payments", "operator"),
                row(san("new.example"), "team:payments", "operator"),
            ],
            unreadable: Vec::new(),
        });
        assert_eq!(all.by_access_token("old", at(1)), None);
        assert!(all.by_access_token("new", at(1)).is_some());
        assert!(all.by_sans(["new.example"], at(1)).is_ok());
        for sans in [&["old.example"][..], &["new.example", "old.example"]] {
            assert!(
                all.by_sans(sans.iter().copied(), at(1)).is_err(),
                "{sans:?}"
            );
        }
    }
}
