mod check_token;

use std::path::Path;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use trust::Sha256Digest;
use trust::leaf::ActKind;

use super::{CliContext, World};
use access::{Role, access_token_hash};
use base::settings::duration;
use check_token::CheckToken;
use log::Event;
use store::{Change, CredentialName, CredentialRow};
use verify::output::{Code, Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Issue an access token to a principal (printed once), or map a client certificate's SAN to
    /// the principal.
    Grant(Grant),
    /// List all credentials and their roles.
    List,
    /// Withdraw a credential.
    Withdraw(Withdraw),
    /// Say whom a bearer token stands for and with which roles, or why it is refused.
    CheckToken(CheckToken),
}

#[derive(Debug, Args)]
pub struct Grant {
    /// Name of the principal, such as that of a service.
    principal: String,
    /// A role, such as `signer:RING`, `operator` or `auditor`; may be repeated. docs/OPERATION.md lists them.
    #[arg(long = "role", required = true)]
    roles: Vec<Role>,
    /// Map this SAN of a client certificate instead of issuing an access token.
    #[arg(long)]
    san: Option<String>,
    /// How long the credential is valid.
    #[arg(long, default_value = "365d", value_parser = duration::parse_positive)]
    expires_in: std::time::Duration,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub struct Withdraw {
    /// The access token's SHA-256, as `access list` shows it.
    #[arg(long, group = "which")]
    token_hash: Option<Sha256Digest>,
    /// The name in a client certificate, as it was granted.
    #[arg(long, group = "which")]
    san: Option<String>,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = || CliContext::new(path, world);
    match command {
        Command::Grant(grant) => self::grant(&open().await?, world, grant, output).await,
        Command::List => list(&open().await?, world, output).await,
        Command::Withdraw(named) => withdraw(&open().await?, world, named, output).await,
        Command::CheckToken(command) => check_token::run(path, &command, world, output).await,
    }
}

async fn grant(
    open: &CliContext,
    world: &World,
    grant: Grant,
    output: &Output,
) -> Result<(), Failure> {
    let principal = access::grant::principal(&grant.principal)
        .map_err(|error| Failure::usage(format!("principal: {error}")))?;
    let san = grant.san.as_deref().map(access::grant::certificate_name);
    let san = san
        .transpose()
        .map_err(|error| Failure::usage(format!("--san: {error}")))?;
    let now = world.env.now();
    let secret = world
        .env
        .random::<32>()
        .map_err(|e| Failure::new(Code::Failed, e))?;
    let access_token = format!("chancery_{}", Base64UrlUnpadded::encode_string(&secret));
    let name = match &san {
        Some(san) => CredentialName::MtlsSan(san.clone()),
        None => CredentialName::AccessToken(access_token_hash(&access_token)),
    };
    let roles: Vec<String> = grant.roles.iter().map(Role::to_string).collect();
    let row = CredentialRow {
        name,
        principal,
        roles: grant.roles,
        created_at: now,
        expires_at: Some(now + grant.expires_in),
        withdrawn_at: None,
    };
    let granted = roles.join(" ");
    let event = Event {
        digest: Some(row.digest()),
        reference: Some(&grant.principal),
        reason: Some(&granted),
        ..Event::new(ActKind::Access, "grant", &open.actor, now)
    };
    open.commit(&Change::GrantCredential(row), &event).await?;
    let shown = json!({
        "principal": grant.principal,
        "roles": roles,
        "access_token": san.is_none().then_some(&access_token),
        "san": san,
    });
    output.result(&shown, || match &san {
        Some(san) => format!(
            "Client certificates with SAN {san} are mapped to {}.",
            grant.principal
        ),
        None => access_token.clone(),
    });
    if san.is_none() {
        output.remark("Store it now: only its hash is kept, and it is not shown again.");
    }
    Ok(())
}

async fn list(open: &CliContext, world: &World, output: &Output) -> Result<(), Failure> {
    let rows = open
        .store
        .credentials()
        .await
        .map_err(Failure::unavailable)?;
    for row in &rows.unreadable {
        output.remark(row.to_string());
    }
    let rows = rows.read;
    let now = world.env.now();
    let state = |row: &CredentialRow| match row.withdrawn_at {
        Some(_) => "withdrawn",
        None if row.expires_at.is_some_and(|at| at <= now) => "expired",
        None if access::grant::useless(row).is_some() => "never matches",
        None => "live",
    };
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "principal": row.principal.as_str(),
                "kind": row.name.kind(), "value": row.name.value(),
                "roles": row.roles.iter().map(Role::to_string).collect::<Vec<_>>(),
                "expires_at": row.expires_at, "withdrawn_at": row.withdrawn_at,
                "state": state(row),
            })
        })
        .collect();
    output.result(&shown, || {
        table(
            &["principal", "kind", "value", "roles", "state"],
            rows.iter().map(|row| {
                [
                    row.principal.to_string(),
                    row.name.kind().to_owned(),
                    row.name.value(),
                    row.roles_as_json(),
                    state(row).to_owned(),
                ]
            }),
        )
    });
    Ok(())
}

async fn withdraw(
    open: &CliContext,
    world: &World,
    withdraw: Withdraw,
    output: &Output,
) -> Result<(), Failure> {
    let at = world.env.now();
    let name = match (withdraw.token_hash, withdraw.san) {
        (Some(hash), _) => CredentialName::AccessToken(hash),
        (None, san) => {
            // As it was granted, whether this version would grant it or not.
            let san = san.unwrap_or_default();
            let rows = open.store.credentials().await;
            let rows = rows.map_err(Failure::unavailable)?.read;
            let given = CredentialName::MtlsSan(san.clone());
            match rows.iter().any(|row| row.name == given) {
                true => given,
                false => {
                    let held = access::grant::certificate_name(&san);
                    CredentialName::MtlsSan(held.unwrap_or(san))
                }
            }
        }
    };
    let value = name.value();
    let event = Event {
        reference: Some(&value),
        ..Event::new(ActKind::Access, "withdraw", &open.actor, at)
    };
    let change = Change::WithdrawCredential {
        name,
        at: at.millis(),
    };
    open.commit(&change, &event).await?;
    output.result(&json!({"withdrawn": value}), || "Withdrawn.".to_owned());
    Ok(())
}
