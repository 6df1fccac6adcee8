//! The picture of a plan.

use std::collections::HashSet;

use crate::facts::Consent;
use crate::picture::{MOST_ASSET_ROWS, Picture};

use super::planned::Plan;

impl Plan {
    /// The plan as an SVG of at most [`MOST_BYTES`](crate::picture::MOST_BYTES): a row for each asset, or for each key type where
    /// there are many.
    pub fn svg(&self) -> String {
        let assets: HashSet<&str> = self
            .rotations
            .iter()
            .map(|each| each.asset.as_str())
            .take(100_000)
            .collect();
        let by_asset = assets.len() <= MOST_ASSET_ROWS;
        let counts = self.counts();
        let title = format!(
            "Rotations from {} to {}",
            self.now.date(),
            self.until.date()
        );
        let remark = format!(
            "{} rotations: {} automatic, {} under standing orders, {} by ceremonies; {} late, {} waiting",
            counts.rotations,
            counts.automatic,
            counts.under_orders,
            counts.ceremonies,
            counts.late,
            counts.waiting
        );
        let mut picture = Picture::new(title, remark, self.now, self.until);
        for rotation in &self.rotations {
            let label = if by_asset {
                rotation.asset.as_str()
            } else {
                rotation.key_type.as_str()
            };
            let manual = rotation.consent == Consent::Ceremony;
            picture.add(
                label,
                rotation.begins_at.unwrap_or(rotation.slot),
                manual,
                rotation.late.is_some(),
            );
            if let (true, Some(begins_at), Some(retire_at)) =
                (by_asset, rotation.begins_at, rotation.retire_at)
            {
                picture.band(label, begins_at, retire_at);
            }
        }
        picture.svg()
    }
}
