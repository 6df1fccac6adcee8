//! Suspensions as they are kept. A row suspends nobody: its signatures do, counted whenever it matters.

use std::collections::BTreeSet;

use trust::leaf::{ActLeaf, Leaf};
use trust::order_log::Suspended;
use trust::suspension::Suspension;
use trust::tally::tally_suspension;
use trust::{MemberId, MemberSignature, Pin, Trusted};

use crate::rows::{ChainRowError, unverified_chains};
use store::{DocumentKind, DocumentRow, LeafRow, MAX_PAGE, StatementKind, StatementRow, Store};

/// Suspensions that cannot be read: whom they suspend would count.
#[derive(Debug, thiserror::Error)]
pub enum SuspensionsError {
    #[error("database error")]
    Store(#[from] store::Error),
    #[error("a stored suspension cannot be decoded")]
    Json(#[from] trust::JsonError),
    #[error("a stored suspension is not UTF-8")]
    Text(#[from] std::string::FromUtf8Error),
    #[error("a roster of before cannot be read")]
    Chain(#[from] ChainRowError),
}

/// The suspensions under the roster that holds; unverified.
pub async fn suspensions(
    store: &Store,
    trusted: &Trusted,
) -> Result<Vec<Suspension>, SuspensionsError> {
    let mut all = Vec::new();
    for row in store.suspensions(&trusted.roster_ref().digest).await? {
        all.push(suspension(store, row).await?);
    }
    Ok(all)
}

/// With its signatures, as they are stored.
async fn suspension(store: &Store, row: StatementRow) -> Result<Suspension, SuspensionsError> {
    let rows = store.statement_signatures(&row.id.to_string()).await?;
    let signatures = rows.iter();
    let signatures = signatures.map(|row| MemberSignature::decode(row.signature.as_bytes()));
    Ok(Suspension {
        body: String::from_utf8(row.body)?,
        received_at: row.updated_at,
        signatures: signatures.collect::<Result<_, _>>()?,
    })
}

/// Suspensions of all times that the log tells of, under each roster of the chain, in the order of the log. One whose statement
/// is missing, or says something else by now, may be anybody's. What `before` has is not read again.
pub async fn suspended_by_log(
    store: &Store,
    pin: &Pin,
    documents: &[DocumentRow],
    before: &[Suspended],
) -> Result<Vec<Suspended>, SuspensionsError> {
    let mut all = Vec::new();
    let mut from = 0;
    loop {
        let page = store.leaves_of_suspensions(from).await?;
        for leaf in &page {
            let known = before.iter().find(|known| known.index == leaf.index);
            let member = match known.and_then(|known| known.member.clone()) {
                Some(member) => Some(member),
                None => member(store, pin, documents, leaf).await?,
            };
            let rosters = documents
                .iter()
                .filter(|row| matches!(row.kind, DocumentKind::Roster | DocumentKind::Recovery));
            let mut next = rosters.filter_map(|row| row.index);
            all.push(Suspended {
                index: leaf.index,
                until: next.find(|index| *index > leaf.index),
                member,
            });
        }
        match page.last() {
            Some(last) if page.len() as i64 == MAX_PAGE => from = last.index + 1,
            _ => return Ok(all),
        }
    }
}

/// Whom a leaf tells to be suspended, by the signatures over its statement and the roster of that time.
async fn member(
    store: &Store,
    pin: &Pin,
    documents: &[DocumentRow],
    leaf: &LeafRow,
) -> Result<Option<MemberId>, SuspensionsError> {
    let Some(id) = act(leaf).and_then(|act| act.reference) else {
        return Ok(None);
    };
    let row = store.statement(&id).await?;
    let Some(row) = row.filter(|row| row.kind == StatementKind::Suspension) else {
        return Ok(None);
    };
    // A statement is named by its bytes.
    if trust::Sha256Digest::of(&row.body) != row.id {
        return Ok(None);
    }
    let suspension = suspension(store, row).await?;
    let then = documents
        .iter()
        .take_while(|row| row.index.is_none_or(|index| index < leaf.index) || row.place == 0);
    let then: Vec<DocumentRow> = then.cloned().collect();
    let Some(chains) = unverified_chains(&then)? else {
        return Ok(None);
    };
    let Ok(trusted) = trust::chain::walk(&chains, pin) else {
        return Ok(None);
    };
    let tally = tally_suspension(&trusted, &suspension).ok();
    let holds = tally.filter(|tally| tally.holds());
    Ok(holds.map(|tally| tally.member))
}

fn act(leaf: &LeafRow) -> Option<ActLeaf> {
    match Leaf::parse(leaf.body.as_bytes()) {
        Ok(Leaf::Act(act)) => Some(*act),
        _ => None,
    }
}

/// The members whom they suspend.
pub async fn suspended(
    store: &Store,
    trusted: &Trusted,
) -> Result<BTreeSet<MemberId>, SuspensionsError> {
    let all = suspensions(store, trusted).await?;
    Ok(trust::tally::suspended(trusted, &all))
}
