//! Durations as people write them: `24h`, `90d`, `300s`. For `#[serde(with = "…")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

pub fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
    match jiff::SignedDuration::try_from(*value) {
        Ok(signed) => out.serialize_str(&format!("{signed:#}")),
        Err(_) => out.serialize_str("too long"),
    }
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map_err(D::Error::custom)
}

/// Hours and smaller as [`jiff`] reads them, and whole days of 24 hours.
pub fn parse(text: &str) -> Result<Duration, String> {
    let shown = || format!("{text:?} is not a duration such as \"24h\", \"90d\" or \"300s\"");
    if let Some(days) = text.strip_suffix('d').and_then(|n| n.parse::<u32>().ok()) {
        return Ok(Duration::from_secs(u64::from(days) * 86_400));
    }
    let signed: jiff::SignedDuration = text.parse().map_err(|_| shown())?;
    signed.try_into().map_err(|_| shown())
}
