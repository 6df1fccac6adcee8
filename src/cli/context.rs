//! What most sub-commands need open: configuration, database, log, trust.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::ssh::KeyFile;
use super::{World, config};
use crate::config::Config;
use keyring::ceremony::CeremonyService;
use keyring::keys::{self, Keys, Settings, Snapshot};
use log::{Event, Log};
use rotation::inventory::InventoryService;
use rotation::policies::{PolicyService, caches_of};
use store::{Change, Database, Store};
use token::Executor;
use trust::Kid;
use trust::actor::Actor;
use trust::tlog::note::VerifierKey;
use verify::output::{Code, Failure};

pub struct CliContext {
    pub config: Config,
    pub store: Store,
    pub log: Log,
    /// Who types, for the audit trail: the login name, which proves nothing. What counts is
    /// signed by custodians.
    pub actor: String,
    pub settings: Settings,
    program: std::path::PathBuf,
    /// Leaves or documents may be missing: this is about putting them back.
    recovering: bool,
}

impl CliContext {
    pub async fn new(path: &Path, world: &World) -> Result<Self, Failure> {
        let mut open = Self::for_recovery(path, world).await?;
        open.recovering = false;
        log::confirm_database(&open.config.log, |name| variable(world, name), &open.store)
            .await
            .map_err(Failure::unavailable)?;
        Ok(open)
    }

    /// Whichever database it is.
    pub async fn for_recovery(path: &Path, world: &World) -> Result<Self, Failure> {
        let config = config::load(path, world)?;
        let store = connect(&config, world).await?;
        let schema = store.schema().await.map_err(Failure::unavailable)?;
        schema.check().map_err(Failure::unavailable)?;
        compare_clocks(&store, &config, &world.env);
        let settings = config.keyring().map_err(Failure::usage)?;
        let name = variable(world, "SUDO_USER")
            .or_else(|| variable(world, "USER"))
            .unwrap_or_else(|| "unknown".to_owned());
        Ok(Self {
            log: Log::new(store.clone()),
            // The kernel's word first; the name is only for people.
            actor: Actor::Cli {
                uid: rustix::process::getuid().as_raw(),
                name: &name,
            }
            .to_string(),
            program: world.program.clone(),
            store,
            settings,
            config,
            recovering: true,
        })
    }

    pub async fn commit(&self, change: &Change, event: &Event<'_>) -> Result<i64, Failure> {
        self.log.commit(change, event).await.map_err(from_store)
    }

    /// A rule said no: that somebody was refused is written down, and told.
    pub async fn refused(
        &self,
        world: &World,
        action: &str,
        ring: Option<&str>,
        why: impl std::fmt::Display,
    ) -> Failure {
        let why = why.to_string();
        let now = world.env.now();
        match self
            .log
            .record_refusal(now, &self.actor, action, ring, &why)
            .await
        {
            Ok(_) => Failure::refused(why),
            Err(error) => Failure::unavailable(error),
        }
    }

    pub async fn keys(&self) -> Result<Arc<Keys>, Failure> {
        let (store, settings) = (self.store.clone(), self.settings.clone());
        let keys = match self.recovering {
            true => Keys::load_for_recovery(store, settings).await,
            false => Keys::load(store, settings).await,
        };
        keys.map_err(from_keys)
    }

    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, Failure> {
        Ok(self.keys().await?.current())
    }

    /// With these keys, however old they are.
    pub async fn snapshot_with(&self, kids: Vec<Kid>) -> Result<Arc<Snapshot>, Failure> {
        let snapshot = self.keys().await?.snapshot_with(kids).await;
        snapshot.map_err(|error| from_keys(error.into()))
    }

    /// Every key that the log ever had.
    pub async fn verifier_keys(&self) -> Result<Vec<(Kid, VerifierKey)>, Failure> {
        let origin = self.config.log.origin(&self.config.service.issuer);
        self.verifier_keys_of(&origin).await
    }

    /// The same, of another origin of the log.
    pub async fn verifier_keys_of(&self, origin: &str) -> Result<Vec<(Kid, VerifierKey)>, Failure> {
        let snapshot = self.snapshot().await?;
        let ring = snapshot.rings.get(trust::LOG_RING);
        let keys = ring.into_iter().flat_map(|ring| &ring.keys);
        keys.map(|key| Ok((key.kid.clone(), VerifierKey::for_log(origin, &key.public)?)))
            .collect::<Result<_, trust::tlog::note::KeyError>>()
            .context("the log's keys")
            .map_err(Failure::from)
    }

    /// What rotates, and by which policies.
    pub fn inventory(&self) -> InventoryService {
        let caches = caches_of(self.settings.longest_cached());
        let policies = PolicyService::new(self.store.clone(), caches, self.settings.pin.clone());
        InventoryService::new(self.store.clone(), policies)
    }

    pub fn ceremonies(&self, world: &World) -> CeremonyService {
        let service = CeremonyService::new(
            self.store.clone(),
            world.env.clone(),
            &self.settings,
            self.actor.clone(),
        );
        let service = match &self.config.executor {
            Some(executor) => service.with_lease(executor.lease),
            None => service,
        };
        match &self.config.orders.result_key {
            Some(key) => service.with_result_signer(Arc::new(KeyFile(key.clone()))),
            None => service,
        }
    }

    /// The executor's own way to the token, by a PIN that no replica has.
    pub fn executor(&self) -> Result<Executor, Failure> {
        self.config.pins_are_apart().map_err(Failure::usage)?;
        let section = self.config.executor.as_ref().ok_or_else(|| {
            Failure::usage("the configuration has no [executor] section, which is needed to access the token for a ceremony")
        })?;
        Executor::start(&section.token(), &self.program).map_err(Failure::unavailable)
    }
}

pub fn variable(world: &World, name: &str) -> Option<String> {
    world
        .environment
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.clone())
}

/// The database, which has to be there.
pub async fn connect(config: &Config, world: &World) -> Result<Store, Failure> {
    opened(
        config,
        world,
        Store::connect(&database(config, world)?).await,
    )
}

/// The same for whoever begins an installation: a file that is not there is made.
pub async fn found(config: &Config, world: &World) -> Result<Store, Failure> {
    opened(config, world, Store::found(&database(config, world)?).await)
}

fn database(config: &Config, world: &World) -> Result<Database, Failure> {
    let database = config.store.database(|name| variable(world, name));
    database.map_err(|problem| Failure::new(Code::Usage, anyhow::anyhow!(problem)))
}

fn opened(
    config: &Config,
    world: &World,
    store: Result<Store, store::Error>,
) -> Result<Store, Failure> {
    let store = store.context("cannot open the database");
    let store = store.map_err(Failure::unavailable)?;
    if config.store.sqlite_path().is_some() {
        let _ = world.file.set(store.clone());
    }
    Ok(config.store.apply(store))
}

/// Whoever writes compares the clocks. In a simulation the database has no part in what time it is.
pub fn compare_clocks(store: &Store, config: &Config, env: &base::Env) {
    if config.simulation.is_some() {
        tracing::warn!(now = %env.now(), "the clock is simulated");
        return;
    }
    let env = env.clone();
    let clock = Arc::new(move || env.now().millis());
    store.compare_clocks(clock, config.store.clock_tolerance());
}

/// A conflict is a rule that said no; the rest is the database's trouble.
pub fn from_store(error: store::Error) -> Failure {
    let code = if error.is_conflict() {
        Code::Refused
    } else {
        Code::Unavailable
    };
    Failure::new(code, error)
}

/// A chain that does not hold is a rule; a database that cannot be read is not.
pub fn from_keys(error: keys::Error) -> Failure {
    let code = match error {
        keys::Error::Store(_) => Code::Unavailable,
        keys::Error::Archive(ref error) if error.may_pass() => Code::Unavailable,
        _ => Code::Refused,
    };
    Failure::new(code, error)
}

/// The same of assets and policies.
pub fn from_rotation(error: rotation::error::Error) -> Failure {
    let code = match error.is_refusal() {
        true => Code::Refused,
        false => Code::Unavailable,
    };
    Failure::new(code, error)
}

/// A rule that said no is not a failure of the machine, and an absent token is neither.
pub fn failed(error: keyring::ceremony::Error) -> Failure {
    let code = match error.kind() {
        keyring::ceremony::Kind::Refused => Code::Refused,
        keyring::ceremony::Kind::Unavailable => Code::Unavailable,
        keyring::ceremony::Kind::Failed => Code::Failed,
    };
    Failure::new(code, error)
}
