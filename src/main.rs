//! Wires everything; the only file that names everything.

mod cli;
mod config;
mod executor;
mod reload;
mod start;
mod telemetry;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use clap::Parser as _;

use crate::cli::{Arguments, Command, LogCommand, World};
use crate::config::Config;
use crate::start::{CLOSING, cannot_serve, listen_to};
use crate::telemetry::traces::{self, Exporting};
use access::oidc::Oidc;
use base::signals::{Hangup, shutdown_signal};
use base::system::{fill, now};
use base::{Env, Tasks};
use calendar::alerts::rules::KeyStoreFacts;
use keyring::ceremony::CeremonyService;
use keyring::signing::{self, Signing};
use keyring::verification::{self, EvidenceBuilder, Verification};
use log::{Group, Log};
use rotation::alerts::KeyStoreView;
use rotation::inventory::InventoryService;
use rotation::policies::{PolicyService, caches_of};
use store::Store;
use token::Pool;
use verify::output::{Code, Failure, Output};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::HsmWorker) {
        return token::worker();
    }
    // Reqwest and sqlx all look for it; without it they panic at the first use.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chancery: {error}");
            return ExitCode::FAILURE;
        }
    };
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let world = World {
        env: config::simulated(&arguments.config, &environment, Env::new(now, fill)),
        environment,
        program: std::env::current_exe().unwrap_or_else(|_| "chancery".into()),
        file: OnceLock::new(),
    };
    let output = Output::new("chancery", arguments.output);
    let served = match &arguments.command {
        Command::Serve => match threads_of_strangers() {
            Ok(strangers) => runtime.block_on(serve(&arguments.config, world, &strangers)),
            Err(error) => Err(Failure::unavailable(error)),
        },
        Command::Executor(options) if options.is_service() => {
            runtime.block_on(executor::run(&arguments.config, &world))
        }
        Command::Log(LogCommand::Witness(witness::Command::Serve(options))) => {
            runtime.block_on(serve_witness(options, world))
        }
        _ => return runtime.block_on(cli::run(arguments, &world)),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.failure(&failure),
    }
}

/// What callers without credentials ask for is done by threads of their own, half as many as cores and of lower
/// priority, so that whoever signs does not wait for them (ADR 33).
fn threads_of_strangers() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .thread_name("strangers")
        .on_thread_start(base::system::lower_priority)
        .enable_all()
        .build()
        .context("cannot start threads")
}

/// Builds the services from the ground up, and serves from them until it is told to stop.
async fn serve(
    path: &Path,
    world: World,
    strangers: &tokio::runtime::Runtime,
) -> Result<(), Failure> {
    let usage = |problem: String| Failure::new(Code::Usage, anyhow::anyhow!(problem));
    let config = Config::load(path, world.environment.iter().cloned())
        .map_err(|error| Failure::new(Code::Usage, error))?;
    let apart = config.pins_are_apart();
    apart.map_err(|error| Failure::new(Code::Usage, error))?;
    let env = world.env.clone();
    let instance = format!(
        "{:08x}",
        u32::from_be_bytes(env.random().context("generating an instance name")?)
    );
    let exporting = config.telemetry.traces.as_ref();
    let exporting = exporting.map(|to| Exporting::start(to, &config.service, &instance, &env));
    let exporting = exporting.transpose();
    let exporting = exporting.map_err(|why| usage(format!("telemetry.traces: {why}")))?;
    let filter = listen_to(&config, exporting.as_ref())?;
    // From here on a hang-up does not end the process.
    let hangup = Hangup::new();
    let metrics = telemetry::record_metrics().context("cannot set up metrics")?;
    base::names::begin_at_zero();

    let database = config
        .store
        .database(|name| cli::variable(&world, name))
        .map_err(usage)?;
    let settings = config.keyring().map_err(usage)?;
    let rules = verification::Rules::read(&config.verification)
        .map_err(|error| Failure::new(Code::Usage, error))?;
    let pin = settings.pin.clone();
    let caches = caches_of(settings.longest_cached());
    let mut shutdown = Box::pin(shutdown_signal());
    let starting = web::Starting::bind(&config.http, metrics.clone()).map_err(cannot_serve)?;
    let waits_for = |why| starting.waits_for(why);
    let (store, keys) = tokio::select! {
        opened = start::open(&config.store, &database, &settings, &waits_for) => opened?,
        _ = &mut shutdown => return Ok(()),
    };
    cli::compare_clocks(&store, &config, &env);
    let pool = Pool::start_service(&config.token, &world.program)
        .context("cannot start the token pool")
        .map_err(|error| Failure::new(Code::Usage, error))?;
    let log = Log::new(store.clone());
    let log_key = Arc::new(signing::LogKey::new(keys.clone(), pool.clone()));
    let (proofs, runner) = log::open(
        &config.log,
        &config.service.issuer,
        |name| cli::variable(&world, name),
        &store,
        log_key,
        &env,
        &instance,
    )
    .await
    .context("cannot open the log")
    .map_err(Failure::unavailable)?;
    keys.withhold(proofs.published().revoked).await;
    let (holder, last) = (instance.clone(), runner.at_the_end());
    let (group, committer) = Group::new(store.clone(), runner.watch());
    let signing = Signing::new(
        keys.clone(),
        pool.clone(),
        group,
        store.clone(),
        env.clone(),
    );
    // What anybody may ask reads by connections of its own.
    let visitors = store.for_visitors();
    let verification = Verification::new(
        keys.clone(),
        visitors.clone(),
        proofs.clone(),
        rules,
        env.clone(),
    );
    let evidence_builder =
        EvidenceBuilder::new(keys.clone(), visitors.clone(), proofs.clone(), pin);
    let ceremonies = CeremonyService::for_anybody(visitors, env.clone(), &settings);

    let mut tasks = Tasks::default();
    tasks.start_draining("group commit", committer, |committer| {
        Box::pin(committer.run())
    });
    tasks.start("keys", keys.clone(), |keys| Box::pin(keys.clone().follow()));
    runner.start(&mut tasks);
    tasks.start(
        "idempotency",
        (store.clone(), env.clone(), instance.clone()),
        |(store, env, instance)| {
            Box::pin(signing::forget_old_answers(
                store.clone(),
                env.clone(),
                instance.clone(),
            ))
        },
    );
    tasks.start(
        "ring probes",
        (signing.clone(), instance.clone()),
        |(signing, instance)| Box::pin(signing.clone().probe(instance.clone())),
    );
    let deadlines = CeremonyService::for_anybody(store.clone(), env.clone(), &settings)
        .keeping_refusals_of(&ceremonies);
    tasks.start(
        "ceremony deadlines",
        (deadlines, evidence_builder.clone()),
        |(deadlines, evidence)| Box::pin(deadlines.clone().keep_deadlines(evidence.clone())),
    );
    start_notifications(&mut tasks, &config, &world, &store, &keys, &instance)?;
    let scheduler = cli::scheduler(&config, &world, &store, &keys, &settings, &instance)?;
    let scheduler = scheduler.with_key_store(key_store(&keys, &signing));
    let scheduler = scheduler.with_digest(config.notify.digest.weekly());
    tasks.start("metrics of rotations", scheduler.clone(), |scheduler| {
        let scheduler = scheduler.clone();
        Box::pin(async move { scheduler.measure().await })
    });
    if config.rotation.enabled {
        tasks.start("rotation", scheduler.clone(), |scheduler| {
            let scheduler = scheduler.clone();
            Box::pin(async move { scheduler.follow().await })
        });
    }
    let followed = reload::Reload {
        file: path.to_owned(),
        environment: world.environment.clone(),
        config: config.clone(),
        filter,
        verification: verification.clone(),
        hangup: Hangup::new(),
    };
    tasks.start("reload", followed, |reload| Box::pin(reload.follow()));
    let oidc = Arc::new(Oidc::new(&config.access.oidc, &env));
    oidc.start(&mut tasks);
    warn_of_unfinished(&store).await;
    let policies = PolicyService::new(store.clone(), caches, keys.pin().clone());
    let services = web::Services {
        keys,
        signing,
        verification,
        evidence: evidence_builder,
        ceremonies,
        inventory: InventoryService::new(store.clone(), policies),
        transparency_log: proofs,
        store: store.clone(),
        log,
        token: pool,
        strangers: strangers.handle().clone(),
        oidc,
        env: env.clone(),
        rotation: scheduler,
        metrics,
        set_parent: Arc::new(traces::set_parent),
        executor_late: config.notify.executor_late,
        instance: instance.clone(),
    };
    let mut settings = web::Settings::new(&config.http, config.service.issuer.clone());
    settings.history_ring = config.service.history_ring.clone();
    settings.open_files = base::system::open_files();
    settings.operations_socket = Some(Arc::new(starting.end().await));
    let served = web::serve(services, settings, shutdown, hangup).await;
    // What follows the database holds a connection until it has really ended.
    tasks.stop().await;
    last.save().await;
    // Whoever comes next integrates at once; without it, when our lease has run out.
    let returned = store.return_lease(log::INTEGRATOR, &holder);
    if !matches!(tokio::time::timeout(CLOSING, returned).await, Ok(Ok(_))) {
        tracing::debug!("the integrator's lease was not released");
    }
    if tokio::time::timeout(CLOSING, store.close()).await.is_err() {
        tracing::warn!("the database's connections did not close in time");
    }
    if let Some(exporting) = exporting {
        exporting.end().await;
    }
    served.map_err(cannot_serve)
}

/// What this replica knows of its token and its keys, for the alerts about them.
fn key_store(keys: &Arc<keyring::keys::Keys>, signing: &Signing) -> KeyStoreView {
    let (keys, signing) = (Arc::clone(keys), signing.clone());
    Arc::new(move || {
        let rings = signing.outcomes().rings.into_iter();
        let refused = keys.refused().into_iter();
        let unreadable = keys.current().unreadable.clone().into_iter();
        KeyStoreFacts {
            unavailable: rings
                .filter_map(|(ring, outcome)| Some((ring.to_string(), outcome.error?.to_string())))
                .collect(),
            refused: refused
                .map(|key| (key.kid, key.why))
                .chain(unreadable.map(|row| (format!("{}/{}", row.table, row.key), row.why)))
                .collect(),
        }
    })
}

/// Those who are told of ceremonies. Nothing waits for them, and they hold up nothing.
fn start_notifications(
    tasks: &mut Tasks,
    config: &Config,
    world: &World,
    store: &Store,
    keys: &Arc<keyring::keys::Keys>,
    instance: &str,
) -> Result<(), Failure> {
    let known = Arc::clone(keys);
    let roster = move || {
        let snapshot = known.current();
        snapshot.trusted().map(|trusted| trusted.roster().clone())
    };
    let mut context =
        cli::notify_context(config, world, store.clone(), instance.to_owned(), roster);
    let known = Arc::clone(keys);
    context.unratified = Box::new(move || known.current().emergency.known().rotations().to_vec());
    let notifier = notify::Notifier::new(context);
    let notifier = notifier.map_err(|problem| Failure::new(Code::Usage, problem))?;
    notifier.start(tasks);
    Ok(())
}

/// A witness for the logs of other services; it has neither token nor database.
async fn serve_witness(options: &witness::Serve, world: World) -> Result<(), Failure> {
    telemetry::init("info", telemetry::Format::Text, None)
        .map_err(|error| Failure::new(Code::Usage, error))?;
    let witness = Arc::new(options.open().map_err(cli::witness_failed)?);
    let clock = Arc::new(move || world.env.now());
    let _hangup = Hangup::new();
    let shutdown = async {
        shutdown_signal().await;
    };
    witness::serve(witness, clock, options.listen, shutdown)
        .await
        .context("the HTTP server failed")
        .map_err(Failure::unavailable)
}

/// A ceremony that a crash stopped half way needs the executor's power to be settled; a replica
/// has not got it, so it says so.
async fn warn_of_unfinished(store: &Store) {
    match store.executing().await {
        Ok(ceremonies) => {
            for ceremony in ceremonies {
                tracing::warn!(
                    ceremony,
                    "a ceremony was interrupted: run `chancery ceremony reconcile`"
                );
            }
        }
        Err(error) => tracing::warn!(
            error = trust::error_chain(&error),
            "whether a ceremony was interrupted is not known"
        ),
    }
}
