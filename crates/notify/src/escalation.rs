//! `[notify.escalation.LEVEL]`, `[notify.digest]` and `[notify.audiences.NAME]`: who is told beside the members of the roster.

use std::collections::BTreeMap;
use std::time::Duration;

use base::settings::{Invalid, duration};
use calendar::Span;
use calendar::alerts::escalation::{EscalationLevel, HIGHEST, Ladder};
use calendar::weekly::{Weekday, Weekly};
use serde::{Deserialize, Serialize};

/// Whom and when a level of escalation is told. Without contacts nobody is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Level {
    /// After which time an alert that is neither acknowledged nor silenced is theirs; by default at once, `15m`, `30m`, `1h`.
    #[serde(with = "maybe_duration", skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// A webhook by its name, or `MAIL/CONTACT`: a contact of a mail receiver.
    pub to: Vec<String>,
}

/// What is told once a week.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Digest {
    pub weekday: Weekday,
    /// Of UTC, 0 to 23.
    pub hour: u8,
    /// As [`Level::to`]; nobody, and no digest, when left out.
    pub to: Vec<String>,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            weekday: Weekday::Monday,
            hour: 7,
            to: Vec::new(),
        }
    }
}

impl Digest {
    /// Its slots; none where it is for nobody.
    pub fn weekly(&self) -> Option<Weekly> {
        let weekly = Weekly::new(self.weekday, self.hour)?;
        (!self.to.is_empty()).then_some(weekly)
    }
}

/// Whom an audience outside consists of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudienceContacts {
    /// `MAIL/CONTACT`: a contact of a mail receiver.
    pub to: Vec<String>,
}

/// With the times of the levels that are named.
pub fn ladder(levels: &BTreeMap<EscalationLevel, Level>) -> Result<Ladder, Invalid> {
    let default = Ladder::default();
    let mut after = [Span::ZERO; HIGHEST as usize];
    for (after, level) in after.iter_mut().zip(EscalationLevel::ALL) {
        let named = levels.get(level).and_then(|one| one.after);
        *after = named.map_or(default.after(*level), |time| Span::seconds(time.as_secs()));
    }
    Ladder::new(after).map_err(|error| Invalid::new("notify.escalation", error.to_string()))
}

mod maybe_duration {
    use super::{Duration, duration};
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    struct Written(#[serde(with = "duration")] Duration);

    pub fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => duration::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Written::deserialize(deserializer).map(|written| Some(written.0))
    }
}
