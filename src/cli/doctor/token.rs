//! The token, for the service and for the executor, and a signature by each primary.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use keyring::keys::{Keys, Snapshot};
use keyring::signing::probe_key;
use store::{CeremonyState, Store};
use token::{Executor, Pool, WrapAbility};
use trust::Member;
use trust::tally::roles_without_member;

use super::check::{Check, bad, good, note};
use crate::cli::World;
use crate::config::Config;

/// Open ceremonies that are looked at.
const MOST_WAITING: i64 = 2_000;

/// How long the token gets to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn executor(config: &Config, world: &World) -> Check {
    let Some(section) = &config.executor else {
        return good(
            "executor",
            "not configured: this host executes no ceremonies",
        );
    };
    let identity = match Executor::start(&section.token(), &world.program) {
        Ok(executor) => executor.identity().await,
        Err(error) => Err(error),
    };
    match identity {
        Ok((serial, label)) => good("executor", format!("{label} ({serial})")),
        Err(error) => bad(
            "executor",
            format!("{:#}", anyhow::Error::from(error)),
            "check [executor]: the URI, the pin-source and the settings of the PKCS#11 module",
        ),
    }
}

/// Whether replicas have a PIN of their own.
pub fn pins(config: &Config) -> Option<Check> {
    let what = "PIN of the executor";
    let executor = config.executor.as_ref()?;
    if let Err(error) = config.pins_are_apart() {
        let advice = "on a token with roles give [token] a PIN that may only use keys; `serve` and `executor` do not start like this";
        return Some(bad(what, error.to_string(), advice));
    }
    Some(match executor.has_pin_of(&config.token) {
        true => note(
            what,
            "that of [token] too: only this program keeps a replica from generating and destroying",
            "use a token with roles where that matters",
        ),
        false => good(what, "another one than that of [token]"),
    })
}

/// Approved ceremonies that nobody carries out.
pub async fn waiting(store: &Store, late: Duration, world: &World) -> Option<Check> {
    let what = "ceremonies approved";
    let rows = match store.under_way(MOST_WAITING).await {
        Ok(rows) => rows.read,
        Err(error) => {
            let found = trust::error_chain(&error);
            return Some(bad(what, found, "check the database server's log"));
        }
    };
    let now = world.env.now();
    let waits = rows
        .iter()
        .filter(|row| row.state == CeremonyState::Approved);
    let late = waits.filter(|row| now.since(row.updated_at) >= late);
    let late: Vec<String> = late
        .map(|row| {
            let minutes = now.since(row.updated_at).as_secs() / 60;
            let ring = row.ring.as_ref().map(|ring| format!(" of ring {ring}"));
            let (id, operation, ring) = (row.id, &row.operation, ring.unwrap_or_default());
            format!("{operation}{ring} waits for an executor since {minutes} minutes ({id})")
        })
        .collect();
    (!late.is_empty()).then(|| {
        let advice =
            "start `chancery executor`, or run `chancery executor --once`, and read why it refuses";
        bad(what, late.join("; "), advice)
    })
}

/// What keeps rings from signing, or soon will.
pub fn emergency(keys: &Keys, world: &World) -> Check {
    let what = "emergency";
    let (snapshot, now) = (keys.current(), world.env.now());
    if !snapshot.emergency.faults().is_empty() {
        let advice = "somebody wrote to the database beside the service: run `chancery log check`";
        let faults = snapshot.emergency.faults().iter().map(ToString::to_string);
        return bad(what, faults.collect::<Vec<_>>().join("; "), advice);
    }
    let stopped: Vec<String> = snapshot
        .rings
        .keys()
        .filter_map(|ring| Some(format!("ring {ring}: {}", snapshot.stopped(ring, now)?)))
        .collect();
    if !stopped.is_empty() {
        let advice = "signing goes on when the threshold resumes: `chancery emergency resume`";
        return bad(what, stopped.join("; "), advice);
    }
    let waiting = snapshot.emergency.known().rotations().iter();
    let waiting: Vec<String> = waiting
        .map(|each| format!("ring {} stops signing after {}", each.ring, each.until))
        .collect();
    match waiting.is_empty() {
        true => rotated_by(&snapshot),
        false => {
            let advice = "the threshold ratifies it: `chancery emergency ratify`";
            note(what, waiting.join("; "), advice)
        }
    }
}

/// Whether anybody could rotate in an emergency. Members who are suspended may be let in again, and are not left out.
fn rotated_by(snapshot: &Snapshot) -> Check {
    let (what, found) = ("emergency", "no ring is stopped");
    let Some(trusted) = snapshot.trusted() else {
        return good(what, found);
    };
    let (roster, nobody) = (trusted.roster(), BTreeSet::new());
    let mut proposers = roster.members.iter().filter(|member| member.may_propose());
    let lacks = roles_without_member(roster, None, &nobody);
    let can = |by: &Member| roles_without_member(roster, Some(&by.id), &nobody).is_empty();
    let why = match lacks.is_empty() {
        true if proposers.any(can) => return good(what, found),
        true => "a fourth member who proposes is missing".to_owned(),
        false => {
            let roles: Vec<String> = lacks.iter().map(ToString::to_string).collect();
            format!("a member is missing who is {}", roles.join(", "))
        }
    };
    note(
        what,
        format!("{found}; nobody could complete an emergency rotation: {why}"),
        "`chancery trust new-roster --roles MEMBER=ROLE,…`: a security-lead, an on-call-manager and a custodian approve it, three members beside the proposer",
    )
}

/// One signature by each primary, which is thrown away.
pub async fn signing(keys: &Keys, pool: &Pool, world: &World) -> Option<Check> {
    let what = "signing";
    let snapshot = keys.current();
    let primaries = snapshot.rings.values();
    let primaries: Vec<_> = primaries.filter_map(|ring| ring.primary.clone()).collect();
    let mut failed = Vec::new();
    for key in &primaries {
        if let Err(why) = probe_key(pool, &world.env, key).await {
            failed.push(format!("ring {}: key {}: {why}", key.ring, key.kid));
        }
    }
    if !failed.is_empty() {
        let advice = "compare the token with the database: `chancery ceremony reconcile`; the private key may be on another token, or be lost";
        return Some(bad(what, failed.join("; "), advice));
    }
    let rings = primaries.iter().map(|key| key.ring.to_string());
    let rings: Vec<String> = rings.collect();
    (!rings.is_empty()).then(|| good(what, format!("rings {}", rings.join(", "))))
}

/// Whether the token can carry wrapping keys; signing does not need it.
pub fn wrapping(pool: &Pool) -> Check {
    let what = "wrapping keys";
    let advice = "encryption needs a token that wraps by AES-KW (RFC 3394); signing does not. Read the profile's field `wrap`, and \
                  ask the vendor about CKM_AES_KEY_WRAP and C_CreateObject of secret session keys";
    match pool.status().wrap {
        WrapAbility::AesKw => good(
            what,
            "the token wraps and unwraps data keys by AES-KW, as tried",
        ),
        WrapAbility::Unable(reason) => note(what, format!("not on this token: {reason}"), advice),
        WrapAbility::Unknown => note(what, "not tried", advice),
    }
}

pub async fn token(config: &Config, world: &World) -> (Check, Option<Pool>) {
    let pool = match Pool::start(&config.token, &world.program) {
        Ok(pool) => pool,
        Err(error) => {
            let found = format!("{:#}", anyhow::Error::from(error));
            return (bad("token", found, "correct [token]"), None);
        }
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = pool.status();
        if status.ready {
            let name = format!(
                "{} ({}), profile {}",
                status.label.unwrap_or_default(),
                status.serial.unwrap_or_default(),
                status.profile.unwrap_or_default()
            );
            return (good("token", name), Some(pool));
        }
        if status.state == "stopped" || Instant::now() >= deadline {
            let found = status.last_error.unwrap_or_else(|| status.state.to_owned());
            let advice = "check module-path, token name, pin-source and the settings of the PKCS#11 module; a wrong PIN is tried only once";
            return (bad("token", found, advice), None);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
