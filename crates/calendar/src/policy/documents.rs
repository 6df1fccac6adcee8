//! The document of a policy, as it is signed and stored.

use serde::{Deserialize, Serialize};

use crate::floors::Deviation;
use crate::key_type::{Grace, KeyClass, KeyType};
use crate::name::Word;
use crate::time::Span;
use crate::windows::Window;
use crate::words::{ApprovalClass, Priority, Trigger};

/// The version of the format.
pub const VERSION: u8 = 1;

/// What an installation wants of a key type.
///
/// A quorum signs the canonical JSON of it, and it is read back to the byte for ever (`log`): a member that is added later is
/// left out where it has its default, and none is renamed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// The version of the format.
    pub v: u8,
    /// Whose policy it is.
    pub key_type: Word,
    /// Which version of this policy, from 1.
    pub version: u32,
    /// How often its assets rotate.
    pub interval: Span,
    /// How long an old version can still be used, from its successor's promotion.
    pub grace: Grace,
    /// How long a version is published before it is used.
    pub publish_safety: Span,
    /// How long old and new both work, from the promotion; roll-back is possible so long.
    pub overlap: Span,
    /// By how much at most a rotation begins before it has to: what rotations are spread in.
    pub jitter: Span,
    /// What makes its assets rotate.
    pub triggers: Vec<Trigger>,
    /// Whose consent a rotation needs.
    pub approval: ApprovalClass,
    /// After how many uses a version is replaced.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub usage_limit: Option<u64>,
    /// How long before its expiry a version is replaced; never more than a third of its lifetime. 30 days by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub renew_before: Option<Span>,
    /// How long its certificates are valid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lifetime: Option<Span>,
    /// Whether its certificates are of a publicly trusted issuer.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub publicly_trusted: bool,
    /// When people are told that something expires.
    #[serde(default)]
    pub alerts: Alerts,
    /// When a rotation may begin and a version be promoted; always, if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub windows: Vec<Window>,
    /// The team that answers for it.
    pub owner: Word,
    /// How much depends on it.
    pub priority: Priority,
    /// Named exceptions from the floors.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub deviations: Vec<Deviation>,
}

impl PolicyDocument {
    /// The document that a key type begins with.
    pub fn standard(key_type: &KeyType) -> Self {
        let mut triggers = vec![Trigger::Time, Trigger::Event, Trigger::Manual];
        // Client certificates are replaced when they expire, and by no other calendar.
        if key_type.name.as_str() == "client_certificate" {
            triggers.remove(0);
        }
        if key_type.class == KeyClass::Certificate {
            triggers.push(Trigger::Expiry);
        }
        Self {
            v: VERSION,
            key_type: key_type.name.clone(),
            version: 1,
            interval: key_type.interval,
            grace: key_type.grace,
            publish_safety: key_type.publish_safety,
            overlap: key_type.overlap,
            jitter: key_type.jitter,
            triggers,
            approval: key_type.approval,
            usage_limit: None,
            renew_before: None,
            lifetime: None,
            publicly_trusted: false,
            alerts: Alerts::default(),
            windows: Vec::new(),
            owner: key_type.owner.clone(),
            priority: key_type.priority,
            deviations: Vec::new(),
        }
    }
}

/// How long before an expiry people are told, three times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// A warning.
    pub warning: Span,
    /// It becomes critical.
    pub critical: Span,
    /// The last time.
    pub last: Span,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            warning: Span::days(30),
            critical: Span::days(7),
            last: Span::days(1),
        }
    }
}

impl Alerts {
    /// At most a third, a tenth and a thirtieth of the lifetime, so that what lives for a day is not in alarm from birth.
    pub fn capped(&self, lifetime: Span) -> [Span; 3] {
        [
            self.warning.min(lifetime.divided(3)),
            self.critical.min(lifetime.divided(10)),
            self.last.min(lifetime.divided(30)),
        ]
    }
}
