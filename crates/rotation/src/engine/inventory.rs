//! What the planner is told: a read model over what each driver owns, never a second truth.

use std::sync::Arc;

use calendar::facts::{AssetFacts, Order, UsageFacts};
use calendar::{Policies, Time, Word};

use super::error::Error;
use crate::drivers::Doing;

/// What there is, under which policies and standing orders.
pub trait Inventory: Send + Sync {
    /// The policies that are in force.
    fn policies(&self, now: Time) -> Doing<'_, Result<Arc<Policies>, Error>>;

    /// The assets with their versions. Events and requests are the engine's to add.
    fn assets(&self) -> Doing<'_, Result<Vec<AssetFacts>, Error>>;

    /// The key type that an asset rotates by, where it is not the one that its rotation began with.
    fn held<'a>(
        &'a self,
        _asset: &'a str,
        _told: &'a Word,
    ) -> Doing<'a, Result<Option<Word>, Error>> {
        Box::pin(async { Ok(None) })
    }

    /// How often an asset's primary was used, where its driver counts that.
    fn usage<'a>(
        &'a self,
        _asset: &'a AssetFacts,
        _now: Time,
    ) -> Doing<'a, Result<Option<UsageFacts>, Error>> {
        Box::pin(async { Ok(None) })
    }

    /// The standing orders that hold.
    fn orders(&self, now: Time) -> Doing<'_, Result<Vec<Order>, Error>>;
}
