//! How often passkeys have signed, and what came with their registration. A counter is judged when a signature comes in, in
//! the transaction that keeps it, and never again: what is kept is counted without it.

use trust::MemberSignature;
use trust::base64url;

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Value};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns};
use crate::statements::statements;

statements! {
    SIGN_COUNT = "SELECT sign_count FROM passkey_counter WHERE credential = $1";
    COUNT = "INSERT INTO passkey_counter (credential, sign_count) VALUES ($1, $2)
        ON CONFLICT (credential) DO UPDATE SET sign_count = excluded.sign_count";
    INSERT_ATTESTATION = "INSERT INTO passkey_attestation (statement, credential, attestation) VALUES ($1, $2, $3)";
    ATTESTATIONS = "SELECT credential, attestation FROM passkey_attestation WHERE statement = $1 ORDER BY credential";
}

/// What an authenticator said of a credential when it was made; unverified, and nothing depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyAttestationRow {
    /// Its id, base64url.
    pub credential: String,
    /// The attestation object.
    pub attestation: Vec<u8>,
}

impl FromColumns for PasskeyAttestationRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            credential: row.text(0)?,
            attestation: row.blob(1)?,
        })
    }
}

/// Takes note of a passkey's counter (WebAuthn Level 3 section 7.2 step 22). One that did not rise, where the
/// authenticator counts at all, is of a copy of the key, or of the original after its copy: which of them nobody can
/// tell, so neither signs. The signature was verified by the caller; the first one tells where the counter stands.
pub(crate) async fn count<C: Connection>(tx: &mut C, signature: &str) -> Result<(), Error> {
    // What is no signature is no passkey's; whoever tallies refuses it.
    let Ok(signature) = MemberSignature::decode(signature.as_bytes()) else {
        return Ok(());
    };
    let Some((credential, found)) = signature.sign_count() else {
        return Ok(());
    };
    let credential = base64url::encode(&credential.0);
    let found = i64::from(found);
    let values = [Value::Text(&credential), Value::Int(found)];
    if let Some(row) = tx.fetch_optional(SIGN_COUNT, &values[..1]).await? {
        let before = row.int(0)?;
        if (before, found) == (0, 0) {
            return Ok(());
        }
        if found <= before {
            return Err(Error::Already {
                what: Subject::PasskeyCounter,
                why: "did not rise: there may be a copy of the passkey; remove it from the roster",
            });
        }
    }
    tx.execute(COUNT, &values).await.map(drop)
}

pub(crate) async fn keep_attestation<C: Connection>(
    tx: &mut C,
    statement: &str,
    row: &PasskeyAttestationRow,
) -> Result<(), Error> {
    let values = [
        Value::Text(statement),
        Value::Text(&row.credential),
        Value::Blob(&row.attestation),
    ];
    tx.execute(INSERT_ATTESTATION, &values).await.map(drop)
}

impl Store {
    /// What came with the passkeys that a statement's signatures prove.
    pub async fn passkey_attestations(
        &self,
        statement: &str,
    ) -> Result<Vec<PasskeyAttestationRow>, Error> {
        let id = [Value::Text(statement)];
        on!(self, engine => reads::all(engine, ATTESTATIONS, &id))
    }
}
