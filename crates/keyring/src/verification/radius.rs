//! What is in doubt when a key is: every signature by it that was logged since an instant. The
//! list is complete because nothing is released that is not in the log.

use std::sync::Arc;

use trust::{Kid, Time};

use super::question::Error;
use super::verify::Verification;
use store::DayRow;

/// A page of the signatures by one key.
#[derive(Debug, Clone)]
pub struct RadiusQuestion {
    pub kid: Kid,
    /// Itself included.
    pub since: Time,
    /// Index of the log to go on from; nothing for the first page, which also counts.
    pub from: Option<i64>,
    pub limit: i64,
}

#[derive(Debug, Clone)]
pub struct Radius {
    /// Of the first page: a row for each day of UTC that has signatures.
    pub by_day: Option<Vec<DayRow>>,
    /// By index.
    pub signatures: Vec<Issued>,
    /// Where the next page begins.
    pub next: Option<i64>,
}

/// What anybody may know of a signature in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub index: i64,
    pub time: Time,
    pub sig_hash: String,
}

impl Verification {
    /// Anybody may ask. Days are counted beforehand, and a page reads no more leaves than it may return: it
    /// has fewer where leaves of the key are earlier than the instant, and `next` goes on all the same.
    pub async fn radius(&self, asked: RadiusQuestion) -> Result<Radius, Error> {
        let log = |error| Error::Log(Arc::new(error));
        let kid = asked.kid.as_str();
        let since = asked.since.millis();
        let by_day = match asked.from {
            Some(_) => None,
            None => Some(
                self.store
                    .signatures_by_day(kid, since)
                    .await
                    .map_err(log)?,
            ),
        };
        let first = by_day.as_ref().map(|days| {
            // Days overlap in the log where clocks do, so the first index is not always the first day's.
            days.iter().map(|day| day.first_index).min()
        });
        let from = match (asked.from, first) {
            (Some(from), _) | (None, Some(Some(from))) => from,
            // Nothing was counted, so there is nothing to list.
            (None, Some(None) | None) => {
                return Ok(Radius {
                    by_day,
                    signatures: Vec::new(),
                    next: None,
                });
            }
        };
        let leaves = self.store.leaves_of_key(kid, from, asked.limit).await;
        let leaves = leaves.map_err(log)?;
        let full = i64::try_from(leaves.len()).is_ok_and(|found| found == asked.limit);
        Ok(Radius {
            next: leaves.last().filter(|_| full).map(|leaf| leaf.index + 1),
            // A key's own acts are leaves of it too, and have no hash of a signature.
            signatures: leaves
                .into_iter()
                .filter(|leaf| leaf.time >= since)
                .filter_map(|leaf| {
                    Some(Issued {
                        index: leaf.index,
                        time: Time::from_millis(leaf.time),
                        sig_hash: leaf.sig_hash?,
                    })
                })
                .collect(),
            by_day,
        })
    }
}
