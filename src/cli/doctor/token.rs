//! The token, for the service and for the executor, and a signature by each primary.

use std::time::{Duration, Instant};

use keyring::keys::Keys;
use keyring::signing::probe_key;
use token::{Executor, Pool};

use super::check::{Check, bad, good};
use crate::cli::World;
use crate::config::Config;

/// How long the token gets to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn executor(config: &Config, world: &World) -> Check {
    let Some(section) = &config.executor else {
        return good(
            "executor",
            "not configured: this host executes no ceremonies",
        );
    };
    let identity = match Executor::start(section, &world.program) {
        Ok(executor) => executor.identity().await,
        Err(error) => Err(error),
    };
    match identity {
        Ok((serial, label)) => good("executor", format!("{label} ({serial})")),
        Err(error) => bad(
            "executor",
            format!("{:#}", anyhow::Error::from(error)),
            "check [executor]: the URI, the pin-source and the settings of the PKCS#11 module",
        ),
    }
}

/// One signature by each primary, which is thrown away.
pub async fn signing(keys: &Keys, pool: &Pool, world: &World) -> Option<Check> {
    let what = "signing";
    let snapshot = keys.current();
    let primaries = snapshot.rings.values();
    let primaries: Vec<_> = primaries.filter_map(|ring| ring.primary.clone()).collect();
    let mut failed = Vec::new();
    for key in &primaries {
        if let Err(why) = probe_key(pool, &world.env, key).await {
            failed.push(format!("ring {}: key {}: {why}", key.ring, key.kid));
        }
    }
    if !failed.is_empty() {
        let advice = "compare the token with the database: `chancery ceremony reconcile`; the private key may be on another token, or be lost";
        return Some(bad(what, failed.join("; "), advice));
    }
    let rings = primaries.iter().map(|key| key.ring.to_string());
    let rings: Vec<String> = rings.collect();
    (!rings.is_empty()).then(|| good(what, format!("rings {}", rings.join(", "))))
}

pub async fn token(config: &Config, world: &World) -> (Check, Option<Pool>) {
    let pool = match Pool::start(&config.token, &world.program) {
        Ok(pool) => pool,
        Err(error) => {
            let found = format!("{:#}", anyhow::Error::from(error));
            return (bad("token", found, "correct [token]"), None);
        }
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = pool.status();
        if status.ready {
            let name = format!(
                "{} ({}), profile {}",
                status.label.unwrap_or_default(),
                status.serial.unwrap_or_default(),
                status.profile.unwrap_or_default()
            );
            return (good("token", name), Some(pool));
        }
        if status.state == "stopped" || Instant::now() >= deadline {
            let found = status.last_error.unwrap_or_else(|| status.state.to_owned());
            let advice = "check module-path, token name, pin-source and the settings of the PKCS#11 module; a wrong PIN is tried only once";
            return (bad("token", found, advice), None);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
