//! A ceremony on files: a new origin of a log that is halted.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::super::context::{failed, from_store, variable};
use super::super::genesis::{read, write};
use super::super::{CliContext, World, config, ssh};
use super::ProposalArgs;
use keyring::ceremony::{Bundle, CeremonyService, Draft};
use log::{NewOriginError, OriginChange, OriginState, Storage};
use trust::request::NewOrigin;
use verify::output::{Code, Failure, Output, progress};

/// A log of which published leaves are lost for good goes on under another origin. Nothing is written to
/// the database: the ceremony is held on the file that `--bundle` names.
#[derive(Debug, Args)]
pub struct New {
    /// First line of the checkpoints from now on; no earlier one of this log.
    #[arg(long, value_name = "NAME")]
    origin: String,
    /// The last checkpoint that was published under the present origin: from the log's storage, a monitor or a witness.
    #[arg(long, value_name = "FILE")]
    previous_checkpoint: PathBuf,
    /// The file on which the ceremony is held; never overwritten.
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    #[command(flatten)]
    input: ProposalArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a signature: the proposer's, an approval, or an acceptance. One that does not count is refused.
    Add {
        /// The bundle.
        file: PathBuf,
        /// A signature made with `ssh-keygen -Y sign`.
        signature: PathBuf,
    },
    /// Show who has signed, who is missing, and what comes next.
    Show {
        /// The bundle.
        file: PathBuf,
    },
    /// Begin the new origin: copy what is left of the log to the new place of `log.tiles`, and go on from there. The plan is
    /// shown; --apply carries it out. Stop all replicas first.
    Apply(Apply),
}

#[derive(Debug, Args)]
pub struct Apply {
    /// The bundle.
    file: PathBuf,
    /// Where the log was published until now, as `log.tiles` named it. Needed where retention removed bodies.
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// Apply the change; without it only the plan is shown.
    #[arg(long)]
    apply: bool,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::Add { file, signature } => {
            // Two people who add at once do not lose each other's signature.
            let locked = lock(&file)?;
            let mut bundle = load(&file)?;
            let armored = String::from_utf8(read(&signature)?)
                .map_err(|_| Failure::usage(format!("{} is not UTF-8", signature.display())))?;
            let pin = config::load(path, world)?.keyring();
            let pin = pin.map_err(Failure::usage)?.pin;
            bundle
                .add(&armored, &pin, world.env.now())
                .map_err(failed)?;
            replace(&file, &bundle.encode().map_err(failed)?)?;
            drop(locked);
            show(path, &bundle, world, output)
        }
        Command::Show { file } => show(path, &load(&file)?, world, output),
        Command::Apply(command) => apply(path, command, world, output).await,
    }
}

fn show(path: &Path, bundle: &Bundle, world: &World, output: &Output) -> Result<(), Failure> {
    let pin = config::load(path, world)?.keyring();
    let pin = pin.map_err(Failure::usage)?.pin;
    let report = bundle.report(&pin, world.env.now()).map_err(failed)?;
    output.result(&report, || report.to_string());
    Ok(())
}

/// Bytes; one of a hundred custodians is a tenth of it.
const LARGEST: u64 = 4 << 20;

pub fn load(file: &Path) -> Result<Bundle, Failure> {
    let length = std::fs::metadata(file).map_or(0, |of| of.len());
    if length > LARGEST {
        let why = format!(
            "{} is too large for a bundle ({length} bytes)",
            file.display()
        );
        return Err(Failure::usage(why));
    }
    Bundle::decode(&read(file)?)
        .with_context(|| format!("{} is not a bundle", file.display()))
        .map_err(Failure::refused)
}

/// Waits for others that write to it; what they wrote may be another file of the same name.
fn lock(file: &Path) -> Result<File, Failure> {
    let cannot = || format!("cannot lock {}", file.display());
    loop {
        let open = File::open(file).with_context(cannot)?;
        open.lock().with_context(cannot)?;
        let (ours, there) = (open.metadata(), std::fs::metadata(file));
        let (ours, there) = (ours.with_context(cannot)?, there.with_context(cannot)?);
        if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
            return Ok(open);
        }
    }
}

/// All of it or nothing: what custodians signed is not lost with a process.
fn replace(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let new = file.with_file_name(format!("{name}.new"));
    let mut written =
        File::create(&new).with_context(|| format!("cannot create {}", new.display()))?;
    written.write_all(bytes)?;
    written.sync_all()?;
    std::fs::rename(&new, file).with_context(|| format!("cannot replace {}", file.display()))?;
    Ok(())
}

/// `ceremony new new-origin`.
pub async fn propose(path: &Path, new: New, world: &World, output: &Output) -> Result<(), Failure> {
    let open = CliContext::for_recovery(path, world).await?;
    let note = String::from_utf8(read(&new.previous_checkpoint)?);
    let note = note.map_err(|_| Failure::usage("the previous checkpoint is not UTF-8"))?;
    let tree = open.store.tree().await.map_err(Failure::unavailable)?;
    let keys = open.verifier_keys_of(&tree.origin).await?;
    let old = Storage::open(&open.config.log, |name| variable(world, name));
    let old = old.map_err(Failure::unavailable)?;
    let keys = keys.into_iter().map(|(_, key)| key).collect();
    let change = OriginChange::new(open.store.clone(), Some(old), keys);
    let bar = progress(0, output);
    let pin = &open.settings.pin;
    let order = change.draft(&new.origin, &note, pin, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    let order = order.await.map_err(refused)?;
    bar.finish_and_clear();
    let told = retained(&order);
    let service = open.ceremonies(world);
    let draft = Draft::NewOrigin(Box::new(order));
    let (key, out) = (new.input.key.clone(), new.input.out.clone());
    let request = super::drafted(&open, world, None, new.input, draft).await?;
    let payload = CeremonyService::proposal_payload(&request).map_err(failed)?;
    let mut bundle = service.bundle(&request).await.map_err(failed)?;
    match (&key, &out) {
        (Some(key), _) => {
            let signature = ssh::sign(key, &payload.namespace, &payload.bytes)?;
            bundle
                .add(&signature, pin, world.env.now())
                .map_err(failed)?;
        }
        (None, Some(out)) => write(out, &payload.bytes)?,
        (None, None) => return Err(Failure::usage("--key or --out is required")),
    }
    write(&new.bundle, &bundle.encode().map_err(failed)?)?;
    let (id, file) = (bundle.id(), new.bundle.display().to_string());
    let shown = json!({
        "ceremony": id, "bundle": file, "namespace": payload.namespace, "proposed": key.is_some(),
    });
    output.remark(told);
    match (key, out) {
        (None, Some(out)) => {
            let out = out.display().to_string();
            output.result(&shown, || {
                format!("ssh-keygen -Y sign -n {} -f KEY {out}", payload.namespace)
            });
            output.remark(format!(
                "Not proposed yet: chancery ceremony bundle add {file} {out}.sig"
            ));
        }
        _ => {
            output.result(&shown, || id);
            output.remark(format!(
                "Hand the file {file} to the custodians: chancery ceremony request {file} --out request"
            ));
        }
    }
    Ok(())
}

fn retained(order: &NewOrigin) -> String {
    let lost = match order.lost {
        Some(lost) => format!("leaves {} to {} are lost", lost.first, lost.last),
        None => "no leaf is lost".to_owned(),
    };
    format!(
        "{} goes on as {} with {} leaves; {lost}.",
        order.previous_origin, order.origin, order.size
    )
}

async fn apply(path: &Path, command: Apply, world: &World, output: &Output) -> Result<(), Failure> {
    let bundle = load(&command.file)?;
    let order = bundle.order().map_err(failed)?;
    let open = CliContext::for_recovery(path, world).await?;
    let settings = &open.config.log;
    let configured = settings.origin(&open.config.service.issuer);
    if configured != order.origin {
        return Err(Failure::refused(format!(
            "log.origin is {configured:?}, and the new origin is {:?}: first set log.origin, and log.tiles to a new, empty place",
            order.origin
        )));
    }
    let new = Storage::open(settings, |name| variable(world, name));
    let new = new.map_err(Failure::unavailable)?;
    let old = command.from.as_deref();
    let old = old
        .map(|from| old_place(from, settings, world))
        .transpose()?;
    let keys = open.verifier_keys_of(&order.previous_origin).await?;
    let keys = keys.into_iter().map(|(_, key)| key).collect();
    let change = OriginChange::new(open.store.clone(), old, keys);
    let service = open.ceremonies(world);
    let mut shown = json!({
        "origin": order.origin, "previous_origin": order.previous_origin, "retained": order.size,
        "lost": order.lost, "tiles": settings.tiles, "applied": false, "already": false, "revoked": [], "unread": [],
    });
    if open.store.tree().await.map_err(from_store)?.origin == order.origin {
        if !service.has_begun(&bundle).await.map_err(failed)? {
            return Err(Failure::refused(format!(
                "the log has the origin {:?} by another ceremony",
                order.origin
            )));
        }
        // Who committed may have died before this.
        change.end().await.map_err(refused)?;
        shown["already"] = true.into();
        output.result(&shown, || {
            format!("The log has the origin {} already.", order.origin)
        });
        return Ok(());
    }
    let permitted = service.permit_origin(&bundle).await.map_err(failed)?;
    let bar = progress(0, output);
    let moved = |done: u64, of: u64| {
        bar.set_length(of);
        bar.set_position(done);
    };
    change.expect_empty(&new, &order).await.map_err(refused)?;
    let state = change.compare(&order, moved).await.map_err(refused)?;
    let OriginState::Due(_) = state else {
        return Err(Failure::refused(
            "the log has begun its new origin in this moment: look again",
        ));
    };
    let revoked = change.revoked(&order).await;
    shown["revoked"] = json!(revoked.kids);
    shown["unread"] = json!(revoked.unread);
    for (first, last) in &revoked.unread {
        output.remark(format!(
            "Lost leaves {first} to {last} could not be read (--from names the old place): a revocation may be among them."
        ));
    }
    for kid in &revoked.kids {
        output.remark(format!(
            "A lost leaf revokes the key {kid}: revoke it again, by `chancery ring revoke`."
        ));
    }
    if !command.apply {
        bar.finish_and_clear();
        output.result(&shown, || retained(&order));
        output.remark("Nothing was changed; stop all replicas and run again with --apply.");
        return Ok(());
    }
    let copied = change.copy(&new, &order, moved).await;
    let begun = match copied.map_err(refused) {
        Ok(retained) => service
            .begin_origin(&permitted, &retained)
            .await
            .map_err(failed),
        Err(error) => Err(error),
    };
    let ended = change.end().await;
    let index = begun?;
    ended.map_err(refused)?;
    bar.finish_and_clear();
    shown["applied"] = true.into();
    shown["log_index"] = index.into();
    output.result(&shown, || {
        format!("{}\nleaf {index} begins the new origin", retained(&order))
    });
    output.remark(
        "Revoke again what is named above and what you know of, back up the database, then start the replicas and run \
         `chancery log check`.",
    );
    Ok(())
}

/// With the same credentials as the new place.
fn old_place(from: &str, settings: &log::Settings, world: &World) -> Result<Storage, Failure> {
    let mut old = settings.clone();
    old.tiles = from.to_owned();
    if !from.contains("://") {
        old.storage.clear();
        if !Path::new(from).is_dir() {
            return Err(Failure::usage(format!("{from} is no directory")));
        }
    }
    Storage::open(&old, |name| variable(world, name)).map_err(Failure::unavailable)
}

fn refused(error: NewOriginError) -> Failure {
    match error {
        NewOriginError::Store(error) => from_store(error),
        error @ (NewOriginError::Storage(_) | NewOriginError::Tiles(_)) => {
            Failure::unavailable(error)
        }
        error => Failure::new(Code::Refused, error),
    }
}
