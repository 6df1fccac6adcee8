//! The picture of a simulation.

use std::collections::HashSet;

use crate::picture::{MOST_ASSET_ROWS, Picture};

use super::report::Report;

impl Report {
    /// The simulated time as an SVG of at most [`MOST_BYTES`](crate::picture::MOST_BYTES).
    pub fn svg(&self) -> String {
        let by_asset = self.assets <= MOST_ASSET_ROWS;
        let title = format!(
            "Simulated from {} to {}",
            self.start.date(),
            self.until.date()
        );
        let assets: HashSet<&str> = self
            .rotations
            .iter()
            .map(|each| each.asset.as_str())
            .collect();
        let remark = format!(
            "{} assets, {} of them rotated: {} rotations, {}.{} % without a person, {} late; {} findings",
            self.assets,
            assets.len(),
            self.all.rotations,
            self.automatic_per_mille / 10,
            self.automatic_per_mille % 10,
            self.all.late,
            self.findings_in_all
        );
        let mut picture = Picture::new(title, remark, self.start, self.until);
        for lived in &self.rotations {
            let label = if by_asset {
                lived.asset.as_str()
            } else {
                lived.key_type.as_str()
            };
            let (Some(begun), Some(promoted)) =
                (lived.generated_at.or(lived.published_at), lived.promoted_at)
            else {
                continue;
            };
            picture.add(
                label,
                begun,
                !lived.consent.is_automatic(),
                promoted > lived.due,
            );
            if let (true, Some(retired)) = (by_asset, lived.retired_at) {
                picture.band(label, begun, retired);
            }
        }
        picture.svg()
    }
}
