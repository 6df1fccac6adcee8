//! Standing orders from their transcripts: what a row says of one is not believed.
//!
//! To verify a transcript takes milliseconds of a processor, and a page of orders has many: it is done beside the threads
//! that answer, and once for the same bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use trust::request::StandingOrder;
use trust::tally::Finished;
use trust::{MemberId, Pin, Sha256Digest, verify_transcript};

use super::error::Error;
use super::service::CeremonyService;
use store::OrderRow;

/// Most orders that are remembered; then it begins anew.
const MOST: usize = 1_000;

/// An order whose transcript verifies.
pub(super) struct VerifiedOrder {
    pub order: StandingOrder,
    /// Its transcript, as a record under it has it.
    pub text: String,
    /// By its row, which the transaction asks again, and the log.
    pub withdrawn: bool,
    pub approved_by: Vec<MemberId>,
}

/// What a transcript says that verified before, by the digest of its bytes: the same bytes say the same for ever.
#[derive(Default)]
pub(super) struct KnownOrders(Mutex<HashMap<Sha256Digest, Arc<Known>>>);

struct Known {
    order: StandingOrder,
    approved_by: Vec<MemberId>,
}

impl KnownOrders {
    async fn verified(&self, bytes: &[u8], pin: &Pin) -> Result<Option<Arc<Known>>, Error> {
        let digest = Sha256Digest::of(bytes);
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&digest) {
            return Ok(Some(Arc::clone(known)));
        }
        let (bytes, pin) = (bytes.to_vec(), pin.clone());
        let verify = move || {
            let verified = verify_transcript(&bytes, &pin)?;
            let Finished::Ordered(order) = verified.finished() else {
                return Ok(None);
            };
            Ok(Some(Arc::new(Known {
                order: order.as_ref().clone(),
                approved_by: verified.approved_by().to_vec(),
            })))
        };
        let verified = tokio::task::spawn_blocking(verify).await;
        let known: Result<_, trust::TranscriptError> = verified
            .map_err(|_| Error::Unfit("an order was not verified to the end".to_owned()))?;
        let known = known?;
        if let Some(known) = &known {
            let mut all = lock();
            if all.len() >= MOST {
                all.clear();
            }
            all.insert(digest, Arc::clone(known));
        }
        Ok(known)
    }
}

impl CeremonyService {
    /// The order of this id, verified from its transcript.
    pub(super) async fn verified_order(&self, order: &str) -> Result<VerifiedOrder, Error> {
        let row = self.store.order(order).await?;
        let row = row.ok_or_else(|| Error::UnknownOrder(order.to_owned()))?;
        self.verified(row).await
    }

    pub(super) async fn verified(&self, row: OrderRow) -> Result<VerifiedOrder, Error> {
        let bytes = self.transcript(&row.ceremony.to_string()).await?;
        let known = self.known_orders.verified(&bytes, &self.pin).await?;
        let known = known.ok_or_else(|| Error::UnknownOrder(row.id.to_string()))?;
        let order = known.order.clone();
        if order.id != row.id || order.ring != row.ring {
            return Err(Error::Unfit(format!(
                "the row of the standing order {} differs from its transcript",
                row.id
            )));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::Unfit("a transcript is not UTF-8".to_owned()))?;
        Ok(VerifiedOrder {
            order,
            text,
            withdrawn: row.withdrawal.is_some(),
            approved_by: known.approved_by.clone(),
        })
    }
}
