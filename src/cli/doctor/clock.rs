//! The clock of this machine, held against the database's and the log's.

use store::Store;
use trust::error_chain;

use super::check::{Check, bad, good};
use crate::cli::{World, context};
use crate::config::Config;

/// What every commit asks; from here on the store writes nothing while it is wrong.
pub async fn clock(config: &Config, store: &Store, world: &World) -> Check {
    let what = "clock";
    if config.simulation.is_some() {
        return good(what, format!("simulated: {}", world.env.now()));
    }
    context::compare_clocks(store, config, &world.env);
    let before = world.env.now().millis();
    let database = match store.look().await {
        Ok((database, _)) => database,
        Err(error) => return bad(what, error_chain(&error), "check the database server's log"),
    };
    let after = world.env.now().millis();
    // The database's reading lies between two of ours, however long it took.
    let offset = database - database.clamp(before, after);
    let tolerance = i64::try_from(config.store.clock_tolerance_ms).unwrap_or(i64::MAX);
    let direction = if offset < 0 { "behind" } else { "ahead of" };
    let apart = offset.abs();
    let found = format!("the database's clock is {apart} ms {direction} this machine's");
    if apart > tolerance {
        let advice = format!(
            "set both by NTP: nothing is written while they differ by more than {tolerance} ms (store.clock_tolerance_ms)"
        );
        return bad(what, found, advice);
    }
    match store.halted() {
        None => good(what, found),
        Some(halted) => bad(
            what,
            halted.why.to_string(),
            "`chancery log clock` shows the leaves; nothing is signed until the clock has passed them, or a correction is closed (docs/RECOVERY.md)",
        ),
    }
}
