//! Proposals from a member's own machine: the service resolves what is asked for, and nothing is signed that is something
//! else.

use serde::Deserialize;
use serde_json::json;
use trust::review::review;
use trust::{Name, Request, Sha256Digest};

use super::super::genesis::write;
use super::super::{World, ssh};
use super::remote_arguments::Remote;
use super::{ProposalArgs, failed, remote};
use keyring::ceremony::{CeremonyService, Wanted, Wish};
use verify::output::{Failure, Output};

#[derive(Deserialize)]
struct Drafted {
    request: String,
    previous: Option<Sha256Digest>,
}

/// Has the request drafted, compares it with what was asked for and with the chain from the genesis, shows it and, with
/// `apply`, signs and proposes it. If we die before, nothing was kept anywhere.
pub async fn propose(
    remote: &Remote,
    (ring, wanted): (Name, Wanted),
    input: ProposalArgs,
    apply: bool,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let key = input.key.as_deref();
    let key =
        key.ok_or_else(|| Failure::usage("--url requires --key: who asks signs the request"))?;
    let session = remote.open().await?;
    let wish = Wish {
        ring,
        proposer: input.proposer,
        reason: input.reason,
        ticket: input.ticket,
        approve_within: input.approve_within,
        execute_within: input.execute_within,
        wanted,
    };
    let bytes = session.read(world, key, &wish.path()).await?;
    let drafted: Drafted = serde_json::from_slice(&bytes).map_err(Failure::refused)?;
    let bytes = drafted.request.into_bytes();
    let request = Request::decode(&bytes).map_err(Failure::refused)?;
    let before = session.before(&request, drafted.previous).await?;
    let before = before.as_deref().map(Request::decode).transpose();
    let before = before.map_err(Failure::refused)?;
    wish.compare(&request, &session.trusted, before.as_ref(), world.env.now())
        .map_err(Failure::refused)?;
    let shown = review(&bytes, before.as_ref()).map_err(Failure::refused)?;
    let payload = CeremonyService::proposal_payload(&request).map_err(failed)?;
    if let Some(out) = &input.out {
        write(out, &payload.bytes)?;
    }
    if !apply {
        let value = json!({"applied": false, "lines": shown.lines, "changes": shown.changes});
        output.result(&value, || shown.render());
        output.remark("Nothing was proposed; run again with --apply.");
        return Ok(());
    }
    output.remark(shown.render());
    let signature = ssh::sign(key, &payload.namespace, &payload.bytes)?;
    remote::propose(remote, &request, &signature, output).await
}
