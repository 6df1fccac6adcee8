//! What the planner is told: assets with their versions, events that are open, standing orders, limits, a pause.
//!
//! All instants are the database's. The types are documents too (strict JSON), so that a plan can be made again from a file.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::name::{AssetName, Word};
use crate::time::{Span, Time};
use crate::windows::Window;
use crate::words::{EventState, Trigger, VersionState};

/// One version of an asset. Archived and revoked ones may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionFacts {
    /// 1, 2, 3…
    pub number: u32,
    /// When it was made.
    pub created_at: Time,
    /// When it ends by itself, as certificates do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<Time>,
    /// Its state.
    pub state: VersionState,
}

/// How often the primary was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageFacts {
    /// Until when it was counted. What is predicted counts from here, not from now, so that replicas agree.
    pub counted_at: Time,
    /// Uses of the primary so far.
    pub uses: u64,
    /// Uses a day, lately.
    pub per_day: u64,
}

/// A rotation that somebody or something asked for, before it has an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`Trigger::Manual`] or [`Trigger::Event`]; an event is an emergency.
    pub trigger: Trigger,
    /// When it was asked for.
    pub at: Time,
}

/// Whose consent a rotation has or needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// Nobody's is needed.
    Automatic,
    /// A use of this standing order.
    Order(Word),
    /// A ceremony, still to be held or under way.
    Ceremony,
}

impl Consent {
    /// Whether it runs without a person. Ceremonies count as manual.
    pub fn is_automatic(&self) -> bool {
        *self != Self::Ceremony
    }
}

/// An open rotation: the engine's record, as far as planning needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenEvent {
    /// `kr_…`.
    pub id: String,
    /// The number of the new version.
    pub version: u32,
    /// What made it.
    pub trigger: Trigger,
    /// How far it is.
    pub state: EventState,
    /// The hour that it was given.
    pub slot: Time,
    /// When the new version has to be the primary.
    pub due: Time,
    /// Whose consent it has or needs.
    pub consent: Consent,
    /// When the new version was published or delivered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub published_at: Option<Time>,
    /// When it became the primary.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub promoted_at: Option<Time>,
}

/// One asset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetFacts {
    /// Its name.
    pub name: AssetName,
    /// Its key type, whose policy it follows.
    pub key_type: Word,
    /// Who answers for it, if not the policy's team. Two assets of one kind of such an owner do not rotate in one hour.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<Word>,
    /// Its versions, in any order.
    pub versions: Vec<VersionFacts>,
    /// How often the primary was used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub usage: Option<UsageFacts>,
    /// A rotation that was asked for and has no event yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request: Option<Request>,
    /// Rotations that are open, until their old version is retired; the last may be of a version after the next.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub events: Vec<OpenEvent>,
    /// Whether a person holds it back.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub held: bool,
}

impl AssetFacts {
    /// The primary. `Err` with their number if there is not exactly one.
    pub fn primary(&self) -> Result<(&VersionFacts, Time), usize> {
        let mut found = None;
        let mut count = 0;
        for version in &self.versions {
            if let VersionState::Primary { since } = version.state {
                found = Some((version, since));
                count += 1;
            }
        }
        match (found, count) {
            (Some(found), 1) => Ok(found),
            _ => Err(count),
        }
    }

    /// The highest number of a version.
    pub fn newest(&self) -> u32 {
        self.versions
            .iter()
            .map(|version| version.number)
            .max()
            .unwrap_or(0)
    }

    /// The newest version that was made and never used, with when it was published.
    pub fn standby(&self) -> Option<(&VersionFacts, Option<Time>)> {
        let prepared = self
            .versions
            .iter()
            .filter_map(|version| match version.state {
                VersionState::Prepared { published_at } => Some((version, published_at)),
                _ => None,
            });
        prepared.max_by_key(|(version, _)| version.number)
    }
}

/// A standing order, as far as planning needs it: its transcript says the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its id, shortened to a word.
    pub id: Word,
    /// The asset, or all scopes of it.
    pub covers: AssetName,
    /// No use earlier.
    pub not_before: Time,
    /// No use later.
    pub not_after: Time,
    /// How many uses.
    pub uses: u32,
    /// How many of them were given to events, open ones included.
    pub used: u32,
    /// Use n is not made before n - 1 times this after `not_before`.
    pub interval: Span,
    /// When a version may be made.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub windows: Vec<Window>,
    /// Withdrawn, or paused because too few of its approvers are active.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub paused: bool,
}

/// The scheduler is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Since when.
    pub since: Time,
    /// Until when, if that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Time>,
}

/// How many rotations can begin in one hour. That of teams and owners is for each kind of assets by itself: what one driver
/// has to do is in no other's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// That make a key in the HSM of this installation.
    pub token_per_hour: NonZeroU32,
    /// Of one team.
    pub team_per_hour: NonZeroU32,
    /// Of the teams named here, instead.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub teams: BTreeMap<Word, NonZeroU32>,
    /// Of one owner that is no team.
    pub owner_per_hour: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        let limit = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self {
            token_per_hour: limit(60),
            team_per_hour: limit(200),
            teams: BTreeMap::new(),
            owner_per_hour: limit(1),
        }
    }
}

/// All that the planner is told besides policies, orders and the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The assets, in any order.
    pub assets: Vec<AssetFacts>,
    /// Whether the scheduler is paused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pause: Option<Pause>,
    /// How many rotations can begin in one hour.
    #[serde(default)]
    pub limits: Limits,
}
