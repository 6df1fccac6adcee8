//! `chancery ceremony new rotation-policy`: the next version of the policy of a critical key type, which the quorum decides.

use std::path::{Path, PathBuf};

use calendar::PolicyDocument;
use clap::Args;

use super::super::policy::read;
use super::super::{CliContext, World};
use super::proposal::propose as file;
use super::remote_arguments::Remote;
use super::remote_new::propose as propose_at;
use super::{ProposalArgs, failed};
use keyring::ceremony::{Draft, Wanted, canonical_policy};
use verify::output::{Failure, Output};

#[derive(Debug, Args)]
pub struct New {
    /// The whole policy, JSON; its version is one more than that in force and that of the newest row.
    file: PathBuf,
    #[command(flatten)]
    input: ProposalArgs,
    #[command(flatten)]
    remote: Remote,
}

pub async fn propose(path: &Path, new: New, world: &World, output: &Output) -> Result<(), Failure> {
    let document: PolicyDocument = read(&new.file)?;
    if new.remote.is_given()? {
        let document = canonical_policy(&document).map_err(failed)?;
        let asked = (None, Wanted::RotationPolicy { document });
        return propose_at(&new.remote, asked, new.input, true, world, output).await;
    }
    let open = CliContext::new(path, world).await?;
    let draft = Draft::RotationPolicy(Box::new(document));
    file(&open, world, None, new.input, draft, output).await
}
