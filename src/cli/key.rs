use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};
use trust::{KeyState, Kid};

use super::{CliContext, World, from_keys, usage};
use keyring::keys::{Key, Keys, NoKey, Share};
use keyring::usage::MOST_HOURS;
use trust::Time;
use verify::output::{Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List keys with a valid transcript, by ring and number, and the refused ones with the reason; continue with `--after`.
    List {
        /// Start behind the key with this kid.
        #[arg(long, allow_hyphen_values = true)]
        after: Option<Kid>,
        /// The most keys to show.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one key.
    Show {
        /// The kid, the thumbprint of the public key (RFC 7638).
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Show how often a key signed, hour by hour.
    Usage {
        /// The kid, the thumbprint of the public key (RFC 7638).
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// How many hours, the one that is under way included.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_HOURS)))]
        hours: u32,
    },
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let known = open.keys().await?;
    match command {
        Command::List { after, limit } => {
            let page = known
                .page(after.as_ref(), limit as usize, Share::Known)
                .await;
            let page = page.map_err(no_key)?;
            let keys = &page.keys;
            // Those of the rings' own keys are told of with the first page, wherever they stand.
            let mut refused = page.refused;
            if after.is_none() {
                let others = known.refused().into_iter();
                let new = others.filter(|other| refused.iter().all(|key| key.kid != other.kid));
                let new: Vec<_> = new.collect();
                refused.extend(new);
            }
            let shown: Vec<Value> = keys.iter().map(|key| describe(key, &open)).collect();
            let told: Vec<Value> = refused
                .iter()
                .map(|refused| json!({"kid": refused.kid, "why": refused.why}))
                .collect();
            let mut answer = json!({"keys": shown, "refused": told});
            if let Some(next) = &page.next {
                answer["next"] = next.as_str().into();
            }
            output.result(&answer, || {
                table(
                    &["ring", "number", "kid", "algorithm", "state", "published"],
                    keys.iter().map(|key| {
                        [
                            key.ring.to_string(),
                            key.number.to_string(),
                            key.kid.to_string(),
                            key.algorithm.to_string(),
                            key.status().to_owned(),
                            key.published_at.to_string(),
                        ]
                    }),
                )
            });
            for refused in &refused {
                output.remark(format!("REFUSED {}: {}", refused.kid, refused.why));
            }
            if let Some(next) = page.next {
                output.remark(format!("There may be more: --after {next}"));
            }
        }
        Command::Usage { kid, hours } => {
            let key = find(&known, &kid).await?;
            return usage::of_key(&open, &key, (world.env.now(), hours), output).await;
        }
        Command::Show { kid } => {
            let key = find(&known, &kid).await?;
            let shown = describe(&key, &open);
            output.result(&shown, || {
                let members = shown.as_object().into_iter().flatten();
                table(
                    &["", ""],
                    members.map(|(name, value)| {
                        let text = value
                            .as_str()
                            .map_or_else(|| value.to_string(), str::to_owned);
                        [name.clone(), text]
                    }),
                )
            });
        }
    }
    Ok(())
}

async fn find(known: &Keys, kid: &str) -> Result<Arc<Key>, Failure> {
    let unknown = || Failure::usage(format!("unknown key {kid:?}"));
    let asked: Kid = kid.parse().map_err(|_| unknown())?;
    let found = known.find(&asked, Share::Known).await;
    found.map_err(|error| match error {
        NoKey::Unknown => unknown(),
        error => no_key(error),
    })
}

fn no_key(error: NoKey) -> Failure {
    match error {
        NoKey::Unknown => Failure::usage("--after names no key"),
        error => from_keys(error.into()),
    }
}

pub fn describe(key: &Key, open: &CliContext) -> Value {
    let mut shown = json!({
        "kid": key.kid, "ring": key.ring, "number": key.number, "algorithm": key.algorithm,
        "state": key.status(), "published_at": key.published_at,
        "activate_at": may_sign_from(key, open), "retire_at": key.retire_at,
        "ceremony": key.ceremony, "usage": key.usage, "location": key.location,
    });
    if let Some(at) = key.unpublished_at {
        shown["unpublished_at"] = json!(at);
    }
    if let KeyState::Revoked { revocation, .. } = &key.state {
        shown["revocation"] = json!(revocation);
    }
    shown
}

/// The later of what custodians approved and what verifiers' caches need.
pub fn may_sign_from(key: &keyring::keys::Key, open: &CliContext) -> Time {
    key.activate_at
        .max(key.published_at + open.settings.safety.publish_safety())
}
