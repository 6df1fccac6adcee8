//! Rings and their pointer. Every plan is shown first; only `--apply` carries it out.

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use trust::leaf::ActKind;
use trust::request::RevocationReason;
use trust::{Algorithm, KeySpec, Kid, Name, Time};

use super::context::from_store;
use super::key::{self, may_sign_from};
use super::{CliContext, World, ceremony, usage};
use keyring::ceremony::{Draft, Wanted};
use keyring::keys::{Key, Ring, Snapshot};
use keyring::rotation::{self, RingChange};
use keyring::usage::MOST_HOURS;
use log::Event;
use store::{Change, RingRow};
use verify::output::{Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a ring: a named purpose with one algorithm. It signs once its first key is active.
    Create(Create),
    /// List all rings.
    List,
    /// Show one ring and the states of its keys.
    Show {
        /// The ring.
        name: Name,
    },
    /// Make the next standby key the primary; the current primary becomes secondary.
    Rotate(Pointer),
    /// Make the previous primary key the primary again.
    RollBack(Pointer),
    /// Retire a secondary key.
    Retire(Retire),
    /// Take a key that has ended out of the key sets, for good; its signatures stay verifiable by the archive.
    Unpublish(Retire),
    /// Show how often each key signed.
    Usage {
        /// The ring.
        name: Name,
        /// How many hours, the one that is under way included.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_HOURS)))]
        hours: u32,
    },
    /// Show the plan to destroy the private key of a retired or revoked key; with `--apply`, propose
    /// the ceremony.
    Archive(Archive),
    /// Show the plan to revoke a key, or to mark a revoked key as compromised; with `--apply`,
    /// propose the ceremony.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub struct Create {
    /// The name of the new ring.
    name: Name,
    /// The algorithm of the ring's signatures; it never changes.
    #[arg(long, default_value = "ES256")]
    algorithm: Algorithm,
    /// Default: the algorithm's usual key spec.
    #[arg(long)]
    key_spec: Option<KeySpec>,
    /// What the ring signs: structured formats (JWS, DSSE) or raw digests; never both.
    #[arg(long, value_enum, default_value = "structured")]
    usage: Usage,
    /// Apply the change; without it only the plan is shown.
    #[arg(long)]
    apply: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Usage {
    Structured,
    Raw,
}

#[derive(Debug, Args)]
pub struct Pointer {
    /// The ring.
    name: Name,
    /// Reason for the audit trail.
    #[arg(long)]
    reason: Option<String>,
    /// Apply the change; without it only the plan is shown.
    #[arg(long)]
    apply: bool,
}

#[derive(Debug, Args)]
pub struct Retire {
    #[command(flatten)]
    change: Pointer,
    /// The key's kid.
    #[arg(long, allow_hyphen_values = true)]
    kid: Kid,
}

#[derive(Debug, Args)]
pub struct Archive {
    /// The ring.
    name: Name,
    /// The key whose private half is to be destroyed.
    #[arg(long, allow_hyphen_values = true)]
    kid: Kid,
    #[command(flatten)]
    proposal: ceremony::ProposalArgs,
    /// Propose the ceremony; without it only the plan is shown.
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    remote: ceremony::Remote,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Because {
    Unspecified,
    Compromised,
    Superseded,
}

impl Because {
    fn reason(self) -> RevocationReason {
        match self {
            Self::Unspecified => RevocationReason::Unspecified,
            Self::Compromised => RevocationReason::Compromised,
            Self::Superseded => RevocationReason::Superseded,
        }
    }
}

#[derive(Debug, Args)]
pub struct Revoke {
    /// The ring.
    name: Name,
    /// The key to revoke.
    #[arg(long, allow_hyphen_values = true)]
    kid: Kid,
    /// The reason of the revocation, which verdicts rest on.
    #[arg(long, value_enum, default_value = "unspecified")]
    because: Because,
    /// Earliest instant at which an unauthorised party may have signed; required with `--because
    /// compromised`.
    #[arg(long)]
    compromised_since: Option<Time>,
    #[command(flatten)]
    proposal: ceremony::ProposalArgs,
    /// Propose the ceremony; without it only the plan is shown.
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    remote: ceremony::Remote,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let command = match command {
        Command::Archive(archive) if archive.remote.is_given()? => {
            let asked = (Some(archive.name), Wanted::Destroy { kid: archive.kid });
            let (remote, apply) = (archive.remote, archive.apply);
            return ceremony::propose_at(&remote, asked, archive.proposal, apply, world, output)
                .await;
        }
        Command::Revoke(revoke) if revoke.remote.is_given()? => {
            let wanted = Wanted::Revoke {
                kid: revoke.kid,
                reason: revoke.because.reason(),
                compromised_since: revoke.compromised_since,
            };
            let (asked, apply) = ((Some(revoke.name), wanted), revoke.apply);
            let (remote, proposal) = (revoke.remote, revoke.proposal);
            return ceremony::propose_at(&remote, asked, proposal, apply, world, output).await;
        }
        command => command,
    };
    let open = CliContext::new(path, world).await?;
    match command {
        Command::Create(create) => self::create(&open, world, create, output).await,
        Command::List => list(&open, output).await,
        Command::Show { name } => show(&open, &name, output).await,
        Command::Rotate(change) => {
            change_pointer(&open, world, RingChange::Rotate, change, output).await
        }
        Command::RollBack(change) => {
            change_pointer(&open, world, RingChange::RollBack, change, output).await
        }
        Command::Retire(retire) => {
            change_pointer(
                &open,
                world,
                RingChange::Retire(retire.kid),
                retire.change,
                output,
            )
            .await
        }
        Command::Unpublish(asked) => {
            let wanted = RingChange::Unpublish(asked.kid);
            change_pointer(&open, world, wanted, asked.change, output).await
        }
        Command::Usage { name, hours } => {
            let snapshot = open.snapshot().await?;
            let ring = find(&snapshot, &name)?;
            let keys = ring.keys.iter().map(AsRef::as_ref);
            let used = keys.filter(|key: &&Key| key.state.life().activated_at.is_some());
            let asked = (world.env.now(), hours);
            usage::of_keys(&open, (&*ring.name, used.collect()), asked, output).await
        }
        Command::Archive(archive) => self::archive(&open, world, archive, output).await,
        Command::Revoke(revoke) => self::revoke(&open, world, revoke, output).await,
    }
}

async fn create(
    open: &CliContext,
    world: &World,
    create: Create,
    output: &Output,
) -> Result<(), Failure> {
    let key_spec = create
        .key_spec
        .unwrap_or_else(|| create.algorithm.default_key_spec());
    if !create.algorithm.allows(key_spec) {
        return Err(Failure::usage(format!(
            "{} does not support {key_spec} keys",
            create.algorithm
        )));
    }
    let log = create.name.as_str() == trust::LOG_RING;
    let for_notes = matches!(create.algorithm, Algorithm::Ed25519 | Algorithm::Es256);
    if log && !(for_notes && matches!(create.usage, Usage::Structured)) {
        return Err(Failure::usage(
            "the ring \"log\" signs the log's checkpoints and must use Ed25519, or ES256 where the token does not support Ed25519",
        ));
    }
    let usage = match create.usage {
        _ if log => trust::Usage::Log,
        Usage::Structured => trust::Usage::Structured,
        Usage::Raw => trust::Usage::Raw,
    };
    let rings = open.store.rings().await.map_err(Failure::unavailable)?;
    let there = rings.read.iter().any(|ring| ring.name == create.name);
    if there || rings.is_unreadable(create.name.as_str()) {
        let why = format!("ring {} already exists", create.name);
        return Err(match create.apply {
            true => {
                open.refused(world, "create", Some(create.name.as_str()), why)
                    .await
            }
            false => Failure::refused(why),
        });
    }
    let now = world.env.now();
    let row = RingRow {
        name: create.name.clone(),
        algorithm: create.algorithm,
        key_spec,
        usage,
        created_at: now,
        version: 1,
    };
    let shown = json!({
        "ring": row.name, "algorithm": row.algorithm, "key_spec": row.key_spec,
        "usage": row.usage, "applied": create.apply,
    });
    if create.apply {
        let event = Event {
            ring: Some(create.name.as_str()),
            ..Event::new(ActKind::Ring, "create", &open.actor, now)
        };
        open.commit(&Change::CreateRing(row), &event).await?;
    }
    output.result(&shown, || {
        format!(
            "create ring {} with {} ({key_spec})",
            create.name, create.algorithm
        )
    });
    output.remark(match create.apply {
        true => format!(
            "Created. Generate its first key with `chancery ceremony new generate`. The ring signs when that key has been published for {} (publish_safety) and `chancery ring rotate {} --apply` has made it the primary.",
            base::settings::duration::spelled(open.config.publication.publish_safety), create.name
        ),
        false => "Nothing was changed; run again with --apply.".to_owned(),
    });
    Ok(())
}

async fn change_pointer(
    open: &CliContext,
    world: &World,
    wanted: RingChange,
    change: Pointer,
    output: &Output,
) -> Result<(), Failure> {
    let kids = match &wanted {
        RingChange::Retire(kid) | RingChange::Unpublish(kid) => vec![kid.clone()],
        RingChange::Rotate | RingChange::RollBack => Vec::new(),
    };
    let snapshot = open.snapshot_with(kids).await?;
    let ring = find(&snapshot, &change.name)?;
    let now = world.env.now();
    let plan = match rotation::plan(ring, &wanted, &open.settings.safety, now) {
        Ok(plan) => plan,
        Err(blocked) if change.apply => {
            return Err(open
                .refused(world, wanted.word(), Some(&ring.name), blocked)
                .await);
        }
        Err(blocked) => return Err(Failure::refused(blocked)),
    };
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            json!({"kid": step.kid, "action": step.action.to_string(), "reason": step.reason})
        })
        .collect();
    if change.apply {
        rotation::apply(&plan, &open.log, &open.actor, change.reason.as_deref(), now)
            .await
            .map_err(from_store)?;
    }
    let shown = json!({"ring": change.name, "steps": steps, "applied": change.apply});
    output.result(&shown, || {
        table(
            &["action", "kid", "reason"],
            plan.steps.iter().map(|step| {
                [
                    step.action.to_string(),
                    step.kid.to_string(),
                    step.reason.clone(),
                ]
            }),
        )
    });
    if !change.apply {
        output.remark("Nothing was changed; run again with --apply.");
    }
    Ok(())
}

async fn archive(
    open: &CliContext,
    world: &World,
    archive: Archive,
    output: &Output,
) -> Result<(), Failure> {
    let snapshot = open.snapshot_with(vec![archive.kid.clone()]).await?;
    let ring = find(&snapshot, &archive.name)?;
    let steps =
        trust::plan::plan_archive(&ring.plan_keys(), &archive.kid).map_err(Failure::refused)?;
    for step in &steps {
        output.remark(format!("{} {}: {}", step.action, step.kid, step.reason));
    }
    let draft = Draft::Destroy { kid: archive.kid };
    let apply = archive.apply;
    proposed(
        open,
        world,
        archive.name,
        archive.proposal,
        draft,
        apply,
        output,
    )
    .await
}

async fn revoke(
    open: &CliContext,
    world: &World,
    revoke: Revoke,
    output: &Output,
) -> Result<(), Failure> {
    let snapshot = open.snapshot_with(vec![revoke.kid.clone()]).await?;
    let ring = find(&snapshot, &revoke.name)?;
    let key = ring
        .keys
        .iter()
        .find(|key| key.kid == revoke.kid)
        .ok_or_else(|| Failure::usage(format!("ring {} has no key {}", revoke.name, revoke.kid)))?;
    output.remark(format!(
        "revoke {} (now {}): it is removed from JWKS immediately and no further signature by it is released",
        key.kid,
        key.status()
    ));
    if key.state.is_primary() {
        let successor = ring.successor(&open.settings.safety, world.env.now());
        output.remark(match successor {
            Some(next) => format!("{} ({}) becomes primary", next.kid, next.status()),
            None => "NO STANDBY KEY: the ring stops signing until a new key is active".to_owned(),
        });
    }
    let draft = Draft::Revoke {
        kid: revoke.kid,
        reason: revoke.because.reason(),
        compromised_since: revoke.compromised_since,
    };
    let apply = revoke.apply;
    proposed(
        open,
        world,
        revoke.name,
        revoke.proposal,
        draft,
        apply,
        output,
    )
    .await
}

async fn proposed(
    open: &CliContext,
    world: &World,
    ring: Name,
    proposal: ceremony::ProposalArgs,
    draft: Draft,
    apply: bool,
    output: &Output,
) -> Result<(), Failure> {
    if apply {
        return ceremony::propose(open, world, Some(ring), proposal, draft, output).await;
    }
    output.result(&json!({"ring": ring, "applied": false}), String::new);
    output.remark("Nothing was proposed; run again with --apply.");
    Ok(())
}

fn find<'a>(snapshot: &'a Snapshot, name: &Name) -> Result<&'a Ring, Failure> {
    match snapshot.rings.get(name.as_str()) {
        Some(ring) => Ok(ring),
        None if snapshot.unreadable_rings.contains_key(name.as_str()) => Err(Failure::refused(
            format!("the row of ring {name} in the database is unreadable: see `chancery doctor`"),
        )),
        None => Err(Failure::usage(format!("unknown ring {name}"))),
    }
}

async fn list(open: &CliContext, output: &Output) -> Result<(), Failure> {
    let snapshot = open.snapshot().await?;
    let primary = |ring: &Ring| ring.primary.as_ref().map(|key| key.kid.to_string());
    let shown: Vec<Value> = snapshot
        .rings
        .values()
        .map(|ring| {
            json!({"ring": ring.name, "algorithm": ring.algorithm, "key_spec": ring.key_spec,
                "usage": ring.usage, "keys": ring.count(), "primary": primary(ring)})
        })
        .collect();
    output.result(&shown, || {
        table(
            &["ring", "algorithm", "keys", "primary", "created"],
            snapshot.rings.values().map(|ring| {
                [
                    ring.name.to_string(),
                    ring.algorithm.to_string(),
                    ring.count().to_string(),
                    primary(ring).unwrap_or_else(|| "none".to_owned()),
                    ring.created_at.to_string(),
                ]
            }),
        )
    });
    Ok(())
}

async fn show(open: &CliContext, name: &Name, output: &Output) -> Result<(), Failure> {
    let snapshot = open.snapshot().await?;
    let ring = find(&snapshot, name)?;
    let keys: Vec<Value> = ring
        .keys
        .iter()
        .map(|key| key::describe(key, open))
        .collect();
    output.result(
        &json!({"ring": ring.name, "algorithm": ring.algorithm, "keys": keys}),
        || {
            table(
                &[
                    "number",
                    "kid",
                    "state",
                    "published",
                    "may sign from",
                    "due to retire",
                ],
                ring.keys.iter().map(|key| {
                    [
                        key.number.to_string(),
                        key.kid.to_string(),
                        key.status().to_owned(),
                        key.published_at.to_string(),
                        may_sign_from(key, open).to_string(),
                        key.retire_at.to_string(),
                    ]
                }),
            )
        },
    );
    let others = ring.count().saturating_sub(ring.keys.len() as u64);
    if others > 0 {
        output.remark(format!(
            "{others} older keys are not shown; `chancery key list` has them in pages."
        ));
    }
    Ok(())
}
