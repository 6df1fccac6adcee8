//! `chancery ceremony list`.

use clap::{Args, ValueEnum};
use serde_json::json;
use trust::Request;

use super::super::CliContext;
use super::remote_arguments::RemoteReader;
use store::CeremonyRow;
use verify::output::{Failure, Output, table};

#[derive(Debug, Args)]
pub struct List {
    /// Those that were proposed before the one with this id; without `--url`.
    #[arg(long, conflicts_with = "url")]
    before: Option<String>,
    /// The most ceremonies to show.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Those of this state; with `--url`.
    #[arg(long, value_enum, requires = "url")]
    pub state: Option<Which>,
    /// What waits for you, statements of `chancery trust` as well, and the commands that come next; with `--url`.
    #[arg(long, requires = "url", conflicts_with = "state")]
    pub waiting: bool,
    #[command(flatten)]
    pub reader: RemoteReader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Proposed and not ended.
    Open,
    /// Ended.
    Past,
}

impl Which {
    /// As the interface writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Past => "past",
        }
    }
}

pub async fn run(open: &CliContext, command: &List, output: &Output) -> Result<(), Failure> {
    let before = match &command.before {
        None => (i64::MAX, ""),
        Some(id) => {
            let proposed = open.store.place_of_ceremony(id).await;
            let proposed = proposed.map_err(Failure::unavailable)?;
            let unknown = || Failure::usage(format!("unknown ceremony {id}"));
            (proposed.ok_or_else(unknown)?, id.as_str())
        }
    };
    let page = open
        .store
        .latest_ceremonies(before, i64::from(command.limit));
    let page = page.await.map_err(Failure::unavailable)?;
    for row in &page.rows.unreadable {
        output.remark(row.to_string());
    }
    let mut rows = page.rows.read;
    rows.reverse();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({"ceremony": row.id, "lines": lines(row), "operation": row.operation,
                "ring": row.ring, "state": row.state.to_string(), "created_at": row.created_at})
        })
        .collect();
    output.result(&shown, || {
        table(
            &["ceremony", "operation", "subject", "state", "proposed"],
            rows.iter().map(|row| {
                [
                    row.id.to_string(),
                    row.operation.to_string(),
                    lines(row).join(", "),
                    row.state.to_string(),
                    row.created_at.to_string(),
                ]
            }),
        )
    });
    if let Some(oldest) = page.next.filter(|next| !next.key.is_empty()) {
        output.remark(format!("There may be older ones: --before {}", oldest.key));
    }
    Ok(())
}

/// The ceremony's places in the lines of its subjects.
fn lines(row: &CeremonyRow) -> Vec<String> {
    let request = Request::decode(&row.request);
    let lines = request.map(|request| request.lines).unwrap_or_default();
    lines
        .iter()
        .map(|line| format!("{} #{}", line.subject, line.sequence))
        .collect()
}
