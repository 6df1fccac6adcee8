//! Instants that callers write.

use trust::Time;

/// What is said where one cannot be read.
pub const EXPECTED: &str = "expected an instant of RFC 3339 such as 2026-11-22T09:00:00Z";

/// Any spelling of RFC 3339, with any offset; what is finer than a millisecond is cut off. Answers
/// have one spelling, requests are people's.
pub fn parse(text: &str) -> Result<Time, &'static str> {
    let instant: jiff::Timestamp = text.parse().map_err(|_| EXPECTED)?;
    let millis = instant.as_millisecond();
    match millis >= 0 {
        true => Ok(Time::from_millis(millis)),
        false => Err("expected an instant after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_instant_is_read() {
        for (text, expected) in [
            ("2026-11-22T09:00:00Z", "2026-11-22T09:00:00.000Z"),
            ("2026-11-22T10:00:00.1239+01:00", "2026-11-22T09:00:00.123Z"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
        }
        for text in [
            "",
            "now",
            "2026-11-22",
            "1795338000",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
