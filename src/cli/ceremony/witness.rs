//! What is said of a ceremony for the record: exceptions from the plan, and what a witness attests of its transcript.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use trust::attestation::{Attestation, Attestations, NotShown, verify_attestation};
use trust::format::V1;
use trust::{
    MemberSignature, Name, Pin, Purpose, Request, Sha256Digest, Time, Transcript, dsse, sshsig,
    verify_transcript,
};

use super::super::context::failed;
use super::super::genesis::{read, write};
use super::super::{CliContext, World, ssh};
use super::remote_arguments::Remote;
use keyring::ceremony::{CeremonyService, ExceptionInput, attestation_payload};
use verify::client::Connect;
use verify::output::{Failure, Output};

#[derive(Debug, Args)]
pub struct Note {
    /// The id of the ceremony, as `ceremony list` shows it.
    pub(super) ceremony: String,
    /// Your SSH key.
    #[arg(long)]
    pub(super) key: PathBuf,
    /// What you note: 1 to 1000 characters.
    #[arg(long)]
    pub(super) text: String,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Args)]
pub struct Exception {
    /// The id of the ceremony, as `ceremony list` shows it.
    ceremony: String,
    /// Your SSH key.
    #[arg(long)]
    key: PathBuf,
    /// What was otherwise, and what was decided: 1 to 1000 characters.
    #[arg(long)]
    text: String,
    /// The member who decided how to go on.
    #[arg(long)]
    decided_by: Name,
    /// When it happened, such as 2026-11-22T09:00:00.000Z; now, where it is not given.
    #[arg(long)]
    at: Option<Time>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Args)]
pub struct Attest {
    /// The id of a closed ceremony; or the file of its transcript, which is verified from `--genesis` and needs no service.
    ceremony: String,
    /// Your SSH key. A passkey attests nothing: the page that would ask for it is served by the service that you watch.
    #[arg(long)]
    key: PathBuf,
    /// What you saw besides what the transcript says: 1 to 1000 characters.
    #[arg(long)]
    text: Option<String>,
    /// Where the attestation of a file is written; never overwritten.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Base URL of the service: the transcript is read and the attestation is submitted there.
    #[arg(long, requires = "genesis")]
    url: Option<String>,
    /// The pinned digest of the genesis, as it was read aloud.
    #[arg(long)]
    genesis: Option<Sha256Digest>,
    #[command(flatten)]
    connect: Connect,
}

impl Exception {
    fn input(&self, world: &World) -> ExceptionInput {
        ExceptionInput {
            exception: self.text.clone(),
            decided_by: self.decided_by.clone(),
            at: self.at.unwrap_or_else(|| world.env.now()),
        }
    }
}

/// With access to the database.
pub async fn note(service: &CeremonyService, note: &Note, output: &Output) -> Result<(), Failure> {
    let id = &note.ceremony;
    let payload = service.note_payload(id, &note.text).await;
    let payload = payload.map_err(failed)?;
    let signature = ssh::sign(&note.key, &payload.namespace, &payload.bytes)?;
    let noted = service.note(id, &note.text, &signature).await;
    noted.map_err(failed)?;
    output.result(&json!({"noted": id}), || "Noted.".to_owned());
    Ok(())
}

/// The same of an exception.
pub async fn except(
    service: &CeremonyService,
    exception: &Exception,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let (id, input) = (&exception.ceremony, exception.input(world));
    let (body, payload) = service
        .exception_payload(id, &input)
        .await
        .map_err(failed)?;
    let signature = ssh::sign(&exception.key, &payload.namespace, &payload.bytes)?;
    let noted = service.exception(id, &body, &signature).await;
    noted.map_err(failed)?;
    output.result(&json!({"noted": id}), || "Noted.".to_owned());
    Ok(())
}

/// Over HTTP. The body is made here, from what was typed.
pub async fn except_at(
    exception: &Exception,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let id = &exception.ceremony;
    let session = exception.remote.open().await?;
    let body = exception.input(world).body(digest(id)?).map_err(failed)?;
    let namespace = session.namespace(Purpose::Exception);
    let message = dsse::pae(&namespace, body.as_bytes());
    let signature = ssh::sign(&exception.key, &namespace, &message)?;
    let submitted = json!({"purpose": "exception", "signature": signature, "body": body});
    session.submit(id, &submitted, output).await
}

/// Of a file, over HTTP, or with access to the database.
pub async fn attest(
    path: &Path,
    attest: Attest,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let file = Path::new(&attest.ceremony);
    if file.is_file() {
        return of_file(file, &attest, output);
    }
    if attest.out.is_some() {
        return Err(Failure::usage("--out goes with the file of a transcript"));
    }
    let (id, key, note) = (&attest.ceremony, &attest.key, attest.text.clone());
    if attest.url.is_some() {
        let remote = Remote {
            url: attest.url.clone(),
            genesis: attest.genesis,
            connect: attest.connect.clone(),
        };
        let session = remote.open().await?;
        let verified = session.closed(digest(id)?).await?;
        let (body, payload) = attestation_payload(&verified, note).map_err(failed)?;
        let signature = ssh::sign(key, &payload.namespace, &payload.bytes)?;
        let submitted = json!({"purpose": "witness", "signature": signature, "body": body});
        return session.submit(id, &submitted, output).await;
    }
    attest.connect.not_used("with --url only")?;
    let open = CliContext::new(path, world).await?;
    let service = open.ceremonies(world);
    let (body, payload) = service
        .attestation_payload(id, note)
        .await
        .map_err(failed)?;
    let signature = ssh::sign(key, &payload.namespace, &payload.bytes)?;
    let attested = service.attest(id, &body, &signature).await;
    attested.map_err(failed)?;
    output.result(&json!({"attested": id}), || "Attested.".to_owned());
    Ok(())
}

fn of_file(file: &Path, attest: &Attest, output: &Output) -> Result<(), Failure> {
    let (Some(genesis), Some(out)) = (attest.genesis, &attest.out) else {
        let why = "the file of a transcript requires --genesis and --out";
        return Err(Failure::usage(why));
    };
    let bytes = read(file)?;
    let unverified = Transcript::decode(&bytes)
        .and_then(|transcript| Request::decode(transcript.record.request.as_bytes()));
    let unverified = unverified.map_err(Failure::refused)?;
    let pin = Pin {
        genesis,
        service: unverified.service,
        environment: unverified.environment,
    };
    let verified = verify_transcript(&bytes, &pin).map_err(Failure::refused)?;
    let (body, payload) = attestation_payload(&verified, attest.text.clone()).map_err(failed)?;
    let signature = ssh::sign(&attest.key, &payload.namespace, &payload.bytes)?;
    let signature = sshsig::normalize(&signature).map_err(Failure::refused)?;
    let attestation = Attestation {
        body,
        log: NotShown,
        received_at: None,
        signature: MemberSignature::ssh(signature),
    };
    // One that would not hold is not handed over.
    let attested = verify_attestation(&verified, &attestation).map_err(Failure::refused)?;
    let attestations = Attestations {
        attestations: vec![attestation],
        request_digest: verified.statement().request_digest,
        v: V1,
    };
    let written = attestations.encode().map_err(Failure::refused)?;
    write(out, &written)?;
    let shown =
        json!({"file": out, "witness": attested.witness, "core_digest": verified.core_digest()});
    output.result(&shown, || {
        format!(
            "{} attests the transcript with the core {}; written to {}.",
            attested.witness,
            verified.core_digest(),
            out.display()
        )
    });
    Ok(())
}

fn digest(id: &str) -> Result<Sha256Digest, Failure> {
    id.parse()
        .map_err(|_| Failure::usage("expected the full id of a ceremony: 64 hexadecimal digits"))
}
