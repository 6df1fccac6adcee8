//! `chancery asset`: all that rotates, and the assets whose values somebody else keeps.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use calendar::key_type::Storage;
use calendar::{AssetName, Word};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use trust::Time;

use super::context::from_rotation;
use super::{CliContext, World};
use rotation::inventory::{
    AssetChange, AssetDocument, AssetView, AssetsFile, BomVersion, Filter, ImportReport, ImportRow,
    PAGE_MAX, Rotated, Verdict, cbom, documents, read_csv, read_json, sheet,
};
use store::AssetState;
use verify::output::{Code, Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List assets by name, with their owners and the dates of their last and next rotations.
    List(List),
    /// Show one asset and its newest versions.
    Show {
        /// The asset, `kind/name[/scope]`.
        asset: AssetName,
    },
    /// Register an asset whose values somebody else keeps.
    Register(Register),
    /// Change what is said of an asset: its key type, owner, purpose, storage or labels.
    Describe(Describe),
    /// Take an asset out of use for good; it stays in the inventory.
    Retire {
        /// The asset, `external/NAME[/SCOPE]`.
        asset: AssetName,
        /// Reason for the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Import assets from CSV or JSON: a verdict for each row, and nothing unless all are good. Without `--apply` nothing is written.
    Import(Import),
    /// Export the inventory: CSV and JSON can be imported again, CBOM is a CycloneDX bill of materials.
    Export(Export),
    /// Report that an asset was rotated by whoever keeps its values.
    Report(Report),
}

#[derive(Debug, Args)]
pub struct List {
    /// Assets of this key type alone.
    #[arg(long)]
    key_type: Option<Word>,
    /// Assets that this team or owner answers for.
    #[arg(long)]
    owner: Option<Word>,
    /// Assets in this state alone.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Assets whose next version has to be in use before this instant, RFC 3339 with milliseconds.
    #[arg(long)]
    due_before: Option<Time>,
    /// Text in name, purpose or labels.
    #[arg(long)]
    text: Option<String>,
    /// Those first that rotated longest ago; what has no version in use is not shown then.
    #[arg(long)]
    oldest: bool,
    /// Continue behind this asset, or behind what a listing of the oldest named.
    #[arg(long)]
    after: Option<String>,
    /// The most assets to show.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Prepared,
    Active,
    Revoked,
    Retired,
}

impl From<State> for AssetState {
    fn from(state: State) -> Self {
        match state {
            State::Prepared => Self::Prepared,
            State::Active => Self::Active,
            State::Revoked => Self::Revoked,
            State::Retired => Self::Retired,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Place {
    Hsm,
    Wrapped,
    Files,
    Mesh,
    Issued,
}

impl From<Place> for Storage {
    fn from(place: Place) -> Self {
        match place {
            Place::Hsm => Self::Hsm,
            Place::Wrapped => Self::Wrapped,
            Place::Files => Self::Files,
            Place::Mesh => Self::Mesh,
            Place::Issued => Self::Issued,
        }
    }
}

#[derive(Debug, Args)]
pub struct Register {
    /// The asset, `external/NAME[/SCOPE]`.
    asset: AssetName,
    /// Its key type, as `policy list` shows them.
    #[arg(long)]
    key_type: Word,
    /// Where its values are.
    #[arg(long, value_enum)]
    storage: Place,
    /// When the version in use came into use, RFC 3339 with milliseconds.
    #[arg(long)]
    rotated_at: Time,
    /// When that version ends by itself.
    #[arg(long)]
    expires_at: Option<Time>,
    /// The number of that version.
    #[arg(long, default_value_t = 1)]
    version: u32,
    /// What it is for.
    #[arg(long, default_value = "")]
    purpose: String,
    /// Who answers for it, if not the team of the key type's policy.
    #[arg(long)]
    owner: Option<Word>,
    /// `name=value`; may be repeated.
    #[arg(long = "label", value_parser = label)]
    labels: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub struct Describe {
    /// The asset, `kind/name[/scope]`.
    asset: AssetName,
    /// Its key type.
    #[arg(long)]
    key_type: Option<Word>,
    /// What it is for.
    #[arg(long)]
    purpose: Option<String>,
    /// Who answers for it; `-` gives it back to the team of the key type's policy.
    #[arg(long, allow_hyphen_values = true)]
    owner: Option<String>,
    /// Where its values are; not of a ring.
    #[arg(long, value_enum)]
    storage: Option<Place>,
    /// `name=value`; may be repeated. All labels are replaced.
    #[arg(long = "label", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Reason for the audit trail.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ImportFormat {
    Csv,
    Json,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The file; `-` for standard input.
    file: PathBuf,
    /// By default what the file's name ends with.
    #[arg(long, value_enum)]
    format: Option<ImportFormat>,
    /// Apply the change; without it only the verdicts are shown.
    #[arg(long)]
    apply: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    Csv,
    Json,
    #[value(name = "cbom-1.6")]
    Cbom16,
    #[value(name = "cbom-1.7")]
    Cbom17,
}

#[derive(Debug, Args)]
pub struct Export {
    /// How it is written.
    #[arg(long, value_enum, default_value = "csv")]
    format: ExportFormat,
    /// A new file, never overwritten; by default the standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Report {
    /// The asset, `external/NAME[/SCOPE]`.
    asset: AssetName,
    /// When the new version came into use, RFC 3339 with milliseconds.
    #[arg(long)]
    rotated_at: Time,
    /// When it ends by itself.
    #[arg(long)]
    expires_at: Option<Time>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let (name, value) = parts.ok_or("expected name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    match command {
        Command::List(asked) => list(&open, world, asked, output).await,
        Command::Show { asset } => show(&open, world, &asset, output).await,
        Command::Register(asked) => register(&open, world, asked, output).await,
        Command::Describe(asked) => describe(&open, world, asked, output).await,
        Command::Retire { asset, reason } => {
            let change = AssetChange {
                retire: true,
                ..AssetChange::default()
            };
            changed(&open, world, (&asset, &change, &reason), output).await
        }
        Command::Import(asked) => import(&open, world, &asked, output).await,
        Command::Export(asked) => export(&open, world, &asked, output).await,
        Command::Report(asked) => {
            let rotated = (asked.rotated_at, asked.expires_at);
            let by = (open.actor.as_str(), world.env.now());
            let inventory = open.inventory();
            let reported = inventory.report(&asked.asset, rotated, by).await;
            let reported = reported.map_err(from_rotation)?;
            output.result(&reported, || {
                let again = match reported.repeated {
                    true => " (it was reported before)",
                    false => "",
                };
                format!(
                    "{} is at version {}{again}.",
                    reported.asset, reported.version
                )
            });
            Ok(())
        }
    }
}

async fn list(
    open: &CliContext,
    world: &World,
    asked: List,
    output: &Output,
) -> Result<(), Failure> {
    let filter = Filter {
        key_type: asked.key_type,
        owner: asked.owner,
        state: asked.state.map(AssetState::from),
        due_before: asked.due_before,
        text: asked.text,
    };
    let (inventory, now) = (open.inventory(), world.env.now());
    let policies = inventory.policies().current(now).await;
    let policies = policies.map_err(from_rotation)?;
    let mut views = Vec::new();
    let mut after = asked.after;
    loop {
        let left = asked.limit.saturating_sub(views.len()).min(PAGE_MAX);
        let page = match asked.oldest {
            true => {
                let place = after.as_deref().map(str::parse::<Rotated>).transpose();
                let place = place.map_err(|error| Failure::usage(format!("--after: {error}")))?;
                inventory.oldest(&filter, place, left, &policies).await
            }
            false => {
                let page = inventory.page(&filter, after.as_deref(), left, &policies);
                page.await
            }
        };
        let page = page.map_err(from_rotation)?;
        for name in &page.unreadable {
            output.remark(format!("The row of {name} cannot be read."));
        }
        let rows = page.rows.iter();
        views.extend(rows.map(|row| AssetView::of(row, &policies, now)));
        after = page.next;
        if after.is_none() || views.len() >= asked.limit {
            break;
        }
    }
    output.result(&views, || rendered(&views));
    if let Some(after) = after {
        output.remark(format!("There may be more: --after {after:?}"));
    }
    Ok(())
}

fn minute(time: Option<Time>) -> String {
    let text = time.map_or_else(String::new, |time| time.to_string());
    text.chars().take(16).collect::<String>().replace('T', " ")
}

fn rendered(views: &[AssetView]) -> String {
    table(
        &[
            "asset", "key type", "owner", "state", "version", "rotated", "expires", "due",
        ],
        views.iter().map(|view| {
            let due = minute(view.due_at);
            [
                view.asset.to_string(),
                view.key_type.to_string(),
                view.owner
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                view.state.as_str().to_owned(),
                view.version.to_string(),
                minute(view.rotated_at),
                minute(view.expires_at),
                if view.overdue {
                    format!("{due} overdue")
                } else {
                    due
                },
            ]
        }),
    )
}

async fn show(
    open: &CliContext,
    world: &World,
    asset: &AssetName,
    output: &Output,
) -> Result<(), Failure> {
    let (inventory, now) = (open.inventory(), world.env.now());
    let row = inventory.asset(asset).await.map_err(from_rotation)?;
    let policies = inventory.policies().current(now).await;
    let view = AssetView::of(&row, &policies.map_err(from_rotation)?, now);
    let versions = inventory.versions(asset, None, 20).await;
    let versions = versions.map_err(from_rotation)?;
    output.result(&json!({"asset": view, "versions": versions}), || {
        let rows = versions.iter().map(|version| {
            [
                version.version.to_string(),
                version.state.to_owned(),
                minute(version.rotated_at),
                minute(version.expires_at),
                version
                    .kid
                    .clone()
                    .or(version.reported_by.clone())
                    .unwrap_or_default(),
            ]
        });
        let header = ["version", "state", "rotated", "expires", "kid or reporter"];
        format!(
            "{}\n\n{}",
            rendered(std::slice::from_ref(&view)),
            table(&header, rows)
        )
    });
    Ok(())
}

async fn register(
    open: &CliContext,
    world: &World,
    asked: Register,
    output: &Output,
) -> Result<(), Failure> {
    let time = |time: Time| calendar::Time::from_millis(time.millis());
    let document = AssetDocument {
        asset: asked.asset.clone(),
        key_type: asked.key_type,
        purpose: asked.purpose,
        owner: asked.owner,
        storage: asked.storage.into(),
        version: asked.version,
        rotated_at: Some(time(asked.rotated_at)),
        expires_at: asked.expires_at.map(time),
        labels: asked.labels.into_iter().collect(),
        state: rotation::inventory::StateWord::Active,
    };
    let row = ImportRow {
        row: 1,
        asset: Some(asked.asset.to_string()),
        read: Ok(document),
    };
    let by = (open.actor.as_str(), world.env.now());
    let report = open.inventory().import(vec![row], true, by).await;
    let report = report.map_err(from_rotation)?;
    if report.refused > 0 {
        let why = report.rows.iter().flat_map(|row| &row.why);
        return Err(Failure::refused(
            why.cloned().collect::<Vec<_>>().join("; "),
        ));
    }
    output.result(&report, || match report.applied {
        true => format!("{} is registered.", asked.asset),
        false => format!("{} was registered before.", asked.asset),
    });
    Ok(())
}

async fn describe(
    open: &CliContext,
    world: &World,
    asked: Describe,
    output: &Output,
) -> Result<(), Failure> {
    let owner = match asked.owner.as_deref() {
        None => None,
        Some("-") => Some(None),
        Some(text) => {
            let owner: Result<Word, _> = text.parse();
            Some(Some(owner.map_err(|error| {
                Failure::usage(format!("--owner: {error}"))
            })?))
        }
    };
    let labels: BTreeMap<String, String> = asked.labels.into_iter().collect();
    let change = AssetChange {
        key_type: asked.key_type,
        purpose: asked.purpose,
        owner,
        storage: asked.storage.map(Storage::from),
        labels: (!labels.is_empty()).then_some(labels),
        retire: false,
    };
    changed(open, world, (&asked.asset, &change, &asked.reason), output).await
}

async fn changed(
    open: &CliContext,
    world: &World,
    (asset, change, reason): (&AssetName, &AssetChange, &str),
    output: &Output,
) -> Result<(), Failure> {
    let (inventory, now) = (open.inventory(), world.env.now());
    let by = (open.actor.as_str(), now);
    let row = inventory.change(asset, change, reason, by).await;
    let row = row.map_err(from_rotation)?;
    let policies = inventory.policies().current(now).await;
    let view = AssetView::of(&row, &policies.map_err(from_rotation)?, now);
    output.result(&view, || rendered(std::slice::from_ref(&view)));
    Ok(())
}

async fn import(
    open: &CliContext,
    world: &World,
    asked: &Import,
    output: &Output,
) -> Result<(), Failure> {
    let is_json = asked.file.extension().is_some_and(|end| end == "json");
    let format = match (asked.format, is_json) {
        (Some(format), _) => format,
        (None, true) => ImportFormat::Json,
        (None, false) => ImportFormat::Csv,
    };
    let from: Box<dyn Read> = match asked.file.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => {
            let file = File::open(&asked.file);
            Box::new(file.with_context(|| asked.file.display().to_string())?)
        }
    };
    let rows = match format {
        ImportFormat::Csv => read_csv(from),
        ImportFormat::Json => read_json(from),
    };
    let rows = rows.map_err(|error| from_rotation(error.into()))?;
    let by = (open.actor.as_str(), world.env.now());
    let report = open.inventory().import(rows, asked.apply, by).await;
    let report = report.map_err(from_rotation)?;
    output.result(&report, || summary(&report));
    match report.refused {
        0 => Ok(()),
        refused => {
            let what = format!("{refused} rows are refused; nothing was imported");
            Err(Failure::told(Code::Refused, what))
        }
    }
}

/// Refused rows that are shown to a person.
const SHOWN: usize = 50;

fn summary(report: &ImportReport) -> String {
    let refused = report
        .rows
        .iter()
        .filter(|row| row.verdict == Verdict::Refused);
    let rows = refused.take(SHOWN).map(|row| {
        [
            row.row.to_string(),
            row.asset.clone().unwrap_or_default(),
            row.why.join("; "),
        ]
    });
    let counts = format!(
        "{} new, {} unchanged, {} skipped, {} refused.",
        report.new, report.unchanged, report.skipped, report.refused
    );
    let done = match (report.refused, report.applied, report.new) {
        (0, true, _) => "Imported.",
        (0, false, 0) => "There is nothing to import.",
        (0, false, _) => "Nothing was written; --apply imports them.",
        _ => "Nothing was written.",
    };
    match report.refused {
        0 => format!("{counts} {done}"),
        _ => format!("{}\n{counts} {done}", table(&["row", "asset", "why"], rows)),
    }
}

async fn export(
    open: &CliContext,
    world: &World,
    asked: &Export,
    output: &Output,
) -> Result<(), Failure> {
    let inventory = open.inventory();
    let rows = inventory.rows().await.map_err(from_rotation)?;
    let bom = async |version| {
        let types = inventory.policies().types().await.map_err(from_rotation)?;
        let bom = cbom(&rows, &types, version, world.env.now());
        serde_json::to_vec_pretty(&bom).map_err(|error| Failure::new(Code::Failed, error))
    };
    let bytes = match asked.format {
        ExportFormat::Csv => sheet(&documents(&rows))?,
        ExportFormat::Json => {
            let file = AssetsFile {
                assets: documents(&rows),
            };
            let bytes = serde_json::to_vec_pretty(&file);
            bytes.map_err(|error| Failure::new(Code::Failed, error))?
        }
        ExportFormat::Cbom16 => bom(BomVersion::V1_6).await?,
        ExportFormat::Cbom17 => bom(BomVersion::V1_7).await?,
    };
    match &asked.out {
        None => std::io::stdout().lock().write_all(&bytes)?,
        Some(out) => {
            let file = File::create_new(out).and_then(|mut file| file.write_all(&bytes));
            file.with_context(|| out.display().to_string())?;
            output.result(&json!({"file": out, "assets": rows.len()}), || {
                format!("{} assets are in {}.", rows.len(), out.display())
            });
        }
    }
    Ok(())
}
