//! All of it together, as the service and the command line use it.

use std::sync::Arc;

use base::Tasks;
use trust::Roster;

use crate::announce::{Announcer, message_id};
use crate::context::Context;
use crate::deliver::{Deliverer, Way, send};
use crate::event::EventKind;
use crate::facts::Facts;
use crate::retry::Outcome;
use crate::settings::{PREFIX, Receiver, Settings};
use crate::webhook;

/// A receiver that cannot be reached as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("notify.receivers.{receiver}: {why}")]
pub struct Problem {
    pub receiver: String,
    pub why: String,
}

/// The outbox with its receivers.
pub struct Notifier {
    context: Arc<Context>,
    announcer: Announcer,
    deliverers: Vec<(String, Deliverer)>,
}

impl Notifier {
    pub fn new(context: Context) -> Result<Self, Problem> {
        let context = Arc::new(context);
        let made = context.settings.receivers.iter().map(|(name, receiver)| {
            let made = Deliverer::new(Arc::clone(&context), name, receiver);
            let made = made.map(|made| (name.clone(), made));
            made.map_err(|why| Problem {
                receiver: name.clone(),
                why,
            })
        });
        let deliverers = made.collect::<Result<_, Problem>>()?;
        let announcer = Announcer::new(Arc::clone(&context));
        Ok(Self {
            context,
            announcer,
            deliverers,
        })
    }

    /// Starts its tasks: none where nobody is told of anything.
    pub fn start(self, tasks: &mut Tasks) {
        if self.deliverers.is_empty() {
            return;
        }
        tasks.start("notifications", self.announcer, |announcer| {
            Box::pin(announcer.run())
        });
        for (name, deliverer) in self.deliverers {
            tasks.start(format!("notify {name}"), deliverer, |deliverer| {
                Box::pin(deliverer.run())
            });
        }
    }

    /// One round of everything at this instant; how many attempts were made.
    pub async fn round(&mut self) -> Result<usize, store::Error> {
        self.announcer.round().await?;
        let mut attempts = 0;
        for (_, deliverer) in &mut self.deliverers {
            attempts += deliverer.round().await?;
        }
        Ok(attempts)
    }

    /// Sends a test to a receiver, past the outbox: to each recipient, with what came of it. None where there is no such
    /// receiver.
    pub async fn test(&self, name: &str, by: &str) -> Option<Vec<(String, Outcome)>> {
        let receiver = self.context.settings.receivers.get(name)?;
        let now = self.context.env.now();
        let facts = Facts::of_test(now, by);
        let id = message_id(&self.context, &format!("test/{name}/{now}"));
        let recipients: Vec<String> = match receiver {
            Receiver::Mail(mail) => {
                let contacts = mail.contacts.keys();
                // Who is outside gets nothing that nobody decided.
                let settings = &self.context.settings;
                let inside = contacts.filter(|contact| !settings.is_outside(name, contact));
                let inside = inside.map(|contact| format!("{PREFIX}{contact}"));
                mail.addresses.keys().cloned().chain(inside).collect()
            }
            _ => vec![String::new()],
        };
        let mut sent = Vec::with_capacity(recipients.len());
        for recipient in recipients {
            let outcome = match Way::of(receiver) {
                Ok(way) => {
                    let about = (EventKind::Test, &facts);
                    let to = (id.as_str(), recipient.as_str());
                    send(&self.context, receiver, &way, to, about, now).await
                }
                Err(why) => Outcome::failed(why),
            };
            sent.push((recipient, outcome));
        }
        Some(sent)
    }
}

impl Settings {
    /// What would keep messages from their receivers, as far as it shows without sending any.
    pub fn problems(
        &self,
        roster: Option<&Roster>,
        variable: &(dyn Fn(&str) -> Option<String> + Send + Sync),
    ) -> Vec<Problem> {
        let mut found = Vec::new();
        for (name, receiver) in &self.receivers {
            let mut add = |why| {
                found.push(Problem {
                    receiver: name.clone(),
                    why,
                });
            };
            if let Err(why) = Way::of(receiver) {
                add(why);
            }
            match receiver {
                Receiver::Webhook(to) => {
                    if let Err(why) = webhook::keys(&to.secrets, variable) {
                        add(why);
                    }
                }
                Receiver::Mail(to) => {
                    let password = to.password.as_ref();
                    if let Some(Err(why)) = password.map(|password| password.read(variable)) {
                        add(why);
                    }
                    let custodians = roster.into_iter();
                    let custodians =
                        custodians.flat_map(|roster| roster.active(trust::Role::Custodian));
                    let without = custodians
                        .filter(|member| !to.addresses.contains_key(member.id.as_str()))
                        .map(|member| member.id.to_string());
                    let without: Vec<String> = without.collect();
                    // One that is for contacts alone is no custodian's.
                    if !without.is_empty() && !to.addresses.is_empty() {
                        add(format!("no address of {}", without.join(", ")));
                    }
                }
                Receiver::Alertmanager(_) => {}
            }
        }
        found
    }
}
