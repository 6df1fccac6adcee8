//! `chancery executor` as a service: it waits for approved ceremonies and for what standing orders make due, and carries it
//! out, until it is told to stop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use metrics::{counter, gauge};
use tokio::time::sleep;
use trust::error_chain;

use crate::cli::{self, World};
use crate::config::Config;
use crate::start::{CLOSING, cannot_serve, listen_to};
use crate::{start, telemetry};
use base::names;
use base::signals::{Hangup, shutdown_signal};
use base::{Env, Trouble};
use keyring::ceremony::{CeremonyService, Error, Finding, Rotated, Round, Runner};
use store::Store;
use token::Executor;
use trust::actor::Actor;
use verify::output::{Code, Failure};

/// After token or database failed.
const PAUSE: Duration = Duration::from_secs(1);

pub async fn run(path: &Path, world: &World) -> Result<(), Failure> {
    let usage = |problem: String| Failure::new(Code::Usage, anyhow::anyhow!(problem));
    let config = Config::load(path, world.environment.iter().cloned())
        .map_err(|error| Failure::new(Code::Usage, error))?;
    let Some(section) = &config.executor else {
        return Err(usage(
            "the configuration has no [executor] section".to_owned(),
        ));
    };
    config
        .pins_are_apart()
        .map_err(|error| Failure::new(Code::Usage, error))?;
    listen_to(&config, None)?;
    // What would be read again needs a restart here.
    let _hangup = Hangup::new();
    let metrics = telemetry::record_metrics().context("cannot set up metrics")?;
    let database = config
        .store
        .database(|name| cli::variable(world, name))
        .map_err(usage)?;
    let settings = config.keyring().map_err(usage)?;
    let mut shutdown = Box::pin(shutdown_signal());
    let health = section.listen.map(|operations_listen| {
        let http = web::Http {
            operations_listen,
            ..web::Http::default()
        };
        web::Starting::bind(&http, metrics).map_err(cannot_serve)
    });
    let health = health.transpose()?;
    let waits_for = |why: String| {
        if let Some(health) = &health {
            health.waits_for(why);
        }
    };
    let (store, _) = tokio::select! {
        opened = start::open(&config.store, &database, &settings, &waits_for) => opened?,
        _ = &mut shutdown => return Ok(()),
    };
    cli::compare_clocks(&store, &config, &world.env);
    log::confirm_database(&config.log, |name| cli::variable(world, name), &store)
        .await
        .map_err(Failure::unavailable)?;
    let executor = Executor::start(&section.token(), &world.program)
        .context("cannot start the executor's way to the token")
        .map_err(|error| Failure::new(Code::Usage, error))?;
    let actor = Actor::Cli {
        uid: rustix::process::getuid().as_raw(),
        name: "executor",
    };
    let actor = actor.to_string();
    let service = CeremonyService::new(store.clone(), world.env.clone(), &settings, actor)
        .with_lease(section.lease);
    let service = match &config.orders.result_key {
        Some(key) => service.with_result_signer(Arc::new(cli::KeyFile(key.clone()))),
        None => service,
    };
    let runner = Runner::new(service, executor, settings);
    let mut shown = Shown {
        health: health.as_ref(),
        trouble: Trouble::default(),
        found: Vec::new(),
    };
    tracing::info!("waiting for approved ceremonies and standing orders");
    let ended = look(
        runner,
        &store,
        &mut shown,
        (&world.env, section.poll),
        shutdown,
    )
    .await;
    if let Some(health) = health {
        drop(health.end().await);
    }
    if tokio::time::timeout(CLOSING, store.close()).await.is_err() {
        tracing::warn!("the database's connections did not close in time");
    }
    ended
}

/// Again and again. What was begun when it is told to stop is ended and given back.
async fn look(
    mut runner: Runner,
    store: &Store,
    shown: &mut Shown<'_>,
    (env, poll): (&Env, Duration),
    mut shutdown: impl Future<Output = base::signals::Stop> + Unpin,
) -> Result<(), Failure> {
    let stopping = AtomicBool::new(false);
    let stops = || stopping.load(Ordering::Relaxed);
    loop {
        let seen = store.version().await;
        let done = {
            let mut round = std::pin::pin!(runner.round(&stops));
            tokio::select! {
                biased;
                done = &mut round => done,
                _ = &mut shutdown => {
                    stopping.store(true, Ordering::Relaxed);
                    round.await
                }
            }
        };
        shown.tell(&done, store).await;
        if stops() {
            return Ok(());
        }
        let pause = async {
            match (seen, &done) {
                (Ok(seen), Ok(_)) => {
                    if store
                        .wait_for_change(seen, jittered(env, poll))
                        .await
                        .is_err()
                    {
                        sleep(PAUSE).await;
                    }
                }
                _ => sleep(PAUSE).await,
            }
        };
        tokio::select! {
            () = pause => {}
            _ = &mut shutdown => return Ok(()),
        }
    }
}

/// Up to a quarter less, so that executors do not look all at once.
fn jittered(env: &Env, poll: Duration) -> Duration {
    let random: [u8; 1] = env.random().unwrap_or_default();
    poll.saturating_sub(poll.mul_f64(f64::from(random[0]) / 1_024.0))
}

/// What others see of it.
struct Shown<'a> {
    health: Option<&'a web::Starting>,
    trouble: Trouble,
    /// As told the last time.
    found: Vec<Finding>,
}

impl Shown<'_> {
    async fn tell(&mut self, done: &Result<Round, Error>, store: &Store) {
        let round = match done {
            Ok(round) => round,
            Err(error) => {
                let why = error_chain(error);
                counter!(names::EXECUTOR_ROUNDS, "outcome" => "failed").increment(1);
                if let Some(count) = self.trouble.is(&why) {
                    tracing::error!(
                        error = why,
                        count,
                        "approved ceremonies are not carried out"
                    );
                }
                return self.is_ready(false, why);
            }
        };
        counter!(names::EXECUTOR_ROUNDS, "outcome" => "done").increment(1);
        match &round.unavailable {
            Some(why) => {
                if let Some(count) = self.trouble.is(why) {
                    tracing::error!(
                        error = why,
                        count,
                        "what needs the token is not carried out"
                    );
                }
            }
            None if self.trouble.is_over() => {
                tracing::info!("approved ceremonies are carried out again");
            }
            None => {}
        }
        // What is not settled is found in each round, and is no news then.
        for finding in &round.findings {
            if !self.found.contains(finding) {
                let (object, ring) = (&finding.object, &finding.ring);
                tracing::warn!(object, ring, action = finding.action, "{}", finding.finding);
            }
        }
        self.found.clone_from(&round.findings);
        for report in &round.executed {
            counter!(names::EXECUTOR_CEREMONIES, "outcome" => "executed").increment(1);
            let (ceremony, operation) = (&report.ceremony, report.operation);
            tracing::info!(ceremony, operation, kids = ?report.kids, "a ceremony was carried out");
        }
        for waits in round.waits.iter().filter(|waits| waits.is_news) {
            counter!(names::EXECUTOR_CEREMONIES, "outcome" => "refused").increment(1);
            let ceremony = waits.ceremony.to_string();
            tracing::warn!(
                ceremony,
                why = waits.why,
                "an approved ceremony is not carried out"
            );
        }
        for Rotated { order, ring, kid } in &round.rotated {
            let (order, ring) = (order.to_string(), ring.as_str());
            tracing::info!(order, ring, %kid, "a key became primary under its standing order");
        }
        for waits in round.orders.iter().filter(|waits| waits.is_news) {
            let (order, ring) = (waits.order.to_string(), waits.ring.as_str());
            let why = &waits.why;
            tracing::warn!(order, ring, why, "a key under a standing order is not made");
        }
        if let Ok(waiting) = store.waiting_for_executor().await {
            let count = u32::try_from(waiting.count).unwrap_or(u32::MAX);
            gauge!(names::EXECUTOR_WAITING).set(count);
        }
        match &round.unavailable {
            Some(why) => self.is_ready(false, why.clone()),
            None => self.is_ready(
                true,
                format!("{} approved ceremonies wait", round.waits.len()),
            ),
        }
    }

    fn is_ready(&self, ready: bool, why: String) {
        if let Some(health) = self.health {
            health.is_ready(ready, why);
        }
    }
}
