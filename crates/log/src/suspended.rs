//! Suspensions as they are kept. A row suspends nobody: its signatures do, counted whenever it matters.

use std::collections::BTreeSet;

use trust::suspension::Suspension;
use trust::{MemberId, MemberSignature, Trusted};

use store::Store;

/// Suspensions that cannot be read: whom they suspend would count.
#[derive(Debug, thiserror::Error)]
pub enum SuspensionsError {
    #[error("database error")]
    Store(#[from] store::Error),
    #[error("a stored suspension cannot be decoded")]
    Json(#[from] trust::JsonError),
    #[error("a stored suspension is not UTF-8")]
    Text(#[from] std::string::FromUtf8Error),
}

/// The suspensions under the roster that holds; unverified.
pub async fn suspensions(
    store: &Store,
    trusted: &Trusted,
) -> Result<Vec<Suspension>, SuspensionsError> {
    let mut all = Vec::new();
    for row in store.suspensions(&trusted.roster_ref().digest).await? {
        let rows = store.statement_signatures(&row.id.to_string()).await?;
        let signatures = rows.iter();
        let signatures = signatures.map(|row| MemberSignature::decode(row.signature.as_bytes()));
        all.push(Suspension {
            body: String::from_utf8(row.body)?,
            received_at: row.updated_at,
            signatures: signatures.collect::<Result<_, _>>()?,
        });
    }
    Ok(all)
}

/// The members whom they suspend.
pub async fn suspended(
    store: &Store,
    trusted: &Trusted,
) -> Result<BTreeSet<MemberId>, SuspensionsError> {
    let all = suspensions(store, trusted).await?;
    Ok(trust::tally::suspended(trusted, &all))
}
