//! `chancery policy`: by which rules each key type rotates.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use calendar::PolicyDocument;
use calendar::key_type::KeyType;
use clap::Subcommand;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::context::from_rotation;
use super::{CliContext, World};
use rotation::policies::{PolicyView, VERSIONS_MAX};
use verify::output::{Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the policies in force, of every key type.
    List,
    /// Show the policy of a key type as a document that `policy set` takes, and who changed it.
    Show {
        /// The key type, such as `jwt_signing`.
        key_type: String,
        /// Show its versions instead, the newest first.
        #[arg(long)]
        versions: bool,
    },
    /// Put the next version of a policy in force. Those of critical key types only the quorum changes: `ceremony new
    /// rotation-policy`.
    Set {
        /// The whole document, JSON; its version is one more than that of the policy in force.
        file: PathBuf,
        /// Reason for the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Say all that is wrong with a document, and change nothing.
    Check {
        /// The document, JSON.
        file: PathBuf,
    },
    /// Add a key type with the figures that its policy begins with.
    AddType {
        /// Its description, JSON (docs/ROTATION.md).
        file: PathBuf,
    },
}

pub fn read<T: DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let read = trust::json::parse_strict(&bytes);
    read.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let inventory = open.inventory();
    let (policies, now) = (inventory.policies(), world.env.now());
    let by = (open.actor.as_str(), now);
    match command {
        Command::List => {
            let current = policies.current(now).await.map_err(from_rotation)?;
            let views = current.views();
            output.result(&views, || rendered(&views));
            for view in views.iter().filter(|view| !view.lapsed.is_empty()) {
                let of = &view.document.key_type;
                output.remark(format!("{of}: {}", view.lapsed.join("; ")));
            }
        }
        Command::Show { key_type, versions } if versions => {
            let versions = policies.versions(&key_type, None, VERSIONS_MAX).await;
            let versions = versions.map_err(from_rotation)?;
            output.result(&versions, || {
                let rows = versions.iter().map(|version| {
                    let number = version.version;
                    [
                        match version.undecided {
                            true => format!("{number} (not decided)"),
                            false => number.to_string(),
                        },
                        version
                            .changed_at
                            .map(|at| at.to_string())
                            .unwrap_or_default(),
                        version.changed_by.clone().unwrap_or_default(),
                        version.document.interval.to_string(),
                        version.reason.clone().unwrap_or_default(),
                    ]
                });
                table(&["version", "changed", "by", "interval", "reason"], rows)
            });
        }
        Command::Show { key_type, .. } => {
            let current = policies.current(now).await.map_err(from_rotation)?;
            let view = current
                .view(&key_type)
                .ok_or_else(|| Failure::usage(format!("no key type has the name {key_type}")))?;
            output.result(&view, || {
                serde_json::to_string_pretty(&view.document).unwrap_or_default()
            });
            for what in view.lapsed {
                output.remark(what);
            }
        }
        Command::Set { file, reason } => {
            let document: PolicyDocument = read(&file)?;
            let set = policies.set(document, &reason, by).await;
            let set = set.map_err(from_rotation)?;
            output.result(&set, || {
                let of = &set.document.key_type;
                format!("Version {} of the policy of {of} is in force.", set.version)
            });
        }
        Command::Check { file } => {
            let document: PolicyDocument = read(&file)?;
            let policy = policies.check(document, now).await.map_err(from_rotation)?;
            let exceptions = policy.exceptions();
            output.result(&json!({"exceptions": exceptions}), || {
                match exceptions.len() {
                    0 => "Nothing is wrong with it.".to_owned(),
                    count => format!(
                        "It is outside of {count} rules, as its deviations say or as they permit."
                    ),
                }
            });
        }
        Command::AddType { file } => {
            let key_type: KeyType = read(&file)?;
            let name = key_type.name.clone();
            let added = policies.add_type(key_type, by).await;
            added.map_err(from_rotation)?;
            output.result(&json!({"key_type": name}), || {
                format!("{name} is a key type.")
            });
        }
    }
    Ok(())
}

fn rendered(views: &[PolicyView]) -> String {
    table(
        &[
            "key type", "version", "interval", "grace", "approval", "owner", "priority",
        ],
        views.iter().map(|view| {
            let document = &view.document;
            [
                document.key_type.to_string(),
                document.version.to_string(),
                document.interval.to_string(),
                document.grace.to_string(),
                document.approval.to_string(),
                document.owner.to_string(),
                document.priority.to_string(),
            ]
        }),
    )
}
