//! The transparency log and its witnesses.

use std::sync::Arc;

use keyring::keys::Keys;
use keyring::signing::LogKey;
use log::{Asked, IntegrationError, Storage};
use store::Store;
use token::Pool;
use trust::error_chain;

use super::check::{CHECK, Check, bad, good, note};
use crate::cli::{World, context};
use crate::config::Config;

/// The transparency log: its key, its storage, and whether this database may go on with it.
pub async fn log(
    config: &Config,
    world: &World,
    store: &Store,
    keys: &Arc<Keys>,
    pool: Option<Pool>,
) -> Check {
    let advice = "correct [log]; the service's user needs write access";
    let storage = match Storage::open(&config.log, |name| context::variable(world, name)) {
        Ok(storage) => storage,
        Err(error) => return bad("log", error_chain(&error), advice),
    };
    if let Err(error) = storage.probe().await {
        return bad("log", error_chain(&error), advice);
    }
    let origin = config.log.origin(&config.service.issuer);
    if let Some(pool) = pool {
        let signer = Arc::new(LogKey::new(keys.clone(), pool));
        if let Err(error) = log::inspect(&storage, &origin, store, signer, &world.env).await {
            return refused(&error);
        }
    }
    let size = match store.tree().await {
        Ok(tree) => tree.size,
        Err(error) => {
            return bad(
                "log",
                error_chain(&error),
                "check the database server's log",
            );
        }
    };
    let snapshot = keys.current();
    let ring = snapshot.rings.get(trust::LOG_RING);
    let kept = format!("{size} leaves in the tree, in {}", config.log.tiles);
    match ring.map(|ring| ring.primary.is_some()) {
        Some(true) => good("log", kept),
        Some(false) => bad(
            "log",
            "the ring \"log\" has no active key: no checkpoints and no receipts",
            "hold a ceremony for the ring \"log\", then `chancery ring rotate log --apply`",
        ),
        None if snapshot.unreadable_rings.contains_key(trust::LOG_RING) => bad(
            "log",
            "the row of ring \"log\" is unreadable: no checkpoints and no receipts",
            CHECK,
        ),
        None => bad(
            "log",
            "there is no ring \"log\": no checkpoints and no receipts",
            "`chancery ring create log --algorithm Ed25519 --apply`, then a ceremony for its key",
        ),
    }
}

/// The log does not go on from this database.
fn refused(error: &IntegrationError) -> Check {
    let advice = match error {
        IntegrationError::Origin { ours, .. } => {
            format!("the log keeps its name when the issuer changes: set log.origin = {ours:?}")
        }
        IntegrationError::OtherPlace { .. } => {
            "set log.tiles to the place of this origin, which `chancery ceremony bundle apply` filled".to_owned()
        }
        IntegrationError::Behind { .. } | IntegrationError::OtherDatabase => {
            "`chancery log recover` shows what is missing and puts it back (docs/RECOVERY.md); nothing is signed until then"
                .to_owned()
        }
        error if error.is_fatal() => CHECK.to_owned(),
        _ => "correct [log], or wait until the storage answers; receipts wait until then".to_owned(),
    };
    bad("log", error_chain(error), advice)
}

/// The witnesses' policy, and who of them answers.
pub async fn witnesses(config: &Config) -> Option<Check> {
    let what = "witnesses";
    config.log.witnesses.as_ref()?;
    let asked = match log::ask_witnesses(&config.log).await {
        Ok(asked) => asked,
        Err(error) => {
            let advice = "correct log.witnesses: a tlog-policy file with a quorum and https:// URLs; `serve` refuses to start with it";
            return Some(bad(what, error_chain(&error), advice));
        }
    };
    let missing = asked.iter().filter_map(|(name, asked)| match asked {
        Asked::Answers => None,
        Asked::HasNoUrl => Some(format!(
            "{name} has no URL in the policy and is never asked"
        )),
        Asked::Silent(why) => Some(format!("{name} does not answer: {why}")),
    });
    let missing: Vec<String> = missing.collect();
    let advice = "receipts wait until the quorum of the policy is complete";
    Some(match missing.is_empty() {
        true => good(what, format!("{} answer", asked.len())),
        false => note(what, missing.join("; "), advice),
    })
}
