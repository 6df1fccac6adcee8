//! A proposal on the machine with the database: resolved, signed by its proposer, and filed.

use serde_json::json;
use trust::{Name, Operation, Request};

use super::super::context::failed;
use super::super::genesis::write;
use super::super::{CliContext, World, ssh};
use super::ProposalArgs;
use keyring::ceremony::{CeremonyService, Draft, ProposalInput};
use verify::output::{Failure, Output};

/// Files the request and tells custodians what to do.
pub async fn propose(
    open: &CliContext,
    world: &World,
    ring: Option<Name>,
    input: ProposalArgs,
    draft: Draft,
    output: &Output,
) -> Result<(), Failure> {
    let (key, out) = (input.key.clone(), input.out.clone());
    let service = open.ceremonies(world);
    let request = drafted(open, world, ring, input, draft).await?;
    let payload = CeremonyService::proposal_payload(&request).map_err(failed)?;
    if let Some(out) = &out {
        write(out, &payload.bytes)?;
    }
    match (&key, &out) {
        (Some(key), _) => {
            let signature = ssh::sign(key, &payload.namespace, &payload.bytes)?;
            file_request(&service, &request, &signature, output).await
        }
        (None, Some(out)) => {
            let file = out.display().to_string();
            output.result(
                &json!({"file": file, "namespace": payload.namespace, "proposed": false}),
                || format!("ssh-keygen -Y sign -n {} -f KEY {file}", payload.namespace),
            );
            output.remark(format!(
                "Not proposed yet: chancery ceremony propose {file} --signature {file}.sig"
            ));
            Ok(())
        }
        (None, None) => Err(Failure::usage("--key or --out is required")),
    }
}

/// The request with everything resolved.
pub async fn drafted(
    open: &CliContext,
    world: &World,
    ring: Option<Name>,
    input: ProposalArgs,
    draft: Draft,
) -> Result<Request, Failure> {
    let service = open.ceremonies(world);
    let now = world.env.now();
    // However old the key is that is named.
    let kids = match &draft {
        Draft::Destroy { kid } | Draft::Revoke { kid, .. } => vec![kid.clone()],
        Draft::EmergencyRotation { standby, .. } => standby.iter().cloned().collect(),
        Draft::Generate { .. }
        | Draft::CorrectClock(_)
        | Draft::NewOrigin(_)
        | Draft::Order(_)
        | Draft::Resume { .. }
        | Draft::Ratification { .. }
        | Draft::RotationPolicy(_) => Vec::new(),
    };
    let snapshot = open.snapshot_with(kids).await?;
    let proposal = ProposalInput {
        ring,
        proposer: input.proposer,
        reason: input.reason,
        ticket: input.ticket,
        approve_by: now + input.approve_within,
        execute_by: now + input.execute_within,
        draft,
    };
    let request = service.draft_request(proposal, &snapshot).await;
    request.map_err(failed)
}

pub async fn file_request(
    service: &CeremonyService,
    request: &Request,
    signature: &str,
    output: &Output,
) -> Result<(), Failure> {
    let bytes = request.encode().map_err(Failure::refused)?;
    let id = service.propose(bytes, signature).await.map_err(failed)?;
    output.result(&json!({"ceremony": id, "proposed": true}), || id.clone());
    output.remark(proposed(request, &id));
    Ok(())
}

/// Who has to do what next.
pub fn proposed(request: &Request, id: &str) -> String {
    let who = match &request.operation {
        Operation::EmergencyRotation(_) => {
            "A security-lead, an on-call-manager and a custodian, three members"
        }
        _ => "Custodians",
    };
    format!("Proposed. {who}: chancery ceremony review {id}, then chancery ceremony approve {id}.")
}
