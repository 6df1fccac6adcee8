//! What a correction of the log's clock says, with everything resolved.

use trust::Time;
use trust::request::ClockCorrection;

use super::error::Error;
use super::service::CeremonyService;
use log::suspects;

/// Leaves behind the last checkpoint that tells of none ahead of the clock, that are looked through for anybody.
const MOST: i64 = 100_000;

/// Leaves that a wrong clock wrote, as far as somebody names them; the rest is what the log shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WrongLeaves {
    /// The first and the last of them.
    pub range: Option<(u64, u64)>,
    /// Their true time is not after this.
    pub bound: Option<Time>,
}

impl WrongLeaves {
    /// Whether nothing is left to be found.
    pub fn are_named(&self) -> bool {
        self.range.is_some() && self.bound.is_some()
    }

    /// Whether a correction says nothing else than is named.
    pub fn fit(&self, order: &ClockCorrection) -> bool {
        let range = (order.first, order.last);
        self.range.is_none_or(|named| named == range)
            && self.bound.is_none_or(|named| named == order.bound)
    }
}

impl CeremonyService {
    /// The correction of these leaves. Where they are not named, whoever may be anybody has only so many looked through.
    pub async fn correction(&self, leaves: &WrongLeaves) -> Result<ClockCorrection, Error> {
        let tree = self.store.tree().await?;
        if tree.origin.is_empty() {
            return Err(Error::Unfit("the log has no checkpoint yet".to_owned()));
        }
        let (ahead, bound) = match (leaves.range, leaves.bound) {
            (Some(range), Some(bound)) => (Some(range), bound),
            (range, bound) => {
                let most = if self.for_anybody { MOST } else { i64::MAX };
                let tolerance = self.store.clock_tolerance();
                let now = self.env.now();
                let found = suspects(&self.store, now, tolerance, most).await?;
                let too_many = || {
                    let why = "too many leaves to look through: name them with --first, --last and --bound";
                    Error::Unfit(why.to_owned())
                };
                let found = found.ok_or_else(too_many)?;
                // Before the making of the request, which is at this very instant where nothing takes time.
                let latest = Time::from_millis(now.millis() - 1);
                let bound = bound.unwrap_or(found.bound.min(latest));
                (range.or(found.ahead), bound)
            }
        };
        let (first, last) = ahead.ok_or_else(|| {
            let why = "no leaf lies ahead of the clock: name them with --first and --last";
            Error::Unfit(why.to_owned())
        })?;
        Ok(ClockCorrection {
            bound,
            first,
            last,
            origin: tree.origin,
        })
    }
}
