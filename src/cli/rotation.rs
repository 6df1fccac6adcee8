//! `chancery rotation`: what rotates when, what is under way, and what somebody wants of it.

mod compliance;
mod exercise;
mod outside;
mod place;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::rotation::engine::error::Error;
use ::rotation::engine::{Clock, EventReport, Propagation, Simulation, StepReport};
use ::rotation::jobs::{Environment, Installation, Scheduler};
use calendar::Span;
use calendar::admission::Ask;
use calendar::name::{AssetName, Word};
use clap::{Args, Subcommand};
use keyring::ceremony::CeremonyService;
use keyring::keys::{Keys, Settings};
use store::Store;
use verify::output::{Code, Failure, Output, table};

use self::outside::Outside;
use super::{CliContext, World};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what rotates in the next days: a table, JSON, or a picture.
    Plan(Plan),
    /// Make a rotation of each asset of a key type that is due.
    Schedule(Schedule),
    /// Go on with one rotation, or with those that are due, as far as they go now.
    Execute {
        /// The rotation, `kr_…`; without it those that are due.
        event: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1000))]
        batch_size: i64,
    },
    /// List rotations, the newest first.
    Events {
        /// Of this asset alone, such as `signing/records`.
        #[arg(long)]
        asset: Option<AssetName>,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
    },
    /// Show one rotation with its validation report.
    Show {
        /// The rotation, `kr_…`.
        event: String,
    },
    /// End a rotation before its promotion. What is due is made again by the next check: hold it instead if it shall not rotate.
    Cancel(Marked),
    /// Make the old version the primary again, until it is retired.
    RollBack(Marked),
    /// Let a step that failed be tried again.
    Retry(Marked),
    /// Hold a rotation: no step of it begins until it is released.
    Hold(Marked),
    /// Let a rotation that was held go on.
    Release(Marked),
    /// Say that a step of something that is held elsewhere is done.
    Done(Done),
    /// Declare an emergency: what it takes is drafted, and members of the roster order it. What is open and not promoted becomes
    /// part of it.
    Declare(Declare),
    /// Simulate what would come of the calendar.
    Simulate {
        /// For how many days.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3660))]
        days: u32,
        /// Two simulations of one seed are equal.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A file with faults, verifiers and replicas, as at `POST /v1/key-rotation/simulate`.
        #[arg(long)]
        world: Option<PathBuf>,
        /// Also draw it as a picture (SVG) into this file, which must not exist.
        #[arg(long)]
        picture: Option<PathBuf>,
    },
    /// Show how well the policies are kept.
    Report,
    #[command(flatten)]
    Outside(Box<Outside>),
}

#[derive(Debug, Args)]
pub struct Plan {
    /// For how many days.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: u32,
    /// Also write it as a picture (SVG) into this file, which must not exist.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Rows of the table at most.
    #[arg(long, default_value_t = 100)]
    rows: usize,
}

#[derive(Debug, Args)]
pub struct Schedule {
    /// Such as `signing`.
    key_type: Word,
    /// One asset of it, such as `signing/records`.
    #[arg(long)]
    asset: Option<AssetName>,
    /// Also what is not due.
    #[arg(long)]
    force: bool,
    /// Why, in words for the record.
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct Marked {
    /// The rotation, `kr_…`.
    event: String,
    /// Why, in words for the record.
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct Done {
    /// The rotation, `kr_…`.
    event: String,
    /// The step, as `rotation show` names it.
    step: String,
    /// What was done, in words for the validation report.
    #[arg(long)]
    evidence: String,
}

#[derive(Debug, Args)]
pub struct Declare {
    /// Such as `signing`.
    key_type: Word,
    /// One asset of it, such as `signing/records`.
    #[arg(long)]
    asset: Option<AssetName>,
    /// Why, in words for the record.
    #[arg(long)]
    reason: String,
}

/// What people are told who cancel a rotation.
const AGAIN: &str = "While it is due, the next check makes this version again; what shall not rotate for now is held instead: \
    chancery rotation hold EVENT";

/// A scheduler over this installation, by the database's clock.
pub fn scheduler(
    config: &Config,
    world: &World,
    store: &Store,
    keys: &Arc<Keys>,
    settings: &Settings,
    owner: &str,
) -> Result<Scheduler, Failure> {
    let propagation = Propagation::new(&config.rotation);
    let propagation = propagation
        .map_err(|why| Failure::new(Code::Usage, anyhow::anyhow!("rotation.probes: {why}")))?;
    let environment = Environment {
        environment: config.service.environment.clone(),
        tests: config.rotation.tests,
    };
    let installation = Installation {
        store: store.clone(),
        keys: keys.clone(),
        ceremonies: CeremonyService::for_anybody(store.clone(), world.env.clone(), settings),
        safety: settings.safety,
        env: world.env.clone(),
        clock: match config.simulation {
            Some(_) => Clock::Given(world.env.clone()),
            None => Clock::Database(store.clone()),
        },
        propagation,
        owner: owner.to_owned(),
        every: config.rotation.every,
        ladder: config.notify.ladder(),
    };
    Ok(Scheduler::of(installation).with_environment(environment))
}

/// The same for a command.
pub async fn open_scheduler(open: &CliContext, world: &World) -> Result<Scheduler, Failure> {
    let keys = open.keys().await?;
    let owner = format!("{}:{}", open.actor, std::process::id());
    let owner: String = owner.chars().take(80).collect();
    let (store, settings) = (&open.store, &open.settings);
    scheduler(&open.config, world, store, &keys, settings, &owner)
}

/// A rule that said no is not a failure of the machine.
pub fn failed(error: Error) -> Failure {
    let code = match error.is_refusal() {
        true => Code::Refused,
        false => Code::Unavailable,
    };
    Failure::new(code, error)
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let command = match command {
        Command::Outside(outside) => return outside.run(world, output).await,
        inside => inside,
    };
    let open = CliContext::new(path, world).await?;
    let scheduler = open_scheduler(&open, world).await?;
    let (engine, by) = (scheduler.engine(), open.actor.as_str());
    match command {
        Command::Plan(asked) => {
            let plan = engine.plan(Span::days(asked.days.into())).await;
            let plan = plan.map_err(failed)?;
            if let Some(file) = &asked.svg {
                let mut new = fs::File::create_new(file)?;
                std::io::Write::write_all(&mut new, plan.svg().as_bytes())?;
            }
            output.result(&plan, || plan.table(asked.rows));
        }
        Command::Schedule(asked) => {
            let ask = Ask {
                key_type: &asked.key_type,
                asset: asked.asset.as_ref(),
                force: asked.force,
                // Whoever has the database may.
                may_force: true,
            };
            let made = engine.schedule(ask, by, asked.reason.as_deref()).await;
            let made = made.map_err(failed)?.into_iter().map(EventReport::of);
            let made: Vec<EventReport> = made.collect();
            output.result(&made, || listed(&made));
        }
        Command::Execute { event, batch_size } => match event {
            Some(id) => {
                engine.run(&id).await.map_err(failed)?;
                let report = engine.report(&id).await.map_err(failed)?;
                output.result(&report, || shown(&report));
            }
            None => {
                let round = engine.look(batch_size).await.map_err(failed)?;
                output.result(&round, || {
                    format!(
                        "{} looked at, {} ended, {} wait, {} failed",
                        round.looked,
                        round.ended,
                        round.waiting,
                        round.failed.len()
                    )
                });
            }
        },
        Command::Events { asset, limit } => {
            let asset = asset.as_ref().map(AssetName::as_str);
            let rows = open.store.rotations_before(asset, (i64::MAX, ""), limit);
            let rows = rows.await.map_err(Failure::unavailable)?.into_iter();
            let rows: Vec<EventReport> = rows.map(EventReport::of).collect();
            output.result(&rows, || listed(&rows));
        }
        Command::Show { event } => {
            let report = engine.report(&event).await.map_err(failed)?;
            output.result(&report, || shown(&report));
        }
        Command::Cancel(Marked { event, reason }) => {
            let done = engine.cancel(&event, by, reason.as_deref()).await;
            done.map_err(failed)?;
            let report = engine.report(&event).await.map_err(failed)?;
            output.result(&report, || {
                format!("{}\n\n{AGAIN}", shown(&report).trim_end())
            });
        }
        Command::RollBack(Marked { event, reason }) => {
            let done = engine.roll_back(&event, by, reason.as_deref()).await;
            return told(&scheduler, &event, done, output).await;
        }
        Command::Retry(Marked { event, reason }) => {
            let done = engine.retry(&event, by, reason.as_deref()).await;
            return told(&scheduler, &event, done, output).await;
        }
        Command::Hold(Marked { event, reason }) => {
            let done = engine.hold(&event, by, reason.as_deref()).await;
            return told(&scheduler, &event, done, output).await;
        }
        Command::Release(Marked { event, reason }) => {
            let done = engine.release(&event, by, reason.as_deref()).await;
            return told(&scheduler, &event, done, output).await;
        }
        Command::Done(Done {
            event,
            step,
            evidence,
        }) => {
            let said = engine.report_step(&event, &step, (by, &evidence)).await;
            return told(&scheduler, &event, said, output).await;
        }
        Command::Declare(asked) => {
            let why = (by, asked.reason.as_str());
            let declared = engine.declare(&asked.key_type, asked.asset.as_ref(), why);
            let events = declared.await.map_err(failed)?.into_iter();
            let events: Vec<EventReport> = events.map(EventReport::of).collect();
            output.result(&events, || listed(&events));
        }
        Command::Simulate {
            days,
            seed,
            world,
            picture,
        } => {
            let mut asked = match world {
                Some(file) => read(&file)?,
                None => Simulation::default(),
            };
            (asked.days, asked.seed) = (Some(days), seed);
            let report = engine.simulate(&asked).await.map_err(failed)?;
            if let Some(file) = &picture {
                let mut new = fs::File::create_new(file)?;
                std::io::Write::write_all(&mut new, report.svg().as_bytes())?;
            }
            output.result(&report, || {
                format!(
                    "{} rotations of {} assets, {} of 1000 without a ceremony, {} late, {} findings",
                    report.all.rotations,
                    report.assets,
                    report.automatic_per_mille,
                    report.all.late,
                    report.findings_in_all
                )
            });
        }
        Command::Report => {
            let report = engine.adherence().await.map_err(failed)?;
            output.result(&report, || {
                let mut lines = vec![format!(
                    "{} rotations ended, {} promoted, {} overdue",
                    report.ended, report.promoted, report.overdue
                )];
                lines.extend(report.recommendations.iter().cloned());
                lines.join("\n")
            });
        }
        // Carried out above, without the database.
        Command::Outside(_) => {}
    }
    Ok(())
}

fn read(file: &Path) -> Result<Simulation, Failure> {
    let bytes = fs::read(file)?;
    trust::json::parse_strict(&bytes)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

/// The rotation as it is after somebody wanted something of it.
async fn told(
    scheduler: &Scheduler,
    event: &str,
    done: Result<(), Error>,
    output: &Output,
) -> Result<(), Failure> {
    done.map_err(failed)?;
    let report = scheduler.engine().report(event).await.map_err(failed)?;
    output.result(&report, || shown(&report));
    Ok(())
}

fn listed(rows: &[EventReport]) -> String {
    table(
        &[
            "rotation", "asset", "version", "state", "slot", "due", "waits",
        ],
        rows.iter().map(|row| {
            [
                row.id.clone(),
                row.asset.clone(),
                row.version.to_string(),
                row.state.clone(),
                row.slot.to_string(),
                row.due.to_string(),
                row.waits.clone().unwrap_or_default(),
            ]
        }),
    )
}

fn shown(report: &EventReport) -> String {
    let mut text = format!(
        "rotation   {}\nasset      {}\nversion    {}\ntrigger    {}\nstate      {}\nslot       {}\ndue        {}\nconsent    {}\n",
        report.id,
        report.asset,
        report.version,
        report.trigger,
        report.state,
        report.slot,
        report.due,
        report.consent
    );
    for (name, value) in [
        ("order", &report.order),
        ("ceremony", &report.ceremony),
        ("made", &report.made),
        ("reason", &report.reason),
        ("waits", &report.waits),
        ("because", &report.detail),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("{name:10} {value}\n"));
        }
    }
    if report.held {
        text.push_str("held       until it is released\n");
    }
    text.push('\n');
    text.push_str(&table(
        &["step", "attempt", "began", "ended", "outcome", "evidence"],
        report.steps.iter().map(step),
    ));
    text
}

fn step(step: &StepReport) -> [String; 6] {
    let ended = step.ended_at.map(|at| at.to_string());
    let evidence = match &step.why {
        Some(why) => why.clone(),
        None => step.evidence.to_string(),
    };
    [
        step.step.clone(),
        step.attempt.to_string(),
        step.started_at.to_string(),
        ended.unwrap_or_default(),
        step.outcome.clone().unwrap_or_default(),
        evidence.chars().take(120).collect(),
    ]
}
