//! Notifications: one outbox, and its ways out (ADR 53).
//!
//! What happened is read off the log and put into the outbox once, whichever replica does it and whenever it dies
//! (`announce`). Each receiver then gets it at least once, and never again once its acknowledgement was written down
//! (`deliver`). Of alerts it is read off their rows (`alerts`), and who else hears of one that nobody looks after (`escalate`). Nothing rests on a message: whoever gets one looks for themselves.

mod address;
mod alert_facts;
mod alertmanager;
mod alerts;
mod announce;
mod audience;
mod contact;
mod context;
mod crowd;
mod deliver;
mod escalate;
mod escalation;
mod event;
mod facts;
mod http;
mod lease;
mod mail;
mod near;
mod notice;
mod notifier;
mod render;
mod retry;
mod rotations;
mod rotations_read;
mod settings;
mod template;
#[cfg(test)]
mod tests;
mod webhook;

pub use address::{is_private, literal};
pub use alertmanager::names as condition_names;
pub use context::Context;
pub use escalation::{AudienceContacts, Digest, Level};
pub use event::{EventKind, NOTIFY};
pub use http::client as http_client;
pub use notice::{
    Audience, DO_NOT_NOTIFY, Incident, LONGEST as LONGEST_SAID, dedup as notice_dedup,
    digest as notice_digest, rendered as notice,
};
pub use notifier::{Notifier, Problem};
pub use render::Sender;
pub use retry::Outcome;
pub use settings::{Alertmanager, Mail, Receiver, Security, Settings, Webhook};
pub use template::{Language, Text};
