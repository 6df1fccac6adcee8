//! `chancery ceremony new order`: a standing order, asked for.

use std::time::Duration;

use clap::Args;
use trust::request::{OrderWindow, Weekday};
use trust::{Name, Time};

use super::super::{CliContext, World};
use super::ProposalArgs;
use super::proposal::propose;
use base::settings::duration;
use keyring::ceremony::{Draft, OrderInput};
use verify::output::{Failure, Output};

#[derive(Debug, Args)]
pub struct Order {
    /// The ring whose keys are ordered in advance.
    #[arg(long)]
    ring: Name,
    #[command(flatten)]
    input: ProposalArgs,
    /// The member with the role `executor` who makes the keys and signs each result.
    #[arg(long)]
    executor: Name,
    /// How many keys, 1 to 366.
    #[arg(long)]
    uses: u32,
    /// Nothing is asked for under the order before this time; by default from now on.
    #[arg(long, value_name = "TIME")]
    not_before: Option<Time>,
    /// How long the order holds, at most 366d.
    #[arg(long, default_value = "365d", value_parser = duration::parse_positive)]
    valid_for: Duration,
    /// At least this long between two keys.
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    every: Duration,
    /// Days of the week on which keys are made, in UTC; by default all.
    #[arg(long = "day", value_name = "DAY")]
    days: Vec<Weekday>,
    /// The time of day, in UTC, from which keys are made.
    #[arg(long, value_name = "HH:MM", default_value = "00:00", value_parser = minute)]
    from: u16,
    /// The time of day, in UTC, from which no keys are made any more.
    #[arg(long, value_name = "HH:MM", default_value = "24:00", value_parser = minute)]
    until: u16,
    /// Time from the making of a key until it may become primary; at least `publish_safety`.
    #[arg(long, value_parser = duration::parse)]
    activate_after: Option<Duration>,
    /// How long each key signs once active.
    #[arg(long, default_value = "90d", value_parser = duration::parse_positive)]
    lifetime: Duration,
}

/// Minutes of the day.
fn minute(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is no time of day from 00:00 to 24:00");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| match text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u16>().map_err(|_| wrong()),
        false => Err(wrong()),
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minute = hours * 60 + minutes;
    match minutes < 60 && minute <= 24 * 60 {
        true => Ok(minute),
        false => Err(wrong()),
    }
}

pub async fn order(
    open: &CliContext,
    order: Order,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let executor = open.executor()?;
    let (token_serial, token_label) = executor.identity().await.map_err(Failure::unavailable)?;
    let not_before = order.not_before.unwrap_or_else(|| world.env.now());
    let mut days = match order.days.is_empty() {
        true => Weekday::ALL.to_vec(),
        false => order.days,
    };
    days.sort();
    days.dedup();
    let safety = open.config.publication.publish_safety;
    let draft = Draft::Order(Box::new(OrderInput {
        activate_after: order.activate_after.unwrap_or(safety),
        executor: order.executor,
        executor_key: None,
        interval: order.every,
        lifetime: order.lifetime,
        not_after: not_before + order.valid_for,
        not_before,
        token_label,
        token_serial,
        uses: order.uses,
        window: OrderWindow {
            days,
            from_minute: order.from,
            until_minute: order.until,
        },
    }));
    propose(open, world, Some(order.ring), order.input, draft, output).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_read_in_one_form() {
        assert_eq!(minute("00:00"), Ok(0));
        assert_eq!(minute("23:59"), Ok(1439));
        assert_eq!(minute("24:00"), Ok(1440));
        for bad in [
            "", "1:00", "24:01", "12:60", "12", "ab:cd", "+1:00", "012:00",
        ] {
            assert!(minute(bad).is_err(), "{bad}");
        }
    }
}
