//! Whether those who are to be told are told.

use std::time::Duration;

use keyring::keys::Keys;
use store::{DeliveryState, MOST_COUNTED, Store};
use trust::error_chain;

use super::check::{Check, bad, good, note};
use crate::cli::World;
use crate::config::Config;

/// Whoever waits for longer has a receiver that is away.
const LONG: Duration = Duration::from_secs(3_600);

const WHAT: &str = "notifications";

/// Nothing where nobody is to be told.
pub async fn notifications(
    config: &Config,
    world: &World,
    store: &Store,
    keys: &Keys,
) -> Vec<Check> {
    if config.notify.receivers.is_empty() {
        return Vec::new();
    }
    let snapshot = keys.current();
    let roster = snapshot.trusted().map(trust::Trusted::roster);
    let environment = world.environment.clone();
    let lookup = move |name: &str| {
        let mut known = environment.iter();
        let found = known.find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    let problems = config.notify.problems(roster, &lookup);
    let mut checks: Vec<Check> = problems
        .into_iter()
        .map(|problem| {
            let advice = "correct [notify], then try `chancery notify test RECEIVER`";
            bad(WHAT, problem.to_string(), advice)
        })
        .collect();
    if !config.rotation.enabled {
        let found = "rotation.enabled is false: this replica looks at no alert, and at no report of a compromise";
        checks.push(note(WHAT, found, "enable it on one replica"));
    }
    match waiting(store, world).await {
        Ok(check) => checks.push(check),
        Err(error) => checks.push(bad(
            WHAT,
            error_chain(&error),
            "check the database server's log",
        )),
    }
    checks
}

async fn waiting(store: &Store, world: &World) -> Result<Check, store::Error> {
    let dead = store.count_deliveries(DeliveryState::Dead).await?;
    let dropped = store.dropped().await?;
    let oldest = store.oldest_waiting().await?;
    let age = oldest.map(|since| world.env.now().since(since));
    let mut found = Vec::new();
    if dead > 0 {
        let more = if dead >= MOST_COUNTED {
            "at least "
        } else {
            ""
        };
        found.push(format!("{more}{dead} dead letters"));
    }
    for row in dropped {
        found.push(format!("{} not kept for {}", row.dropped, row.receiver));
    }
    if let Some(age) = age.filter(|age| *age >= LONG) {
        found.push(format!("one waits since {} minutes", age.as_secs() / 60));
    }
    if found.is_empty() {
        return Ok(good(WHAT, "nothing waits for long"));
    }
    let advice = "see `chancery notify list --state dead` and `chancery notify list`; mend the receiver, then `chancery notify retry MESSAGE`";
    Ok(note(WHAT, found.join("; "), advice))
}
