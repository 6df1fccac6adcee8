//! A plan as JSON and as a table.

use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use crate::facts::Consent;
use crate::time::Time;
use crate::words::Step;

use super::planned::{Plan, Rotation};

/// One step in JSON.
#[derive(Serialize, Deserialize)]
struct StepView {
    step: Step,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Time>,
}

impl Serialize for Rotation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let steps: Vec<StepView> = self
            .steps()
            .into_iter()
            .map(|(step, at)| StepView { step, at })
            .collect();
        let mut rotation = serializer.serialize_struct("Rotation", 13)?;
        rotation.serialize_field("asset", &self.asset)?;
        rotation.serialize_field("key_type", &self.key_type)?;
        rotation.serialize_field("owner", &self.owner)?;
        rotation.serialize_field("version", &self.version)?;
        rotation.serialize_field("trigger", &self.trigger)?;
        rotation.serialize_field("due", &self.due)?;
        rotation.serialize_field("slot", &self.slot)?;
        rotation.serialize_field("steps", &steps)?;
        rotation.serialize_field("consent", &self.consent)?;
        rotation.serialize_field("waits", &self.waits)?;
        rotation.serialize_field("late", &self.late)?;
        rotation.serialize_field("has_event", &self.has_event)?;
        rotation.serialize_field("reason", &self.sentence())?;
        rotation.end()
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.first(usize::MAX).serialize(serializer)
    }
}

/// A plan of which no more is written than so many rotations, and so many assets without a date. What is left out is counted.
pub struct First<'a> {
    plan: &'a Plan,
    most: usize,
}

impl Serialize for First<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Plan {
            now,
            until,
            rotations,
            unplanned,
            conflicts,
            exceptions,
        } = self.plan;
        let rows = rotations.get(..self.most).unwrap_or(rotations);
        let undated = unplanned.get(..self.most).unwrap_or(unplanned);
        let left_out = rotations.len().saturating_sub(rows.len());
        let mut plan = serializer.serialize_struct("Plan", 10)?;
        plan.serialize_field("v", &1)?;
        plan.serialize_field("now", now)?;
        plan.serialize_field("until", until)?;
        plan.serialize_field("counts", &self.plan.counts())?;
        plan.serialize_field("backlog_cleared_at", &self.plan.backlog_cleared_at())?;
        plan.serialize_field("conflicts", conflicts)?;
        plan.serialize_field("exceptions", exceptions)?;
        plan.serialize_field("unplanned", undated)?;
        plan.serialize_field("rotations", rows)?;
        match left_out {
            0 => plan.skip_field("left_out")?,
            left_out => plan.serialize_field("left_out", &left_out)?,
        }
        plan.end()
    }
}

impl Plan {
    /// As JSON with so many rotations at most, the first ones.
    pub fn first(&self, most: usize) -> First<'_> {
        First { plan: self, most }
    }

    /// A table of the first `rows` rotations; what is left out is counted.
    pub fn table(&self, rows: usize) -> String {
        let head = [
            "slot", "asset", "version", "trigger", "due", "promote", "retire", "consent", "remark",
        ];
        let mut lines = vec![head.map(str::to_owned)];
        lines.extend(self.rotations.iter().take(rows).map(row));
        let mut widths = [0; 9];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.len());
            }
        }
        let mut text = String::new();
        for line in &lines {
            let cells = line
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        let left_out = self.rotations.len().saturating_sub(rows);
        if left_out > 0 {
            text.push_str(&format!(
                "and {left_out} more until {}\n",
                self.until.date()
            ));
        }
        for conflict in &self.conflicts {
            let of = conflict.kind.as_ref().map(|kind| format!(" {kind}"));
            text.push_str(&format!(
                "{}: {}{} rotations of {}, {} at most\n",
                conflict.hour.minute(),
                conflict.rotations,
                of.unwrap_or_default(),
                conflict.resource,
                conflict.limit
            ));
        }
        text
    }
}

fn row(rotation: &Rotation) -> [String; 9] {
    let minute = |at: Option<Time>| at.map_or_else(|| "-".to_owned(), Time::minute);
    let consent = match &rotation.consent {
        Consent::Automatic => "automatic".to_owned(),
        Consent::Order(id) => format!("order {id}"),
        Consent::Ceremony => "ceremony".to_owned(),
    };
    let late = rotation.late.map(|late| match late.by {
        Some(by) => format!("late by {}: {}", by.rounded(), late.reason),
        None => format!("late: {}", late.reason),
    });
    let waits = rotation.waits.map(|reason| format!("waits: {reason}"));
    [
        rotation.slot.minute(),
        rotation.asset.to_string(),
        rotation.version.to_string(),
        rotation.trigger.to_string(),
        rotation.due.minute(),
        minute(rotation.promote_at),
        minute(rotation.retire_at),
        consent,
        [late, waits]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", "),
    ]
}
