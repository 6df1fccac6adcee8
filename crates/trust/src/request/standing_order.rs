//! Standing orders: keys of a ring that custodians approve in advance, and what exactly may be made under one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bytes16::Nonce;
use crate::name::{LOG_RING, Name};
use crate::roster::MemberId;
use crate::spelled::spelled;
use crate::sshkey::SshKey;
use crate::template::{Template, Use};
use crate::text;
use crate::time::Time;
use crate::usage::Usage;

use super::purpose::KeyPurpose;

/// Most keys that one order covers: one a day for a year.
pub const MOST_USES: u32 = 366;

/// The longest that an order holds.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// The longest life of a key, and the longest time until it may sign, in seconds: twenty years.
const LONGEST_LIFE: u64 = 20 * 366 * 24 * 3_600;

const DAY_MILLIS: i64 = 24 * 3_600 * 1_000;

/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

/// Keys of a ring, approved in advance. A generation under it differs from every other under it in
/// nothing but its use, its number, its predecessor, its CKA_ID and its times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingOrder {
    /// From the making of a request until its key is due to be primary.
    pub activate_after_seconds: u64,
    /// Who makes the keys, and signs each result.
    pub executor: OrderExecutor,
    /// Names the order: the nonce of the request that asks for it.
    pub id: Nonce,
    /// Use n is made n - 1 times this after `not_before`, or later.
    pub interval_seconds: u64,
    /// How long each key is meant to sign.
    pub lifetime_seconds: u64,
    /// Nothing is carried out under it later.
    pub not_after: Time,
    /// Nothing is asked for under it earlier.
    pub not_before: Time,
    /// Where the keys are made.
    pub place: OrderPlace,
    /// What they are for, and their shape.
    pub purpose: KeyPurpose,
    /// Their ring.
    pub ring: Name,
    /// What the ring's callers may have done with them.
    pub usage: Usage,
    /// How many.
    pub uses: u32,
    /// When one may be made.
    pub window: OrderWindow,
}

/// The executor of a standing order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderExecutor {
    /// The key by which its results are signed; one of the member's.
    pub key: SshKey,
    /// A member with the role `executor`.
    pub member: MemberId,
}

/// Where the keys of a standing order are made. Label and CKA_ID are of each key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OrderPlace {
    /// On a PKCS#11 token.
    Pkcs11(OrderToken),
}

/// A PKCS#11 token, and how keys are made on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderToken {
    /// Attributes of the private half.
    pub template: Template,
    /// Label of the token.
    pub token_label: String,
    /// Serial number of the token.
    pub token_serial: String,
}

/// When a key may be made, in UTC: on these days, between these minutes of the day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderWindow {
    /// Days of the week, from Monday on, each once.
    pub days: Vec<Weekday>,
    /// The first minute of the day, from 0.
    pub from_minute: u16,
    /// The minute that is too late, up to 1440.
    pub until_minute: u16,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the days of the week")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    /// All, from Monday on.
    pub const ALL: [Self; 7] = [
        Self::Monday,
        Self::Tuesday,
        Self::Wednesday,
        Self::Thursday,
        Self::Friday,
        Self::Saturday,
        Self::Sunday,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Monday => "monday",
            Self::Tuesday => "tuesday",
            Self::Wednesday => "wednesday",
            Self::Thursday => "thursday",
            Self::Friday => "friday",
            Self::Saturday => "saturday",
            Self::Sunday => "sunday",
        }
    }

    /// In UTC. The epoch was a Thursday.
    fn of(time: Time) -> Self {
        let day = (time.millis().div_euclid(DAY_MILLIS) + 3).rem_euclid(7);
        let place = usize::try_from(day).unwrap_or_default();
        Self::ALL.get(place).copied().unwrap_or(Self::Monday)
    }
}

spelled!(Weekday, "day");

/// What no quorum can order in advance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The id is not the nonce of the request.
    #[error("id: is not the request's nonce")]
    Id,
    /// Keys of the log, of a certification authority, and those that wrap others.
    #[error("ring: keys of this ring or usage are never made under a standing order")]
    Critical,
    /// The algorithm does not take such a key.
    #[error("purpose: the algorithm does not take such keys")]
    KeySpec,
    /// The private key would not be safe, or not a signing key.
    #[error("place.pkcs11.template: {0} has the wrong value for a signing key")]
    Template(&'static str),
    /// A text is empty, too long, or has characters that do not print.
    #[error("{0}: expected 1 to {1} printable characters")]
    Text(&'static str, usize),
    /// It holds for no time, or for too long, or is over when it is asked for.
    #[error(
        "not_after: must be after not_before and created_at, by at most 366 days from not_before"
    )]
    Duration,
    /// None or too many.
    #[error("uses: expected 1 to {MOST_USES}")]
    Uses,
    /// Never, or not in its one form.
    #[error(
        "window: expected days from Monday on, each once, and from_minute < until_minute <= 1440"
    )]
    Window,
    /// A number of seconds out of bounds.
    #[error("{0}: is out of bounds")]
    Seconds(&'static str),
}

impl StandingOrder {
    /// Refuses what no quorum can order in advance. `nonce` and `created_at` are of the request that asks for it.
    pub(super) fn check(&self, nonce: Nonce, created_at: Time) -> Result<(), OrderError> {
        let holds = |condition: bool, error: OrderError| match condition {
            true => Ok(()),
            false => Err(error),
        };
        holds(self.id == nonce, OrderError::Id)?;
        let ordinary = match self.usage {
            Usage::Structured | Usage::Raw | Usage::Sealed => self.ring.as_str() != LOG_RING,
            Usage::Certificates | Usage::Log | Usage::Wrap => false,
        };
        let signing = self.purpose.signing();
        holds(ordinary && signing.is_some(), OrderError::Critical)?;
        let fits = signing.is_some_and(|(algorithm, key_spec)| algorithm.allows(key_spec));
        holds(fits, OrderError::KeySpec)?;
        let OrderPlace::Pkcs11(token) = &self.place;
        if let Some(attribute) = token.template.unsafe_attribute(Use::Sign) {
            return Err(OrderError::Template(attribute));
        }
        for (member, text) in [
            ("place.pkcs11.token_serial", &token.token_serial),
            ("place.pkcs11.token_label", &token.token_label),
        ] {
            holds(text::is_plain(text, 64), OrderError::Text(member, 64))?;
        }
        let bounded = self.not_before < self.not_after
            && created_at < self.not_after
            && self.not_after.since(self.not_before) <= LONGEST;
        holds(bounded, OrderError::Duration)?;
        holds((1..=MOST_USES).contains(&self.uses), OrderError::Uses)?;
        holds(self.window.is_valid(), OrderError::Window)?;
        let seconds = |member, found: u64, least: u64, most: u64| {
            let within = (least..=most).contains(&found);
            holds(within, OrderError::Seconds(member))
        };
        seconds(
            "interval_seconds",
            self.interval_seconds,
            0,
            LONGEST.as_secs(),
        )?;
        seconds(
            "activate_after_seconds",
            self.activate_after_seconds,
            0,
            LONGEST_LIFE,
        )?;
        seconds("lifetime_seconds", self.lifetime_seconds, 1, LONGEST_LIFE)
    }

    /// Before this instant use `number` is not made.
    pub fn earliest(&self, number: u32) -> Time {
        let before = u64::from(number.saturating_sub(1));
        let seconds = self.interval_seconds.saturating_mul(before);
        self.not_before + Duration::from_secs(seconds)
    }
}

impl OrderWindow {
    /// Every day, at any time.
    pub fn always() -> Self {
        Self {
            days: Weekday::ALL.to_vec(),
            from_minute: 0,
            until_minute: DAY_MINUTES,
        }
    }

    fn is_valid(&self) -> bool {
        let ascending = self.days.windows(2).all(|pair| pair[0] < pair[1]);
        let minutes = self.from_minute < self.until_minute && self.until_minute <= DAY_MINUTES;
        !self.days.is_empty() && ascending && minutes
    }

    /// Whether an instant is in it.
    pub fn contains(&self, time: Time) -> bool {
        let minute = time.millis().rem_euclid(DAY_MILLIS) / 60_000;
        let minutes = i64::from(self.from_minute)..i64::from(self.until_minute);
        self.days.contains(&Weekday::of(time)) && minutes.contains(&minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_is_of_days_and_minutes_in_utc() {
        // 2026-11-30 is a Monday.
        let window = OrderWindow {
            days: vec![Weekday::Monday, Weekday::Sunday],
            from_minute: 60,
            until_minute: 120,
        };
        for (time, inside) in [
            ("2026-11-30T00:59:59.999Z", false),
            ("2026-11-30T01:00:00.000Z", true),
            ("2026-11-30T01:59:59.999Z", true),
            ("2026-11-30T02:00:00.000Z", false),
            ("2026-12-01T01:30:00.000Z", false),
            ("2026-12-06T01:30:00.000Z", true),
            ("1970-01-01T01:30:00.000Z", false),
        ] {
            assert_eq!(window.contains(at(time)), inside, "{time}");
        }
        assert!(OrderWindow::always().contains(at("2026-12-01T23:59:59.999Z")));
    }

    #[test]
    fn a_window_has_one_form() {
        let window = |days: &[Weekday], from_minute, until_minute| OrderWindow {
            days: days.to_vec(),
            from_minute,
            until_minute,
        };
        use Weekday::{Monday, Tuesday};
        assert!(window(&[Monday, Tuesday], 0, 1440).is_valid());
        for bad in [
            window(&[], 0, 1440),
            window(&[Tuesday, Monday], 0, 1440),
            window(&[Monday, Monday], 0, 1440),
            window(&[Monday], 60, 60),
            window(&[Monday], 0, 1441),
        ] {
            assert!(!bad.is_valid(), "{bad:?}");
        }
    }
}
