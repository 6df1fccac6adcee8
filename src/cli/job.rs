//! `chancery job`: the jobs of the scheduler.

use std::path::Path;

use ::rotation::jobs::Status;
use clap::Subcommand;
use verify::output::{Failure, Output, table};

use super::rotation::{failed, open_scheduler};
use super::{CliContext, World};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the jobs: when they run, their last run, and whether they are paused.
    List,
    /// Run a job now.
    Run {
        /// Its name, as `job list` shows it.
        name: String,
    },
    /// Pause a job, or the whole scheduler. Emergencies do not wait for it.
    Pause {
        /// Its name; without it what makes and runs rotations is paused.
        name: Option<String>,
        /// Why, in words for the record.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a job, or the whole scheduler, go on. What was missed is made up for by one run.
    Resume {
        /// Its name; without it the scheduler's pause is over.
        name: Option<String>,
    },
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
    match command {
        Command::List => {}
        Command::Run { name } => {
            let finished = scheduler.run_now(&name).await.map_err(failed)?;
            output.result(&finished, || finished.summary.to_string());
            return match finished.succeeded {
                true => Ok(()),
                false => Err(Failure::told(
                    verify::output::Code::Failed,
                    "the job failed",
                )),
            };
        }
        Command::Pause { name, reason } => match name {
            Some(name) => engine.pause_job(&name, true, by).await.map_err(failed)?,
            None => {
                let paused = engine.pause(true, by, reason.as_deref()).await;
                paused.map_err(failed)?;
            }
        },
        Command::Resume { name } => match name {
            Some(name) => engine.pause_job(&name, false, by).await.map_err(failed)?,
            None => engine.pause(false, by, None).await.map_err(failed)?,
        },
    }
    let status = scheduler.status().await.map_err(failed)?;
    output.result(&status, || listed(&status));
    Ok(())
}

fn listed(status: &Status) -> String {
    let mut text = table(
        &["job", "when", "next", "last", "state", "missed", "paused"],
        status.jobs.iter().map(|job| {
            let last = job.last.as_ref();
            [
                job.name.clone(),
                job.when.clone(),
                job.next.map(|at| at.minute()).unwrap_or_default(),
                last.map(|run| run.slot.to_string()).unwrap_or_default(),
                last.map(|run| run.state.clone()).unwrap_or_default(),
                job.missed.to_string(),
                match (job.paused, job.held) {
                    (true, _) => "yes".to_owned(),
                    (false, true) => "with the scheduler".to_owned(),
                    (false, false) => "no".to_owned(),
                },
            ]
        }),
    );
    if let (true, Some(since)) = (status.paused, status.since) {
        let by = status.by.as_deref().unwrap_or("somebody");
        text.push_str(&format!(
            "\nThe scheduler is paused since {since} by {by}.\n"
        ));
    }
    text
}
