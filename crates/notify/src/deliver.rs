//! One receiver and what waits for it. Each has its own lease and its own task, so that one that is slow or away holds up
//! no other.

use std::sync::Arc;
use std::time::Duration;

use base::Trouble;
use base::names::{NOTIFY_DELIVERED, NOTIFY_FAILED, NOTIFY_GIVEN_UP};
use metrics::counter;
use reqwest::Client;
use store::{Addressee, AlertRow, DeliveryRow, Error};
use trust::{MemberId, Time, error_chain};
use url::Url;

use crate::alertmanager;
use crate::context::Context;
use crate::event::EventKind;
use crate::facts::{Facts, shown};
use crate::lease::Lease;
use crate::mail::{self, Letter};
use crate::render;
use crate::retry::{Next, Outcome, plan_next};
use crate::settings::Receiver;
use crate::{http, webhook};

/// How often it is looked for what is due.
const EVERY: Duration = Duration::from_secs(1);

/// Deliveries that are read together.
const TOGETHER: i64 = 16;

/// How long nothing is tried at a receiver that is away; twice as long after each further failure, up to the second.
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Conditions that are told of.
const MOST_ALERTS: i64 = 2_000;

/// A receiver with what is needed to reach it.
pub enum Way {
    Webhook { client: Client, url: Url },
    Mail,
    Alertmanager { client: Client, url: Url },
}

impl Way {
    /// What can be found wrong before anything is sent is found here.
    pub fn of(receiver: &Receiver) -> Result<Self, String> {
        let client = |url: &Url, allow_private, ca_file: Option<&std::path::PathBuf>, timeout| {
            http::client(
                url,
                allow_private,
                ca_file.map(|path| path.as_path()),
                timeout,
            )
        };
        match receiver {
            Receiver::Webhook(to) => {
                let url = Url::parse(&to.url).map_err(|error| format!("url: {error}"))?;
                let client = client(&url, to.allow_private, to.ca_file.as_ref(), to.timeout)?;
                Ok(Self::Webhook { client, url })
            }
            Receiver::Mail(to) => mail::check(to).map(|()| Self::Mail),
            Receiver::Alertmanager(to) => {
                let url = alertmanager::endpoint(&to.url)?;
                let client = client(&url, to.allow_private, to.ca_file.as_ref(), to.timeout)?;
                Ok(Self::Alertmanager { client, url })
            }
        }
    }
}

/// Delivers to one receiver.
pub struct Deliverer {
    context: Arc<Context>,
    name: String,
    receiver: Receiver,
    way: Way,
    lease: Lease,
    /// Nothing is tried before.
    rests_until: Option<Time>,
    /// Since something was delivered.
    failures: u32,
    /// Acknowledged, and not yet written down because the database was away: not to be sent again.
    unrecorded: Vec<(String, Addressee, Time)>,
}

impl Deliverer {
    pub fn new(context: Arc<Context>, name: &str, receiver: &Receiver) -> Result<Self, String> {
        let lease = Lease::new(
            context.store.clone(),
            format!("notify/{name}"),
            context.instance.clone(),
            receiver.timeout(),
        );
        Ok(Self {
            context,
            name: name.to_owned(),
            receiver: receiver.clone(),
            way: Way::of(receiver)?,
            lease,
            rests_until: None,
            failures: 0,
            unrecorded: Vec::new(),
        })
    }

    /// Again and again, until dropped.
    pub async fn run(&mut self) {
        let mut trouble = Trouble::default();
        loop {
            match self.round().await {
                Ok(_) if trouble.is_over() => {
                    tracing::info!(receiver = self.name, "the outbox is read again");
                }
                Ok(_) => {}
                Err(error) => {
                    let why = error_chain(&error);
                    if let Some(count) = trouble.is(&why) {
                        tracing::warn!(
                            receiver = self.name,
                            error = why,
                            count,
                            "the outbox cannot be read or written"
                        );
                    }
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// What is due at this instant; how many attempts that were.
    pub async fn round(&mut self) -> Result<usize, Error> {
        self.write_down().await?;
        let now = self.context.env.now();
        if self.rests_until.is_some_and(|until| now < until) || !self.lease.is_held().await? {
            return Ok(0);
        }
        if let Way::Alertmanager { .. } = self.way {
            return self.tell_alerts(now).await;
        }
        let mut attempts = 0;
        loop {
            let now = self.context.env.now();
            let due = self.context.store.due(&self.name, now, TOGETHER).await?;
            let full = due.len() as i64 == TOGETHER;
            for delivery in due {
                // Somebody else's by now, if an attempt took long.
                if !self.lease.is_held().await? {
                    return Ok(attempts);
                }
                attempts += 1;
                if !self.attempt(&delivery).await? {
                    return Ok(attempts);
                }
            }
            if !full {
                return Ok(attempts);
            }
        }
    }

    /// What was acknowledged before is not sent again, even if the database was away when it came.
    async fn write_down(&mut self) -> Result<(), Error> {
        while let Some((message, to, at)) = self.unrecorded.last() {
            self.context.store.acknowledged(message, to, *at).await?;
            self.unrecorded.pop();
        }
        Ok(())
    }

    /// Whether others may be tried now.
    async fn attempt(&mut self, delivery: &DeliveryRow) -> Result<bool, Error> {
        let now = self.context.env.now();
        let outcome = self.send(delivery, now).await;
        let all = matches!(
            outcome,
            Outcome::Failed {
                everything: true,
                ..
            }
        );
        let random = self.context.env.random::<4>().unwrap_or_default();
        let now = self.context.env.now();
        let dead_after = self.context.settings.dead_after;
        let state = (delivery.attempts, delivery.since);
        let (message, to) = (&delivery.message, &delivery.to);
        let next = plan_next(outcome, state, dead_after, now, random);
        let receiver = || self.name.clone();
        let rests = match next {
            Next::Delivered => {
                counter!(NOTIFY_DELIVERED, "receiver" => receiver()).increment(1);
                self.failures = 0;
                self.unrecorded.push((message.clone(), to.clone(), now));
                self.write_down().await?;
                return Ok(true);
            }
            Next::Again { at, why } => {
                counter!(NOTIFY_FAILED, "receiver" => receiver()).increment(1);
                tracing::info!(
                    receiver = self.name,
                    message,
                    error = why,
                    "a notification was not delivered"
                );
                self.context.store.put_off(message, to, at, &why).await?;
                at.since(now)
            }
            Next::Dead { why } => {
                counter!(NOTIFY_FAILED, "receiver" => receiver()).increment(1);
                counter!(NOTIFY_GIVEN_UP, "receiver" => receiver()).increment(1);
                tracing::warn!(
                    receiver = self.name,
                    message,
                    error = why,
                    "a notification is given up: `chancery notify list --state dead`"
                );
                self.context.store.given_up(message, to, now, &why).await?;
                Duration::ZERO
            }
        };
        if all {
            let grown = FIRST_REST * 2_u32.pow(self.failures.min(8));
            self.failures = self.failures.saturating_add(1);
            self.rests_until = Some(now + rests.max(grown).min(LONGEST_REST));
        }
        Ok(!all)
    }

    async fn send(&self, delivery: &DeliveryRow, now: Time) -> Outcome {
        let kind = EventKind::of(&delivery.kind);
        let facts = serde_json::from_str::<Facts>(&delivery.data).ok();
        match kind.zip(facts) {
            Some((kind, facts)) => {
                let id = delivery.message.as_str();
                let to = delivery.to.recipient.as_str();
                send(
                    &self.context,
                    &self.receiver,
                    &self.way,
                    (id, to),
                    (kind, &facts),
                    now,
                )
                .await
            }
            // Of a version to come, or changed by hand.
            None => Outcome::Refused {
                why: "the stored message cannot be read".to_owned(),
            },
        }
    }

    /// What holds, each minute; what ended, until it is acknowledged.
    async fn tell_alerts(&mut self, now: Time) -> Result<usize, Error> {
        let rows = self.context.store.alerts(&self.name, MOST_ALERTS).await?;
        let due = |row: &AlertRow| {
            let again = |told| now.since(told) >= alertmanager::EVERY;
            row.ended_at.is_some() || row.told_at.is_none_or(again)
        };
        let due: Vec<&AlertRow> = rows.iter().filter(|row| due(row)).collect();
        let Way::Alertmanager { client, url } = &self.way else {
            return Ok(0);
        };
        let Receiver::Alertmanager(settings) = &self.receiver else {
            return Ok(0);
        };
        let mut attempts = 0;
        for rows in due.chunks(alertmanager::TOGETHER) {
            let alert = |row: &&AlertRow| {
                alertmanager::alert(&self.context.sender, settings.language, row, now)
            };
            let alerts: Vec<_> = rows.iter().filter_map(alert).collect();
            attempts += 1;
            match alertmanager::send(client, url, &alerts, now).await {
                Outcome::Acknowledged => {
                    counter!(NOTIFY_DELIVERED, "receiver" => self.name.clone()).increment(1);
                    for row in rows {
                        let store = &self.context.store;
                        match row.ended_at {
                            Some(_) => store.forget_alert(&self.name, &row.key).await?,
                            None => store.told_alert(&self.name, &row.key, now).await?,
                        }
                    }
                }
                Outcome::Failed { why, .. } | Outcome::Refused { why } => {
                    counter!(NOTIFY_FAILED, "receiver" => self.name.clone()).increment(1);
                    tracing::info!(
                        receiver = self.name,
                        error = why,
                        "conditions were not told"
                    );
                    self.rests_until = Some(now + Duration::from_secs(10));
                    return Ok(attempts);
                }
            }
        }
        Ok(attempts)
    }
}

/// One message to one receiver, now.
pub async fn send(
    context: &Context,
    receiver: &Receiver,
    way: &Way,
    (id, recipient): (&str, &str),
    (kind, facts): (EventKind, &Facts),
    now: Time,
) -> Outcome {
    match (receiver, way) {
        (Receiver::Webhook(to), Way::Webhook { client, url }) => {
            let keys = match webhook::keys(&to.secrets, &*context.variable) {
                Ok(keys) => keys,
                Err(why) => return Outcome::failed(shown(&why)),
            };
            let body = render::webhook_body(&context.sender, to.language, kind, facts);
            webhook::send(client, url, &keys, id, &body.to_string(), now).await
        }
        (Receiver::Mail(to), Way::Mail) => {
            let password = to.password.as_ref();
            let password = match password.map(|password| password.read(&*context.variable)) {
                Some(Err(why)) => return Outcome::failed(shown(&why)),
                Some(Ok(password)) => Some(password),
                None => None,
            };
            let roster = (context.roster)();
            let member = recipient.parse::<MemberId>().ok();
            let language = to.languages.get(recipient).copied().unwrap_or(to.language);
            let about = (kind, facts);
            let text = render::text(
                &context.sender,
                language,
                about,
                roster.as_ref(),
                member.as_ref(),
            );
            let letter = Letter {
                id,
                recipient,
                text: &text,
                date: facts.at,
            };
            mail::send(to, password.as_ref(), &letter).await
        }
        (Receiver::Alertmanager(to), Way::Alertmanager { client, url }) => {
            let row = AlertRow {
                receiver: String::new(),
                key: id.to_owned(),
                kind: kind.name().to_owned(),
                subject: String::new(),
                data: serde_json::to_string(facts).unwrap_or_default(),
                started_at: facts.at,
                ended_at: None,
                told_at: None,
            };
            let alert = alertmanager::alert(&context.sender, to.language, &row, now);
            let alerts: Vec<_> = alert.into_iter().collect();
            alertmanager::send(client, url, &alerts, now).await
        }
        _ => Outcome::failed("the receiver is of another kind"),
    }
}
