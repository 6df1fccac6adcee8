//! The database, and what of it has to be believed.

use std::sync::Arc;
use std::time::Duration;

use keyring::keys::Keys;
use store::{Identity, Store};
use trust::{Usage, error_chain};

use super::check::{Check, bad, good, note};
use crate::cli::{World, context};
use crate::config::Config;

pub async fn database(config: &Config, world: &World, checks: &mut Vec<Check>) -> Option<Store> {
    let store = match context::connect(config, world).await {
        Ok(store) => store,
        Err(failure) => {
            checks.push(bad(
                "database",
                format!("{:#}", failure.error),
                "start the database, mount its volume, or correct [store]",
            ));
            return None;
        }
    };
    if config.store.identity == Identity::IndexOnly && config.store.sqlite_path().is_none() {
        checks.push(note(
            "database identity",
            "store.identity = \"index-only\": a fail-over is noticed only if an index is given out again",
            "use \"server\" if this server allows pg_control_system() and pg_current_wal_lsn(); otherwise use synchronous replication",
        ));
    }
    match store.schema().await {
        Ok(schema) if schema.check().is_ok() => {
            let entries = store.log_size().await.unwrap_or(0);
            let found = format!(
                "schema {}, {entries} entries in the audit trail",
                schema.applied
            );
            checks.push(match writes(&store).await {
                Ok(()) => good("database", found),
                Err(error) => bad(
                    "database",
                    format!("it takes no writes: {}", error_chain(&error)),
                    "nothing is signed until it does: look for a full disk, a standby or read-only server, and the privileges of the account (deploy/postgres/roles.sql)",
                ),
            });
            Some(store)
        }
        Ok(schema) if schema.applied > schema.expected => {
            let found = format!("schema {}, expected {}", schema.applied, schema.expected);
            checks.push(bad(
                "database",
                found,
                "run the newer version of this program that migrated it",
            ));
            None
        }
        Ok(schema) => {
            let found = format!("schema {}, expected {}", schema.applied, schema.expected);
            checks.push(bad("database", found, "run `chancery migrate`"));
            None
        }
        Err(error) => {
            checks.push(bad(
                "database",
                error_chain(&error),
                "check the database server's log",
            ));
            None
        }
    }
}

/// A lease that has run out when it is taken: a write like any other, which holds up nobody.
async fn writes(store: &Store) -> Result<(), store::Error> {
    let lease = store.lease("doctor", "doctor", Duration::ZERO);
    lease.await.map(drop)
}

/// Whether the account can change what is past.
pub async fn account(store: &Store) -> Option<Check> {
    let what = "database account";
    let account = match store.account().await {
        Ok(account) => account?,
        Err(error) => {
            return Some(bad(
                what,
                error_chain(&error),
                "check the database server's log",
            ));
        }
    };
    let is = match (account.is_superuser, account.owns_tables) {
        (true, _) => "a superuser",
        (false, true) => "the owner of the tables",
        (false, false) => return Some(good(what, account.name)),
    };
    let found = format!("{} is {is} and can change past records", account.name);
    let advice = "run deploy/postgres/roles.sql and connect as chancery_service; the owner is for `chancery migrate` alone";
    Some(note(what, found, advice))
}

pub async fn trust_and_keys(
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
                        "{} in {} ring(s); {} of them tallied, the others when they are asked for",
                        snapshot.count(),
                        snapshot.rings.len(),
                        snapshot.keys.len()
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

/// The ring that signs the history of the keys.
pub fn history(config: &Config, keys: &Keys) -> Option<Check> {
    let what = "key history";
    let name = config.service.history_ring.as_deref()?;
    let snapshot = keys.current();
    let wrong = |found: String| {
        let advice = "create the ring, or correct service.history_ring; until then /v1/keys/history is not served";
        Some(bad(what, found, advice))
    };
    let Some(ring) = snapshot.rings.get(name) else {
        return wrong(format!("there is no ring {name:?}"));
    };
    if ring.usage != Usage::Structured {
        return wrong(format!("the ring {name:?} does not sign structured data"));
    }
    if ring.primary.is_none() {
        return wrong(format!("the ring {name:?} has no active key"));
    }
    Some(good(what, format!("signed by ring {name:?}")))
}

/// Credentials of earlier versions that are of no use.
pub async fn credentials(store: &Store) -> Option<Check> {
    let what = "credentials";
    let rows = match store.credentials().await {
        Ok(rows) => rows.read,
        Err(error) => {
            return Some(bad(
                what,
                error_chain(&error),
                "check the database server's log",
            ));
        }
    };
    let live = rows.iter().filter(|row| row.withdrawn_at.is_none());
    let useless = live.filter_map(|row| {
        let why = access::grant::useless(row)?;
        Some(format!("{} of {}: {why}", row.name.value(), row.principal))
    });
    let useless: Vec<String> = useless.collect();
    let advice = "withdraw it with `chancery access withdraw`, and grant it anew";
    (!useless.is_empty()).then(|| note(what, useless.join("; "), advice))
}
