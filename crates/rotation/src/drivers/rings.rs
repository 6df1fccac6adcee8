//! Rings as assets: what the planner is told of their keys and of the standing orders for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use calendar::facts::{Order, UsageFacts, VersionFacts};
use calendar::name::Word;
use calendar::time::{Span, Time};
use calendar::windows::{Weekday, Window};
use calendar::words::VersionState;
use keyring::ceremony::CeremonyService;
use keyring::keys::{Key, Keys, Ring};
use keyring::usage::KeyUsage;
use store::Store;
use trust::KeyState;
use trust::request::{OrderWindow, StandingOrder};

use crate::error::Error;
use crate::times::{from_row, to_row};

/// What the names of rings begin with.
const KIND: &str = "signing/";

/// Orders of a page.
const PAGE: i64 = 1_000;

/// The asset that a ring is.
pub fn asset_of_ring(ring: &str) -> String {
    format!("{KIND}{ring}")
}

/// The ring that an asset is.
pub fn ring_of_asset(asset: &str) -> Option<&str> {
    asset.strip_prefix(KIND)
}

/// The rings of this installation.
pub struct Rings {
    keys: Arc<Keys>,
    ceremonies: CeremonyService,
    store: Store,
}

impl Rings {
    /// By the snapshot of the keys, and the orders' own transcripts.
    pub fn new(keys: Arc<Keys>, ceremonies: CeremonyService, store: Store) -> Self {
        Self {
            keys,
            ceremonies,
            store,
        }
    }

    /// The keys of each ring, as their transcripts show them now.
    pub async fn versions(&self) -> BTreeMap<String, Vec<VersionFacts>> {
        self.keys.refresh().await;
        let snapshot = self.keys.current();
        let rings = snapshot.rings.values();
        rings
            .map(|ring| {
                let keys = ring.keys.iter().map(|key| version(key));
                (ring.name.to_string(), keys.collect())
            })
            .collect()
    }

    /// How often the ring's primary signed. Unknown as long as the leaves are not counted, as after an upgrade.
    pub async fn usage(&self, ring: &str, now: Time) -> Result<Option<UsageFacts>, Error> {
        let snapshot = self.keys.current();
        let primary = snapshot
            .rings
            .get(ring)
            .and_then(|ring| ring.primary.as_ref());
        let Some(primary) = primary else {
            return Ok(None);
        };
        match KeyUsage::lately(&self.store, &primary.kid, to_row(now)).await {
            Ok(usage) => Ok(Some(UsageFacts {
                counted_at: now,
                uses: usage.total,
                per_day: usage.per_day(),
            })),
            Err(store::Error::Uncounted { leaves }) => {
                tracing::warn!(ring, leaves, "the signatures of a ring are not counted yet");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The orders that hold, by an index of them: what ended costs nothing.
    pub async fn standing_orders(&self, now: Time) -> Result<Vec<Order>, Error> {
        let mut found = Vec::new();
        let mut place = (to_row(now).millis(), String::new());
        loop {
            let page = self.store.orders_until((place.0, &place.1), PAGE).await?;
            let rows = page.rows.read;
            for row in &rows {
                let report = self.ceremonies.order_report(&row.id.to_string()).await?;
                // One whose transcript does not verify permits nothing.
                if let Some(permits) = &report.permits {
                    let used = report.uses.saturating_sub(report.left);
                    found.extend(order(permits, used, report.state == "paused"));
                }
            }
            match rows.last() {
                Some(last) if rows.len() as i64 == PAGE => {
                    place = (last.not_after.millis(), last.id.to_string());
                }
                _ => return Ok(found),
            }
        }
    }
}

fn version(key: &Key) -> VersionFacts {
    let life = key.state.life();
    let since = |at: Option<trust::Time>| from_row(at.unwrap_or(life.prepared_at));
    VersionFacts {
        number: key.number,
        created_at: from_row(life.prepared_at),
        expires_at: None,
        state: match &key.state {
            KeyState::Prepared { published_at, .. } => VersionState::Prepared {
                published_at: published_at.map(from_row),
            },
            KeyState::Primary(active) => VersionState::Primary {
                since: from_row(active.activated_at),
            },
            KeyState::Secondary { demoted_at, .. } => VersionState::Secondary {
                since: from_row(*demoted_at),
            },
            KeyState::Retired(_) => VersionState::Retired {
                since: since(life.retired_at),
            },
            KeyState::Archived { .. } => VersionState::Archived {
                since: since(life.archived_at),
            },
            KeyState::Revoked { revocation, .. } => VersionState::Revoked {
                since: from_row(revocation.revoked_at),
            },
        },
    }
}

/// An order as the planner sees it; one of a ring whose name is no asset's does not exist.
fn order(permits: &StandingOrder, used: u32, paused: bool) -> Option<Order> {
    let id: Word = permits.id.to_string().parse().ok()?;
    Some(Order {
        id,
        covers: asset_of_ring(permits.ring.as_str()).parse().ok()?,
        not_before: from_row(permits.not_before),
        not_after: from_row(permits.not_after),
        uses: permits.uses,
        used,
        interval: Span::seconds(permits.interval_seconds),
        windows: windows(&permits.window),
        paused,
    })
}

/// None where it is always open.
fn windows(window: &OrderWindow) -> Vec<Window> {
    if *window == OrderWindow::always() {
        return Vec::new();
    }
    let days = window.days.iter().filter_map(|day| {
        let word = day.to_string();
        let mut all = Weekday::ALL.iter().copied();
        all.find(|known| known.as_str() == word)
    });
    vec![Window {
        days: days.collect(),
        from_minute: window.from_minute,
        until_minute: window.until_minute,
    }]
}

/// The key of a number, if it is in memory.
pub(super) fn key_of(ring: &Ring, number: u32) -> Option<&Arc<Key>> {
    ring.keys.iter().find(|key| key.number == number)
}

/// The standby that a rotation would make the primary: the oldest that is newer than the primary.
pub(super) fn standby_of(ring: &Ring) -> Option<&Arc<Key>> {
    let newest = ring.primary.as_ref().map_or(0, |key| key.number);
    let prepared = ring.keys.iter().filter(|key| {
        key.number > newest
            && matches!(
                key.state,
                KeyState::Prepared {
                    published_at: Some(_),
                    ..
                }
            )
    });
    prepared.min_by_key(|key| key.number)
}

/// When the ring's key was published, in any of its states.
pub(super) fn published_at(key: &Key) -> Option<Time> {
    key.state.life().published_at.map(from_row)
}

/// Now, as keys have it.
pub(super) fn at(now: Time) -> trust::Time {
    to_row(now)
}
