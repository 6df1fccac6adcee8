//! All alerts of one rule, acknowledged or silenced by one command: each by an act of its own.

use ::rotation::alerts::{AlertFilter, AlertView, PAGE_MAX};
use ::rotation::engine::Engine;
use ::rotation::engine::error::Error;
use calendar::alerts::AlertName;
use serde::Serialize;
use verify::output::{Failure, Output, progress};

use super::super::rotation::failed;

/// What became of the alerts of a rule.
#[derive(Debug, Default, Serialize)]
pub struct Marked {
    /// The rule.
    pub rule: String,
    /// How many were changed.
    pub changed: u64,
    /// How many were over, or as they were asked to be, when their turn came.
    pub left: u64,
}

impl Marked {
    pub fn shown(&self, done: &str) -> String {
        let Self {
            rule,
            changed,
            left,
        } = self;
        match left {
            0 => format!("{rule}: {changed} {done}\n"),
            _ => format!("{rule}: {changed} {done}; {left} were over, or so already\n"),
        }
    }
}

/// Alerts of `rule` for which `asked` holds, each given to `mark`. What was marked before an error stays so; the command may be
/// given again.
pub async fn mark(
    engine: &Engine,
    rule: AlertName,
    asked: impl Fn(&AlertView) -> bool,
    mark: impl AsyncFn(&str) -> Result<AlertView, Error>,
    output: &Output,
) -> Result<Marked, Failure> {
    let of_rule = AlertFilter {
        name: Some(rule),
        ..AlertFilter::default()
    };
    let mut alerts = Vec::new();
    let mut after = None;
    loop {
        let page = engine.alerts(&of_rule, after.as_deref(), PAGE_MAX).await;
        let page = page.map_err(failed)?;
        let wanted = page.alerts.into_iter().filter(&asked);
        alerts.extend(wanted.map(|alert| alert.id));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let mut marked = Marked {
        rule: rule.to_string(),
        ..Marked::default()
    };
    let bar = progress(alerts.len(), output);
    for alert in &alerts {
        match mark(alert).await {
            Ok(_) => marked.changed += 1,
            Err(Error::AlertState { .. } | Error::UnknownAlert(_)) => {
                marked.left += 1;
            }
            Err(error) => {
                bar.abandon();
                return Err(failed(error));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(marked)
}
