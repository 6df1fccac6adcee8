//! When a delivery is tried again. Pure: time and randomness are arguments.

use std::time::Duration;

use trust::Time;

/// After the first failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// No pause is longer, whatever the receiver asks for.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Acknowledged,
    /// It may do later.
    Failed {
        why: String,
        /// What the receiver asked for.
        retry_after: Option<Duration>,
        /// Whether other messages would fail there in the same way.
        everything: bool,
    },
    /// It never will.
    Refused { why: String },
}

impl Outcome {
    /// Nothing can be delivered there at present.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed {
            why: why.into(),
            retry_after: None,
            everything: true,
        }
    }
}

/// What becomes of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Delivered,
    Again { at: Time, why: String },
    Dead { why: String },
}

/// `attempts` failed before this one; it waits `since`.
pub fn plan_next(
    outcome: Outcome,
    (attempts, since): (i64, Time),
    dead_after: Duration,
    now: Time,
    random: [u8; 4],
) -> Next {
    let (why, retry_after) = match outcome {
        Outcome::Acknowledged => return Next::Delivered,
        Outcome::Refused { why } => return Next::Dead { why },
        Outcome::Failed {
            why, retry_after, ..
        } => (why, retry_after),
    };
    if now.since(since) >= dead_after {
        return Next::Dead { why };
    }
    let pause = match retry_after {
        Some(asked) => asked.clamp(FIRST_PAUSE, LONGEST_PAUSE),
        None => backoff(attempts, random),
    };
    Next::Again {
        at: now + pause,
        why,
    }
}

/// Half of it is chance, so that those who failed together do not come back together.
fn backoff(attempts: i64, random: [u8; 4]) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 16)).unwrap_or(0);
    let whole = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
    let half = whole / 2;
    half + half.mul_f64(f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX))
}

/// `Retry-After` (RFC 9110 section 10.2.3), in seconds or as a date.
pub fn retry_after(value: &str, now: Time) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let date = Time::from_millis(i64::try_from(since.as_millis()).ok()?);
    Some(date.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS_3: Duration = Duration::from_secs(3 * 86_400);

    fn at(millis: i64) -> Time {
        Time::from_millis(1_795_000_000_000 + millis)
    }

    fn pause(attempts: i64, retry: Option<u64>, random: [u8; 4]) -> Duration {
        let outcome = Outcome::Failed {
            why: "503".to_owned(),
            retry_after: retry.map(Duration::from_secs),
            everything: true,
        };
        match plan_next(outcome, (attempts, at(0)), DAYS_3, at(0), random) {
            Next::Again { at: next, .. } => next.since(at(0)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pauses_grow_to_an_hour_and_half_of_each_is_chance() {
        assert_eq!(pause(0, None, [0; 4]), Duration::from_millis(2_500));
        assert_eq!(pause(0, None, [255; 4]), Duration::from_secs(5));
        assert_eq!(pause(3, None, [255; 4]), Duration::from_secs(40));
        for attempts in [10, 1_000, i64::MAX] {
            assert_eq!(pause(attempts, None, [255; 4]), LONGEST_PAUSE);
            assert_eq!(pause(attempts, None, [0; 4]), LONGEST_PAUSE / 2);
        }
    }

    #[test]
    fn retry_after_is_honoured_within_bounds() {
        assert_eq!(pause(0, Some(120), [0; 4]), Duration::from_secs(120));
        assert_eq!(pause(9, Some(0), [0; 4]), FIRST_PAUSE);
        assert_eq!(pause(0, Some(10_000_000), [0; 4]), LONGEST_PAUSE);
        assert_eq!(retry_after(" 7 ", at(0)), Some(Duration::from_secs(7)));
        let date = "Wed, 18 Nov 2026 11:07:00 GMT";
        assert!(retry_after(date, at(0)).is_some_and(|pause| pause < Duration::from_secs(86_400)));
        let past = retry_after("Sun, 06 Nov 1994 08:49:37 GMT", at(0));
        assert_eq!(past, Some(Duration::ZERO));
        for wrong in ["", "-1", "1e9", "99999999999999999999"] {
            assert_eq!(retry_after(wrong, at(0)), None, "{wrong}");
        }
    }

    #[test]
    fn a_letter_is_dead_after_its_time_or_where_nobody_will_ever_take_it() {
        let failed = || Outcome::failed("down");
        let later = at(DAYS_3.as_millis() as i64);
        let next = plan_next(failed(), (40, at(0)), DAYS_3, later, [0; 4]);
        assert_eq!(
            next,
            Next::Dead {
                why: "down".to_owned()
            }
        );
        let gone = Outcome::Refused {
            why: "410".to_owned(),
        };
        let next = plan_next(gone, (0, at(0)), DAYS_3, at(0), [0; 4]);
        assert_eq!(
            next,
            Next::Dead {
                why: "410".to_owned()
            }
        );
        let done = plan_next(Outcome::Acknowledged, (7, at(0)), DAYS_3, later, [0; 4]);
        assert_eq!(done, Next::Delivered);
    }
}
