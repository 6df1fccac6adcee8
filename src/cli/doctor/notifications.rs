//! Whether those who are to be told are told.

use std::time::Duration;

use keyring::keys::Keys;
use notify::{EventKind, Receiver, Settings};
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
        let advice = "add one under [notify.receivers], then try `chancery notify test RECEIVER`";
        return vec![note(
            WHAT,
            "no receiver is configured: the service tells nobody of anything",
            advice,
        )];
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
    checks.extend(nobody_is_told_of_alerts(&config.notify));
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

/// A condition is told by the service, or by Prometheus; where the example's route is left as it is, by the service alone.
fn nobody_is_told_of_alerts(settings: &Settings) -> Option<Check> {
    let mut receivers = settings.receivers.values();
    let is_told = receivers.any(|receiver| {
        matches!(receiver, Receiver::Alertmanager(_)) || receiver.wants(EventKind::AlertFiring)
    });
    let advice = "add `alert.firing` to `events` of a receiver, or remove the route for `told_by` from alertmanager.yml";
    (!is_told).then(|| note(WHAT, "no receiver is told of alerts", advice))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_of_which_none_is_told_of_alerts_are_noted() {
        let is_noted = |events: &str| {
            let webhook = "[receivers.ops]\nkind = \"webhook\"\nurl = \"https://hooks.example/\"\nsecrets = [{ file = \"secret\" }]\n";
            let settings: Settings = toml::from_str(&format!("{webhook}{events}")).unwrap();
            nobody_is_told_of_alerts(&settings).is_some()
        };
        assert!(!is_noted(""));
        assert!(!is_noted("events = [\"test\", \"alert.firing\"]"));
        assert!(is_noted("events = [\"ceremony.proposed\"]"));
        let alertmanager = "events = [\"ceremony.proposed\"]\n[receivers.am]\nkind = \"alertmanager\"\nurl = \"https://am.example\"\n";
        assert!(!is_noted(alertmanager));
    }
}
