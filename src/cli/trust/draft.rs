//! The next roster, the next policy or a suspension, written from what holds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use trust::format::V1;
use trust::recovery::{RecoveryMember, RecoveryRoster};
use trust::request::Nonce;
use trust::roster::MemberKey;
use trust::sshkey::SshKey;
use trust::suspension::SuspensionBody;
use trust::{Member, Name, Policy, Roster, Threshold, Time, Trusted, json};

use super::super::World;
use super::super::genesis::{member, roles};
use super::passkey::{PasskeyChange, pair};
use base::settings::duration;
use verify::output::Failure;

/// What changes in the roster; everything else stays as it is.
#[derive(Debug, Args)]
pub struct RosterChange {
    /// A new member: `id=public-key-file[,role…]`; custodian where no role is given. Repeat for more.
    #[arg(long = "add")]
    add: Vec<String>,
    /// A member who leaves; the id stays listed as inactive and is not given away again. Repeat for more.
    #[arg(long = "remove")]
    remove: Vec<Name>,
    /// New keys for a member, who loses all others: `id=public-key-file`. Repeat for more.
    #[arg(long = "replace-keys")]
    replace: Vec<String>,
    /// One more key for a member: `id=public-key-file`. Repeat for more.
    #[arg(long = "add-key")]
    add_key: Vec<String>,
    /// Other roles for a member: `id=role[,role…]`. Repeat for more.
    #[arg(long = "roles")]
    roles: Vec<String>,
    /// When the roster expires, RFC 3339 with milliseconds.
    #[arg(long, conflicts_with = "never_expires")]
    expires_at: Option<Time>,
    /// The roster has no end.
    #[arg(long)]
    never_expires: bool,
    #[command(flatten)]
    passkeys: PasskeyChange,
}

/// What changes in the policy; everything else stays as it is.
#[derive(Debug, Args)]
pub struct PolicyChange {
    /// How many custodians an operation needs: `word=number`, such as `destroy=4` or `default=3`. Repeat for more.
    #[arg(long = "threshold")]
    thresholds: Vec<String>,
    /// All rings that a standing order may rotate, in ascending order. Repeat for more.
    #[arg(long = "routine-ring", conflicts_with = "no_routine_rings")]
    routine_rings: Vec<Name>,
    /// Every ring is critical.
    #[arg(long)]
    no_routine_rings: bool,
}

/// The whole next recovery roster.
#[derive(Debug, Args)]
pub struct RecoveryChange {
    /// Who may recover: `id=public-key-file`; nobody who is or was a member. Repeat for more.
    #[arg(long = "member", required = true)]
    members: Vec<String>,
    /// How many of them a recovery needs; at least 2.
    #[arg(long)]
    threshold: u64,
    /// How long a recovery is announced before it takes effect: 24 hours to 30 days.
    #[arg(long, default_value = "72h", value_parser = duration::parse_positive)]
    delay: Duration,
}

fn key(file: &str) -> Result<MemberKey, Failure> {
    let file = PathBuf::from(file);
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let public = SshKey::from_pub_file(&text)
        .with_context(|| format!("{} is not a usable public key", file.display()))?;
    Ok(MemberKey::Ssh { public })
}

fn listed<'a>(roster: &'a mut Roster, id: &Name) -> Result<&'a mut Member, Failure> {
    let mut members = roster.members.iter_mut();
    let found = members.find(|member| member.id == *id && member.active);
    found.ok_or_else(|| Failure::usage(format!("{id} is not an active member")))
}

/// The canonical next roster. A roster that could not follow is refused here already.
pub fn roster(trusted: &Trusted, change: &RosterChange) -> Result<Vec<u8>, Failure> {
    let mut roster = trusted.roster().clone();
    roster.version += 1;
    roster.previous = Some(trusted.head());
    for text in &change.add {
        let new = member(text)?;
        if roster.member(&new.id).is_some() {
            let why = format!("{} is listed already; ids are not given away again", new.id);
            return Err(Failure::usage(why));
        }
        roster.members.push(new);
    }
    for id in &change.remove {
        listed(&mut roster, id)?.active = false;
    }
    let mut replaced: Vec<Name> = Vec::new();
    for text in &change.replace {
        let (id, file) = pair(text)?;
        let member = listed(&mut roster, &id)?;
        if !replaced.contains(&id) {
            member.keys.clear();
            replaced.push(id);
        }
        member.keys.push(key(file)?);
    }
    for text in &change.add_key {
        let (id, file) = pair(text)?;
        listed(&mut roster, &id)?.keys.push(key(file)?);
    }
    for text in &change.roles {
        let (id, words) = pair(text)?;
        listed(&mut roster, &id)?.roles = roles(words.split(','))?;
    }
    change.passkeys.apply(&mut roster)?;
    if change.never_expires {
        roster.expires_at = None;
    }
    roster.expires_at = change.expires_at.or(roster.expires_at);
    trust::chain::possible(&roster, trusted.policy(), 0).map_err(Failure::refused)?;
    json::canonical(&roster).map_err(Failure::refused)
}

/// The canonical next recovery roster.
pub fn recovery_roster(trusted: &Trusted, change: &RecoveryChange) -> Result<Vec<u8>, Failure> {
    let people = change.members.iter().map(|text| {
        let (id, file) = pair(text)?;
        Ok(RecoveryMember {
            name: id.to_string(),
            keys: vec![key(file)?],
            id,
        })
    });
    let next = RecoveryRoster {
        v: V1,
        service: trusted.service().clone(),
        environment: trusted.environment().clone(),
        version: trusted.recovery().map_or(0, |before| before.version) + 1,
        previous: Some(trusted.head()),
        members: people.collect::<Result<_, Failure>>()?,
        threshold: Threshold::try_from(change.threshold).map_err(Failure::usage)?,
        delay_seconds: change.delay.as_secs(),
    };
    trusted.may_enrol(&next).map_err(Failure::refused)?;
    next.encode().map_err(Failure::refused)
}

/// The canonical next policy.
pub fn policy(trusted: &Trusted, change: &PolicyChange) -> Result<Vec<u8>, Failure> {
    let mut policy: Policy = trusted.policy().clone();
    policy.version += 1;
    policy.previous = Some(trusted.head());
    for text in &change.thresholds {
        let (word, number) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{text:?}: expected WORD=NUMBER")))?;
        if word.parse::<trust::word::Word>().is_err() {
            return Err(Failure::usage(format!("{word:?} is not an operation")));
        }
        let number: u64 = number
            .parse()
            .map_err(|_| Failure::usage(format!("{number:?} is not a number")))?;
        let threshold = Threshold::try_from(number).map_err(Failure::usage)?;
        policy.thresholds.set(word, threshold);
    }
    if change.no_routine_rings {
        policy.routine_rings = Vec::new();
    } else if !change.routine_rings.is_empty() {
        policy.routine_rings = change.routine_rings.clone();
    }
    trust::chain::possible(trusted.roster(), &policy, 0).map_err(Failure::refused)?;
    json::canonical(&policy).map_err(Failure::refused)
}

/// The canonical suspension of a member.
pub fn suspension(
    trusted: &Trusted,
    id: &Name,
    reason: &str,
    world: &World,
) -> Result<Vec<u8>, Failure> {
    let listed = trusted.roster().member(id);
    if !listed.is_some_and(|member| member.active) {
        return Err(Failure::usage(format!("{id} is not an active member")));
    }
    let body = SuspensionBody {
        member: id.clone(),
        nonce: Nonce(world.env.random().map_err(Failure::unavailable)?),
        reason: reason.to_owned(),
        roster: trusted.roster_ref(),
        v: V1,
    };
    body.encode().map_err(Failure::refused)
}

/// Whether it is a file rather than an id.
pub fn is_file(target: &str) -> bool {
    Path::new(target).is_file()
}
