//! The clock of a drill, read back from the log: each step against the plan of an hour.

use std::fmt;

use serde::Serialize;
use trust::Time;
use trust::leaf::{ActKind, ActLeaf, DRILL, Leaf, RATIFY, RESUME, STOP};

use store::{LeafFilter, MAX_PAGE, Store};
use verify::output::Failure;

/// A drill, as the log tells it.
#[derive(Debug, Serialize)]
pub struct DrillReport {
    pub ring: String,
    pub began_at: Time,
    /// The leaf with which it began.
    pub index: i64,
    pub steps: Vec<DrillStep>,
    /// From the detection to the last step, in milliseconds.
    pub took_ms: u64,
    /// Every step was taken, each by the end of its time.
    pub in_time: bool,
}

/// A step, and when it was to be taken: minutes after the detection.
#[derive(Debug, Serialize)]
pub struct DrillStep {
    pub step: &'static str,
    pub from_minute: u64,
    pub until_minute: u64,
    /// Absent where it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// After the detection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// The leaf that tells of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
    /// What the leaf names: the stop, or the ceremony.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    pub in_time: bool,
}

/// The plan: step, from and until which minute.
const PLAN: [(&str, u64, u64); 7] = [
    ("detected", 0, 5),
    ("stopped", 0, 5),
    ("approved by the three", 5, 15),
    ("new key active", 15, 30),
    ("old key revoked", 30, 40),
    ("ratified", 40, 60),
    ("services forced over", 40, 60),
];

/// The last drill of a ring; none if there was none.
pub async fn read_back(store: &Store, ring: &str) -> Result<Option<DrillReport>, Failure> {
    let of_ring = |act: &ActLeaf| act.ring.as_deref() == Some(ring);
    let mut began: Option<(i64, ActLeaf)> = None;
    let mut from = 0;
    loop {
        let page = store.emergency_leaves(from).await;
        let page = page.map_err(Failure::unavailable)?;
        let full = page.len() as i64 == MAX_PAGE;
        from = page.last().map_or(from, |row| row.index + 1);
        for row in page {
            let Ok(Leaf::Act(act)) = Leaf::parse(row.body.as_bytes()) else {
                continue;
            };
            if (act.kind, &*act.action) == (ActKind::Emergency, DRILL) && of_ring(&act) {
                began = Some((row.index, *act));
            }
        }
        if !full {
            break;
        }
    }
    let Some((index, began)) = began else {
        return Ok(None);
    };
    let mut found: [Option<Found>; PLAN.len()] = Default::default();
    found[0] = Some(Found::new(index, &began));
    let mut approved: Vec<Found> = Vec::new();
    let mut from = index + 1;
    loop {
        let filter = LeafFilter {
            acts_only: true,
            from_index: from,
            ..LeafFilter::default()
        };
        let page = store.leaves_of(&filter, MAX_PAGE).await;
        let page = page.map_err(Failure::unavailable)?;
        let Some(last) = page.last() else { break };
        from = last.index + 1;
        for row in page {
            let Ok(Leaf::Act(act)) = Leaf::parse(row.body.as_bytes()) else {
                continue;
            };
            if !of_ring(&act) {
                continue;
            }
            let at = Found::new(row.index, &act);
            let places: &[usize] = match (act.kind, &*act.action) {
                (ActKind::Emergency, STOP) => &[1],
                (ActKind::Ceremony, "approve") => {
                    approved.push(at.clone());
                    &[]
                }
                (ActKind::Key, "revoke") if act.until.is_some() => {
                    let mut by = approved.iter();
                    found[2] = by.rfind(|by| by.reference == at.reference).cloned();
                    &[3, 4]
                }
                (ActKind::Emergency, RATIFY) => &[5],
                (ActKind::Emergency, RESUME) => &[6],
                _ => &[],
            };
            for place in places {
                if let Some(slot) = found.get_mut(*place) {
                    slot.get_or_insert_with(|| at.clone());
                }
            }
        }
    }
    Ok(Some(report(ring, (index, began.time), &found)))
}

/// A step, as a leaf tells it.
#[derive(Debug, Clone)]
struct Found {
    index: i64,
    at: Time,
    reference: Option<String>,
}

impl Found {
    fn new(index: i64, act: &ActLeaf) -> Self {
        Self {
            index,
            at: act.time,
            reference: act.reference.clone(),
        }
    }
}

fn report(ring: &str, (index, began_at): (i64, Time), found: &[Option<Found>]) -> DrillReport {
    let millis = |at: Time| u64::try_from(at.since(began_at).as_millis()).unwrap_or(u64::MAX);
    let steps = PLAN.iter().zip(found);
    let steps: Vec<DrillStep> = steps
        .map(|(&(step, from_minute, until_minute), found)| {
            let after_ms = found.as_ref().map(|found| millis(found.at));
            DrillStep {
                step,
                from_minute,
                until_minute,
                at: found.as_ref().map(|found| found.at),
                after_ms,
                index: found.as_ref().map(|found| found.index),
                reference: found.as_ref().and_then(|found| found.reference.clone()),
                in_time: after_ms.is_some_and(|after| after <= until_minute * 60_000),
            }
        })
        .collect();
    DrillReport {
        ring: ring.to_owned(),
        began_at,
        index,
        took_ms: steps
            .iter()
            .filter_map(|step| step.after_ms)
            .max()
            .unwrap_or(0),
        in_time: steps.iter().all(|step| step.in_time),
        steps,
    }
}

impl fmt::Display for DrillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "drill of ring {}, begun at {} (leaf {})",
            self.ring, self.began_at, self.index
        )?;
        writeln!(f, "{:<24}{:>10}  {:>12}  leaf", "step", "plan", "took")?;
        for step in &self.steps {
            let plan = format!("{}-{} min", step.from_minute, step.until_minute);
            let took = step.after_ms.map_or_else(|| "missing".to_owned(), spelled);
            let leaf = step
                .index
                .map_or_else(|| "-".to_owned(), |index| index.to_string());
            let late = if step.in_time { "" } else { "  LATE" };
            writeln!(f, "{:<24}{plan:>10}  {took:>12}  {leaf}{late}", step.step)?;
        }
        let verdict = if self.in_time {
            "in time"
        } else {
            "NOT IN TIME"
        };
        write!(f, "in all {}: {verdict}", spelled(self.took_ms))
    }
}

fn spelled(millis: u64) -> String {
    let (minutes, seconds) = (millis / 60_000, millis % 60_000 / 1_000);
    format!("{minutes} min {seconds:02}.{:03} s", millis % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_late_or_missing_is_told() {
        let at = |minutes: i64| {
            Some(Found {
                index: minutes,
                at: Time::from_millis(minutes * 60_000),
                reference: None,
            })
        };
        let began = (0, Time::from_millis(0));
        let good = [at(0), at(1), at(10), at(20), at(20), at(50), at(60)];
        let all = report("drill", began, &good);
        assert!(all.in_time && all.took_ms == 60 * 60_000);
        let mut late = good.clone();
        late[6] = at(61);
        assert!(!report("drill", began, &late).in_time);
        late[6] = None;
        let missing = report("drill", began, &late);
        assert!(!missing.in_time && missing.to_string().contains("missing"));
    }
}
