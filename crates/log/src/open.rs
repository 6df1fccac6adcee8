//! Opens the log of a replica: storage, proofs, and the runner that integrates and asks witnesses.

use std::sync::Arc;

use tokio::sync::watch;

use super::integrator::{self, Integrator};
use super::proofs::Proofs;
use super::published::Published;
use super::runner::LogRunner;
use super::settings::Settings;
use super::signer::CheckpointSigner;
use super::storage::{self, Storage};
use super::tiles::Tiles;
use super::witnesses::{self, Shared, Waits, Witnesses};
use base::Env;
use store::Store;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Witnesses(#[from] witnesses::SettingsError),
    /// Nobody must sign into a log that does not fit what is published.
    #[error("the log cannot continue from this database")]
    Refused(#[source] integrator::Error),
}

/// Refuses a database that is older than what is published, or of another history. A storage that
/// does not answer is no such refusal: leaves wait in the database.
pub async fn open(
    settings: &Settings,
    issuer: &str,
    variable: impl Fn(&str) -> Option<String>,
    store: &Store,
    signer: Arc<dyn CheckpointSigner>,
    env: &Env,
    instance: &str,
) -> Result<(Proofs, LogRunner), OpenError> {
    let origin = settings.origin(issuer);
    let tiles = Tiles::new(Storage::open(settings, variable)?);
    let policy = witnesses::read_policy(settings.witnesses.as_deref())?;
    let waits = Waits::new(policy.clone(), settings);
    // From the first moment on, so that not one signature is released before the answers.
    let (published, watched) = watch::channel(Published {
        refused: waits.at_start(),
        ..Published::default()
    });
    let shared = Shared {
        store: store.clone(),
        tiles: tiles.clone(),
        signer: signer.clone(),
        env: env.clone(),
        origin: origin.clone(),
        heartbeat: settings.heartbeat,
        published: watched.clone(),
    };
    let witnesses = Witnesses::new(
        policy.as_deref(),
        settings.witnesses_missing,
        settings.witness_timeout,
        shared,
    )?;
    let proofs = Proofs::new(store.clone(), tiles.clone(), watched, policy.clone());
    let integration = integrator::Settings {
        origin,
        holder: instance.to_owned(),
        remove_partial: settings.remove_partial_tiles,
    };
    let mut integrator = Integrator::new(store.clone(), tiles, signer, env.clone(), integration);
    if let Err(error) = integrator.inspect().await {
        if error.is_fatal() {
            return Err(OpenError::Refused(error));
        }
        tracing::warn!(
            error = trust::error_chain(&error),
            "integration of the log failed; retrying"
        );
    }
    let runner = LogRunner {
        integrator,
        store: store.clone(),
        env: env.clone(),
        interval: settings.interval,
        heartbeat: settings.heartbeat,
        published,
        looked: tokio::time::Instant::now(),
        witnesses,
        waits,
        policy,
        refused: None,
    };
    Ok((proofs, runner))
}
