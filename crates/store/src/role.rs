//! Roles of principals, as a credential's row writes them. Which role may do what stands in `access::calls`.

use std::fmt;
use std::str::FromStr;

/// Longest text behind the colon of a role.
const SCOPE_MAX: usize = 128;

/// What a principal is there for: a kind, and for some kinds what it is restricted to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// `signer:RING`.
    Signer(String),
    /// `encrypter:RING` or `encrypter:RING/SCOPE`.
    Encrypter(String),
    /// `decrypter:RING` or `decrypter:RING/SCOPE`.
    Decrypter(String),
    /// `secret-reader:NAME`, or `secret-reader:PREFIX*`.
    SecretReader(String),
    Gateway,
    /// `requester:PROFILE`.
    Requester(String),
    /// `reporter:ASSET`, or `reporter:PREFIX*`.
    Reporter(String),
    Prober,
    /// Reads, and acknowledges.
    Operator,
    /// Schedules and pauses; never replaces a quorum.
    Administrator,
    OnCall,
    Auditor,
}

/// A role without what it is restricted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoleKind {
    Signer,
    Encrypter,
    Decrypter,
    SecretReader,
    Gateway,
    Requester,
    Reporter,
    Prober,
    Operator,
    Administrator,
    OnCall,
    Auditor,
}

impl RoleKind {
    pub const ALL: [Self; 12] = [
        Self::Signer,
        Self::Encrypter,
        Self::Decrypter,
        Self::SecretReader,
        Self::Gateway,
        Self::Requester,
        Self::Reporter,
        Self::Prober,
        Self::Operator,
        Self::Administrator,
        Self::OnCall,
        Self::Auditor,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Signer => "signer",
            Self::Encrypter => "encrypter",
            Self::Decrypter => "decrypter",
            Self::SecretReader => "secret-reader",
            Self::Gateway => "gateway",
            Self::Requester => "requester",
            Self::Reporter => "reporter",
            Self::Prober => "prober",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
            Self::OnCall => "on-call",
            Self::Auditor => "auditor",
        }
    }

    /// The role, restricted to `scope`; none where one is missing, superfluous or of another form.
    fn role(self, scope: Option<&str>) -> Option<Role> {
        let text = scope.map(str::to_owned);
        let plain = scope.is_some_and(|scope| is_scope(scope) && !scope.contains(['*', '/']));
        let in_ring = scope.is_some_and(is_ring_and_scope);
        let pattern = scope.is_some_and(|scope| {
            is_scope(scope) && !scope.strip_suffix('*').unwrap_or(scope).contains('*')
        });
        match self {
            // Any text, as earlier versions granted it.
            Self::Signer => text.filter(|ring| !ring.is_empty()).map(Role::Signer),
            Self::Encrypter => text.filter(|_| in_ring).map(Role::Encrypter),
            Self::Decrypter => text.filter(|_| in_ring).map(Role::Decrypter),
            Self::SecretReader => text.filter(|_| pattern).map(Role::SecretReader),
            Self::Requester => text.filter(|_| plain).map(Role::Requester),
            Self::Reporter => text.filter(|_| pattern).map(Role::Reporter),
            Self::Gateway => scope.is_none().then_some(Role::Gateway),
            Self::Prober => scope.is_none().then_some(Role::Prober),
            Self::Operator => scope.is_none().then_some(Role::Operator),
            Self::Administrator => scope.is_none().then_some(Role::Administrator),
            Self::OnCall => scope.is_none().then_some(Role::OnCall),
            Self::Auditor => scope.is_none().then_some(Role::Auditor),
        }
    }
}

fn is_scope(text: &str) -> bool {
    (1..=SCOPE_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A ring, or a ring and one scope in it.
fn is_ring_and_scope(text: &str) -> bool {
    let mut parts = text.split('/');
    let named = |part: &str| !part.is_empty() && !part.contains('*');
    is_scope(text)
        && parts.next().is_some_and(named)
        && parts.next().is_none_or(named)
        && parts.next().is_none()
}

impl Role {
    pub const fn kind(&self) -> RoleKind {
        match self {
            Self::Signer(_) => RoleKind::Signer,
            Self::Encrypter(_) => RoleKind::Encrypter,
            Self::Decrypter(_) => RoleKind::Decrypter,
            Self::SecretReader(_) => RoleKind::SecretReader,
            Self::Gateway => RoleKind::Gateway,
            Self::Requester(_) => RoleKind::Requester,
            Self::Reporter(_) => RoleKind::Reporter,
            Self::Prober => RoleKind::Prober,
            Self::Operator => RoleKind::Operator,
            Self::Administrator => RoleKind::Administrator,
            Self::OnCall => RoleKind::OnCall,
            Self::Auditor => RoleKind::Auditor,
        }
    }

    const fn scope(&self) -> Option<&String> {
        match self {
            Self::Signer(scope)
            | Self::Encrypter(scope)
            | Self::Decrypter(scope)
            | Self::SecretReader(scope)
            | Self::Requester(scope)
            | Self::Reporter(scope) => Some(scope),
            Self::Gateway
            | Self::Prober
            | Self::Operator
            | Self::Administrator
            | Self::OnCall
            | Self::Auditor => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        match self.scope() {
            Some(scope) => write!(f, ":{scope}"),
            None => Ok(()),
        }
    }
}

/// A role that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown role {0:?}: expected signer:RING, encrypter:RING[/SCOPE], decrypter:RING[/SCOPE], secret-reader:NAME, gateway, requester:PROFILE, reporter:ASSET, prober, operator, administrator, on-call or auditor"
)]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let (name, scope) = match text.split_once(':') {
            Some((name, scope)) => (name, Some(scope)),
            None => (text, None),
        };
        let mut kinds = RoleKind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.name() == name);
        kind.and_then(|kind| kind.role(scope))
            .ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_one_spelling() {
        for text in [
            "signer:integrity",
            "encrypter:records",
            "encrypter:records/tenant-1",
            "decrypter:records",
            "decrypter:records/tenant-1",
            "secret-reader:payments.db",
            "secret-reader:payments.*",
            "secret-reader:*",
            "gateway",
            "requester:web-server",
            "reporter:api-key/*",
            "prober",
            "operator",
            "administrator",
            "on-call",
            "auditor",
        ] {
            let role: Role = text.parse().unwrap();
            assert_eq!(role.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_role_is_refused() {
        for text in [
            "",
            "root",
            "Operator",
            "operator:",
            "operator:records",
            "auditor ",
            "signer",
            "signer:",
            "encrypter",
            "encrypter:",
            "encrypter:*",
            "encrypter:records/",
            "encrypter:/a",
            "encrypter:records/a/b",
            "decrypter:records/*",
            "secret-reader:",
            "secret-reader:a*b",
            "secret-reader:**",
            "secret-reader:a b",
            "gateway:x",
            "requester:",
            "requester:web*",
            "reporter:",
            "on_call",
        ] {
            assert!(text.parse::<Role>().is_err(), "{text:?}");
        }
        let long = format!("requester:{}", "a".repeat(SCOPE_MAX + 1));
        assert!(long.parse::<Role>().is_err());
    }
}
