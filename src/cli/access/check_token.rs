//! Whom a bearer token stands for, asked before a program is refused with it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::cli::{CliContext, World, config};
use access::oidc::{self, Oidc};
use access::{Credentials, Principal, Role};
use verify::output::{Failure, Output};

#[derive(Debug, Args)]
pub struct CheckToken {
    /// The file with the token; `-` is standard input. The token is never printed.
    #[arg(default_value = "-")]
    file: PathBuf,
}

pub async fn run(
    path: &Path,
    command: &CheckToken,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let token = read(&command.file)?;
    let config = config::load(path, world)?;
    let oidc = Oidc::new(&config.access.oidc, &world.env);
    let (principal, by) = match oidc.takes(&token) {
        true => of_issuer(&oidc, &token).await?,
        false => (of_database(path, world, &token).await?, None),
    };
    let roles: Vec<_> = principal.roles().iter().map(Role::to_string).collect();
    let shown = json!({
        "principal": &*principal.name,
        "roles": roles,
        "issuer": by,
        "expires_at": principal.expires_at(),
    });
    output.result(&shown, || {
        let mut text = format!("{}: {}", principal.name, roles.join(", "));
        if let Some(end) = principal.expires_at() {
            text.push_str(&format!(", until {end}"));
        }
        text
    });
    Ok(())
}

/// The issuer is asked for its keys now.
async fn of_issuer(oidc: &Oidc, token: &str) -> Result<(Principal, Option<String>), Failure> {
    let issuer = oidc.issuer_of(token).map_err(Failure::refused)?;
    let name = issuer.settings().name.clone();
    (issuer.fetch().await).map_err(|error| {
        let why = format!("the keys of the issuer {name} cannot be read");
        Failure::unavailable(anyhow::Error::new(error).context(why))
    })?;
    match oidc.verify(token).await {
        Ok(principal) => Ok((principal, Some(name))),
        Err(oidc::Error::Refused(why)) => Err(Failure::refused(why)),
        Err(oidc::Error::Unavailable(why)) => Err(Failure::unavailable(why)),
    }
}

async fn of_database(path: &Path, world: &World, token: &str) -> Result<Principal, Failure> {
    let open = CliContext::new(path, world).await?;
    let rows = open.store.credentials().await;
    let credentials = Credentials::new(&rows.map_err(Failure::unavailable)?);
    let found = credentials.by_access_token(token, world.env.now());
    found
        .cloned()
        .ok_or_else(|| Failure::refused("the access token is unknown or expired"))
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    // A byte more than any token may have, and the end of the line.
    let most = u64::try_from(oidc::LONGEST).unwrap_or(u64::MAX) + 3;
    let read = match file == Path::new("-") {
        true => std::io::stdin().take(most).read_to_end(&mut bytes),
        false => std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("cannot read the token from {}", file.display()))?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim();
    // The header is often copied as it is.
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    match token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Err(Failure::usage(format!(
            "{}: expected one token",
            file.display()
        ))),
        false => Ok(token.to_owned()),
    }
}
