//! What the rules about usage are told: the hours of each ring, and of keys that have ended.

use std::collections::BTreeSet;

use calendar::alerts::machine::Condition;
use calendar::alerts::usage::{EndedUsage, LATELY, LOOKED_AT, RingUsage, SILENT_HOURS};
use calendar::alerts::{AlertName, usage};
use calendar::{Span, Time};
use store::RhythmOf;

use crate::drivers::asset_of_ring;
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::from_row;

impl Engine {
    /// What is unusual in the last hour that is over; none while its signatures are not counted.
    pub(super) async fn usage_conditions(
        &self,
        now: Time,
    ) -> Result<Option<Vec<Condition>>, Error> {
        let of = RhythmOf {
            last: now.hour() - 1,
            hours: SILENT_HOURS,
            back: LOOKED_AT.as_seconds().cast_signed() / Span::hours(1).as_seconds().cast_signed(),
            lately: LATELY,
        };
        let Some(used) = self.store().rhythm(&of).await? else {
            return Ok(None);
        };
        let known = self.known_alerts(now).await?;
        let firing: BTreeSet<(AlertName, &str)> = (known.iter())
            .filter(|record| record.alert.is_firing())
            .map(|record| (record.alert.name, record.alert.subject.as_str()))
            .collect();
        let counted = self.store().hours_since().await?.map(from_row);
        let mut found = Vec::new();
        for ring in self.store().rings().await?.read {
            let asset = asset_of_ring(ring.name.as_str());
            let begins = counted.map_or(from_row(ring.created_at), |at| {
                at.max(from_row(ring.created_at))
            });
            let of_ring = RingUsage {
                asset: &asset,
                hours: used
                    .rings
                    .get(ring.name.as_str())
                    .map_or(&[], Vec::as_slice),
                counted_from: begins.hour() + 1,
            };
            let fires = |name| firing.contains(&(name, asset.as_str()));
            found.extend(usage::of_ring(&of_ring, now, fires));
        }
        for (kid, (ended_at, hours)) in &used.ended {
            let of_key = EndedUsage {
                kid,
                ended_at: from_row(*ended_at),
                hours,
            };
            found.extend(usage::of_ended(&of_key, now));
        }
        Ok(Some(found))
    }
}
