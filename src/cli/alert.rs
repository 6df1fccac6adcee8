//! `chancery alert`: conditions that people are told of while they hold, and who looks after them.

use std::path::Path;

use ::rotation::alerts::{AlertFilter, AlertView, PAGE_MAX};
use calendar::alerts::{AlertName, Severity};
use calendar::{Span, Time};
use clap::{Args, Subcommand, ValueEnum};
use verify::output::{Failure, Output, table};

use super::rotation::{failed, open_scheduler};
use super::{CliContext, World};

mod many;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List alerts: the critical first, then those that began last; with `--state resolved` those that began last.
    List(List),
    /// Show one alert with its runbook and the next command.
    Show {
        /// The alert, `al_…`.
        alert: String,
    },
    /// Say that somebody looks after an alert, or after all that fire of a rule. It fires until its condition is over.
    Acknowledge {
        #[command(flatten)]
        which: Which,
        /// Why, in words for the record.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Tell nothing of an alert, or of all that fire of a rule, for a while; what fires then is told again.
    Silence(Silence),
    /// End the silence of an alert.
    Unsilence {
        /// The alert, `al_…`.
        alert: String,
    },
}

#[derive(Debug, Args)]
pub struct List {
    /// Alerts in this state alone; without it all that are not resolved.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Alerts of this severity alone.
    #[arg(long, value_enum)]
    severity: Option<Gravity>,
    /// Alerts of this rule alone, such as `rotation-overdue`.
    #[arg(long, value_parser = rule)]
    name: Option<AlertName>,
    /// Continue behind what a listing named.
    #[arg(long)]
    after: Option<String>,
    /// The most alerts to show.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// One alert, or many.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The alert, `al_…`.
    alert: Option<String>,
    /// All alerts of this rule that fire now, such as `rotation-overdue`; each is an act of its own in the audit trail. One that
    /// begins later is told as ever.
    #[arg(long, value_parser = rule)]
    rule: Option<AlertName>,
}

#[derive(Debug, Args)]
pub struct Silence {
    #[command(flatten)]
    which: Which,
    /// Until this instant, RFC 3339 with milliseconds.
    #[arg(long, conflicts_with = "span", required_unless_present = "span")]
    until: Option<Time>,
    /// For so long, such as `4h`.
    #[arg(long = "for", id = "span")]
    span: Option<Span>,
    /// Why, in words for the record.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    All,
    Pending,
    Firing,
    Acknowledged,
    Resolved,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Gravity {
    Warning,
    Critical,
}

fn rule(text: &str) -> Result<AlertName, String> {
    AlertName::of(text).ok_or_else(|| {
        let names: Vec<&str> = AlertName::ALL.iter().map(|name| name.as_str()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let scheduler = open_scheduler(&open, world).await?;
    let (engine, by) = (scheduler.engine(), open.actor.as_str());
    let alert = match command {
        Command::List(asked) => {
            let filter = filter(&asked);
            let limit = asked.limit.clamp(1, PAGE_MAX);
            let page = engine.alerts(&filter, asked.after.as_deref(), limit).await;
            let page = page.map_err(failed)?;
            output.result(&page, || {
                let more = page
                    .next
                    .as_ref()
                    .map(|next| format!("\ncontinue with --after {next}\n"));
                listed(&page.alerts) + &more.unwrap_or_default()
            });
            return Ok(());
        }
        Command::Show { alert } => engine.alert(&alert).await,
        Command::Acknowledge { which, reason } => {
            let acknowledge =
                async |alert: &str| engine.acknowledge_alert(alert, by, reason.as_deref()).await;
            match which.rule {
                Some(rule) => {
                    let fires = |alert: &AlertView| alert.state == "firing";
                    let marked = many::mark(engine, rule, fires, acknowledge, output).await?;
                    output.result(&marked, || marked.shown("acknowledged"));
                    return Ok(());
                }
                None => acknowledge(&which.alert.unwrap_or_default()).await,
            }
        }
        Command::Silence(asked) => {
            let now = engine.now().await.map_err(Failure::unavailable)?;
            let until = asked
                .until
                .or(asked.span.map(|span| now + span))
                .unwrap_or(now);
            let why = (by, asked.reason.as_str());
            let silence = async |alert: &str| engine.silence_alert(alert, until, why).await;
            match asked.which.rule {
                Some(rule) => {
                    let loud = |alert: &AlertView| {
                        matches!(alert.state, "firing" | "acknowledged")
                            && alert.silence.as_ref().is_none_or(|one| one.until < until)
                    };
                    let marked = many::mark(engine, rule, loud, silence, output).await?;
                    output.result(&marked, || marked.shown("silenced"));
                    return Ok(());
                }
                None => silence(&asked.which.alert.unwrap_or_default()).await,
            }
        }
        Command::Unsilence { alert } => engine.unsilence_alert(&alert, by).await,
    };
    let alert = alert.map_err(failed)?;
    output.result(&alert, || shown(&alert));
    Ok(())
}

fn filter(asked: &List) -> AlertFilter {
    let word = match asked.state {
        None | Some(State::All) => None,
        Some(State::Pending) => Some("pending"),
        Some(State::Firing) => Some("firing"),
        Some(State::Acknowledged) => Some("acknowledged"),
        Some(State::Resolved) => Some("resolved"),
    };
    AlertFilter {
        state: word.map(str::to_owned),
        severity: asked.severity.map(|severity| match severity {
            Gravity::Warning => Severity::Warning,
            Gravity::Critical => Severity::Critical,
        }),
        name: asked.name,
        all: matches!(asked.state, Some(State::All)),
    }
}

fn listed(alerts: &[AlertView]) -> String {
    table(
        &[
            "alert", "rule", "about", "severity", "state", "level", "since",
        ],
        alerts.iter().map(|alert| {
            [
                alert.id.clone(),
                alert.name.to_string(),
                alert.subject.clone(),
                alert.severity.to_string(),
                match alert.silence {
                    Some(_) => format!("{}, silenced", alert.state),
                    None => alert.state.to_owned(),
                },
                match alert.escalation.as_ref().and_then(|one| one.level) {
                    Some(level) => level.to_string(),
                    None => "-".to_owned(),
                },
                alert.since.minute(),
            ]
        }),
    )
}

fn shown(alert: &AlertView) -> String {
    let mut lines = vec![
        format!("alert         {}", alert.id),
        format!("rule          {}", alert.name),
        format!("about         {}", alert.subject),
        format!("severity      {}", alert.severity),
        format!("state         {}", alert.state),
        format!("because       {}", alert.detail),
        format!("since         {}", alert.since),
    ];
    if let Some(at) = alert.resolved_at {
        lines.push(format!("resolved      {at}"));
    }
    if let Some(one) = &alert.acknowledged {
        lines.push(format!("acknowledged  {} by {}", one.at, one.by));
    }
    if let Some(silence) = &alert.silence {
        lines.push(format!(
            "silenced      until {} by {}",
            silence.until, silence.by
        ));
    }
    if let Some(one) = &alert.escalation {
        lines.extend(one.level.map(|level| format!("level         {level}")));
        let called: Vec<&str> = one.called.iter().map(|level| level.as_str()).collect();
        if !called.is_empty() {
            lines.push(format!("called        {}", called.join(", ")));
        }
        let next = one.next.as_ref();
        lines.extend(next.map(|next| format!("next level    {} at {}", next.level, next.at)));
    }
    lines.push(format!("runbook       {}", alert.runbook));
    lines.push(format!("next          {}", alert.next));
    lines.push(String::new());
    lines.join("\n")
}
