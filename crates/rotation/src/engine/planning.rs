//! From facts to events: what the planner says becomes rows, each version once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use calendar::facts::{Consent, Facts, Order, Pause};
use calendar::plan::{Plan, Rotation, plan};
use calendar::policy::Policy;
use calendar::words::{Priority, Trigger};
use calendar::{AssetFacts, Policies, Span, Time};
use log::Event;
use store::{Change, MAX_PAGE, RotationEventRow};
use trust::leaf::ActKind;

use super::Engine;
use super::error::Error;
use super::event_id::event_id;
use super::facts::open_event;
use crate::times::{from_row, to_row};

/// Most events that are made of one plan; a backlog is planned again for the others.
pub(super) const MOST_EVENTS: usize = 10_000;

/// The leaf of a rotation's beginning.
const BEGIN: &str = "begin";

/// All that a plan is made of.
pub struct Known {
    /// As of when.
    pub now: Time,
    /// Assets with their events, and whether the scheduler is paused.
    pub facts: Facts,
    /// The policies in force.
    pub policies: Arc<Policies>,
    /// The standing orders, with the uses that events have and have not filed yet.
    pub orders: Vec<Order>,
}

impl Known {
    /// What rotates from now on for `horizon`.
    pub fn plan(&self, horizon: Span) -> Plan {
        plan(&self.facts, &self.policies, &self.orders, self.now, horizon)
    }
}

impl Engine {
    /// What there is, as of now.
    pub async fn known(&self) -> Result<Known, Error> {
        let now = self.now().await?;
        let inventory = &self.parts().inventory;
        let policies = inventory.policies(now).await?;
        let mut assets = inventory.assets().await?;
        let mut orders = inventory.orders(now).await?;
        let mut events: HashMap<String, Vec<RotationEventRow>> = HashMap::new();
        for row in self.open_events().await? {
            // A use that is promised and not filed.
            if let (Some(order), None) = (&row.order, &row.ceremony) {
                let of = orders.iter_mut().find(|known| known.id.as_str() == order);
                if let Some(known) = of {
                    known.used = known.used.saturating_add(1);
                }
            }
            events.entry(row.asset.clone()).or_default().push(row);
        }
        for asset in &mut assets {
            add_events(
                asset,
                events.remove(asset.name.as_str()).unwrap_or_default(),
            )?;
        }
        // It is counted for those alone whose number of uses has a limit.
        for asset in &mut assets {
            let policy = policies.get(&asset.key_type);
            if policy.is_some_and(|policy| policy.document().usage_limit.is_some())
                && let Some(usage) = inventory.usage(asset, now).await?
            {
                asset.usage = Some(usage);
            }
        }
        let pause = self.store().rotation_pause().await?;
        let facts = Facts {
            assets,
            pause: pause.since.map(|since| Pause {
                since: from_row(since),
                until: None,
            }),
            ..Facts::default()
        };
        Ok(Known {
            now,
            facts,
            policies,
            orders,
        })
    }

    /// All that are open, by asset and version.
    pub async fn open_events(&self) -> Result<Vec<RotationEventRow>, Error> {
        let mut all: Vec<RotationEventRow> = Vec::new();
        loop {
            let last = all.last();
            let place = last.map_or((String::new(), 0), |row| (row.asset.clone(), row.version));
            let page = self
                .store()
                .open_rotations((&place.0, place.1), MAX_PAGE)
                .await?;
            let full = page.len() as i64 == MAX_PAGE;
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    /// The plan of the next time.
    pub async fn plan(&self, horizon: Span) -> Result<Plan, Error> {
        Ok(self.known().await?.plan(horizon))
    }

    /// Makes events of what the plan has for the next time and has none yet; those that were made.
    pub async fn make_due(&self, horizon: Span) -> Result<Vec<RotationEventRow>, Error> {
        self.make_due_by(horizon, MOST_EVENTS).await
    }

    /// So many of one plan, what is most urgent first, and then of the next one until nothing is left.
    pub(crate) async fn make_due_by(
        &self,
        horizon: Span,
        at_once: usize,
    ) -> Result<Vec<RotationEventRow>, Error> {
        let reason = |rotation: &Rotation| rotation.sentence();
        let actor = self.parts().actor.clone();
        let mut made = Vec::new();
        loop {
            let known = self.known().await?;
            let plan = known.plan(horizon);
            let mut wanted: Vec<&Rotation> =
                plan.rotations.iter().filter(|one| !one.has_event).collect();
            wanted.sort_by_key(|one| urgency(&known, one));
            let are_all = wanted.len() <= at_once;
            wanted.truncate(at_once);
            let some = self.make(&known, &wanted, &actor, reason).await?;
            // Another replica makes what this one could not.
            let is_over = are_all || some.is_empty();
            made.extend(some);
            if is_over {
                return Ok(made);
            }
        }
    }

    /// Makes events of these, of each asset the first. Of two replicas that do the same at once, one makes each.
    pub(super) async fn make(
        &self,
        known: &Known,
        wanted: &[&Rotation],
        by: &str,
        reason: impl Fn(&Rotation) -> String,
    ) -> Result<Vec<RotationEventRow>, Error> {
        let primaries: BTreeMap<&str, u32> = known
            .facts
            .assets
            .iter()
            .filter_map(|asset| Some((asset.name.as_str(), asset.primary().ok()?.0.number)))
            .collect();
        let mut seen = HashSet::new();
        let mut made = Vec::new();
        for rotation in wanted.iter().take(MOST_EVENTS) {
            if !seen.insert(rotation.asset.as_str()) {
                continue;
            }
            let previous = primaries.get(rotation.asset.as_str()).copied();
            let row = self.row(known.now, rotation, previous, (by, reason(rotation)))?;
            let change = Change::BeginRotation(Box::new(row.clone()));
            let event = Event {
                asset: Some(&row.asset),
                version: Some(row.version.into()),
                previous_version: row.previous_version.map(Into::into),
                reason: row.reason.as_deref(),
                reference: Some(&row.id),
                ..Event::new(ActKind::Rotation, BEGIN, by, row.created_at)
            };
            match self.log().commit(&change, &event).await {
                Ok(_) => made.push(row),
                // Another replica has made it.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(made)
    }

    fn row(
        &self,
        now: Time,
        rotation: &Rotation,
        previous: Option<u32>,
        (by, reason): (&str, String),
    ) -> Result<RotationEventRow, Error> {
        let (consent, order) = match &rotation.consent {
            Consent::Automatic => ("automatic", None),
            Consent::Ceremony => ("ceremony", None),
            Consent::Order(id) => ("order", Some(id.to_string())),
        };
        // What is overdue keeps the hour that it was given for its beginning.
        let slot = rotation.begins_at.unwrap_or(rotation.slot);
        let notice = if rotation.notice {
            Span::days(1)
        } else {
            Span::ZERO
        };
        let created_at = to_row(now);
        Ok(RotationEventRow {
            id: event_id(now, self.parts().env.random()?),
            asset: rotation.asset.to_string(),
            key_type: rotation.key_type.to_string(),
            version: rotation.version,
            previous_version: previous,
            cause: rotation.trigger.as_str().to_owned(),
            state: "scheduled".to_owned(),
            slot: to_row(slot),
            due: to_row(rotation.due),
            consent: consent.to_owned(),
            order,
            ceremony: None,
            made: None,
            published_at: None,
            promoted_at: None,
            retired_at: None,
            requested_by: by.to_owned(),
            reason: Some(reason.chars().take(500).collect()),
            held: false,
            cancel: false,
            roll_back: false,
            waits: None,
            detail: None,
            created_at,
            updated_at: created_at,
            ended_at: None,
            look_at: to_row((slot - notice).max(now)),
            lease_epoch: 0,
            declared_at: None,
            retries: 0,
        })
    }
}

/// What comes first: emergencies, then what its policy says is most important, then what is due first.
fn urgency(known: &Known, rotation: &Rotation) -> (bool, Option<Priority>, Time) {
    let policy = known.policies.get(&rotation.key_type);
    (
        rotation.trigger != Trigger::Event,
        policy.map(Policy::priority),
        rotation.due,
    )
}

/// Those that are over at their retirement are no events of the planner's any more.
fn add_events(asset: &mut AssetFacts, rows: Vec<RotationEventRow>) -> Result<(), Error> {
    for row in rows {
        // Its old version is retired: the end of grace is waited for beside the next rotation.
        if row.retired_at.is_some() {
            continue;
        }
        asset.held |= row.held;
        asset.events.push(open_event(&row)?);
    }
    asset.events.sort_by_key(|event| event.version);
    Ok(())
}
