//! Opens the log of a replica: storage, proofs, and the runner that integrates and asks witnesses.

use std::sync::Arc;

use tokio::sync::watch;

use super::gap;
use super::integrator::{self, Integrator};
use super::kept;
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
}

/// A database that is older than what is published, or of another history, is halted from the start:
/// its keys stay published and nothing is signed (case L2). A storage that does not answer is no such
/// refusal, and leaves wait in the database; but where a fail-over can happen nothing is signed until it was asked once.
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
    let proofs = Proofs::new(store.for_visitors(), tiles.clone(), watched, policy.clone());
    let integration = integrator::Settings {
        origin,
        holder: instance.to_owned(),
        remove_partial: settings.remove_partial_tiles,
    };
    let mut integrator = Integrator::new(
        store.clone(),
        tiles.clone(),
        signer,
        env.clone(),
        integration,
    );
    let mut refused = None;
    let mut incomplete = false;
    if let Err(error) = integrator.inspect().await {
        let why = trust::error_chain(&error);
        match error.is_fatal() {
            true => {
                tracing::error!(error = why, "the log is halted");
                incomplete = error.is_incomplete();
                if incomplete {
                    store.lacks_leaves(&why);
                }
                refused = Some(Arc::from(why));
                let revoked = match incomplete {
                    true => gap::revoked_since(store, &tiles).await,
                    false => Default::default(),
                };
                published.send_modify(|published| {
                    published.refused = refused.clone();
                    published.incomplete = incomplete;
                    published.revoked = Arc::new(revoked);
                });
            }
            false => {
                tracing::warn!(error = why, "integration of the log failed; retrying");
                // Where a fail-over can happen it is not known yet that none did.
                let known = store.look().await.map(|(_, word)| word);
                if !known.is_ok_and(|word| word.is_empty()) {
                    refused = Some(Arc::from(format!(
                        "it is not known yet whether the database is the one that the log was written with: {why}"
                    )));
                    published.send_modify(|published| published.refused = refused.clone());
                }
            }
        }
    }
    if refused.is_none() {
        let size = integrator.published_size().await.ok();
        match kept::hold_against(store, &settings.kept, size).await {
            Ok(None) => {}
            Ok(Some(why)) => {
                tracing::error!(error = why, "the log is halted");
                store.lacks_leaves(&why);
                refused = Some(Arc::from(why));
                incomplete = true;
                published.send_modify(|published| {
                    published.refused = refused.clone();
                    published.incomplete = true;
                });
            }
            Err(error) => {
                let error = trust::error_chain(&error);
                tracing::warn!(error, "kept leaves were not held against the database");
            }
        }
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
        kept: settings.kept.clone(),
        instance: instance.to_owned(),
        refused,
        incomplete,
        saved: 0,
    };
    // Before anybody can ask: the checkpoint, and why nothing is signed yet.
    let refused = runner.refused.clone().or_else(|| runner.waits.at_start());
    runner.publish(refused, false).await;
    Ok((proofs, runner))
}
