//! Opens the log of a replica: storage, proofs, and the keeper that integrates.

use std::sync::Arc;

use tokio::sync::watch;

use super::integrator::{self, Integrator, Settings};
use super::keeper::{Keeper, Published};
use super::proofs::Proofs;
use super::seal::Seal;
use super::storage::{self, Storage};
use super::tiles::Tiles;
use crate::ambient::Ambient;
use crate::config::Config;
use crate::store::Store;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// Nobody must sign into a log that does not fit what is published.
    #[error("the log must not go on from this database")]
    Refused(#[source] integrator::Error),
}

/// Refuses a database that is older than what is published, or of another history. A storage that
/// does not answer is no such refusal: leaves wait in the database.
pub async fn open(
    config: &Config,
    variable: impl Fn(&str) -> Option<String>,
    store: &Store,
    seal: Arc<dyn Seal>,
    ambient: &Ambient,
    instance: &str,
) -> Result<(Proofs, Keeper), OpenError> {
    let origin = config.log.origin(&config.service.issuer);
    let tiles = Tiles::new(Storage::open(&config.log, variable)?);
    let (published, watched) = watch::channel(Published::default());
    let proofs = Proofs::new(store.clone(), tiles.clone(), seal.clone(), &origin, watched);
    let settings = Settings {
        origin,
        holder: instance.to_owned(),
        remove_partial: config.log.remove_partial_tiles,
    };
    let mut integrator = Integrator::new(store.clone(), tiles, seal, ambient.clone(), settings);
    if let Err(error) = integrator.inspect().await {
        if error.is_fatal() {
            return Err(OpenError::Refused(error));
        }
        tracing::warn!(error = crate::telemetry::chain(&error), "the log waits");
    }
    let keeper = Keeper {
        integrator,
        store: store.clone(),
        ambient: ambient.clone(),
        interval: config.log.interval,
        heartbeat: config.log.heartbeat,
        published,
    };
    Ok((proofs, keeper))
}
