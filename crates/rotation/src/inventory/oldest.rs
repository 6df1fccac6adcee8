//! The inventory by age: what rotated longest ago comes first. Assets without a version in use are not in it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use store::InventoryRow;

use super::list::{AssetList, Filter, MOST_READ, PAGE_MAX, TOGETHER};
use super::service::{InventoryService, SIGNING};
use crate::error::Error;
use crate::policies::CurrentPolicies;

/// A place in this order: when the version in use came into use, in milliseconds since the Unix epoch, and the asset's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rotated {
    pub at: i64,
    pub asset: String,
}

/// The text is no [`Rotated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected milliseconds, a space and the name of an asset")]
pub struct NotAPlace;

impl fmt::Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.asset)
    }
}

impl FromStr for Rotated {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (at, asset) = text.split_once(' ').ok_or(NotAPlace)?;
        Ok(Self {
            at: at.parse().map_err(|_| NotAPlace)?,
            asset: asset.to_owned(),
        })
    }
}

impl Rotated {
    fn of(row: &InventoryRow) -> Option<Self> {
        let at = row.rotated_at?.millis();
        let asset = row.asset.to_string();
        Some(Self { at, asset })
    }
}

impl InventoryService {
    /// The assets behind a place, those that rotated longest ago first; at most `limit` and at most [`PAGE_MAX`]. A page may be
    /// short, or empty, and have a next one: its list says behind which place, as text.
    pub async fn oldest(
        &self,
        filter: &Filter,
        after: Option<Rotated>,
        limit: usize,
        policies: &CurrentPolicies,
    ) -> Result<AssetList, Error> {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut after = after.unwrap_or(Rotated {
            at: i64::MIN,
            asset: String::new(),
        });
        let mut list = AssetList {
            rows: Vec::new(),
            next: None,
            unreadable: Vec::new(),
        };
        // Rings are few, and their ages are those of their keys.
        let mut rings = self.rings(&mut list.unreadable).await?;
        let mut read = 0;
        loop {
            let place = (after.at, after.asset.as_str());
            let aged = self.store().rotated_after(place, TOGETHER).await?;
            let full = i64::try_from(aged.len()).is_ok_and(|count| count == TOGETHER);
            read += aged.len();
            let last = aged.last().map(|row| Rotated {
                at: row.rotated_at,
                asset: row.asset.clone(),
            });
            let names: Vec<&str> = aged.iter().map(|row| row.asset.as_str()).collect();
            let rows = self.store().assets_of(&names).await?;
            list.unreadable
                .extend(rows.unreadable.into_iter().map(|row| row.key));
            let mut some: BTreeMap<Rotated, InventoryRow> = rows
                .read
                .into_iter()
                .filter_map(|row| Some((Rotated::of(&row)?, row)))
                .collect();
            // Of what was not read yet all is behind the last one.
            let until = last.filter(|_| full);
            let is_next = |place: &Rotated| {
                *place > after && until.as_ref().is_none_or(|until| place <= until)
            };
            let (before, behind): (BTreeMap<_, _>, BTreeMap<_, _>) =
                rings.into_iter().partition(|(place, _)| is_next(place));
            some.extend(before);
            rings = behind;
            let count = some.len();
            for (seen, (place, row)) in (1..).zip(some) {
                let row = policies.hold(row);
                if !filter.admits(&row, policies) {
                    continue;
                }
                list.rows.push(row);
                if list.rows.len() == limit {
                    let more = seen < count || full;
                    list.next = more.then(|| place.to_string());
                    return Ok(list);
                }
            }
            match until {
                None => return Ok(list),
                Some(until) if read >= MOST_READ => {
                    list.next = Some(until.to_string());
                    return Ok(list);
                }
                Some(until) => after = until,
            }
        }
    }

    /// All rings that have a key in use.
    async fn rings(
        &self,
        unreadable: &mut Vec<String>,
    ) -> Result<BTreeMap<Rotated, InventoryRow>, Error> {
        let beginning = format!("{SIGNING}/");
        let mut rings = BTreeMap::new();
        let mut after = beginning.clone();
        loop {
            let all = self.store().assets_after((None, false), &after, TOGETHER);
            let page = all.await?;
            unreadable.extend(page.rows.unreadable.into_iter().map(|row| row.key));
            let of_rings = page
                .rows
                .read
                .into_iter()
                .take_while(|row| row.asset.as_str().starts_with(&beginning));
            rings.extend(of_rings.filter_map(|row| Some((Rotated::of(&row)?, row))));
            match page.next {
                Some(next) if next.starts_with(&beginning) => after = next,
                _ => return Ok(rings),
            }
        }
    }
}
