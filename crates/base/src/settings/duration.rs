//! Durations as people write them: `24h`, `90d`, `300s`. For `#[serde(with = "…")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
pub use trust::time::{parse_duration as parse, parse_positive_duration as parse_positive};

pub fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&spelled(*value))
}

/// As people write them.
pub fn spelled(value: Duration) -> String {
    match jiff::SignedDuration::try_from(value) {
        Ok(signed) => format!("{signed:#}"),
        Err(_) => "duration too long".to_owned(),
    }
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map_err(D::Error::custom)
}
