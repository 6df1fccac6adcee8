//! The scheduler: six jobs, each run once for each slot in the whole installation, by the database's time. Slots that were
//! missed are made up for by one run that says how many they were.
//!
//! Events that are due are also looked at by each replica between the jobs, because an event waits for minutes and hours that
//! no job's slots fit (ADR 64). Whoever takes an event's lease runs it, so it does not matter who looks.

mod environment;
mod heartbeat;
mod successes;
mod work;

pub use crate::measured::Audited;
pub use environment::Environment;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base::{Env, Trouble, names};
use calendar::alerts::escalation::Ladder;
use calendar::cron::{Cron, JOBS, Missed};
use calendar::weekly::Weekly;
use calendar::{Span, Time};
use keyring::ceremony::CeremonyService;
use keyring::keys::Keys;
use metrics::{counter, gauge};
use serde::Serialize;
use serde_json::{Value, json};
use store::{JobRow, JobRunRow, NewRun, RotationPause, RunLease, Store};
use trust::actor::Actor;
use trust::{Safety, error_chain};

use crate::alerts::KeyStoreView;
use crate::alerts::watch::{Looked, Sources, Watch};
use crate::drivers::{Drivers, External, Rings, Signing};
use crate::engine::error::Error;
use crate::engine::{Clock, Engine, Parts, Propagation};
use crate::facts::InstallationFacts;
use crate::inventory::InventoryService;
use crate::measured::Measured;
use crate::policies::{PolicyService, caches_of};
use crate::times::{from_row, to_row};
use successes::Successes;

/// How long a replica has a run without saying that it still works.
const LEASE: Duration = Duration::from_secs(150);

/// How often it says so.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Events that are looked at between two looks for jobs.
const EVENTS: i64 = 1_000;

/// Runs that the statistics of a job count.
const COUNTED: i64 = 100;

/// How long runs are kept after their slot.
const KEPT: Span = Span::days(400);

/// Runs jobs and looks at events.
#[derive(Clone)]
pub struct Scheduler {
    engine: Engine,
    every: Duration,
    key_store: Option<KeyStoreView>,
    digest: Option<Weekly>,
    measured: Arc<Measured>,
    environment: Environment,
    successes: Arc<Successes>,
    /// When this replica looked at alerts last, seconds of Unix time; 0 where it has not.
    looked_at: Arc<AtomicU32>,
}

/// A job with its statistics.
#[derive(Clone, Debug, Serialize)]
pub struct JobReport {
    /// Its name.
    pub name: String,
    /// What it does.
    pub purpose: &'static str,
    /// Its pattern.
    pub cron: String,
    /// The same in words.
    pub when: String,
    /// Whether it is paused by itself.
    pub paused: bool,
    /// Whether the pause of the scheduler holds it.
    pub held: bool,
    /// Its next slot.
    pub next: Option<Time>,
    /// Its last run.
    pub last: Option<RunReport>,
    /// When its last run ended that succeeded.
    pub succeeded_at: Option<trust::Time>,
    /// Of the last hundred runs.
    pub runs: usize,
    /// Of them failed.
    pub failed: usize,
    /// Slots that had no run of their own.
    pub missed: u64,
}

/// A run of a job.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// For which slot.
    pub slot: trust::Time,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// How many slots before it had no run.
    pub missed: u32,
    /// When it began.
    pub started_at: trust::Time,
    /// When it ended.
    pub ended_at: Option<trust::Time>,
    /// What it did.
    pub summary: Value,
}

/// The scheduler as a whole.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// As of when.
    pub now: Time,
    /// Which installation it is, and whether rotation is tested there.
    #[serde(flatten)]
    pub environment: Environment,
    /// Whether it is paused.
    pub paused: bool,
    /// Since when.
    pub since: Option<trust::Time>,
    /// By whom.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Rotations that are open.
    pub open: u64,
    /// The jobs.
    pub jobs: Vec<JobReport>,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finished {
    /// Of which job.
    pub job: String,
    /// For which slot.
    pub slot: Time,
    /// How many slots before it had no run.
    pub missed: u32,
    /// Whether it did what it should.
    pub succeeded: bool,
    /// What it did.
    pub summary: Value,
}

/// What an installation rotates with.
pub struct Installation {
    /// Events, steps, jobs.
    pub store: Store,
    /// The rings.
    pub keys: Arc<Keys>,
    /// Asks for keys under standing orders.
    pub ceremonies: CeremonyService,
    /// How long keys are published before they sign.
    pub safety: Safety,
    /// Randomness of ids.
    pub env: Env,
    /// The time.
    pub clock: Clock,
    /// How it is found out that a key has arrived.
    pub propagation: Propagation,
    /// Who this is among the replicas.
    pub owner: String,
    /// How often it looks for what is due.
    pub every: Duration,
    /// After which times levels are told of an alert that nobody looks after.
    pub ladder: Ladder,
}

impl Scheduler {
    /// With the drivers and the inventory of an installation: a kind of assets is one line here.
    pub fn of(installation: Installation) -> Self {
        let Installation {
            store,
            keys,
            ceremonies,
            ..
        } = installation;
        let actor = Actor::Service.to_string();
        let safety = installation.safety;
        let signing = Signing::new(
            keys.clone(),
            ceremonies.clone(),
            store.clone(),
            safety,
            actor.clone(),
        );
        let caches = caches_of(keys.longest_cached());
        let policies = PolicyService::new(store.clone(), caches, keys.pin().clone());
        let inventory = InventoryService::new(store.clone(), policies);
        let drivers = Drivers::default()
            .with(Arc::new(signing))
            .with(Arc::new(External::new(inventory.clone())));
        let rings = Rings::new(keys, ceremonies, store.clone());
        let parts = Parts {
            store,
            env: installation.env,
            clock: installation.clock,
            drivers,
            inventory: Arc::new(InstallationFacts::new(inventory, rings)),
            propagation: installation.propagation,
            owner: installation.owner,
            actor,
        };
        let engine = Engine::with_ladder(parts, installation.ladder);
        Self::new(engine, installation.every)
    }

    /// Over an engine; it does nothing by itself.
    pub fn new(engine: Engine, every: Duration) -> Self {
        Self {
            engine,
            every,
            key_store: None,
            digest: None,
            measured: Arc::default(),
            environment: Environment::default(),
            successes: Arc::default(),
            looked_at: Arc::default(),
        }
    }

    /// With what this replica knows of its token and its keys, for the alerts about them.
    pub fn with_key_store(self, view: KeyStoreView) -> Self {
        Self {
            key_store: Some(view),
            ..self
        }
    }

    /// With a digest each week.
    pub fn with_digest(self, digest: Option<Weekly>) -> Self {
        Self { digest, ..self }
    }

    /// Again and again, until it is dropped. What was begun and not ended is gone on with by whoever looks next.
    pub async fn follow(&self) {
        let mut trouble = Trouble::default();
        let mut watch = Watch::default();
        loop {
            match self.round(&mut watch).await {
                Ok(()) if trouble.is_over() => tracing::info!("rotations go on again"),
                Ok(()) => {}
                Err(error) => {
                    let why = error_chain(&error);
                    if let Some(count) = trouble.is(&why) {
                        tracing::error!(error = why, count, "rotations do not go on");
                    }
                }
            }
            tokio::time::sleep(self.every).await;
        }
    }

    /// Alerts are looked at whatever came of the rotations: they may be about that.
    pub(crate) async fn round(&self, watch: &mut Watch) -> Result<(), Error> {
        let rotated = self.rotate().await;
        let watched = self.watch(watch).await;
        let told = self.tell().await;
        let digested = match self.digest {
            Some(weekly) => self.engine.make_digest(weekly).await.map(drop),
            None => Ok(()),
        };
        rotated?;
        told?;
        watched?;
        digested
    }

    /// A look at alerts, where it is time and this replica's turn.
    async fn watch(&self, watch: &mut Watch) -> Result<(), Error> {
        let at = self.engine.now().await?;
        let key_store = self.key_store.as_ref();
        let looked = watch
            .round(&self.engine, key_store, work::is_paused)
            .await?;
        if looked.is_some() {
            self.looked_at.store(seconds(to_row(at)), Ordering::Relaxed);
        }
        Ok(())
    }

    /// When this replica looked at alerts last and wrote what became of them, in seconds of Unix time; 0 where it has not.
    pub fn looked_at(&self) -> u32 {
        self.looked_at.load(Ordering::Relaxed)
    }

    async fn rotate(&self) -> Result<(), Error> {
        self.tick().await?;
        self.engine.look(EVENTS).await.map(drop)
    }

    /// Looks at everything now, and writes what becomes of the alerts.
    pub async fn look_at_alerts(&self) -> Result<Looked, Error> {
        let assets = self.engine.assets_in_use().await?;
        let sources = Sources {
            assets: Some(&assets),
            key_store: self.key_store.as_ref().map(|view| view()),
            usage: true,
            is_paused: work::is_paused,
        };
        self.engine.look_at_alerts(&sources).await
    }

    /// Runs the jobs whose slot has come, and goes on with runs whose owner died.
    pub async fn tick(&self) -> Result<Vec<Finished>, Error> {
        let mut finished = Vec::new();
        let now = self.engine.now().await?;
        self.prepare(now).await?;
        for run in self.engine.store().open_runs().await? {
            // Of a replica that died: a pause stops what it left as well.
            if self.stands(&run.job).await? {
                continue;
            }
            let (slot, owner) = (run.slot, self.engine.owner());
            let taken = self.engine.store().take_run(&run.job, slot, owner, LEASE);
            if let Some(lease) = taken.await? {
                finished.extend(self.carry_out(lease, run.missed).await?);
            }
        }
        let pause = self.engine.store().rotation_pause().await?;
        for job in self.engine.store().jobs().await? {
            if work::is_paused(&job, &pause) {
                continue;
            }
            let Some(Missed { slot, count }) = due(&job, now) else {
                continue;
            };
            let missed = count.saturating_sub(1);
            let new = NewRun {
                job: &job.name,
                slot: to_row(slot),
                missed,
                owner: self.engine.owner(),
                at: to_row(now),
                by_hand: false,
            };
            if let Some(lease) = self.engine.store().begin_run(&new, LEASE).await? {
                finished.extend(self.carry_out(lease, missed).await?);
            }
        }
        Ok(finished)
    }

    /// Whether the job is paused now, by itself or with the scheduler.
    async fn stands(&self, name: &str) -> Result<bool, Error> {
        let pause = self.engine.store().rotation_pause().await?;
        let jobs = self.engine.store().jobs().await?;
        let mut named = jobs.iter().filter(|job| job.name == name);
        Ok(named.any(|job| work::is_paused(job, &pause)))
    }

    /// Runs a job now, whatever its slots.
    pub async fn run_now(&self, job: &str) -> Result<Finished, Error> {
        let now = self.engine.now().await?;
        self.prepare(now).await?;
        if !JOBS.iter().any(|known| known.name == job) {
            return Err(Error::UnknownJob(job.chars().take(80).collect()));
        }
        let new = NewRun {
            job,
            slot: to_row(now),
            missed: 0,
            owner: self.engine.owner(),
            at: to_row(now),
            by_hand: true,
        };
        let begun = self.engine.store().begin_run(&new, LEASE).await?;
        let lease = begun.ok_or_else(|| Error::Runs(job.to_owned()))?;
        let finished = self.carry_out(lease, 0).await?;
        finished.ok_or_else(|| Error::Runs(job.to_owned()))
    }

    /// Jobs of before an installation's first look have no run.
    async fn prepare(&self, now: Time) -> Result<(), Error> {
        let there = self.engine.store().jobs().await?;
        for job in &JOBS {
            if there.iter().any(|row| row.name == job.name) {
                continue;
            }
            let catch_up = Duration::from_secs(job.catch_up.as_seconds());
            let store = self.engine.store();
            store
                .ensure_job(job.name, job.cron, catch_up, to_row(now))
                .await?;
        }
        Ok(())
    }

    /// Under its lease, which is renewed while it works; none where another replica took it over.
    async fn carry_out(&self, lease: RunLease, missed: u32) -> Result<Option<Finished>, Error> {
        let store = self.engine.store();
        let work = work::run(&self.engine, &lease.job);
        let hold = || store.hold_run(&lease, LEASE);
        let done = match heartbeat::beside(work, (HEARTBEAT, LEASE), hold).await {
            Ok(done) => done,
            Err(error) if error.is_conflict() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (state, summary) = match &done {
            Ok(summary) => ("done", summary.clone()),
            Err(error) => ("failed", json!({ "error": error_chain(error) })),
        };
        counter!(names::JOB_RUNS, "name" => lease.job.clone(), "outcome" => state).increment(1);
        let at = self.engine.now().await?;
        let text = bounded(&summary);
        match store.end_run(&lease, state, &text, to_row(at)).await {
            Ok(()) => {}
            // It has the work's result twice at most: everything that a job does is done once.
            Err(error) if error.is_conflict() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let before = to_row(at - KEPT);
        store.forget_runs(&lease.job, before).await?;
        if let Err(error) = done {
            let why = error_chain(&error);
            tracing::error!(job = lease.job, error = why, "a job failed");
        }
        Ok(Some(Finished {
            slot: from_row(lease.slot),
            job: lease.job,
            missed,
            succeeded: state == "done",
            summary,
        }))
    }

    /// The figures of this replica: what the database says, so that each replica shows the same.
    async fn tell(&self) -> Result<(), Error> {
        for job in self.engine.store().jobs().await? {
            let Some(known) = JOBS.iter().find(|known| known.name == job.name) else {
                continue;
            };
            let at = self.successes.last(self.engine.store(), &job).await?;
            gauge!(names::JOB_SUCCEEDED, "name" => known.name).set(seconds(at));
        }
        Ok(())
    }

    /// Reads what metrics say of the inventory and of rotations, again and again, until it is dropped.
    pub async fn measure(&self) {
        self.measured.follow(&self.engine, self.every).await;
    }

    /// How old that is.
    pub fn measured_age(&self) -> Duration {
        self.measured.age()
    }

    /// Pause, jobs and statistics.
    pub async fn status(&self) -> Result<Status, Error> {
        let now = self.engine.now().await?;
        self.prepare(now).await?;
        let store = self.engine.store();
        let pause = store.rotation_pause().await?;
        let open = store.open_rotations_by_state().await?;
        let mut jobs = Vec::new();
        for row in store.jobs().await? {
            let runs = store.runs(&row.name, i64::MAX, COUNTED).await?;
            jobs.push(report(row, runs, &pause, now));
        }
        Ok(Status {
            now,
            environment: self.environment.clone(),
            paused: pause.since.is_some(),
            since: pause.since,
            by: pause.by,
            reason: pause.reason,
            open: open.into_iter().map(|(_, count)| count).sum(),
            jobs,
        })
    }

    /// What the log tells of the rotations that ended in the last 92 days, as this replica read it last; none until it has.
    pub fn audited(&self) -> Option<Audited> {
        self.measured.audited()
    }

    /// The engine that it drives.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// The slots that have come, as one. A pattern that somebody wrote into the database and that cannot be run holds its job alone.
fn due(job: &JobRow, now: Time) -> Option<Missed> {
    let cron: Cron = match job.cron.parse() {
        Ok(cron) => cron,
        Err(error) => {
            let error = error_chain(&error);
            tracing::error!(job = job.name, error, "a job's pattern cannot be run");
            return None;
        }
    };
    let catch_up = Span::seconds(job.catch_up.as_secs());
    cron.due(from_row(job.last_slot), now, catch_up)
}

fn seconds(at: trust::Time) -> u32 {
    u32::try_from(at.millis() / 1_000).unwrap_or(u32::MAX)
}

fn bounded(summary: &Value) -> String {
    let text = summary.to_string();
    match text.len() <= 16_000 {
        true => text,
        false => json!({ "left_out": text.len() }).to_string(),
    }
}

fn report(row: JobRow, runs: Vec<JobRunRow>, pause: &RotationPause, now: Time) -> JobReport {
    let cron: Option<Cron> = row.cron.parse().ok();
    let known = JOBS.iter().find(|job| job.name == row.name);
    let failed = runs.iter().filter(|run| run.state == "failed").count();
    let missed = runs.iter().map(|run| u64::from(run.missed)).sum();
    let succeeded = runs.iter().find(|run| run.state == "done");
    JobReport {
        purpose: known.map_or("", |job| job.purpose),
        when: cron.as_ref().map(Cron::describe).unwrap_or_default(),
        next: cron.as_ref().and_then(|cron| cron.next(now)),
        paused: row.paused,
        held: pause.since.is_some() && work::is_held(&row.name),
        succeeded_at: succeeded.and_then(|run| run.ended_at),
        runs: runs.len(),
        failed,
        missed,
        last: runs.into_iter().next().map(Into::into),
        cron: row.cron,
        name: row.name,
    }
}

impl From<JobRunRow> for RunReport {
    fn from(run: JobRunRow) -> Self {
        let summary = run.summary.as_deref().map(serde_json::from_str);
        Self {
            slot: run.slot,
            state: run.state,
            missed: run.missed,
            started_at: run.started_at,
            ended_at: run.ended_at,
            summary: summary.and_then(Result::ok).unwrap_or_default(),
        }
    }
}
