//! What every replica will say of a key under a standing order, asked before the key is accepted: one that would be refused
//! is not published.

use trust::acts::Act;
use trust::leaf::{ActKind, ActLeaf};
use trust::order_log::{ACCEPTED, LoggedUse, UseFault, is_shown};
use trust::{Pin, Time};

use super::error::Error;
use super::former::Installed;
use super::under_order::Orders;
use store::Store;

/// What the log has against a key that is about to be accepted at this instant.
pub async fn fault_of_use(
    store: &Store,
    pin: &Pin,
    used: &LoggedUse,
    at: Time,
) -> Result<Option<UseFault>, Error> {
    let documents = store.documents().await?;
    let installed = Installed::read(store, pin, &documents, None).await?;
    // The leaf as it will be, behind those that are there.
    let accepted = Act {
        index: store.log_size().await?,
        leaf: ActLeaf {
            digest: Some(used.core),
            kid: Some(used.kid.clone()),
            reference: Some(used.request.to_string()),
            ..ActLeaf::new(ActKind::Ceremony, ACCEPTED, "", at)
        },
    };
    let place = installed.place(used, Some(accepted.index));
    Ok(Orders::default()
        .fault(store, used, place, Some(&accepted))
        .await?)
}

/// The leaves by which a key under a standing order is judged and that its transcript shows, before that of its acceptance.
pub async fn leaves_of_use(
    store: &Store,
    used: &LoggedUse,
    documents: u64,
    accepted: i64,
) -> Result<Vec<i64>, store::Error> {
    let acts = Orders::default().acts(store, used).await?;
    let shown = acts.iter().filter(|act| is_shown(used, &act.leaf));
    let mut shown: Vec<i64> = shown.map(|act| act.index).collect();
    // The end of the chain under which the order was held, where the key's own chain is longer.
    let next = usize::try_from(used.order.documents).unwrap_or(usize::MAX);
    if documents > used.order.documents
        && let Some(row) = store.documents().await?.get(next)
    {
        shown.extend(row.index);
    }
    shown.retain(|index| *index < accepted);
    shown.sort_unstable();
    shown.dedup();
    Ok(shown)
}
