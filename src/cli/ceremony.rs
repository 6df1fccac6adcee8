//! Ceremonies from proposal to transcript.

mod bundle;
mod list;
mod order;
mod payload;
mod proposal;
mod remote;
mod remote_arguments;
mod remote_new;
mod remote_orders;
mod replaced;
mod rotation_policy;
mod waiting;
mod witness;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use trust::{Kid, Name, Purpose, Request, dsse};

pub use self::payload::{exported, signature};
use self::payload::{same_request, same_statement};
pub use self::proposal::propose;
use self::proposal::{drafted, file_request};
pub use self::remote::Session;
pub use self::remote_arguments::Remote;
use self::remote_arguments::RemoteReader;
pub use self::remote_new::propose as propose_at;
use self::remote_new::renew as renew_at;
pub use self::remote_orders::withdraw as withdraw_at;
use self::witness::Note;
use super::context::failed;
use super::genesis::{self, read, write};
use super::{CliContext, World, clock};
use base::settings::duration;
use keyring::ceremony::{self, Alone, CeremonyService, Draft, Wanted};
use verify::output::{Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The genesis: the first roster and policy, signed by all members.
    #[command(subcommand)]
    Genesis(genesis::Command),
    /// Write and propose a request to generate a key. For destruction and revocation see `ring
    /// archive` and `ring revoke`.
    #[command(subcommand)]
    New(New),
    /// Propose a request written by `new`, with the proposer's signature.
    Propose(Propose),
    /// Propose the same anew, resolved against what holds now: of a ceremony that is void since the roster or the policy
    /// changed, or whose time was over.
    Renew {
        /// The id of the ceremony, as `ceremony list` shows it.
        ceremony: String,
        #[command(flatten)]
        input: ProposalArgs,
        #[command(flatten)]
        remote: Remote,
    },
    /// List ceremonies and their states, the newest last; go back with `--before`.
    List(list::List),
    /// Show one ceremony: counted signatures, signatures not counted and why, what is missing.
    Show {
        /// The id of the ceremony, as `ceremony list` shows it.
        ceremony: String,
        #[command(flatten)]
        reader: RemoteReader,
    },
    /// Render the exact bytes to be signed, with the digest to read aloud. Takes a ceremony id,
    /// or a file written by `ceremony request` or `ceremony acceptance`.
    Review {
        /// A ceremony id, or a file.
        ceremony: String,
        /// What was done, which is accepted, and not the request; with `--url`.
        #[arg(long, requires = "url")]
        result: bool,
        #[command(flatten)]
        reader: RemoteReader,
    },
    /// Write the exact bytes that a custodian signs to approve.
    Request(Export),
    /// Approve with your SSH key, or submit a signature made elsewhere.
    Approve(Vote),
    /// Reject; one rejection blocks the ceremony.
    Reject(Reject),
    /// Cancel a ceremony that you proposed.
    Cancel(Reject),
    /// Note something for the record, as a witness does; until it is executed.
    Note(Note),
    /// Note for the record that something went otherwise than planned, and who decided; until it is executed.
    Exception(witness::Exception),
    /// Attest, as a witness, that you saw the ceremony of this transcript; once it is closed. It counts towards nothing.
    Attest(witness::Attest),
    /// Verify a transcript offline, and write its record for paper: one HTML file that prints on two sheets.
    Record(verify::Record),
    /// Execute an approved ceremony; a revocation needs no token.
    Execute {
        /// The id of the ceremony, as `ceremony list` shows it.
        ceremony: String,
    },
    /// Write the exact bytes that a custodian signs to accept the result.
    Acceptance(Export),
    /// Accept the result; enough acceptances make it effective and close the transcript.
    Accept(Accept),
    /// Find differences between database and token left by a crash; report, adopt or resolve them.
    Reconcile {
        /// Also resolve operations started less than two minutes ago. Use only if no other executor
        /// is running.
        #[arg(long)]
        alone: bool,
    },
    /// Write the transcript of a closed ceremony.
    Transcript(Export),
    /// A ceremony that is held on a file, because the log is halted: a new origin.
    #[command(subcommand)]
    Bundle(bundle::Command),
    /// Verify a transcript offline, against the pinned digest of the genesis alone.
    Verify(verify::Transcript),
}

#[derive(Debug, Subcommand)]
pub enum New {
    /// A new key for a ring.
    Generate(Generate),
    /// Keys of a ring in advance: a standing order, limited in time and number.
    Order(order::Order),
    /// Say of leaves that a wrong clock wrote that they are not younger than an instant. `log clock` shows them. With
    /// `--url` nothing is signed unless first, last and bound are given; without them it is shown.
    ClockCorrection(Correction),
    /// The next version of the rotation policy of a critical key type, as `policy show` writes it and you changed it.
    RotationPolicy(rotation_policy::New),
    /// Go on under another origin, after published leaves were lost for good.
    #[command(name = "new-origin")]
    Origin(bundle::New),
}

/// Members of every proposal.
#[derive(Debug, Args)]
pub struct ProposalArgs {
    /// The member who proposes and signs the proposal. The proposer's own approval does not count.
    #[arg(long)]
    proposer: Name,
    /// The proposer's SSH key. Without it, and without `--url`, the request is only written to `--out`, to be
    /// signed elsewhere and submitted with `ceremony propose`.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Why, in words for the record.
    #[arg(long)]
    reason: String,
    /// A reference to a ticket, for the record.
    #[arg(long)]
    ticket: Option<String>,
    /// Approvals after this time do not count.
    #[arg(long, default_value = "72h", value_parser = duration::parse_positive)]
    approve_within: Duration,
    /// The ceremony is not executed after this time.
    #[arg(long, default_value = "96h", value_parser = duration::parse_positive)]
    execute_within: Duration,
    /// File for the bytes that the proposer signs; never overwritten.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl ProposalArgs {
    pub fn key(&self) -> Option<&Path> {
        self.key.as_deref()
    }
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true))]
pub struct Propose {
    /// A request written with `--out` by `ceremony new`, `ring archive` or `ring revoke`.
    file: PathBuf,
    /// The proposer's SSH key.
    #[arg(long, group = "how")]
    key: Option<PathBuf>,
    /// The proposer's signature over that file.
    #[arg(long, group = "how")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Generate {
    /// The ring of the new key.
    #[arg(long)]
    ring: Name,
    #[command(flatten)]
    input: ProposalArgs,
    /// Time from now until the key may become primary; at least `publish_safety` after its
    /// publication.
    #[arg(long, value_parser = duration::parse)]
    activate_in: Option<Duration>,
    /// How long the key signs once active.
    #[arg(long, default_value = "90d", value_parser = duration::parse_positive)]
    lifetime: Duration,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Correction {
    #[command(flatten)]
    input: ProposalArgs,
    #[command(flatten)]
    leaves: clock::Leaves,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The id of the ceremony, as `ceremony list` shows it; or the file of a ceremony that is held on one.
    ceremony: String,
    /// Never overwritten.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true))]
pub struct Vote {
    /// The id of the ceremony, as `ceremony list` shows it.
    ceremony: String,
    /// Your SSH key; `ssh-keygen` signs with it, or with the agent or hardware key behind it.
    #[arg(long, group = "how")]
    key: Option<PathBuf>,
    /// A signature made with `ssh-keygen -Y sign` over the exported bytes; or by a passkey, the JSON that `toJSON()` of the
    /// browser's answer wrote.
    #[arg(long, group = "how")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true))]
pub struct Accept {
    /// The id of the ceremony, as `ceremony list` shows it; several are accepted by a signature each.
    #[arg(required = true)]
    ceremonies: Vec<String>,
    /// Your SSH key. The bytes to sign come from the database: also give `--kid` where the
    /// ceremony concerns a key.
    #[arg(long, group = "how")]
    key: Option<PathBuf>,
    /// The kid that you accept, as read aloud; once for each ceremony.
    #[arg(long = "kid", id = "kid", allow_hyphen_values = true)]
    kids: Vec<Kid>,
    /// A signature made with `ssh-keygen -Y sign` over the exported bytes; or by a passkey, as for an approval.
    #[arg(long, group = "how")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true))]
pub struct Reject {
    /// The id of the ceremony, as `ceremony list` shows it.
    ceremony: String,
    /// Your SSH key.
    #[arg(long, group = "how")]
    key: Option<PathBuf>,
    /// A signature made elsewhere over the file that `--out` writes, with the same reason; a rejection by a passkey too, as for
    /// an approval.
    #[arg(long, group = "how")]
    signature: Option<PathBuf>,
    /// Only write the bytes that are signed to this file; never overwritten.
    #[arg(long, group = "how")]
    out: Option<PathBuf>,
    /// Why, in words for the record.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::Genesis(command) => genesis::run(path, command, world, output).await,
        Command::Record(record) => verify::record::run(&record, output),
        Command::Attest(attest) => witness::attest(path, attest, world, output).await,
        Command::Exception(exception) if exception.remote.is_given()? => {
            witness::except_at(&exception, world, output).await
        }
        Command::Verify(transcript) => verify::transcript::run(&transcript, output),
        Command::Review { ceremony, .. } if Path::new(&ceremony).is_file() => {
            match ceremony::open_file(&read(Path::new(&ceremony))?).map_err(failed)? {
                ceremony::File::Request(request) => verify::review::request(&request, None, output),
                ceremony::File::Statement(statement) => {
                    verify::review::statement(&statement, output)
                }
                document => verify::review::document(&document, None, output),
            }
        }
        Command::Request(export) if Path::new(&export.ceremony).is_file() => {
            let bundle = bundle::load(Path::new(&export.ceremony))?;
            let payload = bundle.approval_payload().map_err(failed)?;
            exported(&payload, &export.out, output)
        }
        Command::Acceptance(export) if Path::new(&export.ceremony).is_file() => {
            let bundle = bundle::load(Path::new(&export.ceremony))?;
            let payload = bundle.acceptance_payload().map_err(failed)?;
            exported(&payload, &export.out, output)
        }
        Command::Bundle(command) => bundle::run(path, command, world, output).await,
        Command::List(command) if command.reader.remote.is_given()? => match command.waiting {
            true => waiting::list(&command.reader, &command, world, output).await,
            false => remote::list(&command.reader, &command, world, output).await,
        },
        Command::Show { ceremony, reader } if reader.remote.is_given()? => {
            remote::show(&reader, &ceremony, world, output).await
        }
        Command::Review {
            ceremony,
            result,
            reader,
        } if reader.remote.is_given()? => {
            remote::review(&reader, &ceremony, result, world, output).await
        }
        Command::Approve(vote) if vote.remote.is_given()? => {
            remote::approve(&vote, world, output).await
        }
        Command::Accept(accept) if accept.remote.is_given()? => {
            remote::accept(&accept, world, output).await
        }
        Command::Reject(reject) if reject.remote.is_given()? => {
            remote::object(&reject, Purpose::Reject, output).await
        }
        Command::Cancel(reject) if reject.remote.is_given()? => {
            remote::object(&reject, Purpose::Cancel, output).await
        }
        Command::Note(note) if note.remote.is_given()? => remote::note(&note, output).await,
        Command::Propose(propose) if propose.remote.is_given()? => {
            let (request, signature) = signed_proposal(&propose)?;
            remote::propose(&propose.remote, &request, &signature, output).await
        }
        Command::New(New::Generate(new)) if new.remote.is_given()? => {
            let wanted = Wanted::Generate {
                activate_in: new.activate_in,
                lifetime: new.lifetime,
            };
            let asked = (Some(new.ring), wanted);
            propose_at(&new.remote, asked, new.input, true, world, output).await
        }
        Command::New(New::ClockCorrection(new)) if new.remote.is_given()? => {
            let leaves = new.leaves.named();
            let asked = (None, Wanted::Correct(leaves));
            let apply = leaves.are_named();
            propose_at(&new.remote, asked, new.input, apply, world, output).await
        }
        Command::Renew {
            ceremony,
            input,
            remote,
        } if remote.is_given()? => renew_at(&remote, &ceremony, input, world, output).await,
        Command::New(New::Origin(new)) => bundle::propose(path, new, world, output).await,
        Command::New(New::RotationPolicy(new)) => {
            rotation_policy::propose(path, new, world, output).await
        }
        command => with_service(path, command, world, output).await,
    }
}

async fn with_service(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let service = open.ceremonies(world);
    match command {
        Command::New(New::Generate(new)) => generate(&open, new, world, output).await,
        Command::New(New::Order(new)) => order::order(&open, new, world, output).await,
        Command::New(New::ClockCorrection(new)) => {
            let order = service.correction(&new.leaves.named()).await;
            let draft = Draft::CorrectClock(order.map_err(failed)?);
            propose(&open, world, None, new.input, draft, output).await
        }
        Command::Renew {
            ceremony, input, ..
        } => {
            let (request, _) = service.request(&ceremony).await.map_err(failed)?;
            let request = Request::decode(&request).map_err(Failure::refused)?;
            let draft = Draft::again(&request.operation, request.created_at).map_err(failed)?;
            let ring = request.operation.ring().cloned();
            propose(&open, world, ring, input, draft, output).await
        }
        Command::List(command) => list::run(&open, &command, output).await,
        Command::Show { ceremony, .. } => {
            let report = service.report(&ceremony).await.map_err(failed)?;
            output.result(&report, || report.to_string());
            Ok(())
        }
        Command::Review { ceremony, .. } => {
            let (request, before) = service.request(&ceremony).await.map_err(failed)?;
            verify::review::request(&request, before.as_deref(), output)
        }
        Command::Request(export) => {
            let payload = service
                .approval_payload(&export.ceremony)
                .await
                .map_err(failed)?;
            exported(&payload, &export.out, output)
        }
        Command::Acceptance(export) => {
            let payload = service
                .acceptance_payload(&export.ceremony)
                .await
                .map_err(failed)?;
            exported(&payload, &export.out, output)
        }
        Command::Approve(vote) => {
            let payload = service.approval_payload(&vote.ceremony).await;
            let payload = payload.map_err(failed)?;
            same_request(&payload, &vote.ceremony)?;
            let signature = signature(vote.key.as_deref(), vote.signature.as_deref(), &payload)?;
            let report = service.approve(&vote.ceremony, &signature).await;
            let report = report.map_err(failed)?;
            output.result(&report, || report.to_string());
            Ok(())
        }
        Command::Accept(accept) => {
            accept.one_signature_each()?;
            for ceremony in &accept.ceremonies {
                accept_one(&open, &service, &accept, ceremony, output).await?;
            }
            Ok(())
        }
        Command::Reject(reject) => object(&service, Purpose::Reject, &reject, output).await,
        Command::Cancel(cancel) => object(&service, Purpose::Cancel, &cancel, output).await,
        Command::Propose(propose) => {
            let (request, signature) = signed_proposal(&propose)?;
            file_request(&service, &request, &signature, output).await
        }
        Command::Note(note) => witness::note(&service, &note, output).await,
        Command::Exception(exception) => witness::except(&service, &exception, world, output).await,
        Command::Execute { ceremony } => {
            let executor = match service.touches_token(&ceremony).await.map_err(failed)? {
                true => Some(open.executor()?),
                false => None,
            };
            let kids = service.kids(&ceremony).await.map_err(failed)?;
            let snapshot = open.snapshot_with(kids).await?;
            let report = service
                .execute(&ceremony, executor.as_ref(), &snapshot)
                .await
                .map_err(failed)?;
            output.result(&report, || report.to_string());
            Ok(())
        }
        Command::Reconcile { alone } => {
            let alone = if alone { Alone::Yes } else { Alone::Unknown };
            let executor = open.executor()?;
            let findings = service.reconcile(&executor, alone).await.map_err(failed)?;
            output.result(&findings, || match findings.len() {
                0 => "Database and token are consistent.".to_owned(),
                _ => table(
                    &["object", "ring", "finding", "action"],
                    findings
                        .iter()
                        .map(|f| [&f.object, &f.ring, &f.finding, &f.action].map(String::clone)),
                ),
            });
            Ok(())
        }
        Command::Transcript(export) => {
            let bytes = service.transcript(&export.ceremony).await.map_err(failed)?;
            write(&export.out, &bytes)?;
            output.result(&json!({"file": export.out}), || {
                format!("Transcript written to {}.", export.out.display())
            });
            Ok(())
        }
        Command::Genesis(_)
        | Command::Verify(_)
        | Command::Record(_)
        | Command::Attest(_)
        | Command::Bundle(_)
        | Command::New(New::Origin(_) | New::RotationPolicy(_)) => Ok(()),
    }
}

impl Accept {
    /// A signature made elsewhere is over one statement.
    fn one_signature_each(&self) -> Result<(), Failure> {
        match self.signature.is_some() && self.ceremonies.len() > 1 {
            true => Err(Failure::usage("--signature accepts one ceremony")),
            false => Ok(()),
        }
    }
}

async fn accept_one(
    open: &CliContext,
    service: &CeremonyService,
    accept: &Accept,
    ceremony: &str,
    output: &Output,
) -> Result<(), Failure> {
    let payload = service.acceptance_payload(ceremony).await;
    let payload = payload.map_err(failed)?;
    if accept.key.is_some() || !accept.kids.is_empty() {
        same_statement(&payload, ceremony, &accept.kids)?;
    }
    let signature = signature(accept.key.as_deref(), accept.signature.as_deref(), &payload)?;
    let report = service.accept(ceremony, &signature).await;
    let report = report.map_err(failed)?;
    output.result(&report, || report.to_string());
    let enough = report
        .acceptances_needed
        .is_some_and(|needed| report.accepted_by.len() >= needed);
    if let (true, "generate", Some(ring)) = (enough, report.operation, &report.ring) {
        output.remark(format!(
            "The key is published from now on. It can sign when it has been published for {} (publish_safety): then run `chancery ring rotate {ring} --apply`.",
            base::settings::duration::spelled(open.config.publication.publish_safety)
        ));
    }
    Ok(())
}

/// A request as `new` wrote it, with its proposer's signature.
fn signed_proposal(propose: &Propose) -> Result<(Request, String), Failure> {
    let bytes = read(&propose.file)?;
    let (_, request) = dsse::parse_pae(&bytes).map_err(Failure::refused)?;
    let request = Request::decode(request).map_err(Failure::refused)?;
    let payload = CeremonyService::proposal_payload(&request).map_err(failed)?;
    if payload.bytes != bytes {
        let file = propose.file.display();
        let why = format!("{file} is not a proposal written by `ceremony new`");
        return Err(Failure::refused(why));
    }
    let (key, made) = (propose.key.as_deref(), propose.signature.as_deref());
    let signature = signature(key, made, &payload)?;
    Ok((request, signature))
}

async fn generate(
    open: &CliContext,
    generate: Generate,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let executor = open.executor()?;
    let (token_serial, token_label) = executor.identity().await.map_err(Failure::unavailable)?;
    let safety = open.config.publication.publish_safety;
    let draft = Draft::Generate {
        token_serial,
        token_label,
        activate_in: generate.activate_in.unwrap_or(safety).max(safety),
        lifetime: generate.lifetime,
    };
    let ring = Some(generate.ring);
    propose(open, world, ring, generate.input, draft, output).await
}

async fn object(
    service: &CeremonyService,
    purpose: Purpose,
    objection: &Reject,
    output: &Output,
) -> Result<(), Failure> {
    let Reject {
        ceremony, reason, ..
    } = objection;
    let payload = service.objection_payload(ceremony, purpose, reason).await;
    let payload = payload.map_err(failed)?;
    if let Some(out) = &objection.out {
        return exported(&payload, out, output);
    }
    let (key, made) = (objection.key.as_deref(), objection.signature.as_deref());
    let signature = signature(key, made, &payload)?;
    let report = match purpose {
        Purpose::Cancel => service.cancel(ceremony, reason, &signature).await,
        _ => service.reject(ceremony, reason, &signature).await,
    };
    let report = report.map_err(failed)?;
    output.result(&report, || report.to_string());
    Ok(())
}
