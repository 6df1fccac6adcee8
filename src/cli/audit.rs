//! The audit trail, read from the database.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use trust::Time;

use super::{CliContext, World};
use store::{LeafFilter, LeafRow};
use verify::output::{Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List entries, oldest first; continue with `--from`.
    List(List),
    /// Show one entry as written.
    Show {
        /// The index of the leaf.
        index: i64,
    },
}

#[derive(Debug, Args)]
pub struct List {
    /// Index of the first entry.
    #[arg(long, default_value_t = 0)]
    from: i64,
    /// The most leaves to show.
    #[arg(long, default_value_t = 100)]
    limit: i64,
    /// Leaves of this ring alone.
    #[arg(long)]
    ring: Option<String>,
    /// Leaves of this key alone.
    #[arg(long, allow_hyphen_values = true)]
    kid: Option<String>,
    /// Acts only, without signatures.
    #[arg(long)]
    acts: bool,
    /// RFC 3339 with milliseconds.
    #[arg(long)]
    since: Option<Time>,
    /// Leaves up to this instant.
    #[arg(long)]
    until: Option<Time>,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    match command {
        Command::List(list) => {
            let filter = LeafFilter {
                kid: list.kid,
                ring: list.ring,
                acts_only: list.acts,
                from_index: list.from,
                since: list.since.map_or(i64::MIN, Time::millis),
                until: list.until.map_or(i64::MAX, Time::millis),
            };
            let rows = open.store.leaves_of(&filter, list.limit).await;
            let rows = rows.map_err(Failure::unavailable)?;
            let shown: Vec<Value> = rows.iter().map(entry).collect();
            output.result(&shown, || summary(&rows));
            let full = i64::try_from(rows.len()).is_ok_and(|count| count >= list.limit);
            if let Some(last) = rows.last().filter(|_| full) {
                output.remark(format!("There may be more: --from {}", last.index + 1));
            }
        }
        Command::Show { index } => {
            let row = open.store.leaf(index).await.map_err(Failure::unavailable)?;
            let row = row.ok_or_else(|| Failure::usage(format!("no entry {index}")))?;
            output.result(&entry(&row), || row.body.clone());
        }
    }
    Ok(())
}

fn entry(row: &LeafRow) -> Value {
    json!({
        "index": row.index, "time": Time::from_millis(row.time), "kind": row.kind,
        "ring": row.ring, "kid": row.kid, "sig_hash": row.sig_hash, "body": row.body,
    })
}

fn summary(rows: &[LeafRow]) -> String {
    let text = |body: &Value, member: &str| body[member].as_str().unwrap_or_default().to_owned();
    table(
        &[
            "index", "time", "kind", "action", "actor", "ring", "kid", "reason",
        ],
        rows.iter().map(|row| {
            let body: Value = serde_json::from_str(&row.body).unwrap_or_default();
            [
                row.index.to_string(),
                Time::from_millis(row.time).to_string(),
                row.kind.clone(),
                text(&body, "action"),
                text(&body, "actor"),
                row.ring.clone().unwrap_or_default(),
                row.kid.clone().unwrap_or_default(),
                text(&body, "reason"),
            ]
        }),
    )
}
