//! Looks at everything that the service needs and says what to do about what is missing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use trust::tlog::checkpoint::Checkpoint;
use trust::tlog::note::Note;

use super::{World, config, context};
use crate::config::Config;
use keyring::keys::Keys;
use keyring::signing::probe_key;
use log::Storage;
use store::Store;
use token::{Executor, Pool};
use trust::error_chain;
use verify::output::{Code, Failure, Output, table};

/// Who else could have written there.
const CHECK: &str = "run `chancery log check` to see what was changed";

/// How long the token gets to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    good: bool,
    found: String,
    /// What to do when it is not good.
    advice: String,
}

fn good(what: &'static str, found: impl Into<String>) -> Check {
    Check {
        what,
        good: true,
        found: found.into(),
        advice: String::new(),
    }
}

fn bad(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
    Check {
        what,
        good: false,
        found: found.into(),
        advice: advice.into(),
    }
}

/// Before that a certificate should have been renewed.
const RENEW: Duration = Duration::from_secs(14 * 86_400);

fn tls(files: &web::Tls, world: &World) -> Check {
    let what = "TLS certificate";
    let now = world.env.now();
    match web::check_tls(files) {
        Err(error) => bad(
            what,
            error_chain(&error),
            "correct the files of [http.tls]; `serve` refuses to start with them",
        ),
        Ok(until) if until <= now => bad(
            what,
            format!("expired {until}"),
            "replace the files; the service reads them again by itself",
        ),
        Ok(until) if until <= now + RENEW => bad(
            what,
            format!("expires {until}"),
            "renew it; the service reads the files again by itself",
        ),
        Ok(until) => good(what, format!("valid until {until}")),
    }
}

pub async fn run(path: &Path, world: &World, output: &Output) -> Result<(), Failure> {
    let mut checks = Vec::new();
    match config::load(path, world) {
        Ok(config) => {
            checks.push(good("configuration", path.display().to_string()));
            let store = database(&config, world, &mut checks).await;
            let mut known = None;
            if let Some(store) = store {
                let keys = trust_and_keys(&config, store.clone(), &mut checks).await;
                if let Some(keys) = keys {
                    checks.push(log(&config, world, &store, &keys).await);
                    known = Some(keys);
                }
            }
            checks.extend(config.http.tls.as_ref().map(|files| tls(files, world)));
            let (found, pool) = token(&config, world).await;
            checks.push(found);
            if let (Some(keys), Some(pool)) = (known, pool) {
                checks.extend(signing(&keys, &pool, world).await);
            }
            checks.push(executor(&config, world).await);
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
                let mark = if check.good { "ok" } else { "WRONG" };
                [mark, check.what, &check.found, &check.advice].map(str::to_owned)
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

async fn database(config: &Config, world: &World, checks: &mut Vec<Check>) -> Option<Store> {
    let store = match context::connect(config, world).await {
        Ok(store) => store,
        Err(failure) => {
            checks.push(bad(
                "database",
                format!("{:#}", failure.error),
                "start the database, or correct [store]",
            ));
            return None;
        }
    };
    match store.schema().await {
        Ok(schema) if schema.check().is_ok() => {
            let entries = store.log_size().await.unwrap_or(0);
            let found = format!(
                "schema {}, {entries} entries in the audit trail",
                schema.applied
            );
            checks.push(good("database", found));
            Some(store)
        }
        Ok(schema) => {
            let found = format!("schema {}, expected {}", schema.applied, schema.expected);
            checks.push(bad("database", found, "run `chancery migrate`"));
            None
        }
        Err(error) => {
            checks.push(bad(
                "database",
                error.to_string(),
                "check the database server's log",
            ));
            None
        }
    }
}

/// The transparency log: its key, its storage, and whether this database may go on with it.
async fn log(config: &Config, world: &World, store: &Store, keys: &Keys) -> Check {
    let advice = "correct [log]; the service's user needs write access";
    let storage = match Storage::open(&config.log, |name| context::variable(world, name)) {
        Ok(storage) => storage,
        Err(error) => return bad("log", error_chain(&error), advice),
    };
    let published = match storage.checkpoint().await {
        Ok(None) => 0,
        Ok(Some(present)) => {
            let note = Note::parse(&present.bytes).ok();
            match note.and_then(|note| Checkpoint::parse(&note.text).ok()) {
                Some(checkpoint) => checkpoint.size,
                None => return bad("log", "the published checkpoint cannot be parsed", CHECK),
            }
        }
        Err(error) => return bad("log", error_chain(&error), advice),
    };
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
    if i64::try_from(published).is_ok_and(|published| published > size) {
        return bad(
            "log",
            format!("the published checkpoint has {published} leaves, the database only {size}"),
            "the database is older than the log: restore the newer one; nothing is signed until then",
        );
    }
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

async fn trust_and_keys(
    config: &Config,
    store: Store,
    checks: &mut Vec<Check>,
) -> Option<Arc<Keys>> {
    let settings = match config.keyring() {
        Ok(settings) => settings,
        Err(problem) => {
            checks.push(bad("trust", problem, "correct the configuration"));
            return None;
        }
    };
    let documents = store.documents().await.map(|rows| rows.len()).unwrap_or(0);
    if documents == 0 {
        checks.push(bad(
            "trust",
            "no genesis is installed",
            "hold the first ceremony: `chancery ceremony genesis new`",
        ));
        return None;
    }
    match Keys::load(store, settings).await {
        Ok(keys) => {
            let snapshot = keys.current();
            checks.push(good(
                "trust",
                format!("{documents} document(s), chain verified"),
            ));
            checks.push(match snapshot.refused.first() {
                None => good(
                    "keys",
                    format!(
                        "{} in {} ring(s)",
                        snapshot.keys.len(),
                        snapshot.rings.len()
                    ),
                ),
                Some(refused) => bad(
                    "keys",
                    format!(
                        "{} refused, first {}: {}",
                        snapshot.refused.len(),
                        refused.kid,
                        refused.why
                    ),
                    "the row contradicts its ceremony: find out who changed it, for example a restored backup or a manual change",
                ),
            });
            checks.push(match snapshot.unreadable.first() {
                None => good("rows", "all readable"),
                Some(row) => bad(
                    "rows",
                    format!("{} left out, first: {row}", snapshot.unreadable.len()),
                    "find out who changed it, and put its columns back as they were, for example from a backup",
                ),
            });
            Some(keys)
        }
        Err(error) => {
            checks.push(bad(
                "trust",
                format!("{:#}", anyhow::Error::from(error)),
                "compare [trust] genesis with the digest that the custodians published",
            ));
            None
        }
    }
}

async fn executor(config: &Config, world: &World) -> Check {
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
async fn signing(keys: &Keys, pool: &Pool, world: &World) -> Option<Check> {
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

async fn token(config: &Config, world: &World) -> (Check, Option<Pool>) {
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
