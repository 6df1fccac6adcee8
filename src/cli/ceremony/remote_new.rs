//! Proposals from a member's own machine: the service resolves what is asked for, and nothing is signed that is something
//! else.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use trust::review::review;
use trust::{Name, Operation, Request, Sha256Digest};

use super::super::genesis::write;
use super::super::{World, ssh};
use super::remote::Session;
use super::remote_arguments::Remote;
use super::replaced::of_replaced;
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
    at: &Remote,
    (ring, wanted): (Option<Name>, Wanted),
    input: ProposalArgs,
    apply: bool,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let session = at.open().await?;
    resolved(&session, at, (ring, wanted), input, apply, world, output).await
}

/// The same as a ceremony that is void or late, under the roster and policy of now.
pub async fn renew(
    at: &Remote,
    ceremony: &str,
    input: ProposalArgs,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let session = at.open().await?;
    // Its bytes are those that the id names.
    let request = session.fetch(world, key(&input)?, ceremony).await?.request;
    let asked = (None, Wanted::Again(Box::new(request)));
    resolved(&session, at, asked, input, true, world, output).await
}

fn key(input: &ProposalArgs) -> Result<&Path, Failure> {
    let key = input.key.as_deref();
    key.ok_or_else(|| Failure::usage("--url requires --key: who asks signs the request"))
}

async fn resolved(
    session: &Session,
    at: &Remote,
    (ring, wanted): (Option<Name>, Wanted),
    input: ProposalArgs,
    apply: bool,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let key = key(&input)?;
    let wish = Wish {
        ring,
        proposer: input.proposer.clone(),
        reason: input.reason.clone(),
        ticket: input.ticket.clone(),
        approve_within: input.approve_within,
        execute_within: input.execute_within,
        wanted,
    };
    let path = wish.path().map_err(Failure::refused)?;
    let bytes = session.read(world, key, &path).await?;
    let drafted: Drafted = serde_json::from_slice(&bytes).map_err(Failure::refused)?;
    let bytes = drafted.request.into_bytes();
    let request = Request::decode(&bytes).map_err(Failure::refused)?;
    let before = session.before(&request, drafted.previous).await?;
    let before = before.as_deref().map(Request::decode).transpose();
    let before = before.map_err(Failure::refused)?;
    wish.compare(&request, &session.trusted, before.as_ref(), world.env.now())
        .map_err(Failure::refused)?;
    // What is proposed anew is shown beside what it was.
    let beside = match &wish.wanted {
        Wanted::Again(renewed) => Some(renewed.as_ref()),
        _ => before.as_ref(),
    };
    let shown = review(&bytes, beside).map_err(Failure::refused)?;
    of_replaced(&request, before.as_ref(), output);
    let payload = CeremonyService::proposal_payload(&request).map_err(failed)?;
    if let Some(out) = &input.out {
        write(out, &payload.bytes)?;
    }
    if !apply {
        let value = json!({"applied": false, "lines": shown.lines, "changes": shown.changes});
        output.result(&value, || shown.render());
        output.remark(again(&request.operation));
        return Ok(());
    }
    output.remark(shown.render());
    let signature = ssh::sign(key, &payload.namespace, &payload.bytes)?;
    remote::propose(at, &request, &signature, output).await
}

/// What turns a request that is shown into one that is proposed.
fn again(operation: &Operation) -> String {
    match operation {
        Operation::ClockCorrection(order) => format!(
            "Nothing was proposed. Compare it with `chancery log clock` on a machine that you trust, and run again with --first {} --last {} --bound {}.",
            order.first, order.last, order.bound
        ),
        _ => "Nothing was proposed; run again with --apply.".to_owned(),
    }
}
