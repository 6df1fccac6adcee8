//! Keys made under standing orders. A transcript shows that the order permits the key; that its use was not taken before,
//! that nobody had withdrawn the order, and when both came into being, the log shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::future::Cache;
use trust::acts::Act;
use trust::leaf::Leaf;
use trust::order_log::{LoggedUse, Suspended, UseFault, UsePlace, check_use};
use trust::tally::KnownOrders;
use trust::{Kid, Sha256Digest};

use store::{LeafRow, Store};

/// Leaves of an order, or of a ceremony, that are read: a withdrawal, a use for each key that it permits, a signature for
/// each member. Where there are more before the acceptance, a withdrawal may stand behind them, and the key is refused.
const MOST: i64 = 1_000;

/// Orders whose leaves are kept.
const ORDERS: u64 = 64;

/// What is kept of standing orders for the keys under them, of which an order has hundreds.
pub(super) struct Orders {
    /// By their transcripts.
    pub known: Arc<KnownOrders>,
    /// By the requests that asked for them.
    told: Cache<Sha256Digest, Arc<Told>>,
    /// How often the leaves of an order were read.
    reads: AtomicU64,
}

/// Leaves of an order, and of its own ceremony.
struct Told {
    /// Leaves below were read.
    until: i64,
    acts: Vec<Act>,
    /// The last leaf of those that were read, where there are more.
    more_after: Option<i64>,
}

/// What else a key under an order is held against.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The leaf that tells of its acceptance, by the index of acts.
    pub accepted: Option<i64>,
    /// The leaf that ended the chain under which the order was held.
    pub ended: Option<i64>,
    pub suspensions: &'a [Suspended],
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            told: Cache::new(ORDERS),
            reads: AtomicU64::new(0),
        }
    }
}

impl Orders {
    /// How often the leaves of an order were read.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// What speaks against a key under an order, if anything does. `about` is an act that is not in the log yet.
    pub async fn fault(
        &self,
        store: &Store,
        used: &LoggedUse,
        place: Place<'_>,
        about: Option<&Act>,
    ) -> Result<Option<UseFault>, store::Error> {
        let Some(accepted) = place.accepted else {
            return Ok(Some(UseFault::Unlogged));
        };
        let told = self.told(store, used, accepted).await?;
        if told.more_after.is_some_and(|last| last < accepted) {
            return Ok(Some(UseFault::TooMany));
        }
        // The index of acts is not the log: whoever may write there could point behind a withdrawal that came before. So
        // the acceptance is looked for among the leaves of the ceremony.
        let mut own = ceremony(store, &used.request).await?.0;
        own.extend(predecessor(store, &used.predecessor).await?);
        let place = UsePlace {
            accepted,
            ended: place.ended,
            suspensions: place.suspensions,
        };
        let acts = told.acts.iter().chain(&own).chain(about);
        Ok(check_use(used, &place, acts).err())
    }

    /// All acts by which a key under an order is judged, in no order.
    pub async fn acts(&self, store: &Store, used: &LoggedUse) -> Result<Vec<Act>, store::Error> {
        let told = self.told(store, used, 0).await?;
        let mut acts = ceremony(store, &used.request).await?.0;
        acts.extend(predecessor(store, &used.predecessor).await?);
        acts.extend(told.acts.iter().cloned());
        Ok(acts)
    }

    /// Read once for all keys that were accepted by then: leaves do not change.
    async fn told(
        &self,
        store: &Store,
        used: &LoggedUse,
        accepted: i64,
    ) -> Result<Arc<Told>, store::Error> {
        let request = used.order.request;
        if let Some(told) = self.told.get(&request).await
            && accepted < told.until
        {
            return Ok(told);
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        let until = store.log_size().await?;
        let order = used.used.id.to_string();
        let leaves = store.leaves_of_order(&order, 0, MOST).await?;
        let more = last_of_full(&leaves);
        let mut acts = acts(leaves);
        let (own, more_of_own) = ceremony(store, &request).await?;
        acts.extend(own);
        let told = Arc::new(Told {
            until,
            acts,
            more_after: more.into_iter().chain(more_of_own).min(),
        });
        self.told.insert(request, told.clone()).await;
        Ok(told)
    }
}

/// The first leaves of a ceremony; and the last of them, where there may be more.
async fn ceremony(
    store: &Store,
    request: &Sha256Digest,
) -> Result<(Vec<Act>, Option<i64>), store::Error> {
    let request = request.to_string();
    let leaves = store.leaves_of_ceremony(&request, 0, MOST).await?;
    let more = last_of_full(&leaves);
    Ok((acts(leaves), more))
}

/// What the log tells of the ceremony of the key before.
async fn predecessor(store: &Store, kid: &Kid) -> Result<Vec<Act>, store::Error> {
    let rows = store.key(kid.as_str()).await?;
    match rows.read.first() {
        Some(row) => Ok(ceremony(store, &row.ceremony).await?.0),
        None => Ok(Vec::new()),
    }
}

fn last_of_full(leaves: &[LeafRow]) -> Option<i64> {
    let full = leaves.len() as i64 >= MOST;
    leaves.last().map(|leaf| leaf.index).filter(|_| full)
}

pub(super) fn acts(leaves: Vec<LeafRow>) -> Vec<Act> {
    let acts = leaves.into_iter().filter_map(|row| {
        let leaf = Leaf::parse(row.body.as_bytes()).ok()?;
        let Leaf::Act(leaf) = leaf else { return None };
        Some(Act {
            index: row.index,
            leaf: *leaf,
        })
    });
    acts.collect()
}
