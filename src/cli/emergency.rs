//! `chancery emergency`: stop signing, let it go on, rotate onto a standby key at once; report what may be compromised.

mod clock;
mod drill;
mod reports;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use trust::request::{Ended, RATIFY_WITHIN};
use trust::review::{File, open_file, review_document};
use trust::stop::StopBody;
use trust::{Kid, Name, Namespace, Purpose, Scope, Sha256Digest, Time, dsse, stop::stop_message};

use super::context::failed;
use super::genesis::{read, write};
use super::{CliContext, World, ceremony, ssh};
use base::settings::duration;
use keyring::ceremony::{Draft, EmergencyReport, Wanted};
use verify::output::{Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show which rings are stopped, by whom and why, and which emergency rotations wait for their ratification.
    State(State),
    /// Stop the signing of a ring, or of all, as one custodian or as the member on call. It takes effect at once, and ends
    /// by a resume alone, which needs the threshold.
    Stop(Stop),
    /// Submit a stop written by `stop --out`, with a signature made elsewhere.
    Submit(Submit),
    /// Propose the ceremony that lets a ring sign again.
    Resume(Resume),
    /// Propose an emergency rotation: a standby key signs at once, and the key that signs now is revoked as compromised.
    /// Needs the security lead, the on-call manager and a custodian, three people.
    Rotate(Rotate),
    /// Propose the ratification of a ring's emergency rotation.
    Ratify(Ratify),
    /// Walk through an emergency on a ring that is there for it, with a clock: stop, rotation, ratification, resume. The
    /// figures are read back from the log.
    Drill(drill::Drill),
    /// Report that somebody else may have a key or what an asset is: people are called, and a declaration is drafted.
    Report(reports::Report),
    /// List reports of compromise, the latest first, or show one.
    Reports(reports::List),
    /// Decide that a report is of nothing. Its alert ends.
    Dismiss(reports::Decide),
    /// Declare the emergency of a report. It replaces no signature: members of the roster order the rotation of a ring.
    Declare(reports::Decide),
    /// Verify a stop offline, against the pinned digest of the genesis alone.
    Verify(verify::Stop),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true))]
struct Whose {
    /// The ring.
    #[arg(long, group = "whose")]
    ring: Option<Name>,
    /// Every ring but the log's own.
    #[arg(long, group = "whose")]
    all: bool,
}

#[derive(Debug, Args)]
pub struct State {
    #[command(flatten)]
    remote: ceremony::Remote,
    /// Your SSH key, with which the request is signed; with `--url`.
    #[arg(long, requires = "url")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    whose: Whose,
    /// Why, in words for the record.
    #[arg(long)]
    reason: String,
    /// Your SSH key. Without it the stop is only written to `--out`, to be signed elsewhere.
    #[arg(long)]
    key: Option<PathBuf>,
    /// The stop is not taken after this time.
    #[arg(long, default_value = "1h", value_parser = duration::parse_positive)]
    expires_in: Duration,
    /// File for the bytes to sign; never overwritten.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    remote: ceremony::Remote,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true))]
pub struct Submit {
    /// A stop written by `emergency stop --out`.
    file: PathBuf,
    /// Your SSH key.
    #[arg(long, group = "how")]
    key: Option<PathBuf>,
    /// A signature made with `ssh-keygen -Y sign` over that file.
    #[arg(long, group = "how")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    remote: ceremony::Remote,
}

#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    input: ceremony::ProposalArgs,
    #[command(flatten)]
    remote: ceremony::Remote,
}

#[derive(Debug, Args)]
pub struct Rotate {
    /// The ring.
    #[arg(long)]
    ring: Name,
    /// Earliest instant at which somebody else may have signed with the key that signs now.
    #[arg(long)]
    compromised_since: Time,
    /// The standby key; by default the oldest one that verifiers have had long enough.
    #[arg(long, allow_hyphen_values = true)]
    standby: Option<Kid>,
    /// The ring stops signing unless the rotation is ratified within this time; 24 hours at most.
    #[arg(long, default_value = "24h", value_parser = duration::parse_positive)]
    ratify_within: Duration,
    #[command(flatten)]
    input: ceremony::ProposalArgs,
    #[command(flatten)]
    remote: ceremony::Remote,
}

#[derive(Debug, Args)]
pub struct Ratify {
    /// The ring.
    #[arg(long)]
    ring: Name,
    #[command(flatten)]
    input: ceremony::ProposalArgs,
    #[command(flatten)]
    remote: ceremony::Remote,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::State(state) if state.remote.is_given()? => {
            let session = state.remote.open().await?;
            let key = state.key.as_deref();
            let key = key.ok_or_else(|| Failure::usage("--url requires --key"))?;
            let report = reported(&session, key, world).await?;
            output.result(&json!(report), || report.to_string());
            Ok(())
        }
        Command::State(_) => {
            let open = CliContext::new(path, world).await?;
            let report = open
                .ceremonies(world)
                .emergency_report(&*open.snapshot().await?);
            output.result(&report, || report.to_string());
            Ok(())
        }
        Command::Stop(stop) => self::stop(path, &stop, world, output).await,
        Command::Submit(submit) => self::submit(path, &submit, world, output).await,
        Command::Resume(resume) => self::resume(path, resume, world, output).await,
        Command::Rotate(rotate) => self::rotate(path, rotate, world, output).await,
        Command::Drill(drill) => drill::run(path, drill, world, output).await,
        Command::Report(report) => reports::report(path, report, world, output).await,
        Command::Reports(list) => reports::list(path, list, world, output).await,
        Command::Dismiss(asked) => reports::dismiss(path, asked, world, output).await,
        Command::Declare(asked) => reports::declare(path, asked, world, output).await,
        Command::Verify(stop) => verify::stop::run(&stop, output),
        Command::Ratify(ratify) => self::ratify(path, ratify, world, output).await,
    }
}

async fn reported(
    session: &ceremony::Session,
    key: &Path,
    world: &World,
) -> Result<EmergencyReport, Failure> {
    let bytes = session.read(world, key, "/v1/emergency").await?;
    serde_json::from_slice(&bytes).map_err(Failure::refused)
}

async fn stop(path: &Path, stop: &Stop, world: &World, output: &Output) -> Result<(), Failure> {
    let ring = stop.whose.ring.as_ref();
    let (body, payload, session) = match stop.remote.is_given()? {
        true => {
            let session = stop.remote.open().await?;
            let key = stop.key.as_deref();
            let key = key.ok_or_else(|| Failure::usage("--url requires --key"))?;
            let body = drafted(&session, key, stop, world).await?;
            (body, None, Some(session))
        }
        false => {
            let open = CliContext::new(path, world).await?;
            let service = open.ceremonies(world);
            let body = service.stop_draft(ring, &stop.reason, stop.expires_in);
            let body = body.await.map_err(failed)?;
            (body, Some((open, service)), None)
        }
    };
    let bytes = body.encode().map_err(Failure::refused)?;
    let (namespace, message) = match (&payload, &session) {
        (Some((_, service)), _) => {
            let payload = service.stop_payload(&body).map_err(failed)?;
            (payload.namespace, payload.bytes)
        }
        (None, Some(session)) => session_message(session, &bytes),
        (None, None) => return Err(Failure::usage("no service and no database")),
    };
    if let Some(out) = &stop.out {
        write(out, &message)?;
    }
    let Some(key) = &stop.key else {
        let Some(out) = &stop.out else {
            return Err(Failure::usage("--key or --out is required"));
        };
        let file = out.display().to_string();
        output.result(
            &json!({"file": file, "namespace": namespace, "stopped": false}),
            || format!("ssh-keygen -Y sign -n {namespace} -f KEY {file}"),
        );
        output.remark(format!(
            "Not stopped yet: chancery emergency submit {file} --signature {file}.sig"
        ));
        return Ok(());
    };
    let signature = ssh::sign(key, &namespace, &message)?;
    let done = match (payload, session) {
        (Some((open, service)), _) => {
            let snapshot = open.snapshot().await?;
            service
                .stop(bytes, &signature, &snapshot)
                .await
                .map_err(failed)?
        }
        (None, Some(session)) => posted(&session, bytes, &signature).await?,
        (None, None) => return Err(Failure::usage("no service and no database")),
    };
    told(&body, done, output);
    Ok(())
}

fn session_message(session: &ceremony::Session, body: &[u8]) -> (String, Vec<u8>) {
    let trusted = session.trusted();
    let (service, environment) = (trusted.service(), trusted.environment());
    let namespace = Namespace::new(Purpose::Stop, service, environment);
    (
        namespace.to_string(),
        stop_message(service, environment, body),
    )
}

/// What the service drafts is what was asked for, or it is not signed.
async fn drafted(
    session: &ceremony::Session,
    key: &Path,
    stop: &Stop,
    world: &World,
) -> Result<StopBody, Failure> {
    let mut asked = vec![
        ("reason", stop.reason.clone()),
        ("expires_in_ms", stop.expires_in.as_millis().to_string()),
    ];
    if let Some(ring) = &stop.whose.ring {
        asked.push(("ring", ring.to_string()));
    }
    let path = keyring::ceremony::spelled("/v1/emergency/stops/draft", &asked);
    let answer: Value = serde_json::from_slice(&session.read(world, key, &path).await?)
        .map_err(Failure::refused)?;
    let text = answer["stop"].as_str().unwrap_or_default();
    let body = StopBody::decode(text.as_bytes()).map_err(Failure::refused)?;
    let scope = body.scope().map_err(Failure::refused)?;
    let trusted = session.trusted();
    let same = *scope == Scope::of(stop.whose.ring.as_ref())
        && body.reason == stop.reason
        && body.roster == trusted.roster_ref();
    match same {
        true => Ok(body),
        false => Err(Failure::refused(
            "the service drafted a stop with another ring, reason or roster than was asked for",
        )),
    }
}

async fn posted(
    session: &ceremony::Session,
    body: Vec<u8>,
    signature: &str,
) -> Result<Sha256Digest, Failure> {
    let text = String::from_utf8(body).map_err(Failure::refused)?;
    let body = json!({"stop": text, "signature": signature});
    let answer = session.post("/v1/emergency/stops", &body).await?;
    let stop = answer["stop"].as_str().unwrap_or_default();
    stop.parse().map_err(Failure::refused)
}

fn told(body: &StopBody, done: Sha256Digest, output: &Output) {
    let own = body
        .encode()
        .is_ok_and(|bytes| Sha256Digest::of(&bytes) == done);
    let what = body.line.subject.to_string();
    let what = what.trim_start_matches("stop/").to_owned();
    let who = match what.as_str() {
        "*" => "all rings are stopped".to_owned(),
        ring => format!("ring {ring} is stopped"),
    };
    output.result(
        &json!({"stop": done, "subject": body.line.subject, "new": own}),
        || format!("{who}\nstop         {done}"),
    );
    if !own {
        output.remark("It was stopped already; nothing was written.");
    }
    output.remark("Only the threshold lets it go on: chancery emergency resume");
}

async fn submit(
    path: &Path,
    submit: &Submit,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let message = read(&submit.file)?;
    let file = open_file(&message).map_err(Failure::refused)?;
    let File::Stop(bytes) = &file else {
        return Err(Failure::usage(format!(
            "{} is not a stop written by `emergency stop --out`",
            submit.file.display()
        )));
    };
    let body = StopBody::decode(bytes).map_err(Failure::refused)?;
    let shown = review_document(&file, None).map_err(Failure::refused)?;
    output.remark(shown.render());
    let (namespace, _) = dsse::parse_pae(&message).map_err(Failure::refused)?;
    let signature = match (&submit.key, &submit.signature) {
        (Some(key), _) => ssh::sign(key, namespace, &message)?,
        (None, Some(file)) => String::from_utf8(read(file)?).map_err(Failure::refused)?,
        (None, None) => return Err(Failure::usage("--key or --signature is required")),
    };
    let done = match submit.remote.is_given()? {
        true => posted(&submit.remote.open().await?, bytes.clone(), &signature).await?,
        false => {
            let open = CliContext::new(path, world).await?;
            let snapshot = open.snapshot().await?;
            let service = open.ceremonies(world);
            let done = service.stop(bytes.clone(), &signature, &snapshot);
            done.await.map_err(failed)?
        }
    };
    told(&body, done, output);
    Ok(())
}

async fn resume(
    path: &Path,
    resume: Resume,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let ring = resume.whose.ring;
    let nothing =
        || Failure::refused("nothing keeps it from signing: see `chancery emergency state`");
    if resume.remote.is_given()? {
        let session = resume.remote.open().await?;
        let report = reported(&session, key(&resume.input)?, world).await?;
        let ends = report.to_end(ring.as_ref()).ok_or_else(nothing)?;
        let asked = (ring, Wanted::Resume { ends });
        return ceremony::propose_at(&resume.remote, asked, resume.input, true, world, output)
            .await;
    }
    let open = CliContext::new(path, world).await?;
    let report = open
        .ceremonies(world)
        .emergency_report(&*open.snapshot().await?);
    let ends = report.to_end(ring.as_ref()).ok_or_else(nothing)?;
    if let Ended::Stop { digest, .. } = &ends {
        output.remark(format!("ends the stop {digest}"));
    }
    let draft = Draft::Resume { ends };
    ceremony::propose(&open, world, ring, resume.input, draft, output).await
}

fn key(input: &ceremony::ProposalArgs) -> Result<&Path, Failure> {
    let key = input.key();
    key.ok_or_else(|| Failure::usage("--url requires --key: who asks signs the request"))
}

async fn rotate(
    path: &Path,
    rotate: Rotate,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    if rotate.ratify_within > Duration::from_secs(RATIFY_WITHIN) {
        return Err(Failure::usage("--ratify-within is at most 24h"));
    }
    if rotate.remote.is_given()? {
        let wanted = Wanted::EmergencyRotation {
            standby: rotate.standby,
            compromised_since: rotate.compromised_since,
            ratify_within: rotate.ratify_within,
        };
        let asked = (Some(rotate.ring), wanted);
        return ceremony::propose_at(&rotate.remote, asked, rotate.input, true, world, output)
            .await;
    }
    let open = CliContext::new(path, world).await?;
    in_doubt(&open, &rotate, output).await?;
    let draft = Draft::EmergencyRotation {
        standby: rotate.standby,
        compromised_since: rotate.compromised_since,
        ratify_within: rotate.ratify_within,
    };
    ceremony::propose(&open, world, Some(rotate.ring), rotate.input, draft, output).await
}

/// How many signatures by the key that signs now are concerned.
async fn in_doubt(open: &CliContext, rotate: &Rotate, output: &Output) -> Result<(), Failure> {
    let snapshot = open.snapshot().await?;
    let ring = snapshot.rings.get(rotate.ring.as_str());
    let Some(key) = ring.and_then(|ring| ring.primary.as_ref()) else {
        return Ok(());
    };
    let (kid, since) = (key.kid.as_str(), rotate.compromised_since);
    let days = open.store.signatures_by_day(kid, since.millis()).await;
    let days = days.map_err(Failure::unavailable)?;
    let count: i64 = days.iter().map(|day| day.signatures).sum();
    output.remark(format!(
        "blast radius: {count} signatures by {kid} since {since}, on {} days; all of them: /v1/keys/{kid}/blast-radius?since={since}",
        days.len()
    ));
    Ok(())
}

async fn ratify(
    path: &Path,
    ratify: Ratify,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    if ratify.remote.is_given()? {
        let session = ratify.remote.open().await?;
        let report = reported(&session, key(&ratify.input)?, world).await?;
        let mut waiting = report.unratified.iter();
        let rotation = waiting.rfind(|each| each.ring == ratify.ring.as_str());
        let rotation = rotation.ok_or_else(|| {
            Failure::refused("no emergency rotation of the ring waits for its ratification")
        })?;
        let wanted = Wanted::Ratification {
            rotation: rotation.rotation,
        };
        let asked = (Some(ratify.ring), wanted);
        return ceremony::propose_at(&ratify.remote, asked, ratify.input, true, world, output)
            .await;
    }
    let open = CliContext::new(path, world).await?;
    let draft = Draft::Ratification { rotation: None };
    ceremony::propose(&open, world, Some(ratify.ring), ratify.input, draft, output).await
}
