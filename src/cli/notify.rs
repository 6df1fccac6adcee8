use std::path::Path;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;
use trust::Roster;

use super::{CliContext, World};
use crate::config::Config;
use notify::{Context, Notifier, Outcome};
use store::{DeliveryRow, DeliveryState, Store};
use verify::output::{Code, Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List notifications that wait, were delivered, or are dead letters; the newest first.
    List {
        /// Which of them.
        #[arg(long, value_enum, default_value = "waiting")]
        state: State,
        /// At most so many.
        #[arg(long, default_value = "100")]
        limit: u16,
    },
    /// Let the dead letters of a message wait again.
    Retry {
        /// The id of the message, as `notify list` shows it.
        message: String,
    },
    /// Send a test to a receiver of the configuration, now.
    Test {
        /// Its name under `[notify.receivers]`.
        receiver: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// To be tried, again or for the first time.
    Waiting,
    /// Acknowledged.
    Delivered,
    /// Not tried any more.
    Dead,
}

impl State {
    fn of_rows(self) -> DeliveryState {
        match self {
            Self::Waiting => DeliveryState::Waiting,
            Self::Delivered => DeliveryState::Delivered,
            Self::Dead => DeliveryState::Dead,
        }
    }
}

/// What notifications need, from the configuration and the program.
pub fn context(
    config: &Config,
    world: &World,
    store: Store,
    instance: String,
    roster: impl Fn() -> Option<Roster> + Send + Sync + 'static,
) -> Context {
    let environment = world.environment.clone();
    let variable = move |name: &str| {
        let mut known = environment.iter();
        let found = known.find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    Context {
        store,
        env: world.env.clone(),
        settings: config.notify.clone(),
        sender: config.sender(),
        instance,
        roster: Box::new(roster),
        unratified: Box::new(Vec::new),
        variable: Box::new(variable),
    }
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::List { state, limit } => {
            let open = CliContext::new(path, world).await?;
            list(&open, state, limit, output).await
        }
        Command::Retry { message } => {
            let open = CliContext::new(path, world).await?;
            retry(&open, &message, world, output).await
        }
        Command::Test { receiver } => {
            let open = CliContext::new(path, world).await?;
            test(&open, &receiver, world, output).await
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    message: &'a str,
    event: &'a str,
    subject: &'a str,
    receiver: &'a str,
    recipient: &'a str,
    state: &'a str,
    attempts: i64,
    since: trust::Time,
    next_at: Option<trust::Time>,
    finished_at: Option<trust::Time>,
    error: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(row: &'a DeliveryRow) -> Self {
        let waits = row.state == DeliveryState::Waiting;
        Self {
            message: &row.message,
            event: &row.kind,
            subject: &row.subject,
            receiver: &row.to.receiver,
            recipient: &row.to.recipient,
            state: row.state.as_str(),
            attempts: row.attempts,
            since: row.since,
            next_at: waits.then_some(row.next_at),
            finished_at: row.finished_at,
            error: row.error.as_deref(),
        }
    }
}

async fn list(open: &CliContext, state: State, limit: u16, output: &Output) -> Result<(), Failure> {
    let rows = open.store.deliveries(state.of_rows(), limit.into()).await;
    let rows = rows.map_err(Failure::unavailable)?;
    let shown: Vec<_> = rows.iter().map(Shown::of).collect();
    output.result(&shown, || {
        let lines = shown.iter().map(|row| {
            let at = row.next_at.or(row.finished_at).unwrap_or(row.since);
            let to = match row.recipient {
                "" => row.receiver.to_owned(),
                person => format!("{} ({person})", row.receiver),
            };
            [
                row.message.to_owned(),
                row.event.to_owned(),
                to,
                row.attempts.to_string(),
                at.to_string(),
                row.error.unwrap_or_default().to_owned(),
            ]
        });
        let head = [
            "message",
            "event",
            "receiver",
            "attempts",
            "at",
            "last error",
        ];
        table(&head, lines)
    });
    let dropped = open.store.dropped().await.map_err(Failure::unavailable)?;
    for row in dropped {
        output.remark(format!(
            "{} notifications for {} were not kept, the last at {}: too many waited.",
            row.dropped, row.receiver, row.dropped_at
        ));
    }
    Ok(())
}

async fn retry(
    open: &CliContext,
    message: &str,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let now = world.env.now();
    let again = open.store.retry_message(message, now).await;
    let again = again.map_err(Failure::unavailable)?;
    if again == 0 {
        return Err(Failure::refused(format!(
            "no dead letter of the message {message:?}"
        )));
    }
    output.result(&json!({ "message": message, "waiting": again }), || {
        format!("{again} deliveries of {message} wait again.")
    });
    Ok(())
}

async fn test(
    open: &CliContext,
    receiver: &str,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let snapshot = open.snapshot().await?;
    let roster = move || snapshot.trusted().map(|trusted| trusted.roster().clone());
    let store = open.store.clone();
    let context = context(&open.config, world, store, "cli".to_owned(), roster);
    let notifier = Notifier::new(context).map_err(|problem| Failure::new(Code::Usage, problem))?;
    let sent = notifier
        .test(receiver, &open.actor)
        .await
        .ok_or_else(|| Failure::usage(format!("no receiver {receiver:?} in the configuration")))?;
    let mut failed = false;
    let mut shown = Vec::with_capacity(sent.len());
    for (recipient, outcome) in &sent {
        let error = match outcome {
            Outcome::Acknowledged => None,
            Outcome::Failed { why, .. } | Outcome::Refused { why } => Some(why),
        };
        failed |= error.is_some();
        shown.push(json!({ "recipient": recipient, "error": error }));
    }
    output.result(&json!({ "receiver": receiver, "sent": shown }), || {
        let line = |(recipient, outcome): &(String, Outcome)| {
            let to = match recipient.as_str() {
                "" => receiver,
                person => person,
            };
            match outcome {
                Outcome::Acknowledged => format!("{to}: delivered"),
                Outcome::Failed { why, .. } | Outcome::Refused { why } => format!("{to}: {why}"),
            }
        };
        sent.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    match failed {
        true => Err(Failure::told(
            Code::Unavailable,
            "not everything was delivered",
        )),
        false => Ok(()),
    }
}
