//! What can be asked of a log's storage, tree and witnesses without taking part in it, for whoever looks for what would
//! stop the service.

use std::sync::Arc;

use reqwest::redirect;

use super::integrator::{self, Integrator};
use super::settings::Settings;
use super::signer::CheckpointSigner;
use super::storage::Storage;
use super::tiles::Tiles;
use super::witnesses::remote::Remote;
use super::witnesses::{self, SettingsError};
use base::Env;
use store::Store;
use trust::error_chain;

/// Holds the database, the tiles and what is published against each other, as a replica does at its start.
pub async fn inspect(
    storage: &Storage,
    origin: &str,
    store: &Store,
    signer: Arc<dyn CheckpointSigner>,
    env: &Env,
) -> Result<(), integrator::Error> {
    let settings = integrator::Settings {
        origin: origin.to_owned(),
        // It takes no lease.
        holder: String::new(),
        remove_partial: false,
    };
    let tiles = Tiles::new(storage.clone());
    let mut integrator = Integrator::new(store.clone(), tiles, signer, env.clone(), settings);
    integrator.inspect().await
}

/// What asking a witness came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Something answers at its URL; whether it cosigns is known when it is asked to.
    Answers,
    HasNoUrl,
    Silent(String),
}

/// Reads the witnesses' policy as a replica does at its start, and sees who answers, by name.
pub async fn ask_witnesses(settings: &Settings) -> Result<Vec<(String, Asked)>, SettingsError> {
    let Some(policy) = witnesses::read_policy(settings.witnesses.as_deref())? else {
        return Ok(Vec::new());
    };
    let client = reqwest::Client::builder()
        .timeout(settings.witness_timeout)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build();
    let mut asked = Vec::new();
    for witness in policy.witnesses() {
        let Some(url) = &witness.url else {
            asked.push((witness.name.clone(), Asked::HasNoUrl));
            continue;
        };
        Remote::new(witness.key.clone(), url, settings.witness_timeout).map_err(|source| {
            SettingsError::Remote {
                name: witness.name.clone(),
                source,
            }
        })?;
        let answer = match &client {
            Ok(client) => match client.get(url).send().await {
                Ok(_) => Asked::Answers,
                Err(error) => Asked::Silent(error_chain(&error)),
            },
            Err(error) => Asked::Silent(error_chain(error)),
        };
        asked.push((witness.name.clone(), answer));
    }
    Ok(asked)
}
