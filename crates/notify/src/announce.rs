//! What has to be told goes into the outbox: once for each act, in the transaction that moves the mark of what was told
//! (ADR 53). If we die before its COMMIT nothing is there and the next one does the same; after it, everything.

mod told;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base::Trouble;
use metrics::{counter, gauge};
use store::{Addressee, AlertRow, CeremonyState, DeliveryState, Error, Heads, LeafRow, NewMessage};
use trust::key_name::KeyName;
use trust::leaf::Leaf;
use trust::{
    MemberId, MemberSignature, Purpose, Request, Roster, Sha256Digest, Time, error_chain, hex,
};

use crate::alerts;
use crate::context::Context;
use crate::event::EventKind;
use crate::facts::Facts;
use crate::lease::Lease;
use crate::near::{Near, executor_late, near_end, ratification, running_out};
use crate::rotations;
use crate::rotations_read::Rotations;
use crate::settings::Receiver;
use base::names::{NOTIFY_DROPPED, NOTIFY_OLDEST_SECONDS, NOTIFY_WAITING};

const LEASE: &str = "notify";

/// Longer than a page of acts takes.
const STEP: Duration = Duration::from_secs(3);

/// How often it is looked for acts.
const EVERY: Duration = Duration::from_secs(1);

/// How often it is looked for deadlines, and how much waits.
const DEADLINES: Duration = Duration::from_secs(5);

/// How often it is looked what is left of standing orders, and how many are looked at.
const ORDERS: Duration = Duration::from_secs(60);
const MOST_ORDERS: i64 = 1_000;

/// How often old messages are forgotten, and how many at once.
const FORGET: Duration = Duration::from_secs(600);
const FORGOTTEN: i64 = 500;

/// Acts that are told together.
const TOGETHER: i64 = 50;

/// Open ceremonies that are read together.
const PAGE: i64 = 500;

/// Ceremonies whose deadline is near, of which anybody is told.
const MOST_NEAR: usize = 1_000;

/// What the table takes. Every text is bounded so that there is nothing longer, and what cannot be kept must not keep what
/// comes after it.
const MAX_DATA: usize = 16_384;

/// Of one member's passkey nobody is told more often.
const AGAIN_MILLIS: i64 = 3_600_000;

/// Writes messages.
pub struct Announcer {
    context: Arc<Context>,
    lease: Lease,
    /// Deadlines that were told of while they are near.
    near: HashSet<String>,
    looked: Option<Time>,
    /// Standing orders of which little is left, and when it was looked for them.
    orders: Vec<Near>,
    orders_looked: Option<Time>,
    /// Rotations that do not go on by themselves, and when it was looked for them.
    rotations: Vec<Near>,
    rotations_looked: Option<Time>,
    looks: Rotations,
    forgot: Option<Time>,
}

impl Announcer {
    pub fn new(context: Arc<Context>) -> Self {
        let lease = Lease::new(
            context.store.clone(),
            LEASE.to_owned(),
            context.instance.clone(),
            STEP,
        );
        Self {
            context,
            lease,
            near: HashSet::new(),
            looked: None,
            orders: Vec::new(),
            orders_looked: None,
            rotations: Vec::new(),
            rotations_looked: None,
            looks: Rotations::default(),
            forgot: None,
        }
    }

    /// Again and again, until dropped.
    pub async fn run(&mut self) {
        let mut trouble = Trouble::default();
        loop {
            match self.round().await {
                Ok(()) if trouble.is_over() => tracing::info!("notifications are written again"),
                Ok(()) => {}
                Err(error) => {
                    let why = error_chain(&error);
                    if let Some(count) = trouble.is(&why) {
                        tracing::warn!(error = why, count, "notifications are not written");
                    }
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// What there is to do at this instant.
    pub async fn round(&mut self) -> Result<(), Error> {
        let now = self.context.env.now();
        let due = |last: Option<Time>, every| last.is_none_or(|last| now.since(last) >= every);
        let looks = due(self.looked, DEADLINES);
        if looks {
            self.looked = Some(now);
            self.tell_figures(now).await?;
        }
        if !self.lease.is_held().await? {
            // Whoever has it tells of deadlines; when it comes to us nothing is known.
            self.near.clear();
            self.orders_looked = None;
            self.rotations_looked = None;
            self.looks = Rotations::default();
            return Ok(());
        }
        while self.announce_acts(now).await? {}
        while self.announce_alerts(now).await? {}
        while self.announce_levels(now).await? {}
        self.announce_digest(now).await?;
        if due(self.orders_looked, ORDERS) {
            self.orders = self.orders_near(now).await?;
            self.orders_looked = Some(now);
        }
        if due(self.rotations_looked, rotations::EVERY) {
            let (store, told_for) = (&self.context.store, self.context.settings.dead_after);
            self.rotations = self.looks.near(store, told_for, now).await?;
            self.rotations_looked = Some(now);
        }
        if looks {
            self.look_at_deadlines(now).await?;
        }
        if due(self.forgot, FORGET) {
            let before = Time::from_millis(
                now.millis()
                    - i64::try_from(self.context.settings.retention.as_millis())
                        .unwrap_or(i64::MAX),
            );
            while self
                .context
                .store
                .forget_messages(before, FORGOTTEN)
                .await?
                > 0
            {}
            self.forgot = Some(now);
        }
        Ok(())
    }

    /// The next acts; whether there may be more.
    async fn announce_acts(&self, now: Time) -> Result<bool, Error> {
        let store = &self.context.store;
        let from = store.told().await?;
        let rows = store.acts_from(from, TOGETHER).await?;
        let Some(last) = rows.last() else {
            return Ok(false);
        };
        let roster = (self.context.roster)();
        let mut messages = Vec::new();
        for row in &rows {
            if let Some(message) = self.message_of(row, roster.as_ref(), now).await? {
                messages.push(message);
            }
        }
        self.write((from, last.index + 1), &messages).await?;
        Ok(rows.len() as i64 == TOGETHER)
    }

    async fn write(&self, place: (i64, i64), messages: &[NewMessage]) -> Result<bool, Error> {
        let most = i64::from(self.context.settings.most_waiting);
        let store = &self.context.store;
        let announced = store.announce(place.0, place.1, messages, most).await?;
        if announced.dropped > 0 {
            counter!(NOTIFY_DROPPED).increment(announced.dropped);
            tracing::warn!(
                dropped = announced.dropped,
                "notifications were not kept: too many wait for their receiver"
            );
        }
        Ok(announced.first)
    }

    async fn message_of(
        &self,
        row: &LeafRow,
        roster: Option<&Roster>,
        now: Time,
    ) -> Result<Option<NewMessage>, Error> {
        // What cannot be read is told by the check of the log.
        let Ok(Leaf::Act(act)) = Leaf::parse(row.body.as_bytes()) else {
            return Ok(None);
        };
        let Some((kind, id)) = EventKind::of_act(&act).zip(act.reference.as_ref()) else {
            return Ok(None);
        };
        // Somebody decided that they are told: an outage does not change that.
        if kind == EventKind::Notice {
            return self.notice(id, act.digest, now).await;
        }
        // Nobody is to be woken by what is past: after an outage, or before there was a receiver.
        if now.since(act.time) >= self.context.settings.dead_after {
            return Ok(None);
        }
        if !kind.is_of_a_ceremony() {
            let Ok(id) = id.parse() else {
                return Ok(None);
            };
            let told = (row.index, act.as_ref());
            let (facts, dedup) = match kind {
                EventKind::EmergencyStopped => (Facts::of_stop(told, id), None),
                // Whoever has the passkey can be refused again and again.
                EventKind::PasskeyCloned => {
                    let hour = act.time.millis().div_euclid(AGAIN_MILLIS);
                    let dedup = format!("passkey/{}/{hour}", act.actor);
                    (Facts::of_clone(told, id), Some(dedup))
                }
                _ => (Facts::of_statement(kind, told, id), None),
            };
            let audience = roster.map(|roster| match kind {
                EventKind::PasskeyCloned => EventKind::of_passkey(roster, &act.actor),
                _ => kind.audience(roster, None),
            });
            let audience = audience.unwrap_or_default();
            let dedup = dedup.unwrap_or_else(|| format!("leaf/{}", row.index));
            return Ok(self.message(kind, dedup, &facts, &audience, now));
        }
        let about = match kind {
            EventKind::OrderWithdrawn => self.ceremony_of(id).await?,
            _ => Some(id.clone()),
        };
        let Some(id) = about else {
            return Ok(None);
        };
        let Some((id, state, request)) = self.request(&id).await? else {
            return Ok(None);
        };
        let Some(kind) = kind.of_order(&request, state) else {
            return Ok(None);
        };
        let facts = Facts::of_act(kind, (row.index, &act), id, &request);
        let proposer = request.proposer.as_ref();
        let audience = roster.map(|roster| kind.audience(roster, proposer));
        let audience = audience.unwrap_or_default();
        Ok(self.message(kind, format!("leaf/{}", row.index), &facts, &audience, now))
    }

    /// Of a ceremony whose request is the one that the id names.
    async fn request(
        &self,
        id: &str,
    ) -> Result<Option<(Sha256Digest, CeremonyState, Request)>, Error> {
        let row = match self.context.store.ceremony(id).await {
            Ok(row) => row,
            // Of one row alone; the others are not to wait for somebody who mends it.
            Err(error) if error.is_corrupt() => None,
            Err(error) => return Err(error),
        };
        Ok(row.and_then(|row| {
            let same = Sha256Digest::of(&row.request) == row.id;
            let request = Request::decode(&row.request).ok().filter(|_| same)?;
            Some((row.id, row.state, request))
        }))
    }

    /// The ceremony that asked for a standing order.
    async fn ceremony_of(&self, order: &str) -> Result<Option<String>, Error> {
        match self.context.store.order(order).await {
            Ok(row) => Ok(row.map(|row| row.ceremony.to_string())),
            Err(error) if error.is_corrupt() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Standing orders that end soon or are nearly used up.
    async fn orders_near(&self, now: Time) -> Result<Vec<Near>, Error> {
        let store = &self.context.store;
        let mut near = Vec::new();
        let rows = store.orders_until((now.millis(), ""), MOST_ORDERS).await?;
        for row in rows.rows.read {
            let taken = store.last_use(&row.id.to_string()).await?;
            let Some((_, _, request)) = self.request(&row.ceremony.to_string()).await? else {
                continue;
            };
            near.extend(running_out(&row, taken, &request, now));
        }
        near.truncate(MOST_NEAR);
        Ok(near)
    }

    fn message(
        &self,
        kind: EventKind,
        dedup: String,
        facts: &Facts,
        audience: &[MemberId],
        now: Time,
    ) -> Option<NewMessage> {
        let to = self.context.addressees(kind, audience);
        self.message_to(kind, dedup, facts, to, now)
    }

    /// To these; none to nobody.
    fn message_to(
        &self,
        kind: EventKind,
        dedup: String,
        facts: &Facts,
        to: Vec<Addressee>,
        now: Time,
    ) -> Option<NewMessage> {
        // Whoever is named twice hears it once.
        let to: Vec<Addressee> = BTreeSet::from_iter(to).into_iter().collect();
        if to.is_empty() {
            return None;
        }
        Some(NewMessage {
            id: message_id(&self.context, &dedup),
            dedup,
            kind: kind.name().to_owned(),
            subject: match (&facts.ceremony, &facts.rotation, &facts.alert) {
                (Some(id), _, _) => id.to_string(),
                (None, Some(id), _) => id.clone(),
                (None, None, alert) => {
                    let id = alert.as_ref().and_then(|alert| alert.id.clone());
                    id.unwrap_or_default()
                }
            },
            data: serde_json::to_string(facts)
                .ok()
                .filter(|data| data.len() <= MAX_DATA)?,
            created_at: now,
            to,
        })
    }

    /// Tells of deadlines that are near, once those who get messages, and again and again those who get conditions.
    async fn look_at_deadlines(&mut self, now: Time) -> Result<(), Error> {
        let mut near = self.deadlines(now).await?;
        near.extend(self.orders.iter().cloned());
        near.extend(self.rotations.iter().cloned());
        let roster = (self.context.roster)();
        let mut messages = Vec::new();
        let new = near.iter().filter(|near| !self.near.contains(&near.key));
        for near in new {
            let mut audience = match &roster {
                Some(roster) => near.kind.audience(roster, near.proposer.as_ref()),
                None => Vec::new(),
            };
            if let (CeremonyState::Proposed, Some(id)) = (near.state, &near.ceremony) {
                let signed = self.approved_by(id, roster.as_ref()).await?;
                audience.retain(|id| !signed.contains(id));
            }
            messages.extend(self.message(near.kind, near.key.clone(), &near.facts, &audience, now));
        }
        if !messages.is_empty() {
            let at = self.context.store.told().await?;
            if !self.write((at, at), &messages).await? {
                return Ok(());
            }
        }
        self.near = near.iter().map(|near| near.key.clone()).collect();
        self.keep_conditions(near, now).await
    }

    async fn deadlines(&self, now: Time) -> Result<Vec<Near>, Error> {
        let within = self.context.settings.deadline_near;
        let unratified = (self.context.unratified)();
        let unratified = unratified.iter();
        let mut near: Vec<Near> = unratified
            .filter_map(|each| ratification(each, within, now))
            .collect();
        let mut before = (i64::MAX, String::new());
        loop {
            let at = (before.0, before.1.as_str());
            let rows = self.context.store.ceremony_heads(Heads::UnderWay, at, PAGE);
            let rows = rows.await?;
            let full = (rows.read.len() + rows.unreadable.len()) as i64 == PAGE;
            for row in &rows.read {
                before = (row.created_at.millis(), row.id.to_string());
                near.extend(near_end(row, self.context.settings.deadline_near, now));
                near.extend(executor_late(row, self.context.settings.executor_late, now));
            }
            if !full || rows.read.is_empty() || near.len() >= MOST_NEAR {
                near.truncate(MOST_NEAR);
                return Ok(near);
            }
        }
    }

    /// Whose keys the stored approvals name, unverified: they are only spared a mail.
    async fn approved_by(
        &self,
        id: &Sha256Digest,
        roster: Option<&Roster>,
    ) -> Result<Vec<MemberId>, Error> {
        let Some(roster) = roster else {
            return Ok(Vec::new());
        };
        let rows = match self.context.store.signatures_of(&[id.to_string()]).await {
            // Of one ceremony alone.
            Err(error) if error.is_corrupt() => Vec::new(),
            rows => rows?,
        };
        let approvals = rows.iter().filter(|row| row.purpose == Purpose::Approve);
        let by = approvals.filter_map(|row| {
            let decoded = MemberSignature::decode(row.signature.as_bytes()).ok()?;
            let name = KeyName::unverified(&decoded).ok()?;
            roster.named(&name).map(|member| member.id.clone())
        });
        Ok(by.collect())
    }

    async fn keep_conditions(&self, mut near: Vec<Near>, now: Time) -> Result<(), Error> {
        let receivers = self.context.settings.receivers.iter();
        let told = receivers.filter(|(_, receiver)| matches!(receiver, Receiver::Alertmanager(_)));
        let told: Vec<&String> = told.map(|(name, _)| name).collect();
        if told.is_empty() {
            return Ok(());
        }
        let silenced = alerts::silenced_rotations(&self.context.store, now).await?;
        near.retain(|near| !silenced.contains(&(near.kind, near.subject.clone())));
        near.extend(alerts::conditions(&self.context.store, now).await?);
        for name in told {
            let most = MOST_NEAR as i64 * 2;
            let known = self.context.store.alerts(name, most).await?;
            let holds = |key: &str| near.iter().any(|near| near.key == key);
            let runs: HashMap<&str, &str> = known
                .iter()
                .filter(|row| row.ended_at.is_none())
                .map(|row| (row.key.as_str(), row.data.as_str()))
                .collect();
            for near in near.iter().filter(|near| near.kind.lasts()) {
                let Ok(data) = serde_json::to_string(&near.facts) else {
                    continue;
                };
                // How many are told together changes while they are; of others it is kept what was said when they began.
                let crowd = near
                    .facts
                    .alert
                    .as_ref()
                    .is_some_and(|one| one.id.is_none());
                match runs.get(near.key.as_str()) {
                    Some(kept) if !crowd || *kept == data => continue,
                    _ => {}
                }
                let row = AlertRow {
                    receiver: name.clone(),
                    key: near.key.clone(),
                    kind: near.kind.name().to_owned(),
                    subject: near.subject.clone(),
                    data,
                    started_at: near.since,
                    ended_at: None,
                    told_at: None,
                };
                self.context.store.begin_alert(&row).await?;
            }
            for key in runs.into_keys().filter(|key| !holds(key)) {
                self.context.store.end_alert(name, key, now).await?;
            }
        }
        Ok(())
    }

    /// Of what waits, in every replica.
    async fn tell_figures(&self, now: Time) -> Result<(), Error> {
        let store = &self.context.store;
        for name in self.context.settings.receivers.keys() {
            let waiting = u32::try_from(store.waiting_for(name).await?).unwrap_or(u32::MAX);
            gauge!(NOTIFY_WAITING, "receiver" => name.clone()).set(waiting);
        }
        let oldest = store.oldest_waiting().await?;
        let age = oldest.map_or(Duration::ZERO, |since| now.since(since));
        gauge!(NOTIFY_OLDEST_SECONDS).set(age.as_secs_f64());
        let dead = store.count_deliveries(DeliveryState::Dead).await?;
        gauge!(base::names::NOTIFY_DEAD).set(u32::try_from(dead).unwrap_or(u32::MAX));
        Ok(())
    }
}

/// The same for the same event of the same installation, so that what is told twice can be recognised.
pub fn message_id(context: &Context, dedup: &str) -> String {
    let sender = &context.sender;
    let named = format!(
        "chancery/notify.v1@{}/{}\n{}\n{dedup}",
        sender.service, sender.environment, sender.genesis
    );
    let digest = Sha256Digest::of(named.as_bytes());
    let (half, _) = digest.as_bytes().split_at(16);
    format!("msg_{}", hex::encode(half))
}
