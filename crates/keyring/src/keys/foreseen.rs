//! What every replica will say of a key under a standing order, asked before the key is accepted: one that would be refused
//! is not published.

use trust::acts::Act;
use trust::leaf::{ActKind, ActLeaf};
use trust::order_log::{ACCEPTED, LoggedUse, UseFault};
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
