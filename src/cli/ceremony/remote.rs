//! Ceremonies over HTTP, from a custodian's own machine, with nothing but their key and the pinned digest of the genesis.
//! What the service says is not trusted: rosters and policies are walked from the genesis, what is reviewed and signed is
//! the bytes themselves, and their digest is the id that was read aloud.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use trust::approval::{ObjectionBody, acceptance_message};
use trust::chain::{Genesis, walk};
use trust::format::V1;
use trust::note::NoteBody;
use trust::tally::tally_acceptance;
use trust::text::spelled_out;
use trust::{
    Chains, Kid, Namespace, Pin, Purpose, Request, Sha256Digest, Transcript, Trusted,
    VerifiedTranscript, dsse, json, read, verify_transcript,
};

use super::super::{World, ssh};
use super::payload::{exported, same_request, same_statement, signature};
use super::proposal::proposed;
use super::remote_arguments::{Remote, RemoteReader};
use super::replaced::of_replaced;
use super::{Accept, Note, Reject, Vote, list};
use keyring::ceremony::SigningPayload;
use verify::client::Client;
use verify::output::{Failure, Output, table};
use verify::review;

/// The service, and what holds from the pinned genesis.
pub struct Session {
    client: Client,
    pin: Pin,
    pub(super) trusted: Arc<Trusted>,
}

/// A ceremony as it was read, held against its id and the chain.
pub(super) struct Fetched {
    bytes: Vec<u8>,
    pub(super) request: Request,
    transcript: Option<Transcript>,
    previous: Option<Sha256Digest>,
    report: Value,
    notes: Value,
}

#[derive(Deserialize)]
struct Answer {
    ceremony: Value,
    request: String,
    transcript: Option<String>,
    previous: Option<Sha256Digest>,
    #[serde(default)]
    notes: Value,
}

impl Remote {
    pub async fn open(&self) -> Result<Session, Failure> {
        let (client, genesis) = (self.client()?, self.genesis);
        let genesis = genesis.ok_or_else(|| Failure::usage("--url requires --genesis"))?;
        let bytes = client.get_with("/v1/trust", &[]).await?;
        let chains: Chains = json::require_canonical(&bytes).map_err(Failure::refused)?;
        let found = Sha256Digest::of(chains.genesis.body.as_bytes());
        if found != genesis {
            return Err(Failure::refused(format!(
                "the service has the genesis {found}, not {genesis}"
            )));
        }
        // For whom it is stands in the document that the digest names.
        let body = chains.genesis.body.as_bytes();
        let read: Genesis = json::require_canonical(body).map_err(Failure::refused)?;
        let pin = Pin {
            genesis,
            service: read.roster.service,
            environment: read.roster.environment,
        };
        let trusted = Arc::new(walk(&chains, &pin).map_err(Failure::refused)?);
        Ok(Session {
            client,
            pin,
            trusted,
        })
    }
}

impl Session {
    /// What the chain from the genesis on says.
    pub fn trusted(&self) -> Arc<Trusted> {
        Arc::clone(&self.trusted)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.client.post(path, body).await
    }

    pub(super) fn namespace(&self, purpose: Purpose) -> String {
        Namespace::new(purpose, self.trusted.service(), self.trusted.environment()).to_string()
    }

    /// What only members and those with a role may read.
    pub async fn read(&self, world: &World, key: &Path, path: &str) -> Result<Vec<u8>, Failure> {
        let (service, environment) = (self.trusted.service(), self.trusted.environment());
        let namespace = read::read_namespace(service, environment);
        let time = world.env.now();
        let message = read::read_message(&namespace, path, time).map_err(Failure::refused)?;
        let signature = ssh::sign(key, &namespace.to_string(), &message)?;
        let headers = [
            ("Chancery-Time", time.to_string()),
            (
                "Chancery-Signature",
                trust::base64url::encode(signature.as_bytes()),
            ),
        ];
        self.client.get_with(path, &headers).await
    }

    pub(super) async fn fetch(
        &self,
        world: &World,
        key: &Path,
        id: &str,
    ) -> Result<Fetched, Failure> {
        let digest: Sha256Digest = id.parse().map_err(|_| {
            Failure::usage("expected the full id of a ceremony: 64 hexadecimal digits")
        })?;
        let bytes = self
            .read(world, key, &format!("/v1/ceremonies/{digest}"))
            .await?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(Failure::refused)?;
        if Sha256Digest::of(answer.request.as_bytes()) != digest {
            return Err(Failure::refused(format!(
                "the service gave another request than {digest}"
            )));
        }
        let request = Request::decode(answer.request.as_bytes()).map_err(Failure::refused)?;
        let here = (self.trusted.service(), self.trusted.environment());
        if (&request.service, &request.environment) != here {
            return Err(Failure::refused(
                "the request is for a different service or environment",
            ));
        }
        let transcript = answer.transcript.as_deref().map(str::as_bytes);
        let transcript = transcript.map(Transcript::decode).transpose();
        let transcript = transcript.map_err(Failure::refused)?;
        if let Some(transcript) = &transcript
            && transcript.record.request != answer.request
        {
            return Err(Failure::refused("the transcript is of another request"));
        }
        Ok(Fetched {
            bytes: answer.request.into_bytes(),
            request,
            transcript,
            previous: answer.previous,
            report: answer.ceremony,
            notes: answer.notes,
        })
    }

    /// The request before it on its first subject, if its transcript verifies and is the one that this request names.
    pub(super) async fn before(
        &self,
        request: &Request,
        previous: Option<Sha256Digest>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let named = request.lines.first().and_then(|line| line.previous);
        let (Some(id), Some(named)) = (previous, named) else {
            return Ok(None);
        };
        let path = format!("/v1/ceremonies/{id}/transcript");
        let Some(bytes) = self.client.find(&path).await? else {
            return Ok(None);
        };
        verify_transcript(&bytes, &self.pin).map_err(Failure::refused)?;
        let transcript = Transcript::decode(&bytes).map_err(Failure::refused)?;
        if Sha256Digest::of(transcript.acceptance.statement.as_bytes()) != named {
            return Err(Failure::refused(format!(
                "the request does not reference the ceremony {id} that the service names"
            )));
        }
        Ok(Some(transcript.record.request.into_bytes()))
    }

    /// The transcript of a closed ceremony, verified here; it has to be of the id.
    pub(super) async fn closed(&self, id: Sha256Digest) -> Result<VerifiedTranscript, Failure> {
        let path = format!("/v1/ceremonies/{id}/transcript");
        let bytes = self.client.find(&path).await?;
        let bytes = bytes.ok_or_else(|| Failure::refused("the ceremony is not closed"))?;
        let verified = verify_transcript(&bytes, &self.pin).map_err(Failure::refused)?;
        match verified.statement().request_digest == id {
            true => Ok(verified),
            false => Err(Failure::refused("the transcript is of another request")),
        }
    }

    pub(super) async fn submit(
        &self,
        id: &str,
        body: &Value,
        output: &Output,
    ) -> Result<(), Failure> {
        submit(&self.client, id, body, output).await
    }
}

async fn submit(client: &Client, id: &str, body: &Value, output: &Output) -> Result<(), Failure> {
    if id.parse::<Sha256Digest>().is_err() {
        return Err(Failure::usage(
            "expected the full id of a ceremony: 64 hexadecimal digits",
        ));
    }
    let path = format!("/v1/ceremonies/{id}/signatures");
    let report = client.post(&path, body).await?;
    output.result(&report, || render(&report));
    Ok(())
}

pub async fn list(
    reader: &RemoteReader,
    command: &list::List,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let session = reader.remote.open().await?;
    let key = reader.key()?;
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let left = (command.limit as usize).saturating_sub(rows.len());
        let mut path = format!("/v1/ceremonies?limit={}", left.clamp(1, 100));
        if let Some(state) = &command.state {
            path.push_str(&format!("&state={}", state.word()));
        }
        if let Some(after) = &after {
            path.push_str(&format!("&after={after}"));
        }
        let bytes = session.read(world, key, &path).await?;
        let page: Value = serde_json::from_slice(&bytes).map_err(Failure::refused)?;
        rows.extend(page["ceremonies"].as_array().cloned().unwrap_or_default());
        for row in page["unreadable"].as_array().into_iter().flatten() {
            output.remark(format!("unreadable: {}", said(row)));
        }
        // What comes from there goes into a path.
        let next = page["next"].as_str().map(str::to_owned);
        after = next.filter(|next| trust::base64url::decode(next).is_some());
        if after.is_none() || rows.len() >= command.limit as usize {
            break;
        }
    }
    rows.reverse();
    output.result(&rows, || {
        table(
            &["ceremony", "operation", "subject", "state", "proposed"],
            rows.iter().map(|row| {
                let lines = row["lines"].as_array().into_iter().flatten();
                let lines = lines
                    .map(|line| format!("{} #{}", said(&line["subject"]), said(&line["sequence"])));
                [
                    said(&row["ceremony"]),
                    said(&row["operation"]),
                    lines.collect::<Vec<_>>().join(", "),
                    said(&row["state"]),
                    said(&row["created_at"]),
                ]
            }),
        )
    });
    if after.is_some() {
        output.remark("There are older ones: --limit");
    }
    Ok(())
}

pub async fn show(
    reader: &RemoteReader,
    id: &str,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let session = reader.remote.open().await?;
    let fetched = session.fetch(world, reader.key()?, id).await?;
    let mut shown = fetched.report.clone();
    shown["notes"] = fetched.notes.clone();
    output.result(&shown, || {
        let mut text = render(&fetched.report);
        for note in fetched.notes.as_array().into_iter().flatten() {
            let (member, said) = (said(&note["member"]), said(&note["note"]));
            let what = match note["what"] == "exception" {
                true => "exception",
                false => "note",
            };
            text.push_str(&format!("{what:<12} {member}: {said}\n"));
        }
        text
    });
    Ok(())
}

/// The same as of a file: what it says and what it changes, and the digest to read aloud. With `result` it is what was done.
pub async fn review(
    reader: &RemoteReader,
    id: &str,
    result: bool,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let session = reader.remote.open().await?;
    let fetched = session.fetch(world, reader.key()?, id).await?;
    if result {
        let transcript = fetched.transcript.as_ref();
        let transcript = transcript.ok_or_else(|| Failure::refused("it was not executed"))?;
        return review::statement(transcript.acceptance.statement.as_bytes(), output);
    }
    let before = session.before(&fetched.request, fetched.previous);
    let before = before.await?;
    output.remark(format!(
        "Checked by this program: service {}, environment {}, rosters and policies from the genesis {} on, and that these \
         bytes are the ceremony {id}.\n",
        session.pin.service, session.pin.environment, session.pin.genesis
    ));
    let decoded = before.as_deref().map(Request::decode).transpose();
    let decoded = decoded.map_err(Failure::refused)?;
    of_replaced(&fetched.request, decoded.as_ref(), output);
    review::request(&fetched.bytes, before.as_deref(), output)
}

pub async fn approve(vote: &Vote, world: &World, output: &Output) -> Result<(), Failure> {
    let id = &vote.ceremony;
    let Some(key) = &vote.key else {
        return made_elsewhere(
            &vote.remote,
            id,
            "approve",
            vote.signature.as_deref(),
            output,
        )
        .await;
    };
    let session = vote.remote.open().await?;
    let fetched = session.fetch(world, key, id).await?;
    let current = (session.trusted.roster_ref(), session.trusted.policy_ref());
    if (&fetched.request.roster, &fetched.request.policy) != (&current.0, &current.1) {
        return Err(Failure::refused(
            "the request was written under another roster or policy than the service's chain ends with",
        ));
    }
    let payload = SigningPayload {
        namespace: session.namespace(Purpose::Approve),
        bytes: fetched.request.message(Purpose::Approve, &fetched.bytes),
    };
    same_request(&payload, id)?;
    let signature = ssh::sign(key, &payload.namespace, &payload.bytes)?;
    let body = json!({"purpose": "approve", "signature": signature});
    session.submit(id, &body, output).await
}

/// Signs only what a quorum approved, as counted here, from the genesis.
pub async fn accept(accept: &Accept, world: &World, output: &Output) -> Result<(), Failure> {
    accept.one_signature_each()?;
    let Some(key) = &accept.key else {
        let signature = accept.signature.as_deref();
        for id in &accept.ceremonies {
            made_elsewhere(&accept.remote, id, "accept", signature, output).await?;
        }
        return Ok(());
    };
    let session = accept.remote.open().await?;
    for id in &accept.ceremonies {
        accept_one(&session, (id, key, &accept.kids), world, output).await?;
    }
    Ok(())
}

async fn accept_one(
    session: &Session,
    (id, key, kids): (&str, &Path, &[Kid]),
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let fetched = session.fetch(world, key, id).await?;
    let transcript = fetched.transcript.as_ref();
    let transcript = transcript
        .ok_or_else(|| Failure::refused("there is nothing to accept: it was not executed"))?;
    // What was carried out under an earlier roster is accepted under it.
    let then = walk(&transcript.record.chains, &session.pin).map_err(Failure::refused)?;
    if !session.trusted.extends(&then) {
        let why = "the ceremony was held under another chain of rosters than the service's";
        return Err(Failure::refused(why));
    }
    tally_acceptance(&then, &transcript.record, &transcript.acceptance)
        .map_err(Failure::refused)?;
    let statement = transcript.acceptance.statement.as_bytes();
    let payload = SigningPayload {
        namespace: session.namespace(Purpose::Accept),
        bytes: acceptance_message(&fetched.request, statement),
    };
    same_statement(&payload, id, kids)?;
    let signature = ssh::sign(key, &payload.namespace, &payload.bytes)?;
    let body = json!({"purpose": "accept", "signature": signature});
    session.submit(id, &body, output).await
}

/// Over the id and the reason alone: nothing has to be read for it.
pub async fn object(reject: &Reject, purpose: Purpose, output: &Output) -> Result<(), Failure> {
    let id = &reject.ceremony;
    let session = reject.remote.open().await?;
    let body = ObjectionBody {
        v: V1,
        request_digest: digest(id)?,
        reason: reject.reason.clone(),
    };
    let body = body.encode().map_err(Failure::refused)?;
    let namespace = session.namespace(purpose);
    let payload = SigningPayload {
        bytes: dsse::pae(&namespace, &body),
        namespace,
    };
    if let Some(out) = &reject.out {
        return exported(&payload, out, output);
    }
    let (key, made) = (reject.key.as_deref(), reject.signature.as_deref());
    let signature = signature(key, made, &payload)?;
    let body = json!({"purpose": purpose.word(), "signature": signature, "reason": reject.reason});
    session.submit(id, &body, output).await
}

pub async fn note(note: &Note, output: &Output) -> Result<(), Failure> {
    let id = &note.ceremony;
    let session = note.remote.open().await?;
    let body = NoteBody {
        note: note.text.clone(),
        request_digest: digest(id)?,
        v: V1,
    };
    let body = body.encode().map_err(Failure::refused)?;
    let namespace = session.namespace(Purpose::Note);
    let signature = ssh::sign(&note.key, &namespace, &dsse::pae(&namespace, &body))?;
    let body = json!({"purpose": "note", "signature": signature, "note": note.text});
    session.submit(id, &body, output).await
}

/// Files a request that was written and signed elsewhere.
pub async fn propose(
    remote: &Remote,
    request: &Request,
    signature: &str,
    output: &Output,
) -> Result<(), Failure> {
    let bytes = request.encode().map_err(Failure::refused)?;
    let id = Sha256Digest::of(&bytes).to_string();
    let text = String::from_utf8(bytes).map_err(Failure::refused)?;
    let body = json!({"request": text, "signature": signature});
    remote.client()?.post("/v1/ceremonies", &body).await?;
    output.result(&json!({"ceremony": id, "proposed": true}), || id.clone());
    output.remark(proposed(request, &id));
    Ok(())
}

async fn made_elsewhere(
    remote: &Remote,
    id: &str,
    purpose: &str,
    signature: Option<&Path>,
    output: &Output,
) -> Result<(), Failure> {
    let file = signature.ok_or_else(|| Failure::usage("--key or --signature is required"))?;
    let text = String::from_utf8(super::read(file)?)
        .map_err(|_| Failure::usage(format!("{} is not UTF-8", file.display())))?;
    let body = json!({"purpose": purpose, "signature": text});
    submit(&remote.client()?, id, &body, output).await
}

fn digest(id: &str) -> Result<Sha256Digest, Failure> {
    id.parse()
        .map_err(|_| Failure::usage("expected the full id of a ceremony: 64 hexadecimal digits"))
}

/// What the service says, for a terminal: nothing in it moves the cursor.
pub(super) fn said(value: &Value) -> String {
    match value {
        Value::String(text) => spelled_out(text),
        Value::Null => String::new(),
        other => spelled_out(&other.to_string()),
    }
}

/// As `ceremony show` on the service's machine.
fn render(report: &Value) -> String {
    let all = |member: &str| {
        let all = report[member].as_array().into_iter().flatten().map(said);
        all.collect::<Vec<_>>()
    };
    let list = |member: &str| match all(member) {
        none if none.is_empty() => "none".to_owned(),
        some => some.join(", "),
    };
    let mut text = format!("ceremony     {}\n", said(&report["ceremony"]));
    for line in report["lines"].as_array().into_iter().flatten() {
        let (subject, sequence) = (said(&line["subject"]), said(&line["sequence"]));
        text.push_str(&format!("subject      {subject} (sequence {sequence})\n"));
    }
    let (operation, proposer) = (said(&report["operation"]), said(&report["proposer"]));
    let (state, standing) = (said(&report["state"]), said(&report["standing"]));
    text.push_str(&format!(
        "operation    {operation}\nproposed by  {proposer}\nstate        {state}: {standing}\napproved by  {}\n",
        list("approved_by")
    ));
    if !report["acceptances_needed"].is_null() {
        text.push_str(&format!("accepted by  {}\n", list("accepted_by")));
    }
    for kid in all("kids") {
        text.push_str(&format!("kid          {kid}\n"));
    }
    for not in all("not_counted") {
        text.push_str(&format!("not counted  {not}\n"));
    }
    text
}
