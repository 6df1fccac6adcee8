//! What an executor has to do about a standing order by itself: take the next use when it is due, and make the key primary
//! when it is due to be.

use trust::request::{Request, StandingOrder};
use trust::{Kid, Operation, Time, plan::Blocked};

use super::error::Error;
use super::schedule::{Lost, Need, NextUse, is_made, next_use};
use super::service::CeremonyService;
use super::under_order::OPEN;
use crate::keys::{Ring, Snapshot};
use crate::rotation::{self, RingChange};
use base::step;
use store::{CeremonyState, OrderRow, UseRow};
use trust::KeyState;

/// Orders that hold and are looked at; of more of them those that end last wait for the others' end.
const MOST: i64 = 2_000;

/// What is to be done about an order now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// This use is taken, and no other: of two executors who saw that it is due one takes it.
    Use(u32),
    /// One that was taken before goes on: its ceremony.
    GoOn(String),
    /// Another key is not needed, or may not be made yet: look again at this instant, or when something changed.
    Wait(Option<Time>),
    /// Why there will be none, unless something changes.
    No(&'static str),
}

impl CeremonyService {
    /// Nobody withdrew them and they have not ended, by their rows; a row that cannot be read keeps no other waiting.
    pub(super) async fn orders_that_hold(&self) -> Result<store::Rows<OrderRow>, Error> {
        let now = self.env.now().millis();
        Ok(self.store.orders_until((now, ""), MOST).await?.rows)
    }

    /// What an order permits, where this executor is the one that it names.
    pub(super) async fn order_of_ours(&self, order: &str) -> Result<Option<StandingOrder>, Error> {
        let known = self.verified_order(order).await?.order;
        match self.require_signer(&known) {
            Ok(()) => Ok(Some(known)),
            Err(Error::OtherExecutor(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn due(
        &self,
        order: &StandingOrder,
        (uses, others): (&[UseRow], &[UseRow]),
        snapshot: &Snapshot,
    ) -> Result<Due, Error> {
        let now = self.env.now();
        match self.open_use(uses).await? {
            // Another one has it, or died: that is settled before anything else happens here.
            Some((_, CeremonyState::Executing)) => return Ok(Due::Wait(None)),
            Some((id, _)) => return Ok(Due::GoOn(id)),
            None => {}
        }
        let Some(ring) = snapshot.rings.get(order.ring.as_str()) else {
            return Ok(Due::No("its ring is unknown, or cannot be read"));
        };
        let mut need = self.need(ring, uses, snapshot).await?;
        // What another order of the ring has under way is a successor, too.
        for used in others {
            use CeremonyState as S;
            let waits = match used.state {
                S::Executed | S::Executing => true,
                S::Proposed | S::Approved => now.since(used.created_at) < OPEN,
                _ => false,
            };
            if waits {
                let ends = self.retire_at(&used.ceremony.to_string()).await?;
                need.newest_ends = need.newest_ends.max(ends);
            }
        }
        Ok(match next_use(order, &need, &self.safety, now) {
            NextUse::Now => Due::Use(need.taken.saturating_add(1)),
            NextUse::At(at) => Due::Wait(Some(at)),
            NextUse::None(why) => Due::No(why),
        })
    }

    async fn need(&self, ring: &Ring, uses: &[UseRow], snapshot: &Snapshot) -> Result<Need, Error> {
        let mut need = Need {
            newest_ends: newest_ends(ring),
            taken: uses.iter().map(|used| used.number).max().unwrap_or(0),
            lost: Lost::of(uses),
        };
        // It waits for custodians, or is there and not believed: another one would fare no better.
        if let Some(used) = uses.iter().rev().find(|used| is_made(used.state)) {
            let refused = |kid: &Kid| snapshot.refusal(kid).is_some();
            let waits = used.state == CeremonyState::Executed;
            if waits || used.kid.as_ref().is_some_and(refused) {
                let ends = self.retire_at(&used.ceremony.to_string()).await?;
                need.newest_ends = need.newest_ends.max(ends);
            }
        }
        Ok(need)
    }

    async fn retire_at(&self, ceremony: &str) -> Result<Option<Time>, Error> {
        let request = Request::decode(&self.row(ceremony).await?.request)?;
        Ok(match request.operation {
            Operation::Generate(generate) => Some(generate.retire_at),
            _ => None,
        })
    }

    /// Makes the next key of the order's ring primary, if it was made under this order and its time has come. The order says
    /// when each of its keys is due to be primary. Otherwise when to look again, as far as is known.
    pub(super) async fn rotate_if_due(
        &self,
        order: &StandingOrder,
        uses: &[UseRow],
        snapshot: &Snapshot,
    ) -> Result<Result<Kid, Option<Time>>, Error> {
        let Some(ring) = snapshot.rings.get(order.ring.as_str()) else {
            return Ok(Err(None));
        };
        let now = self.env.now();
        let under = |kid: &Kid| {
            let key = ring.keys.iter().find(|key| key.kid == *kid);
            key.is_some_and(|key| uses.iter().any(|used| used.ceremony == key.ceremony))
        };
        let plan = match rotation::plan(ring, &RingChange::Rotate, &self.safety, now) {
            Ok(plan) => plan,
            Err(Blocked::NotReady { kid, ready_at }) => {
                return Ok(Err(under(&kid).then_some(ready_at)));
            }
            Err(_) => return Ok(Err(None)),
        };
        let Some(kid) = plan.next_primary().filter(|kid| under(kid)).cloned() else {
            return Ok(Err(None));
        };
        let reason = format!("standing order {}", order.id);
        match rotation::apply(&plan, &self.log, &self.actor, Some(&reason), now).await {
            Ok(_) => {
                step::reached("rotated");
                Ok(Ok(kid))
            }
            // Somebody changed the ring in between.
            Err(error) if error.is_conflict() => Ok(Err(Some(now))),
            Err(error) => Err(error.into()),
        }
    }
}

/// Of those that sign or are about to.
fn newest_ends(ring: &Ring) -> Option<Time> {
    let mut keys = ring.keys.iter().rev();
    let newest =
        keys.find(|key| matches!(key.state, KeyState::Prepared { .. } | KeyState::Primary(_)));
    newest.map(|key| key.retire_at)
}
