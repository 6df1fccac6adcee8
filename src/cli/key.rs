use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};
use trust::KeyState;

use super::{CliContext, World};
use keyring::keys::Key;
use trust::Time;
use verify::output::{Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List all keys with a valid transcript, and the refused ones with the reason.
    List,
    /// Show one key.
    Show {
        /// The kid, the thumbprint of the public key (RFC 7638).
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let snapshot = open.snapshot().await?;
    match command {
        Command::List => {
            let mut keys: Vec<_> = snapshot.keys.values().collect();
            keys.sort_by(|a, b| (&a.ring, a.number).cmp(&(&b.ring, b.number)));
            let shown: Vec<Value> = keys.iter().map(|key| describe(key, &open)).collect();
            let refused: Vec<Value> = snapshot
                .refused
                .iter()
                .map(|refused| json!({"kid": refused.kid, "why": refused.why}))
                .collect();
            output.result(&json!({"keys": shown, "refused": refused}), || {
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
            for refused in &snapshot.refused {
                output.remark(format!("REFUSED {}: {}", refused.kid, refused.why));
            }
        }
        Command::Show { kid } => {
            let key = kid
                .parse()
                .ok()
                .and_then(|kid: trust::Kid| snapshot.keys.get(&kid))
                .ok_or_else(|| Failure::usage(format!("unknown key {kid:?}")))?;
            let shown = describe(key, &open);
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

pub fn describe(key: &Key, open: &CliContext) -> Value {
    let mut shown = json!({
        "kid": key.kid, "ring": key.ring, "number": key.number, "algorithm": key.algorithm,
        "state": key.status(), "published_at": key.published_at,
        "activate_at": may_sign_from(key, open), "retire_at": key.retire_at,
        "ceremony": key.ceremony, "usage": key.usage, "location": key.location,
    });
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
