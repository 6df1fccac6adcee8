//! What is told that is not read off the log act by act: news of alerts, levels of escalation, the digest; and the text of a notice.

use calendar::alerts::escalation::EscalationLevel;
use store::{Error, NewMessage};
use trust::{Sha256Digest, Time};

use super::Announcer;
use crate::event::EventKind;
use crate::facts::Facts;
use crate::notice::{self, Audience};
use crate::{alerts, escalate};

/// News of alerts that are read together.
const NEWS: i64 = 1_000;

impl Announcer {
    /// The next news of alerts; whether there may be more. If we die before they are marked as told they are written again,
    /// and the outbox knows them.
    pub(super) async fn announce_alerts(&self, now: Time) -> Result<bool, Error> {
        let store = &self.context.store;
        let untold = store.untold_alerts(NEWS).await?;
        if untold.is_empty() {
            return Ok(false);
        }
        let (crowds, ended) = match untold.iter().any(|record| record.alert.together) {
            true => (
                store.alerts_together(now).await?,
                store.untold_ended().await?,
            ),
            false => <_>::default(),
        };
        let roster = (self.context.roster)();
        let of = |told: alerts::Told| {
            // Nobody is to be woken by what is past.
            let past = now.since(told.facts.at) >= self.context.settings.dead_after;
            if past && told.kind != EventKind::AlertFiring {
                return None;
            }
            let roster = roster.as_ref();
            let audience = roster.map(|roster| told.kind.audience(roster, None));
            let audience = audience.unwrap_or_default();
            let mut to = self.context.addressees(told.kind, &audience);
            for level in EscalationLevel::first(told.heard) {
                to.extend(self.context.settings.of_level(*level));
            }
            self.message_to(told.kind, told.dedup, &told.facts, to, now)
        };
        let told = alerts::told(&untold, &crowds, &ended, now).into_iter();
        let messages: Vec<NewMessage> = told.filter_map(of).collect();
        if !messages.is_empty() {
            let at = store.told().await?;
            if !self.write((at, at), &messages).await? {
                return Ok(false);
            }
        }
        store.told_alerts(&untold).await?;
        Ok(untold.len() as i64 == NEWS)
    }

    /// The next levels of alerts that nobody looks after; whether there may be more. As with news, whoever dies before the mark
    /// writes the same again.
    pub(super) async fn announce_levels(&self, now: Time) -> Result<bool, Error> {
        let store = &self.context.store;
        let untold = store.untold_escalations(now, NEWS).await?;
        if untold.is_empty() {
            return Ok(false);
        }
        let crowds = match untold.iter().any(|record| record.alert.together) {
            true => store.alerts_together(now).await?,
            false => Vec::new(),
        };
        let calls = escalate::calls(&untold, &crowds, now).into_iter();
        let of = |call: escalate::Call| {
            let to = self.context.settings.of_level(call.level);
            self.message_to(call.told.kind, call.told.dedup, &call.told.facts, to, now)
        };
        let messages: Vec<NewMessage> = calls.filter_map(of).collect();
        if !messages.is_empty() {
            let at = store.told().await?;
            if !self.write((at, at), &messages).await? {
                return Ok(false);
            }
        }
        store.told_escalations(&untold).await?;
        Ok(untold.len() as i64 == NEWS)
    }

    /// A week that has no messages yet.
    pub(super) async fn announce_digest(&self, now: Time) -> Result<(), Error> {
        let store = &self.context.store;
        let Some(row) = store.untold_digest().await? else {
            return Ok(());
        };
        let facts = Facts::of_week(row.slot, &row.body);
        let to = self.context.settings.of_digest();
        let dedup = format!("digest/{}", row.slot.millis());
        if let Some(message) = self.message_to(EventKind::Digest, dedup, &facts, to, now) {
            let at = store.told().await?;
            if !self.write((at, at), &[message]).await? {
                return Ok(());
            }
        }
        store.told_digest(row.slot).await
    }

    /// To an audience outside, as it was decided: of a row that is not what its leaf commits to nothing is sent.
    pub(super) async fn notice(
        &self,
        id: &str,
        decided: Option<Sha256Digest>,
        now: Time,
    ) -> Result<Option<NewMessage>, Error> {
        let row = match self.context.store.notice(id).await {
            // Of one row alone.
            Err(error) if error.is_corrupt() => None,
            row => row?,
        };
        let found = row.and_then(|row| {
            let audience = Audience::of(&row.audience)?;
            Some((audience, notice::facts(&row, decided)?))
        });
        let message = found.and_then(|(audience, facts)| {
            let to = self.context.settings.of_audience(audience);
            self.message_to(EventKind::Notice, notice::dedup(id), &facts, to, now)
        });
        if message.is_none() {
            tracing::warn!(
                notice = id,
                "a notice is not sent: no contact of its audience is configured here, or its row is not what was decided"
            );
        }
        Ok(message)
    }
}
