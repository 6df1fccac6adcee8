//! When the next key of a standing order is due: facts in, an instant out. Nothing happens here.
//!
//! An order says what may be made and how often at most; it does not say that keys are made without need. A ring needs a
//! successor for its newest key `activate_after` before that one is meant to stop signing (`publish_safety`, if that is
//! longer), and at once where no key of it signs or is about to. So an executor that was away for a week makes one key for
//! each ring and not seven.

use std::time::Duration;

use store::{CeremonyState, UseRow};
use trust::request::{OrderWindow, StandingOrder};
use trust::{Safety, Time};

/// After a use that came to nothing the next one waits so long; each further pause is twice as long. An order would
/// otherwise be used up by a token that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(15 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3_600);

const DAY_MILLIS: i64 = 24 * 3_600 * 1_000;

/// What an order's ring and its uses look like now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// When the newest key is meant to stop signing, also one that waits for custodians; none where no key signs or is about
    /// to.
    pub(super) newest_ends: Option<Time>,
    /// The highest use that was taken.
    pub(super) taken: u32,
    /// Since the last one that came to a key.
    pub(super) lost: Lost,
}

/// Uses in a row that came to nothing, until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) count: u32,
    /// When the last of them was taken.
    pub(super) last_at: Option<Time>,
}

impl Lost {
    /// Of the uses of an order, none of which is open: those after the last one that came to a key.
    pub(super) fn of(uses: &[UseRow]) -> Self {
        let mut lost = Self::default();
        for used in uses.iter().rev().take_while(|used| !is_made(used.state)) {
            lost.count += 1;
            lost.last_at = lost.last_at.max(Some(used.created_at));
        }
        lost
    }

    /// No use is taken before this instant, if any is lost.
    pub(super) fn until(self) -> Option<Time> {
        let last_at = self.last_at.filter(|_| self.count > 0)?;
        Some(last_at + pause(self.count))
    }
}

/// When the next use is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextUse {
    Now,
    /// Not before, as far as is known now.
    At(Time),
    /// Never, unless the ring needs a key earlier than it does now: in words.
    None(&'static str),
}

pub(super) fn next_use(order: &StandingOrder, need: &Need, safety: &Safety, now: Time) -> NextUse {
    let number = need.taken.saturating_add(1);
    if number > order.uses {
        return NextUse::None("all its uses are taken");
    }
    if now > order.not_after {
        return NextUse::None("it has ended");
    }
    let lead = Duration::from_secs(order.activate_after_seconds).max(safety.publish_safety());
    let needed = match need.newest_ends {
        Some(ends) => opens_by(&order.window, ends - lead),
        None => now,
    };
    let earliest = needed.max(order.earliest(number));
    let earliest = need
        .lost
        .until()
        .map_or(earliest, |until| earliest.max(until));
    let at = opens_from(&order.window, earliest.max(now));
    match at > order.not_after {
        true => NextUse::None("it ends before its ring needs another key"),
        false if at <= now => NextUse::Now,
        false => NextUse::At(at),
    }
}

/// Whether a use came to a key.
pub(super) fn is_made(state: CeremonyState) -> bool {
    matches!(state, CeremonyState::Executed | CeremonyState::Closed)
}

fn pause(lost: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(lost.saturating_sub(1).min(16));
    (FIRST_PAUSE * doubled).min(LONGEST_PAUSE)
}

/// The last instant at which it can be begun to be in time for `due`: that one, or when the window before it opened.
fn opens_by(window: &OrderWindow, due: Time) -> Time {
    if window.contains(due) {
        return due;
    }
    let mut openings = (0..=7).map(|days| opening(window, due, -days));
    openings
        .find(|opening| *opening <= due && window.contains(*opening))
        .unwrap_or(due)
}

/// This instant, or the next one at which the window is open.
fn opens_from(window: &OrderWindow, from: Time) -> Time {
    if window.contains(from) {
        return from;
    }
    let mut openings = (0..=8).map(|days| opening(window, from, days));
    openings
        .find(|opening| *opening >= from && window.contains(*opening))
        .unwrap_or(from)
}

/// When the window would open so many days after the day of `time`.
fn opening(window: &OrderWindow, time: Time, days: i64) -> Time {
    let day = time.millis().div_euclid(DAY_MILLIS).saturating_add(days);
    let millis = day.saturating_mul(DAY_MILLIS);
    Time::from_millis(millis.saturating_add(i64::from(window.from_minute) * 60_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{PublicationSettings, Settings};
    use trust::request::{Nonce, OrderExecutor, OrderPlace, OrderToken, Weekday};
    use trust::{Algorithm, KeyPurpose, KeySpec, Template, Usage};

    const HOUR: i64 = 3_600_000;

    /// A Monday.
    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    fn safety() -> Safety {
        let custodians = testkit::custodians::Custodians::new("production");
        let publication = PublicationSettings::default();
        Settings::new(custodians.pin().clone(), &publication)
            .unwrap()
            .safety
    }

    /// For 300 days from 2026-11-30 on, with a use a day and keys that sign for a week.
    fn order() -> StandingOrder {
        let custodians = testkit::custodians::Custodians::with_executors("production", &[]);
        StandingOrder {
            activate_after_seconds: 24 * 3_600,
            executor: OrderExecutor {
                key: custodians.public_key("robot"),
                member: "robot".parse().unwrap(),
            },
            id: Nonce([1; 16]),
            interval_seconds: 24 * 3_600,
            lifetime_seconds: 7 * 24 * 3_600,
            not_before: at("2026-11-30T00:00:00.000Z"),
            not_after: at("2027-09-26T00:00:00.000Z"),
            place: OrderPlace::Pkcs11(OrderToken {
                template: Template::signing_key(),
                token_label: "label".to_owned(),
                token_serial: "serial".to_owned(),
            }),
            purpose: KeyPurpose::Sign {
                algorithm: Algorithm::Es256,
                key_spec: KeySpec::P256,
            },
            ring: "records".parse().unwrap(),
            usage: Usage::Structured,
            uses: 3,
            window: OrderWindow::always(),
        }
    }

    fn need(ends: &str, taken: u32) -> Need {
        Need {
            newest_ends: Some(at(ends)),
            taken,
            ..Need::default()
        }
    }

    #[test]
    fn a_successor_is_made_in_time_and_not_earlier() {
        let order = order();
        let need = need("2026-12-20T12:00:00.000Z", 0);
        let next = |now| next_use(&order, &need, &safety(), at(now));
        let due = at("2026-12-19T12:00:00.000Z");
        assert_eq!(next("2026-12-01T00:00:00.000Z"), NextUse::At(due));
        assert_eq!(next("2026-12-19T11:59:59.999Z"), NextUse::At(due));
        assert_eq!(next("2026-12-19T12:00:00.000Z"), NextUse::Now);
        // Late, and still one.
        assert_eq!(next("2027-03-01T00:00:00.000Z"), NextUse::Now);
    }

    #[test]
    fn what_the_installation_waits_longer_for_is_made_earlier() {
        let mut order = order();
        order.activate_after_seconds = 0;
        let need = need("2026-12-20T12:00:00.000Z", 0);
        let lead = safety().publish_safety();
        let due = at("2026-12-20T12:00:00.000Z") - lead;
        let next = next_use(&order, &need, &safety(), at("2026-12-01T00:00:00.000Z"));
        assert_eq!(next, NextUse::At(due));
    }

    #[test]
    fn a_ring_without_a_key_needs_one_now_but_not_before_the_interval() {
        let order = order();
        let none = |taken| Need {
            taken,
            ..Need::default()
        };
        let now = at("2026-11-30T08:00:00.000Z");
        assert_eq!(next_use(&order, &none(0), &safety(), now), NextUse::Now);
        let tomorrow = at("2026-12-01T00:00:00.000Z");
        assert_eq!(
            next_use(&order, &none(1), &safety(), now),
            NextUse::At(tomorrow)
        );
        let used_up = next_use(&order, &none(3), &safety(), now);
        assert!(matches!(used_up, NextUse::None(_)), "{used_up:?}");
        let late = next_use(
            &order,
            &none(0),
            &safety(),
            order.not_after + Duration::from_secs(1),
        );
        assert!(matches!(late, NextUse::None(_)), "{late:?}");
    }

    #[test]
    fn what_is_due_outside_the_window_is_made_in_the_one_before() {
        let mut order = order();
        order.window = OrderWindow {
            days: vec![Weekday::Monday, Weekday::Thursday],
            from_minute: 60,
            until_minute: 180,
        };
        // Due on a Wednesday: the Monday before it, which is 2026-12-14.
        let need = need("2026-12-17T12:00:00.000Z", 0);
        let next = |now| next_use(&order, &need, &safety(), at(now));
        let monday = at("2026-12-14T01:00:00.000Z");
        assert_eq!(next("2026-12-10T02:00:00.000Z"), NextUse::At(monday));
        assert_eq!(next("2026-12-14T02:59:59.000Z"), NextUse::Now);
        // Nobody was there on that day: the next one, which is late.
        let thursday = at("2026-12-17T01:00:00.000Z");
        assert_eq!(next("2026-12-14T03:00:00.000Z"), NextUse::At(thursday));
    }

    #[test]
    fn uses_that_come_to_nothing_are_not_taken_one_after_the_other() {
        let mut order = order();
        order.interval_seconds = 0;
        let now = at("2026-12-10T00:00:00.000Z");
        let after = |lost| {
            let need = Need {
                taken: lost,
                lost: Lost {
                    count: lost,
                    last_at: Some(now),
                },
                ..Need::default()
            };
            order_next(&order, &need, now)
        };
        let minutes =
            |minutes: i64| NextUse::At(Time::from_millis(now.millis() + minutes * 60_000));
        assert_eq!(after(0), NextUse::Now);
        assert_eq!((after(1), after(2)), (minutes(15), minutes(30)));
        assert_eq!(pause(300), LONGEST_PAUSE);
    }

    fn order_next(order: &StandingOrder, need: &Need, now: Time) -> NextUse {
        next_use(order, need, &safety(), now)
    }

    #[test]
    fn an_order_that_ends_first_is_not_used() {
        let order = order();
        let need = need("2027-12-20T12:00:00.000Z", 0);
        let next = next_use(&order, &need, &safety(), at("2026-12-01T00:00:00.000Z"));
        assert!(matches!(next, NextUse::None(_)), "{next:?}");
    }

    #[test]
    fn an_opening_is_found_whatever_the_day() {
        let window = OrderWindow {
            days: vec![Weekday::Tuesday],
            from_minute: 0,
            until_minute: 1,
        };
        for hours in 0..24 * 7 {
            let time = Time::from_millis(at("2026-11-30T00:30:00.000Z").millis() + hours * HOUR);
            let next = opens_from(&window, time);
            assert!(window.contains(next) && next >= time, "{time}");
            let last = opens_by(&window, time);
            assert!(window.contains(last) && last <= time, "{time}");
        }
    }
}
