//! The first ceremony: all members sign roster and policy, and the digest is pinned.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use trust::chain::{Genesis, SignedDocument};
use trust::format::V1;
use trust::policy::Thresholds;
use trust::roster::MemberKey;
use trust::sshkey::SshKey;
use trust::{
    Chains, Member, MemberSignature, Name, Namespace, Pin, Policy, Purpose, Role, Roster,
    Sha256Digest, Threshold, Time, dsse, json as strict,
};

use super::{CliContext, World};
use keyring::ceremony::CeremonyService;
use verify::output::{Code, Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write roster and policy as one document: the exact bytes that every member signs with
    /// `ssh-keygen -Y sign`.
    New(New),
    /// Add and verify the members' signatures, and print the digest to pin.
    Assemble(Assemble),
    /// Install the signed genesis in the database; the configuration must pin its digest.
    Install {
        /// The file written by `assemble`.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct New {
    /// The name of the service, as in `service.name`; it never changes.
    #[arg(long)]
    service: Name,
    /// The environment, as in `service.environment`; signatures for one are worthless in another.
    #[arg(long)]
    environment: Name,
    /// `id=public-key-file[,role…]`; roles are custodian (default), security-lead,
    /// on-call-manager, on-call, operator, executor. One for each member.
    #[arg(long = "member", required = true)]
    members: Vec<String>,
    /// Threshold: the number of custodians required; at least 2.
    #[arg(long)]
    threshold: u64,
    /// A ring that a standing order may rotate; repeat in ascending order. All other rings
    /// require the threshold.
    #[arg(long = "routine-ring")]
    routine_rings: Vec<Name>,
    /// When the roster expires, RFC 3339 with milliseconds.
    #[arg(long)]
    expires_at: Option<Time>,
    /// Never overwritten.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Assemble {
    /// File written by `genesis new`.
    file: PathBuf,
    /// A member's signature over that file; repeat for each member.
    #[arg(long = "signature", required = true)]
    signatures: Vec<PathBuf>,
    /// Never overwritten.
    #[arg(long)]
    out: PathBuf,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::New(new) => self::new(&new, output),
        Command::Assemble(assemble) => self::assemble(&assemble, output),
        Command::Install { file } => {
            let open = CliContext::new(path, world).await?;
            let bytes = read(&file)?;
            let service: CeremonyService = open.ceremonies(world);
            let digest = service
                .install_genesis(&bytes)
                .await
                .map_err(super::context::failed)?;
            output.result(&json!({"genesis": digest}), || {
                format!("Genesis {digest} installed.")
            });
            Ok(())
        }
    }
}

fn new(new: &New, output: &Output) -> Result<(), Failure> {
    let threshold = Threshold::try_from(new.threshold).map_err(Failure::usage)?;
    let roster = Roster {
        v: V1,
        service: new.service.clone(),
        environment: new.environment.clone(),
        version: 1,
        previous: None,
        members: new
            .members
            .iter()
            .map(|text| member(text))
            .collect::<Result<_, _>>()?,
        expires_at: new.expires_at,
        passkeys: None,
    };
    let policy = Policy {
        v: V1,
        service: new.service.clone(),
        environment: new.environment.clone(),
        version: 1,
        previous: None,
        routine_rings: new.routine_rings.clone(),
        thresholds: Thresholds::uniform(threshold),
    };
    trust::chain::possible(&roster, &policy, 0).map_err(Failure::refused)?;
    let body = Genesis {
        v: V1,
        roster,
        policy,
    }
    .encode()
    .map_err(|e| Failure::new(Code::Failed, e))?;
    let namespace = Namespace::new(Purpose::Genesis, &new.service, &new.environment).to_string();
    write(&new.out, &dsse::pae(&namespace, &body))?;
    let digest = Sha256Digest::of(&body);
    let file = new.out.display().to_string();
    output.result(
        &json!({"file": file, "namespace": namespace, "genesis": digest}),
        || {
            format!(
                "Every member signs {file}:\n  ssh-keygen -Y sign -n {namespace} -f KEY {file}\n\
                 Digest to read aloud and to pin: {digest}"
            )
        },
    );
    Ok(())
}

/// By their words.
pub fn roles<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<Role>, Failure> {
    let known = |role: &str| match role.parse() {
        Ok(Role::Other(_)) | Err(_) => Err(Failure::usage(format!("unknown role {role:?}"))),
        Ok(role) => Ok(role),
    };
    words.map(known).collect()
}

/// `id=public-key-file[,role…]`; a custodian where no role is given.
pub fn member(text: &str) -> Result<Member, Failure> {
    let (id, rest) = text
        .split_once('=')
        .ok_or_else(|| Failure::usage(format!("{text:?}: expected ID=PUBLICKEYFILE[,role…]")))?;
    let mut parts = rest.split(',');
    let file = PathBuf::from(parts.next().unwrap_or_default());
    let key = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let public = SshKey::from_pub_file(&key)
        .with_context(|| format!("{} is not a usable public key", file.display()))?;
    let mut roles = roles(parts)?;
    if roles.is_empty() {
        roles.push(Role::Custodian);
    }
    Ok(Member {
        id: id
            .parse()
            .map_err(|e| Failure::usage(format!("{id:?}: {e}")))?,
        name: id.to_owned(),
        roles,
        keys: vec![MemberKey::Ssh { public }],
        active: true,
    })
}

fn assemble(assemble: &Assemble, output: &Output) -> Result<(), Failure> {
    let pae = read(&assemble.file)?;
    let (_, body) = dsse::parse_pae(&pae).map_err(Failure::refused)?;
    let genesis: Genesis = strict::require_canonical(body).map_err(Failure::refused)?;
    let digest = Sha256Digest::of(body);
    let signatures = assemble
        .signatures
        .iter()
        .map(|file| {
            let text = String::from_utf8(read(file)?).context("a signature is not UTF-8")?;
            let armored = trust::sshsig::normalize(&text)
                .with_context(|| format!("{} is not an SSH signature", file.display()))?;
            Ok(MemberSignature::ssh(armored))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let body = String::from_utf8(body.to_vec()).context("the genesis is not UTF-8")?;
    let chains = Chains {
        genesis: SignedDocument { body, signatures },
        changes: Vec::new(),
    };
    let pin = Pin {
        genesis: digest,
        service: genesis.roster.service.clone(),
        environment: genesis.roster.environment.clone(),
    };
    let trusted = trust::chain::walk(&chains, &pin).map_err(Failure::refused)?;
    let bytes = strict::canonical(&chains).map_err(|e| Failure::new(Code::Failed, e))?;
    write(&assemble.out, &bytes)?;
    let members: BTreeMap<_, _> = trusted
        .roster()
        .members
        .iter()
        .map(|member| (member.id.to_string(), member.roles.clone()))
        .collect();
    output.result(&json!({"genesis": digest, "members": members}), || {
        format!(
            "Signed by all {} members. Pin it in every configuration:\n\n[trust]\ngenesis = \"{digest}\"",
            members.len()
        )
    });
    Ok(())
}

pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Failure::from)
}

/// Creates the file; what exists is never overwritten.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = std::fs::File::create_new(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}
