//! Whom the service trusts: the roster, the policy, and members who are suspended.

mod draft;
mod passkey;
mod place;

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use trust::approval::ObjectionBody;
use trust::format::V1;
use trust::recovery::VetoBody;
use trust::review::{File, open_file};
use trust::text::spelled_out;
use trust::{Name, Namespace, Purpose, Sha256Digest, Trusted, dsse};

use self::draft::{PolicyChange, RecoveryChange, RosterChange, is_file};
use self::place::Place;
use super::ceremony::{Remote, exported, signature};
use super::genesis::read;
use super::{CliContext, World};
use keyring::ceremony::SigningPayload;
use store::StatementKind;
use verify::output::{Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the roster and the policy that hold, walked from the pinned genesis.
    Show {
        #[command(flatten)]
        remote: Remote,
    },
    /// Write the next roster: members who come and leave, and their keys.
    NewRoster {
        /// Put in place by the recovery roster: announced when it has its signatures, in effect after its delay unless a
        /// member vetoes.
        #[arg(long)]
        recover: bool,
        #[command(flatten)]
        change: RosterChange,
        #[command(flatten)]
        how: New,
    },
    /// Write the next policy: thresholds, and which rings are routine.
    NewPolicy {
        #[command(flatten)]
        change: PolicyChange,
        #[command(flatten)]
        how: New,
    },
    /// Suspend a member at once, whose key may be in other hands: by the member's own key, or by two other custodians.
    Suspend {
        /// The member.
        member: Name,
        /// Why, in words for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        how: New,
    },
    /// Write the next recovery roster: who may put a new roster in place when too few custodians are left to do so.
    NewRecoveryRoster {
        #[command(flatten)]
        change: RecoveryChange,
        #[command(flatten)]
        how: New,
    },
    /// File a document written by `new-roster`, `new-policy` or `suspend`, with a first signature.
    Propose(Sign),
    /// List documents and suspensions, the newest last.
    List {
        /// Most that are shown.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
        limit: u16,
        #[command(flatten)]
        reader: Reader,
    },
    /// Show one: who signed, what is missing.
    State {
        /// Its id: the SHA-256 of the document.
        statement: Sha256Digest,
        #[command(flatten)]
        reader: Reader,
    },
    /// Render the exact document and what it changes, with the digest to read aloud.
    Review {
        /// Its id, or a file.
        statement: String,
        /// File for the bytes that are signed; never overwritten. Whoever has a key that is new signs it.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        reader: Reader,
    },
    /// Sign a document, or a suspension: to agree, or to prove a new key of yours.
    Sign(Sign),
    /// Write what a browser is asked for, so that a passkey signs a file: PublicKeyCredentialRequestOptionsJSON.
    PasskeyOptions(passkey::Options),
    /// Write what a browser is asked for, so that it makes a passkey for a member: PublicKeyCredentialCreationOptionsJSON. What
    /// the browser answers goes into a file, for `new-roster --add-passkey`.
    NewPasskey(passkey::Creation),
    /// Reject a document; one rejection ends it.
    Reject(Objection),
    /// Veto a recovery, as any member of the roster may until it takes effect.
    Veto(Objection),
    /// Put documents back that the database lost, from the chain that `GET /v1/trust` answered or a transcript contains:
    /// those of which the log tells, and no others.
    Restore {
        /// The chain, or a transcript.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Objection {
    /// Its id.
    statement: Sha256Digest,
    /// Your SSH key.
    #[arg(long)]
    key: PathBuf,
    /// Why, in words for the record.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

/// What becomes of a new document.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("then").required(true).multiple(true))]
pub struct New {
    /// Your SSH key: the document is signed and filed. Your signature counts.
    #[arg(long, group = "then")]
    key: Option<PathBuf>,
    /// File for the bytes that members sign; never overwritten.
    #[arg(long, group = "then")]
    out: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true))]
pub struct Sign {
    /// The id, or the file with the bytes. Whoever is no member yet signs a file.
    statement: String,
    /// Your SSH key.
    #[arg(long, group = "how")]
    key: Option<PathBuf>,
    /// A signature made with `ssh-keygen -Y sign` over the file; or by a passkey, the JSON that `toJSON()` of the browser's
    /// answer wrote.
    #[arg(long, group = "how")]
    signature: Option<PathBuf>,
    /// Of a new passkey: the JSON that was written when it was made. The service keeps the attestation in it.
    #[arg(long, requires = "signature")]
    attestation: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Reader {
    /// Your SSH key, with which the request is signed; with `--url`.
    #[arg(long, requires = "url")]
    key: Option<PathBuf>,
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
        Command::Show { remote } => {
            let trusted = Place::open(path, &remote, world).await?.trusted().await?;
            show(&trusted, output);
            Ok(())
        }
        Command::NewRoster {
            recover,
            change,
            how,
        } => {
            let place = Place::open(path, &how.remote, world).await?;
            let body = draft::roster(&*place.trusted().await?, &change)?;
            let kind = match recover {
                true => StatementKind::Recovery,
                false => StatementKind::Roster,
            };
            written(&place, kind, body, &how, output).await
        }
        Command::NewRecoveryRoster { change, how } => {
            let place = Place::open(path, &how.remote, world).await?;
            let body = draft::recovery_roster(&*place.trusted().await?, &change)?;
            written(&place, StatementKind::RecoveryRoster, body, &how, output).await
        }
        Command::NewPolicy { change, how } => {
            let place = Place::open(path, &how.remote, world).await?;
            let body = draft::policy(&*place.trusted().await?, &change)?;
            written(&place, StatementKind::Policy, body, &how, output).await
        }
        Command::Suspend {
            member,
            reason,
            how,
        } => {
            let place = Place::open(path, &how.remote, world).await?;
            let body = draft::suspension(&*place.trusted().await?, &member, &reason, world)?;
            written(&place, StatementKind::Suspension, body, &how, output).await
        }
        Command::Propose(sign) => {
            let (kind, body) = document(&read(Path::new(&sign.statement))?)?;
            let place = Place::open(path, &sign.remote, world).await?;
            let trusted = place.trusted().await?;
            let signature = sign.signed(&payload(&trusted, kind.purpose(), &body))?;
            let report = place.file(kind, body, &signature).await?;
            told(&report, output);
            Ok(())
        }
        Command::List { limit, reader } => {
            let place = Place::open(path, &reader.remote, world).await?;
            let key = reader.key.as_deref();
            let mut rows = place.list(world, key, limit.into()).await?;
            rows.reverse();
            output.result(&rows, || {
                let columns = ["statement", "kind", "state", "opened_by", "closes_at"];
                table(
                    &columns,
                    rows.iter().map(|row| columns.map(|name| said(&row[name]))),
                )
            });
            Ok(())
        }
        Command::State { statement, reader } => {
            let place = Place::open(path, &reader.remote, world).await?;
            let fetched = place.fetch(world, reader.key.as_deref(), statement).await?;
            told(&fetched.report, output);
            Ok(())
        }
        Command::Review {
            statement,
            out,
            reader,
        } => {
            let place = Place::open(path, &reader.remote, world).await?;
            let (kind, body) = match is_file(&statement) {
                true => document(&read(Path::new(&statement))?)?,
                false => {
                    let key = reader.key.as_deref();
                    let fetched = place.fetch(world, key, id(&statement)?).await?;
                    (fetched.kind, fetched.body)
                }
            };
            let trusted = place.trusted().await?;
            if let Some(out) = &out {
                let payload = payload(&trusted, kind.purpose(), &body);
                super::genesis::write(out, &payload.bytes)?;
            }
            let before = holds(&trusted, kind)?;
            verify::review::document(&file(kind, body), before.as_deref(), output)
        }
        Command::Sign(sign) => {
            let place = Place::open(path, &sign.remote, world).await?;
            let (kind, body) = match is_file(&sign.statement) {
                true => document(&read(Path::new(&sign.statement))?)?,
                false => {
                    let key = sign.key.as_deref();
                    let fetched = place.fetch(world, key, id(&sign.statement)?).await?;
                    (fetched.kind, fetched.body)
                }
            };
            let trusted = place.trusted().await?;
            let signature = sign.signed(&payload(&trusted, kind.purpose(), &body))?;
            let attestation = sign.attestation.as_deref().map(passkey::attestation);
            let attestation = attestation.transpose()?;
            let id = Sha256Digest::of(&body);
            let report = place.sign(id, &signature, attestation).await?;
            told(&report, output);
            Ok(())
        }
        Command::PasskeyOptions(asked) => {
            let place = Place::open(path, &asked.remote, world).await?;
            let options = passkey::options(&*place.trusted().await?, &asked)?;
            let text = serde_json::to_string(&options).map_err(Failure::refused)?;
            output.result(&options, || text.clone());
            Ok(())
        }
        Command::NewPasskey(asked) => {
            let place = Place::open(path, &asked.remote, world).await?;
            let challenge = world.env.random().map_err(Failure::unavailable)?;
            let options = passkey::creation(&*place.trusted().await?, &asked, challenge)?;
            let text = serde_json::to_string(&options).map_err(Failure::refused)?;
            output.result(&options, || text.clone());
            Ok(())
        }
        Command::Reject(objection) => {
            let place = Place::open(path, &objection.remote, world).await?;
            let body = ObjectionBody {
                v: V1,
                request_digest: objection.statement,
                reason: objection.reason.clone(),
            };
            let body = body.encode().map_err(Failure::refused)?;
            object(&place, Purpose::Reject, &body, &objection, output).await
        }
        Command::Veto(objection) => {
            let place = Place::open(path, &objection.remote, world).await?;
            let body = VetoBody {
                document_digest: objection.statement,
                reason: objection.reason.clone(),
                roster: place.trusted().await?.roster_ref(),
                v: V1,
            };
            let body = body.encode().map_err(Failure::refused)?;
            object(&place, Purpose::Veto, &body, &objection, output).await
        }
        Command::Restore { file } => {
            let open = CliContext::new(path, world).await?;
            let service = open.ceremonies(world);
            let count = service.restore_documents(&read(&file)?).await;
            let count = count.map_err(super::context::failed)?;
            output.result(&json!({"restored": count}), || {
                format!("{count} document(s) put back.")
            });
            Ok(())
        }
    }
}

impl Sign {
    fn signed(&self, payload: &SigningPayload) -> Result<String, Failure> {
        signature(self.key.as_deref(), self.signature.as_deref(), payload)
    }
}

/// Signs a rejection or a veto, and submits it.
async fn object(
    place: &Place,
    purpose: Purpose,
    body: &[u8],
    objection: &Objection,
    output: &Output,
) -> Result<(), Failure> {
    let payload = payload(&*place.trusted().await?, purpose, body);
    let signature = super::ssh::sign(&objection.key, &payload.namespace, &payload.bytes)?;
    let (id, reason) = (objection.statement, &objection.reason);
    let report = place.object(purpose, id, reason, &signature).await?;
    told(&report, output);
    Ok(())
}

/// Signs and files a new document, or writes it for others to sign.
async fn written(
    place: &Place,
    kind: StatementKind,
    body: Vec<u8>,
    how: &New,
    output: &Output,
) -> Result<(), Failure> {
    let payload = payload(&*place.trusted().await?, kind.purpose(), &body);
    if let (Some(out), None) = (&how.out, &how.key) {
        exported(&payload, out, output)?;
        output.remark(format!(
            "Not filed yet: chancery trust propose {} --key KEY",
            out.display()
        ));
        return Ok(());
    }
    let Some(key) = &how.key else {
        return Err(Failure::usage("--key or --out is required"));
    };
    if let Some(out) = &how.out {
        super::genesis::write(out, &payload.bytes)?;
    }
    let signature = super::ssh::sign(key, &payload.namespace, &payload.bytes)?;
    let report = place.file(kind, body, &signature).await?;
    told(&report, output);
    Ok(())
}

fn payload(trusted: &Trusted, purpose: Purpose, body: &[u8]) -> SigningPayload {
    let namespace = Namespace::new(purpose, trusted.service(), trusted.environment()).to_string();
    SigningPayload {
        bytes: dsse::pae(&namespace, body),
        namespace,
    }
}

/// What a file holds that members sign.
fn document(bytes: &[u8]) -> Result<(StatementKind, Vec<u8>), Failure> {
    match open_file(bytes).map_err(Failure::refused)? {
        File::Roster(body) => Ok((StatementKind::Roster, body)),
        File::Policy(body) => Ok((StatementKind::Policy, body)),
        File::Suspension(body) => Ok((StatementKind::Suspension, body)),
        File::RecoveryRoster(body) => Ok((StatementKind::RecoveryRoster, body)),
        File::Recovery(body) => Ok((StatementKind::Recovery, body)),
        File::Veto(_) => Err(Failure::usage(
            "a veto is submitted by `chancery trust veto`",
        )),
        File::Withdrawal(_) => Err(Failure::usage(
            "a withdrawal is submitted by `chancery order withdraw`",
        )),
        File::Stop(_) => Err(Failure::usage(
            "a stop is submitted by `chancery emergency submit`",
        )),
        File::Rejection(_) => Err(Failure::usage(
            "a rejection is submitted by `chancery ceremony reject` or `chancery trust reject`",
        )),
        File::Request(_) | File::Statement(_) => Err(Failure::usage(
            "the file belongs to a ceremony: see `chancery ceremony`",
        )),
    }
}

fn file(kind: StatementKind, body: Vec<u8>) -> File {
    match kind {
        StatementKind::Roster => File::Roster(body),
        StatementKind::Policy => File::Policy(body),
        StatementKind::Suspension => File::Suspension(body),
        StatementKind::RecoveryRoster => File::RecoveryRoster(body),
        StatementKind::Recovery => File::Recovery(body),
    }
}

/// The document of the same kind that holds.
fn holds(trusted: &Trusted, kind: StatementKind) -> Result<Option<Vec<u8>>, Failure> {
    let canonical = match kind {
        StatementKind::Roster | StatementKind::Recovery => trust::json::canonical(trusted.roster()),
        StatementKind::RecoveryRoster => match trusted.recovery() {
            Some(recovery) => recovery.encode(),
            None => return Ok(None),
        },
        StatementKind::Policy => trust::json::canonical(trusted.policy()),
        StatementKind::Suspension => return Ok(None),
    };
    canonical.map(Some).map_err(Failure::refused)
}

fn id(text: &str) -> Result<Sha256Digest, Failure> {
    text.parse()
        .map_err(|_| Failure::usage("expected a file, or an id of 64 hexadecimal digits"))
}

fn show(trusted: &Trusted, output: &Output) {
    let (roster, policy) = (trusted.roster(), trusted.policy());
    let shown = json!({
        "roster": roster, "roster_digest": trusted.roster_ref().digest,
        "policy": policy, "policy_digest": trusted.policy_ref().digest,
        "recovery_roster": trusted.recovery(),
        "documents": trusted.length(),
    });
    output.result(&shown, || {
        let mut text = format!(
            "roster {} and policy {} of {}/{}, after {} documents\nroster       {}\npolicy       {}\n",
            roster.version,
            policy.version,
            roster.service,
            roster.environment,
            trusted.length(),
            trusted.roster_ref().digest,
            trusted.policy_ref().digest,
        );
        if let Some(recovery) = trusted.recovery() {
            let members = recovery.members.iter().map(|member| member.id.to_string());
            let members = members.collect::<Vec<_>>().join(", ");
            let (threshold, delay) = (recovery.threshold.get(), recovery.delay_seconds / 3_600);
            text.push_str(&format!(
                "recovery by  {threshold} of {members}, after {delay} h\n"
            ));
        }
        text.push('\n');
        text.push_str(&table(
            &["member", "name", "roles", "keys", "active"],
            roster.members.iter().map(|member| {
                let roles: Vec<_> = member.roles.iter().map(ToString::to_string).collect();
                [
                    member.id.to_string(),
                    spelled_out(&member.name),
                    roles.join(", "),
                    member.keys.len().to_string(),
                    if member.active { "yes" } else { "no" }.to_owned(),
                ]
            }),
        ));
        text
    });
}

/// Text of a service, which is shown and not believed.
fn said(value: &Value) -> String {
    match value {
        Value::String(text) => spelled_out(text),
        other => other.to_string(),
    }
}

fn told(report: &Value, output: &Output) {
    output.result(report, || {
        let list = |name: &str| {
            let all: Vec<_> = report[name]
                .as_array()
                .into_iter()
                .flatten()
                .map(said)
                .collect();
            match all.is_empty() {
                true => "none".to_owned(),
                false => all.join(", "),
            }
        };
        let mut text = format!(
            "statement    {} ({})\nstate        {}: {}\n",
            said(&report["statement"]),
            said(&report["kind"]),
            said(&report["state"]),
            said(&report["standing"])
        );
        if report["state"] == "open" {
            text.push_str(&format!("until        {}\n", said(&report["closes_at"])));
            text.push_str(&format!("signed by    {}\n", list("signed_by")));
            if report["kind"] == "roster" || report["kind"] == "recovery" {
                text.push_str(&format!("of the next  {}\n", list("signed_by_new")));
            }
            for (name, label) in [
                ("unproven", "new key      "),
                ("not_counted", "not counted  "),
            ] {
                for each in report[name].as_array().into_iter().flatten() {
                    text.push_str(&format!("{label}{}\n", said(each)));
                }
            }
        }
        text
    });
}
