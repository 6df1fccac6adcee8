//! The executor at a person's word: once, or by files.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use trust::Sha256Digest;

use super::context::failed;
use super::genesis::{read, write};
use super::{CliContext, World};
use crate::config::Offline;
use keyring::ceremony::{CarriedRequest, CeremonyService, Look, Round, Runner, carry_out};
use verify::output::{Code, Failure, Output, table};

/// Without a sub-command or a file it is a service: it carries out what is approved, and what standing orders make due, until
/// it is stopped.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Executor {
    #[command(subcommand)]
    command: Option<Command>,
    /// Carry out what is approved or due now, and end.
    #[arg(long, conflicts_with = "bundle")]
    once: bool,
    /// Carry out the request of a file written by `executor export`, without a database. Of the configuration only the
    /// service's name, its environment and `[executor]` are read.
    #[arg(long, value_name = "FILE", requires = "out", requires = "genesis")]
    bundle: Option<PathBuf>,
    /// File for what was done, for `executor import`; never overwritten.
    #[arg(long, value_name = "FILE", requires = "bundle")]
    out: Option<PathBuf>,
    /// SHA-256 of the genesis, as you recorded it.
    #[arg(long, value_name = "SHA256", requires = "bundle")]
    genesis: Option<Sha256Digest>,
    /// Generate nothing, and tell what the token has of the request: after a run that died.
    #[arg(long, requires = "bundle")]
    read_back: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write an approved request to a file, for an executor without a network. From then on it is carried out there; the
    /// same again writes the same file.
    Export {
        /// The id of the ceremony; the one that has waited longest when left out.
        #[arg(long)]
        ceremony: Option<String>,
        /// File for the request; never overwritten.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take what an executor without a network did.
    Import {
        /// The file that it wrote.
        file: PathBuf,
    },
    /// End what is on a file that will not come back, or whose result is refused because the roster has changed since: the
    /// ceremony has failed, and is proposed anew. Destroy the file first.
    Recall {
        /// The id of the ceremony.
        ceremony: String,
        /// Why, in words for the record.
        #[arg(long)]
        reason: String,
    },
}

impl Executor {
    /// Whether it runs until it is stopped.
    pub fn is_service(&self) -> bool {
        self.command.is_none() && !self.once && self.bundle.is_none()
    }
}

pub async fn run(
    path: &Path,
    command: Executor,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Executor {
            command: Some(Command::Export { ceremony, out }),
            ..
        } => export(path, ceremony, &out, world, output).await,
        Executor {
            command: Some(Command::Import { file }),
            ..
        } => {
            let open = CliContext::new(path, world).await?;
            let report = open.ceremonies(world).import_execution(&read(&file)?).await;
            let report = report.map_err(failed)?;
            output.result(&report, || report.to_string());
            Ok(())
        }
        Executor {
            command: Some(Command::Recall { ceremony, reason }),
            ..
        } => {
            let open = CliContext::new(path, world).await?;
            let service = open.ceremonies(world);
            let report = service.recall_execution(&ceremony, &reason).await;
            let report = report.map_err(failed)?;
            output.result(&report, || report.to_string());
            output.remark(
                "What the other machine made of it, or makes yet, is accepted by nobody; remove it there with the vendor's tool.",
            );
            Ok(())
        }
        Executor {
            bundle: Some(bundle),
            out: Some(out),
            genesis: Some(genesis),
            read_back,
            ..
        } => {
            let look = match read_back {
                true => Look::ReadBack,
                false => Look::CarryOut,
            };
            without_a_database(path, (&bundle, &out), (genesis, look), world, output).await
        }
        _ => once(path, world, output).await,
    }
}

async fn once(path: &Path, world: &World, output: &Output) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let executor = open.executor()?;
    let mut runner = Runner::new(open.ceremonies(world), executor, open.settings.clone());
    let round = runner.round(&|| false).await.map_err(failed)?;
    output.result(&round, || shown(&round));
    match round.unavailable {
        Some(why) => Err(Failure::unavailable(anyhow::Error::msg(why))),
        None => Ok(()),
    }
}

fn shown(round: &Round) -> String {
    let executed = round.executed.iter().map(|report| {
        let kids: Vec<String> = report.kids.iter().map(ToString::to_string).collect();
        let done = format!("{} {}", report.operation, kids.join(", "));
        [report.ceremony.clone(), "executed".to_owned(), done]
    });
    let waits = round.waits.iter();
    let waits = waits.map(|waits| {
        [
            waits.ceremony.to_string(),
            "waits".to_owned(),
            waits.why.clone(),
        ]
    });
    let rotated = round.rotated.iter().map(|rotated| {
        let done = format!("{} became primary", rotated.kid);
        [rotated.order.to_string(), "rotated".to_owned(), done]
    });
    let orders = round.orders.iter();
    let orders = orders.map(|waits| {
        let order = waits.order.to_string();
        [order, "waits".to_owned(), waits.why.clone()]
    });
    let findings = round.findings.iter();
    let findings = findings.map(|finding| {
        let found = format!("{}: {}", finding.finding, finding.action);
        [finding.object.clone(), "found".to_owned(), found]
    });
    let rows = executed.chain(rotated).chain(waits).chain(orders);
    let rows: Vec<[String; 3]> = rows.chain(findings).collect();
    match rows.is_empty() {
        true => {
            "No ceremony waits for the executor, and no key of a standing order is due.".to_owned()
        }
        false => table(&["", "", "what"], rows),
    }
}

async fn export(
    path: &Path,
    ceremony: Option<String>,
    out: &Path,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let service = open.ceremonies(world);
    let ceremony = match ceremony {
        Some(ceremony) => ceremony,
        None => oldest(&service).await?,
    };
    let kids = service.kids(&ceremony).await.map_err(failed)?;
    let snapshot = open.snapshot_with(kids).await?;
    let file = service.export_execution(&ceremony, &snapshot).await;
    let file = file.map_err(failed)?;
    write(out, &file)?;
    let digest = Sha256Digest::of(&file);
    output.result(
        &json!({"ceremony": ceremony, "file": out, "sha256": digest}),
        || format!("{ceremony}\nsha256 {digest}"),
    );
    output.remark(format!(
        "On the machine of the executor: chancery executor --bundle {} --out RESULT --genesis {}. If the file is lost, export it again.",
        out.display(),
        open.settings.pin.genesis
    ));
    Ok(())
}

/// Of those that touch the token.
async fn oldest(service: &CeremonyService) -> Result<String, Failure> {
    for row in service.approved().await.map_err(failed)? {
        let id = row.id.to_string();
        if service.touches_token(&id).await.map_err(failed)? {
            return Ok(id);
        }
    }
    Err(Failure::refused(
        "no approved ceremony waits for an executor",
    ))
}

async fn without_a_database(
    path: &Path,
    (bundle, out): (&Path, &Path),
    (genesis, look): (Sha256Digest, Look),
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let config = Offline::load(path, world.environment.iter().cloned())
        .map_err(|error| Failure::new(Code::Usage, error))?;
    let pin = config.pin(genesis).map_err(Failure::usage)?;
    let bytes = read(bundle)?;
    let ceremony = CarriedRequest::decode(&bytes).map_err(failed)?.ceremony();
    if out.exists() {
        let why = format!("{} exists; it is never overwritten", out.display());
        return Err(Failure::usage(why));
    }
    let token = config.executor.token();
    let executor = token::Executor::start(&token, &world.program).map_err(Failure::unavailable)?;
    let done = carry_out(&bytes, &pin, &executor, (world.env.now(), look)).await;
    let done = done.map_err(failed)?;
    write(out, &done.encode().map_err(failed)?)?;
    let kids = done.kids();
    let shown = json!({
        "ceremony": ceremony, "kids": kids, "done": done.is_done(), "file": out,
    });
    output.result(&shown, || match done.is_done() {
        true => {
            let kids = kids.iter().map(|kid| format!("\nkid {kid}"));
            format!("{ceremony}{}", kids.collect::<String>())
        }
        false => format!("{ceremony}: the token has nothing of it"),
    });
    output.remark(
        "Read the kids aloud from this screen; custodians compare them before they accept.",
    );
    Ok(())
}
