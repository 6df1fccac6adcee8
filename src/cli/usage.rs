//! How often keys sign: a table by key or by hour, with a bar for each.

use keyring::keys::Key;
use keyring::usage::KeyUsage;
use serde_json::{Value, json};
use trust::Time;

use super::CliContext;
use super::context::from_store;
use verify::output::{Failure, Output, table};

/// Width of the longest bar, in characters.
const WIDTH: u128 = 40;

/// In milliseconds.
const HOUR: usize = 3_600_000;

async fn usage(
    open: &CliContext,
    key: &Key,
    (now, hours): (Time, u32),
) -> Result<KeyUsage, Failure> {
    let usage = KeyUsage::read(&open.store, &key.kid, now, hours).await;
    usage.map_err(from_store)
}

/// Since when there are hours, where some of those that are asked for have none.
async fn counted_since(open: &CliContext, from: Time) -> Result<Option<Time>, Failure> {
    let since = open.store.hours_since().await.map_err(from_store)?;
    Ok(since.filter(|since| *since > from))
}

fn remark_since(since: Option<Time>) -> Option<String> {
    since.map(|since| {
        format!(
            "Hours are counted since {since}, when the service was upgraded: what was signed before is in the sums and in no hour."
        )
    })
}

fn shown(key: &Key, usage: &KeyUsage) -> Value {
    let hours = usage.hours.iter();
    let hours = hours.map(|hour| json!({"from": hour.from, "signatures": hour.signatures}));
    json!({
        "kid": key.kid, "ring": key.ring, "number": key.number, "state": key.status(),
        "from": usage.from, "until": usage.until, "signatures": usage.signatures(), "total": usage.total,
        "hours": hours.collect::<Vec<_>>(),
    })
}

/// As long as the largest number makes it; what is not nothing is seen.
fn bar(count: u64, largest: u64) -> String {
    let length = (u128::from(count) * WIDTH).div_ceil(u128::from(largest.max(1)));
    "#".repeat(usize::try_from(length).unwrap_or(0))
}

/// One key, hour by hour.
pub async fn of_key(
    open: &CliContext,
    key: &Key,
    asked: (Time, u32),
    output: &Output,
) -> Result<(), Failure> {
    let usage = usage(open, key, asked).await?;
    let largest = usage.hours.iter().map(|hour| hour.signatures).max();
    let largest = largest.unwrap_or(0);
    let count = |from: Time| {
        let found = usage.hours.iter().find(|hour| hour.from == from);
        found.map_or(0, |hour| hour.signatures)
    };
    let since = counted_since(open, usage.from).await?;
    let mut told = shown(key, &usage);
    told["hours_counted_since"] = json!(since);
    let starts = (usage.from.millis()..=usage.until.millis()).step_by(HOUR);
    output.result(&told, || {
        table(
            &["hour", "signatures", ""],
            starts.map(|millis| {
                let from = Time::from_millis(millis);
                let minute: String = from.to_string().chars().take(16).collect();
                let signatures = count(from);
                [minute, signatures.to_string(), bar(signatures, largest)]
            }),
        )
    });
    output.remark(format!(
        "{} signatures in these hours, {} in all. Hours are of UTC.",
        usage.signatures(),
        usage.total
    ));
    if let Some(remark) = remark_since(since) {
        output.remark(remark);
    }
    Ok(())
}

/// Several keys, each in one line.
pub async fn of_keys(
    open: &CliContext,
    (ring, keys): (&str, Vec<&Key>),
    asked: (Time, u32),
    output: &Output,
) -> Result<(), Failure> {
    let mut all = Vec::new();
    for key in keys {
        all.push((key, usage(open, key, asked).await?));
    }
    let largest = all.iter().map(|(_, usage)| usage.signatures()).max();
    let largest = largest.unwrap_or(0);
    let told: Vec<Value> = all.iter().map(|(key, usage)| shown(key, usage)).collect();
    let from = all.iter().map(|(_, usage)| usage.from).min();
    let since = match from {
        Some(from) => counted_since(open, from).await?,
        None => None,
    };
    let told = json!({"ring": ring, "keys": told, "hours_counted_since": since});
    output.result(&told, || {
        table(
            &["number", "state", "kid", "signatures", "in all", ""],
            all.iter().map(|(key, usage)| {
                [
                    key.number.to_string(),
                    key.status().to_owned(),
                    key.kid.to_string(),
                    usage.signatures().to_string(),
                    usage.total.to_string(),
                    bar(usage.signatures(), largest),
                ]
            }),
        )
    });
    if let Some(remark) = remark_since(since) {
        output.remark(remark);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{bar, remark_since};
    use trust::Time;

    #[test]
    fn hours_that_were_never_counted_are_told_and_nothing_else() {
        assert_eq!(remark_since(None), None);
        let told = remark_since(Some(Time::from_millis(1_795_000_000_000))).unwrap();
        assert!(told.contains("since 2026-11-18T"), "{told}");
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_and_one_signature_is_seen() {
        assert_eq!(bar(0, 0), "");
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(1, 1_000_000).len(), 1);
        assert_eq!(bar(5, 10).len(), 20);
        assert_eq!(bar(u64::MAX, u64::MAX).len(), 40);
    }
}
