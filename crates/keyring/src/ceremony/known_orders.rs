//! Standing orders whose transcripts verified, remembered by their bytes.
//!
//! To verify a transcript takes milliseconds of a processor, and a page of orders has many: it is done beside the threads
//! that answer, and once for the same bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use trust::request::StandingOrder;
use trust::tally::Finished;
use trust::{MemberId, Pin, Sha256Digest, verify_transcript};

use super::error::Error;

/// Most orders that are remembered; then it begins anew.
const MOST: usize = 1_000;

/// What a transcript says that verified before, by the digest of its bytes: the same bytes say the same for ever.
#[derive(Default)]
pub(super) struct KnownOrders(Mutex<HashMap<Sha256Digest, Arc<Known>>>);

pub(super) struct Known {
    pub order: StandingOrder,
    pub approved_by: Vec<MemberId>,
    pub by_passkey: Vec<MemberId>,
}

impl KnownOrders {
    pub async fn verified(&self, bytes: &[u8], pin: &Pin) -> Result<Option<Arc<Known>>, Error> {
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
                by_passkey: verified.by_passkey().to_vec(),
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
