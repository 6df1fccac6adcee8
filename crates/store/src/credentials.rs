//! Who may call: hashes of access tokens and names in certificates.

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns};
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRow {
    /// `access-token` (value: SHA-256 of the token, hex) or `mtls-san` (value: the SAN).
    pub kind: String,
    pub value: String,
    pub principal: String,
    /// JSON array of roles: `"operator"`, `"auditor"`, `"signer:<ring>"`.
    pub roles: String,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub withdrawn_at: Option<i64>,
}

impl CredentialRow {
    /// What the trail says was granted: SHA-256 over `[kind, value, principal, roles, created_at,
    /// expires_at]` as JSON. A withdrawal is an entry of its own.
    pub fn digest(&self) -> trust::Sha256Digest {
        let granted = serde_json::json!([
            self.kind,
            self.value,
            self.principal,
            self.roles,
            self.created_at,
            self.expires_at,
        ]);
        trust::Sha256Digest::of(granted.to_string().as_bytes())
    }
}

impl FromColumns for CredentialRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            kind: row.text(0)?,
            value: row.text(1)?,
            principal: row.text(2)?,
            roles: row.text(3)?,
            created_at: row.int(4)?,
            expires_at: row.maybe_int(5)?,
            withdrawn_at: row.maybe_int(6)?,
        })
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
    let values = [
        Value::Text(&credential.kind),
        Value::Text(&credential.value),
        Value::Text(&credential.principal),
        Value::Text(&credential.roles),
        Value::Int(credential.created_at),
        Value::MaybeInt(credential.expires_at),
    ];
    guarded(tx, GRANT_CREDENTIAL, &values, Subject::Credential).await
}

pub(crate) async fn withdraw<C: Connection>(
    tx: &mut C,
    kind: &str,
    value: &str,
    at: i64,
) -> Result<(), Error> {
    let name = [Value::Text(kind), Value::Text(value)];
    if tx.fetch_optional(CREDENTIAL_EXISTS, &name).await?.is_none() {
        return Err(Error::NotFound {
            what: Subject::Credential,
        });
    }
    let values = [name[0], name[1], Value::Int(at)];
    guarded(tx, WITHDRAW_CREDENTIAL, &values, Subject::Credential).await
}

impl Store {
    /// Withdrawn ones too.
    pub async fn credentials(&self) -> Result<Vec<CredentialRow>, Error> {
        on!(self, engine => reads::all(engine, CREDENTIALS, &[]))
    }
}
