//! What the planner is told of an installation: all that the inventory has in use, with the keys of rings as their transcripts
//! show them, under the policies in force and the standing orders that hold.

use std::sync::Arc;

use calendar::facts::{AssetFacts, Order, UsageFacts};
use calendar::{Policies, Time, Word};

use crate::drivers::{Doing, Rings, ring_of_asset};
use crate::engine::error::Error;
use crate::engine::inventory::Inventory;
use crate::inventory::InventoryService;
use crate::times::to_row;

/// The facts of an installation.
pub struct InstallationFacts {
    inventory: InventoryService,
    rings: Rings,
}

impl InstallationFacts {
    /// By the inventory, and by what is known of the rings in it.
    pub fn new(inventory: InventoryService, rings: Rings) -> Self {
        Self { inventory, rings }
    }

    async fn policies_in_force(&self, now: Time) -> Result<Arc<Policies>, Error> {
        let policies = self.inventory.policies();
        Ok(Arc::new(policies.current(to_row(now)).await?.policies))
    }

    async fn assets_in_use(&self) -> Result<Vec<AssetFacts>, Error> {
        let mut assets = self.inventory.in_use().await?;
        // After the inventory: a ring of it is in this snapshot or a later one.
        let mut rings = self.rings.versions().await;
        for asset in &mut assets {
            if let Some(ring) = ring_of_asset(asset.name.as_str()) {
                asset.versions = rings.remove(ring).unwrap_or_default();
            }
        }
        Ok(assets)
    }

    async fn standing_orders(&self, now: Time) -> Result<Vec<Order>, Error> {
        Ok(self.rings.standing_orders(now).await?)
    }
}

impl Inventory for InstallationFacts {
    fn policies(&self, now: Time) -> Doing<'_, Result<Arc<Policies>, Error>> {
        Box::pin(self.policies_in_force(now))
    }

    fn assets(&self) -> Doing<'_, Result<Vec<AssetFacts>, Error>> {
        Box::pin(self.assets_in_use())
    }

    fn held<'a>(
        &'a self,
        asset: &'a str,
        told: &'a Word,
    ) -> Doing<'a, Result<Option<Word>, Error>> {
        Box::pin(async move { Ok(self.inventory.policies().held(asset, told).await?) })
    }

    fn usage<'a>(
        &'a self,
        asset: &'a AssetFacts,
        now: Time,
    ) -> Doing<'a, Result<Option<UsageFacts>, Error>> {
        Box::pin(async move {
            match ring_of_asset(asset.name.as_str()) {
                Some(ring) => Ok(self.rings.usage(ring, now).await?),
                None => Ok(None),
            }
        })
    }

    fn orders(&self, now: Time) -> Doing<'_, Result<Vec<Order>, Error>> {
        Box::pin(self.standing_orders(now))
    }
}
