//! Who may call: hashes of access tokens and names in certificates.

use std::fmt;
use std::str::FromStr;

use trust::{Sha256Digest, Time};

use crate::database::{Store, on};
use crate::decode::{Decode, unreadable};
use crate::engine::{Columns, Connection, Value, guarded};
use crate::error::{Error, Subject, UnreadableRow};
use crate::reads::FromColumns;
use crate::role::Role;
use crate::rows::{self, Keyed, Rows};
use crate::statements::statements;

statements! {
    CREDENTIALS = "SELECT kind, value, principal, roles, created_at, expires_at, withdrawn_at
        FROM credential ORDER BY kind, principal, value";
    /// A name of a certificate may be granted again once withdrawn; a token never comes back.
    GRANT_CREDENTIAL = "INSERT INTO credential
        (kind, value, principal, roles, created_at, expires_at, withdrawn_at)
        VALUES ($1, $2, $3, $4, $5, $6, NULL)
        ON CONFLICT (kind, value) DO UPDATE SET principal = excluded.principal,
            roles = excluded.roles, created_at = excluded.created_at,
            expires_at = excluded.expires_at, withdrawn_at = NULL
        WHERE credential.kind = 'mtls-san' AND credential.withdrawn_at IS NOT NULL";
    WITHDRAW_CREDENTIAL = "UPDATE credential SET withdrawn_at = $3
        WHERE kind = $1 AND value = $2 AND withdrawn_at IS NULL";
    CREDENTIAL_EXISTS = "SELECT 1 FROM credential WHERE kind = $1 AND value = $2";
}

/// What a caller shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialName {
    /// SHA-256 of an access token.
    AccessToken(Sha256Digest),
    /// A SAN of a client certificate.
    MtlsSan(String),
}

impl CredentialName {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AccessToken(_) => "access-token",
            Self::MtlsSan(_) => MTLS_SAN,
        }
    }

    pub fn value(&self) -> String {
        match self {
            Self::AccessToken(hash) => hash.to_string(),
            Self::MtlsSan(san) => san.clone(),
        }
    }

    fn read(row: &impl Columns) -> Result<Self, Error> {
        match row.text(0)?.as_str() {
            "access-token" => Ok(Self::AccessToken(row.parsed(1, "credential.value")?)),
            MTLS_SAN => Ok(Self::MtlsSan(row.text(1)?)),
            other => Err(unreadable("credential.kind", other)),
        }
    }
}

const MTLS_SAN: &str = "mtls-san";

/// What a caller is called: 1 to 64 printable ASCII characters without spaces. It goes into every
/// leaf, which has 1 KiB at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrincipalName(String);

/// The text is not a [`PrincipalName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 64 printable ASCII characters without spaces")]
pub struct NotAPrincipalName;

impl PrincipalName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PrincipalName {
    type Err = NotAPrincipalName;

    fn from_str(text: &str) -> Result<Self, NotAPrincipalName> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        match (1..=64).contains(&text.len()) && printable {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAPrincipalName),
        }
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRow {
    pub name: CredentialName,
    pub principal: PrincipalName,
    pub roles: Vec<Role>,
    pub created_at: Time,
    pub expires_at: Option<Time>,
    pub withdrawn_at: Option<Time>,
}

impl CredentialRow {
    /// What the trail says was granted: SHA-256 over `[kind, value, principal, roles, created_at,
    /// expires_at]` as JSON. A withdrawal is an entry of its own.
    pub fn digest(&self) -> Sha256Digest {
        let granted = serde_json::json!([
            self.name.kind(),
            self.name.value(),
            self.principal.as_str(),
            self.roles_as_json(),
            self.created_at.millis(),
            self.expires_at.map(Time::millis),
        ]);
        Sha256Digest::of(granted.to_string().as_bytes())
    }

    /// A JSON array: the column `roles`.
    pub fn roles_as_json(&self) -> String {
        let roles: Vec<String> = self.roles.iter().map(Role::to_string).collect();
        serde_json::json!(roles).to_string()
    }

    /// The SAN of a row that cannot be read, if it is known.
    pub fn unreadable_san(row: &UnreadableRow) -> Option<&str> {
        let (kind, value) = row.key.split_once(' ')?;
        (row.table == Self::TABLE && kind == MTLS_SAN).then_some(value)
    }
}

impl FromColumns for CredentialRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let found = Self {
            name: CredentialName::read(row)?,
            principal: row.parsed(2, "credential.principal")?,
            roles: roles(&row.text(3)?)?,
            created_at: row.time(4, "credential.created_at")?,
            expires_at: row.maybe_time(5, "credential.expires_at")?,
            withdrawn_at: row.maybe_time(6, "credential.withdrawn_at")?,
        };
        // One spelling: the trail has a digest of it.
        match found.roles_as_json() == row.text(3)? {
            true => Ok(found),
            false => Err(unreadable("credential.roles", &row.text(3)?)),
        }
    }
}

fn roles(text: &str) -> Result<Vec<Role>, Error> {
    let wrong = || unreadable("credential.roles", text);
    let words: Vec<String> = serde_json::from_str(text).map_err(|_| wrong())?;
    let roles = words.iter().map(|word| word.parse().map_err(|_| wrong()));
    roles.collect()
}

impl Keyed for CredentialRow {
    const TABLE: &'static str = "credential";

    fn key(row: &impl Columns) -> Result<String, Error> {
        Ok(format!("{} {}", row.text(0)?, row.text(1)?))
    }
}

pub(crate) async fn grant<C: Connection>(
    tx: &mut C,
    credential: &CredentialRow,
) -> Result<(), Error> {
    if credential.withdrawn_at.is_some() {
        return Err(Error::Malformed {
            what: "a credential that is granted as withdrawn",
        });
    }
    let value = credential.name.value();
    let roles = credential.roles_as_json();
    let values = [
        Value::Text(credential.name.kind()),
        Value::Text(&value),
        Value::Text(credential.principal.as_str()),
        Value::Text(&roles),
        Value::Int(credential.created_at.millis()),
        Value::MaybeInt(credential.expires_at.map(Time::millis)),
    ];
    let granted = guarded(tx, GRANT_CREDENTIAL, &values, Subject::Credential).await;
    already(
        granted,
        "exists already, live or expired; withdraw it first (`chancery access list`, `chancery access withdraw`)",
    )
}

pub(crate) async fn withdraw<C: Connection>(
    tx: &mut C,
    credential: &CredentialName,
    at: i64,
) -> Result<(), Error> {
    let value = credential.value();
    let name = [Value::Text(credential.kind()), Value::Text(&value)];
    if tx.fetch_optional(CREDENTIAL_EXISTS, &name).await?.is_none() {
        return Err(Error::NotFound {
            what: Subject::Credential,
        });
    }
    let values = [name[0], name[1], Value::Int(at)];
    let withdrawn = guarded(tx, WITHDRAW_CREDENTIAL, &values, Subject::Credential).await;
    already(withdrawn, "is withdrawn already")
}

/// A statement that found its row in another state than it needs.
fn already(outcome: Result<(), Error>, why: &'static str) -> Result<(), Error> {
    outcome.map_err(|error| match error {
        Error::Conflict { what, source: None } => Error::Already { what, why },
        other => other,
    })
}

impl Store {
    /// Withdrawn ones too.
    pub async fn credentials(&self) -> Result<Rows<CredentialRow>, Error> {
        on!(self, engine => rows::each(engine, CREDENTIALS, &[]))
    }
}
