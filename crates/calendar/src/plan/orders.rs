//! Which standing order a rotation is made under, and why none.

use std::collections::HashMap;

use crate::facts::Order;
use crate::name::{AssetName, Word};
use crate::time::Time;
use crate::windows::OpenHours;
use crate::words::Reason;

/// The standing orders, with the uses that this plan has given away.
pub(super) struct Orders<'a> {
    orders: Vec<Counted<'a>>,
    by_name: HashMap<&'a str, Vec<usize>>,
}

struct Counted<'a> {
    order: &'a Order,
    /// Without windows that can be read nothing is made under it.
    open: Option<OpenHours>,
    used: u32,
}

/// A use that an order has for a rotation.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) index: usize,
    pub(super) id: Word,
    pub(super) open: OpenHours,
    /// No use earlier.
    pub(super) from: Time,
    /// No use later.
    pub(super) until: Time,
}

impl<'a> Orders<'a> {
    pub(super) fn new(orders: &'a [Order]) -> Self {
        let mut sorted: Vec<&Order> = orders.iter().collect();
        // The one that ends first is used first, whatever order they were listed in.
        sorted.sort_by_key(|order| (order.not_after, order.id.clone()));
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, order) in sorted.iter().enumerate() {
            by_name
                .entry(order.covers.as_str())
                .or_default()
                .push(index);
        }
        let counted = |order: &'a Order| Counted {
            order,
            open: OpenHours::of(&order.windows).ok(),
            used: order.used,
        };
        Self {
            orders: sorted.into_iter().map(counted).collect(),
            by_name,
        }
    }

    /// The order for a version of `asset` that has to be begun at `latest` at the latest, by a policy open at `open`.
    /// Otherwise why there is none: of several reasons the one that came closest.
    pub(super) fn offer(
        &self,
        asset: &AssetName,
        latest: Time,
        open: &OpenHours,
    ) -> Result<Offer, Reason> {
        let text = asset.as_str();
        // The asset itself, then what it is a scope of.
        let parent = text.rsplit_once('/').map_or(text, |(parent, _)| parent);
        let names = [text, parent];
        let covering = names
            .iter()
            .filter_map(|name| self.by_name.get(name))
            .flatten();
        let mut why = Reason::Approval;
        for index in covering {
            let Some(counted) = self.orders.get(*index) else {
                continue;
            };
            match counted.judge(latest, open) {
                Ok((from, open)) => {
                    return Ok(Offer {
                        index: *index,
                        id: counted.order.id.clone(),
                        open,
                        from,
                        until: counted.order.not_after,
                    });
                }
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    /// Uses up a use.
    pub(super) fn take(&mut self, index: usize) {
        if let Some(counted) = self.orders.get_mut(index) {
            counted.used = counted.used.saturating_add(1);
        }
    }
}

impl Counted<'_> {
    fn judge(&self, latest: Time, open: &OpenHours) -> Result<(Time, OpenHours), Reason> {
        let order = self.order;
        if order.paused {
            return Err(Reason::OrderPaused);
        }
        if self.used >= order.uses {
            return Err(Reason::OrderUsedUp);
        }
        if latest > order.not_after {
            return Err(Reason::OrderEnded);
        }
        let waits = order
            .interval
            .as_seconds()
            .saturating_mul(u64::from(self.used));
        let from = order.not_before + crate::time::Span::seconds(waits);
        if from > latest {
            return Err(Reason::OrderInterval);
        }
        let own = self.open.as_ref().ok_or(Reason::Window)?;
        let both = own.and(open);
        match both.longest_gap() {
            Some(_) => Ok((from, both)),
            None => Err(Reason::Window),
        }
    }
}
