//! Looks at everything that the service needs and says what to do about what is missing.

mod check;
mod clock;
mod database;
mod listeners;
mod log;
mod notifications;
mod oidc;
mod policies;
mod token;

use std::path::Path;

use serde_json::json;

use super::{World, config};
use check::{bad, good};
use clock::clock;
use database::{account, credentials, database, history, trust_and_keys};
use listeners::{addresses, authorities, filter, tls};
use log::{log, witnesses};
use notifications::notifications;
use policies::policies;
use token::{emergency, executor, pins, signing, token, waiting, wrapping};
use verify::output::{Code, Failure, Output, table};

pub async fn run(path: &Path, world: &World, output: &Output) -> Result<(), Failure> {
    let mut checks = Vec::new();
    match config::load(path, world) {
        Ok(config) => {
            checks.push(good("configuration", path.display().to_string()));
            let store = database(&config, world, &mut checks).await;
            let mut known = None;
            if let Some(store) = store {
                checks.extend(account(&store).await);
                checks.push(clock(&config, &store, world).await);
                let keys = trust_and_keys(&config, store.clone(), &mut checks).await;
                known = keys.map(|keys| (store, keys));
            }
            let (found, pool) = token(&config, world).await;
            checks.push(found);
            checks.extend(pool.as_ref().map(wrapping));
            if let Some((store, keys)) = known {
                checks.push(log(&config, world, &store, &keys, pool.clone()).await);
                checks.extend(history(&config, &keys));
                checks.extend(credentials(&store).await);
                checks.push(policies(&store, &keys).await);
                checks.extend(notifications(&config, world, &store, &keys).await);
                let late = config.notify.executor_late;
                checks.extend(waiting(&store, late, world).await);
                checks.push(emergency(&keys, world));
                if let Some(pool) = pool {
                    checks.extend(signing(&keys, &pool, world).await);
                }
            }
            checks.extend(witnesses(&config).await);
            checks.extend(addresses(&config).await);
            checks.extend(config.http.tls.as_ref().map(|files| tls(files, world)));
            checks.extend(oidc::issuers(&config, world).await);
            checks.push(authorities(&config, world));
            checks.extend(filter(&config));
            checks.push(executor(&config, world).await);
            checks.extend(pins(&config));
        }
        Err(failure) => checks.push(bad(
            "configuration",
            format!("{:#}", failure.error),
            "correct the file, or give another one with --config",
        )),
    }
    let wrong = checks.iter().filter(|check| !check.good).count();
    output.result(&json!({"checks": checks, "wrong": wrong}), || {
        table(
            &["", "check", "found", "what to do"],
            checks.iter().map(|check| {
                [check.mark(), check.what, &check.found, &check.advice].map(str::to_owned)
            }),
        )
    });
    match wrong {
        0 => Ok(()),
        n => Err(Failure::told(
            Code::Failed,
            format_args!("{n} check(s) failed"),
        )),
    }
}
