//! Passkeys on the command line: what browsers write goes in, what they are asked for goes out.

use std::path::{Path, PathBuf};

use clap::Args;
use trust::browser::{self, CreationOptions, RequestOptions, registration};
use trust::review::{File, open_file};
use trust::roster::{MemberKey, Passkeys};
use trust::{Name, Roster, Trusted};

use super::super::ceremony::Remote;
use super::super::genesis::read;
use keyring::ceremony::enrolment_options;
use store::StatementKind;
use verify::output::Failure;

/// What changes about passkeys in the next roster.
#[derive(Debug, Args)]
pub struct PasskeyChange {
    /// A passkey for a member: `id=file`, the JSON that `toJSON()` of a new PublicKeyCredential wrote. It counts beside the
    /// member's SSH key, and signs no roster, policy or first key. Repeat for more.
    #[arg(long = "add-passkey")]
    add_passkeys: Vec<String>,
    /// The relying party's id: the host of the pages that ask, or one above it.
    #[arg(long, requires = "origins")]
    rp_id: Option<String>,
    /// A page that may ask, exactly as browsers write its origin, such as `https://seal.example`. Repeat for more.
    #[arg(long = "origin", id = "origins", requires = "rp_id")]
    origins: Vec<String>,
    /// The roster has no passkeys any more: everybody's are put away.
    #[arg(long, conflicts_with_all = ["add_passkeys", "rp_id"])]
    no_passkeys: bool,
}

/// What a browser is asked for.
#[derive(Debug, Args)]
pub struct Options {
    /// The file with the bytes to be signed, as `ceremony request`, `ceremony acceptance`, `ceremony reject --out` or
    /// `trust review --out` writes it.
    file: PathBuf,
    /// Whose passkeys; without it everybody's.
    #[arg(long)]
    member: Option<Name>,
    #[command(flatten)]
    pub remote: Remote,
}

/// What a browser is asked for to make a passkey.
#[derive(Debug, Args)]
pub struct Creation {
    /// The member whose it will be; one who is not on the roster yet, too.
    #[arg(long)]
    member: Name,
    /// The relying party's id, where the roster has none yet: the host of the pages that ask, or one above it.
    #[arg(long)]
    rp_id: Option<String>,
    #[command(flatten)]
    pub remote: Remote,
}

/// `ID=REST`.
pub fn pair(text: &str) -> Result<(Name, &str), Failure> {
    let (id, rest) = text
        .split_once('=')
        .ok_or_else(|| Failure::usage(format!("{text:?}: expected ID=…")))?;
    let id = id
        .parse()
        .map_err(|e| Failure::usage(format!("{id:?}: {e}")))?;
    Ok((id, rest))
}

impl PasskeyChange {
    /// Changes the roster.
    pub fn apply(&self, roster: &mut Roster) -> Result<(), Failure> {
        if let Some(rp_id) = &self.rp_id {
            roster.passkeys = Some(Passkeys {
                origins: self.origins.clone(),
                rp_id: rp_id.clone(),
            });
        }
        if self.no_passkeys {
            roster.passkeys = None;
            for member in &mut roster.members {
                member.keys.retain(|key| !key.is_passkey());
            }
        }
        for text in &self.add_passkeys {
            let (id, file) = pair(text)?;
            let passkeys = roster.passkeys.clone().ok_or_else(|| {
                Failure::usage("the roster has no passkeys yet: give --rp-id and --origin")
            })?;
            let key = registered(&passkeys, Path::new(file))?;
            let mut members = roster.members.iter_mut();
            let member = members.find(|member| member.id == id && member.active);
            let member =
                member.ok_or_else(|| Failure::usage(format!("{id} is not an active member")))?;
            member.keys.push(key);
        }
        Ok(())
    }
}

/// The credential that a browser registered for this relying party.
fn registered(passkeys: &Passkeys, file: &Path) -> Result<MemberKey, Failure> {
    let (client_data, attestation) =
        browser::registration(&read(file)?).map_err(Failure::refused)?;
    let read = registration::read(passkeys, &client_data, &attestation);
    Ok(read.map_err(Failure::refused)?.key)
}

/// The attestation object in the same file.
pub fn attestation(file: &Path) -> Result<Vec<u8>, Failure> {
    let (_, attestation) = browser::registration(&read(file)?).map_err(Failure::refused)?;
    Ok(attestation)
}

/// PublicKeyCredentialRequestOptionsJSON for a file that is signed. Its challenge is computed here, from the bytes.
pub fn options(trusted: &Trusted, asked: &Options) -> Result<RequestOptions, Failure> {
    let bytes = read(&asked.file)?;
    let member = asked.member.as_ref();
    let enrolment = |kind, body: &[u8]| {
        enrolment_options(trusted, kind, body, member).map_err(super::super::context::failed)
    };
    match open_file(&bytes).map_err(Failure::refused)? {
        File::Roster(body) => enrolment(StatementKind::Roster, &body),
        File::Recovery(body) => enrolment(StatementKind::Recovery, &body),
        File::Request(_) | File::Statement(_) | File::Rejection(_) => {
            let own = member.map(std::slice::from_ref);
            RequestOptions::new(trusted.roster(), own, &bytes)
                .ok_or_else(|| Failure::refused("the roster has no passkeys"))
        }
        _ => Err(Failure::usage("no passkey signs this document")),
    }
}

/// PublicKeyCredentialCreationOptionsJSON for a member. The challenge proves nothing: whether somebody has the passkey is
/// shown by its signature over the roster.
pub fn creation(
    trusted: &Trusted,
    asked: &Creation,
    challenge: [u8; 32],
) -> Result<CreationOptions, Failure> {
    let held = trusted.roster().passkeys.as_ref();
    let rp_id = match (&asked.rp_id, held) {
        (Some(rp_id), Some(held)) if *rp_id != held.rp_id => {
            let why = format!("the roster has the relying party {}", held.rp_id);
            return Err(Failure::refused(why));
        }
        (Some(rp_id), _) => rp_id.as_str(),
        (None, Some(held)) => held.rp_id.as_str(),
        (None, None) => {
            return Err(Failure::usage(
                "the roster has no passkeys yet: give --rp-id",
            ));
        }
    };
    Ok(CreationOptions::new(
        trusted.roster(),
        &asked.member,
        rp_id,
        &challenge,
    ))
}
