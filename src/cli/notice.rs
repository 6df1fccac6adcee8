//! `chancery notice`: what an audience outside is told of an incident, whether it is, and who decided so.

use std::path::Path;

use ::notify::{Audience, Incident, LONGEST_SAID, Language, Text, notice as render};
use ::rotation::notices::{NoticeDecision, NoticeView};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use trust::Time;
use trust::text::spelled_out;
use verify::output::{Failure, Output, table};

use super::rotation::{failed, open_scheduler};
use super::{CliContext, World};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what an audience would be told. Nothing is kept and nothing is sent.
    Show(Said),
    /// Decide that an audience is told: it is recorded, and sent to the contacts of the audience. The same again is sent where
    /// there is no message of it yet.
    Send(SendNotice),
    /// Decide that an audience is not told: it is recorded, and nothing is sent.
    Withhold(WithholdNotice),
    /// List what was decided, the latest first, and how far each message is.
    List {
        /// Continue behind what a listing named.
        #[arg(long)]
        after: Option<String>,
        /// The most decisions to show.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

#[derive(Debug, Args)]
pub struct Said {
    /// What the incident is called: a report, a rotation, a ticket.
    #[arg(long)]
    incident: String,
    /// Who is told.
    #[arg(long, value_enum)]
    audience: Whom,
    /// What happened.
    #[arg(long)]
    happened: String,
    /// What it concerns.
    #[arg(long)]
    affected: String,
    /// What was and is done.
    #[arg(long)]
    done: String,
    /// What those who are told have to do.
    #[arg(long)]
    to_do: String,
    /// Whom they ask.
    #[arg(long)]
    contact: String,
    /// When it was noticed, RFC 3339 with milliseconds.
    #[arg(long)]
    noticed_at: Time,
    /// In which language.
    #[arg(long, value_enum, default_value = "en")]
    language: Tongue,
}

#[derive(Debug, Args)]
pub struct SendNotice {
    #[command(flatten)]
    said: Said,
    /// Why they are told, in words for the record.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub struct WithholdNotice {
    /// What the incident is called: a report, a rotation, a ticket.
    #[arg(long)]
    incident: String,
    /// Who is not told.
    #[arg(long, value_enum)]
    audience: Whom,
    /// Why not, in words for the record.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Whom {
    /// Whose data is signed or kept.
    Customers,
    /// Who verifies, and calls.
    Partners,
    /// An authority that is to be told within a time.
    Regulator,
    /// Who works with the service.
    Employees,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Tongue {
    En,
    De,
}

impl Whom {
    fn audience(self) -> Audience {
        match self {
            Self::Customers => Audience::Customers,
            Self::Partners => Audience::Partners,
            Self::Regulator => Audience::Regulator,
            Self::Employees => Audience::Employees,
        }
    }
}

impl Said {
    /// Each text on one line and bounded.
    fn rendered(&self, open: &CliContext) -> Result<Text, Failure> {
        for (what, text) in [
            ("incident", &self.incident),
            ("happened", &self.happened),
            ("affected", &self.affected),
            ("done", &self.done),
            ("to-do", &self.to_do),
            ("contact", &self.contact),
        ] {
            if !trust::text::is_plain(text, LONGEST_SAID) {
                return Err(Failure::usage(format!(
                    "--{what}: expected 1 to {LONGEST_SAID} characters of plain text"
                )));
            }
        }
        let incident = Incident {
            incident: self.incident.clone(),
            happened: self.happened.clone(),
            affected: self.affected.clone(),
            done: self.done.clone(),
            to_do: self.to_do.clone(),
            contact: self.contact.clone(),
            noticed_at: self.noticed_at,
        };
        let language = match self.language {
            Tongue::En => Language::En,
            Tongue::De => Language::De,
        };
        let sender = open.config.sender();
        Ok(render(
            &sender,
            language,
            self.audience.audience(),
            &incident,
        ))
    }
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let decision = match command {
        Command::Show(said) => {
            let text = said.rendered(&open)?;
            let shown = json!({ "subject": text.subject, "body": text.body });
            output.result(&shown, || {
                format!("Subject: {}\n\n{}", text.subject, text.body)
            });
            return Ok(());
        }
        Command::List { after, limit } => {
            let scheduler = open_scheduler(&open, world).await?;
            let page = scheduler.engine().notices(after.as_deref(), limit).await;
            let page = page.map_err(failed)?;
            output.result(&page, || {
                let more = page
                    .next
                    .as_ref()
                    .map(|next| format!("\ncontinue with --after {next}\n"));
                listed(&page.notices) + &more.unwrap_or_default()
            });
            return Ok(());
        }
        Command::Send(asked) => {
            let audience = asked.said.audience.audience();
            if open.config.notify.of_audience(audience).is_empty() {
                let name = audience.as_str();
                return Err(Failure::refused(format!(
                    "nobody is configured for {name}: [notify.audiences.{name}] needs contacts in `to`"
                )));
            }
            NoticeDecision {
                text: Some(asked.said.rendered(&open)?),
                incident: asked.said.incident,
                audience,
                reason: asked.reason,
            }
        }
        Command::Withhold(asked) => NoticeDecision {
            incident: asked.incident,
            audience: asked.audience.audience(),
            text: None,
            reason: asked.reason,
        },
    };
    let scheduler = open_scheduler(&open, world).await?;
    let decided = scheduler.engine().decide_notice(&decision, &open.actor);
    let decided = decided.await.map_err(failed)?;
    output.result(&decided, || listed(std::slice::from_ref(&decided)));
    Ok(())
}

fn listed(notices: &[NoticeView]) -> String {
    table(
        &[
            "notice", "incident", "audience", "decision", "delivery", "by", "at", "reason",
        ],
        notices.iter().map(|one| {
            [
                one.id.clone(),
                spelled_out(&one.incident),
                spelled_out(&one.audience),
                one.decision.to_owned(),
                one.delivery.unwrap_or("-").to_owned(),
                spelled_out(&one.by),
                one.at.to_string(),
                spelled_out(&one.reason),
            ]
        }),
    )
}
