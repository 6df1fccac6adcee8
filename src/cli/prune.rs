//! `chancery log prune`: what retention lets go. The plan is shown; only `--apply` carries it out, on
//! a connection of the archivist's, because the service's own account may not.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::context::{from_store, variable};
use super::{CliContext, World};
use log::{PruneError, PrunePlan, Pruner};
use verify::output::{Code, Failure, Output};

#[derive(Debug, Args)]
pub struct Prune {
    /// Apply the change; without it only the plan is shown.
    #[arg(long)]
    apply: bool,
}

pub async fn run(
    path: &Path,
    command: Prune,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let now = world.env.now();
    let keys = open.verifier_keys().await?;
    let keys = keys.into_iter().map(|(_, key)| key).collect();
    let pruner = Pruner::open(
        &open.config.log,
        |name| variable(world, name),
        open.store.clone(),
        keys,
    );
    let pruner = pruner.map_err(failed)?;
    let retention = open.config.log.retention;
    let plan = pruner.plan(now, retention).await.map_err(failed)?;
    let mut gone = 0;
    let applied = command.apply && !plan.is_empty();
    if applied {
        let done = pruner.apply(&plan, &open.actor, now).await;
        gone = done.map_err(failed)?;
    }
    let shown = json!({
        "older_than": plan.before, "from": plan.from, "below": plan.below, "bodies": plan.bodies,
        "bundles": plan.bundles.len(), "bundles_with_acts": plan.with_acts, "applied": applied,
        "gone": gone,
    });
    output.result(&shown, || human(&plan));
    if !plan.is_empty() {
        output.remark(match applied {
            true => format!("{gone} bodies removed."),
            false => {
                "Nothing was changed; run again with --apply. Pruned bodies cannot be restored."
                    .into()
            }
        });
    }
    Ok(())
}

fn human(plan: &PrunePlan) -> String {
    if plan.is_empty() {
        let before = plan.before;
        return format!("Nothing to prune: no complete bundle of leaves is older than {before}.");
    }
    format!(
        "leaves {} to {}, older than {}: {} signature bodies; {} published bundles are removed, {} with \
         acts are kept",
        plan.from,
        plan.below - 1,
        plan.before,
        plan.bodies,
        plan.bundles.len(),
        plan.with_acts,
    )
}

fn failed(error: PruneError) -> Failure {
    match error {
        PruneError::Store(error) => from_store(error),
        error @ (PruneError::NotOurs(_) | PruneError::Broken { .. }) => {
            Failure::new(Code::Refused, error)
        }
        error => Failure::unavailable(error),
    }
}
