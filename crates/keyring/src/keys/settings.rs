use std::time::Duration;

use serde::{Deserialize, Serialize};

use base::settings::{Invalid, Profile, duration};
use trust::{Pin, Safety};

/// Longest time a verifier may cache a JWKS.
const LONGEST_MAX_AGE: Duration = Duration::from_secs(300);

/// Shortest `publish_safety` in production: verifiers that were measured refetch after an hour
/// at the latest.
const SHORTEST_IN_PRODUCTION: Duration = Duration::from_secs(3_600);

/// `[publication]`: how long a key is published before it signs. The cache time follows from it,
/// so the two cannot contradict each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublicationSettings {
    #[serde(with = "duration")]
    pub publish_safety: Duration,
    /// Largest JWKS; some clients refuse a set over 51 200 bytes.
    pub budget_bytes: usize,
    /// Whether Ed25519 keys are in the combined set; some clients fail on the whole set then.
    pub okp_in_combined_set: bool,
}

impl Default for PublicationSettings {
    fn default() -> Self {
        Self {
            publish_safety: Duration::from_secs(86_400),
            budget_bytes: 48 * 1_024,
            okp_in_combined_set: false,
        }
    }
}

impl PublicationSettings {
    /// `Cache-Control: max-age` of a JWKS: a quarter of `publish_safety` at most, so that a
    /// verifier has refetched, clock skew and a slow fetch included, before a new key signs.
    pub fn max_age(&self) -> Duration {
        LONGEST_MAX_AGE.min(self.publish_safety / 4)
    }

    pub fn validate(&self, profile: Profile) -> Result<(), Invalid> {
        let floor = match profile {
            Profile::Production => SHORTEST_IN_PRODUCTION,
            Profile::Demonstration => Duration::from_secs(4),
        };
        if self.publish_safety < floor {
            return Err(Invalid::new(
                "publication.publish_safety",
                format!("must be at least {} s in this profile", floor.as_secs()),
            ));
        }
        if !(1_024..=51_200).contains(&self.budget_bytes) {
            return Err(Invalid::new(
                "publication.budget_bytes",
                "must be between 1024 and 51200: some clients reject larger sets",
            ));
        }
        Ok(())
    }
}

/// Clock skew between replicas and verifiers that `publish_safety` covers besides the cache time.
const SKEW: Duration = Duration::from_secs(1);

/// What the read model needs of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    pub pin: Pin,
    pub safety: Safety,
    pub max_age: Duration,
    pub budget_bytes: usize,
    pub okp_in_combined_set: bool,
    /// Keys of each ring with the highest numbers that are always in memory.
    pub newest: usize,
    /// Bytes of keys that are kept because somebody asked for them.
    pub archive_bytes: u64,
}

fn longest_cached(max_age: Duration) -> Duration {
    max_age * 3
}

const NEWEST: usize = 64;
const ARCHIVE_BYTES: u64 = 16 << 20;

impl Settings {
    /// How long any cache may serve a JWKS at most: fresh, and stale while it cannot reach us.
    pub fn longest_cached(&self) -> Duration {
        longest_cached(self.max_age)
    }

    pub fn new(pin: Pin, publication: &PublicationSettings) -> Result<Self, String> {
        // A key stays secondary as long as it was published before: the same caches are waited for.
        let safety = Safety::new(
            publication.publish_safety,
            publication.publish_safety,
            longest_cached(publication.max_age()),
            SKEW,
        );
        Ok(Self {
            pin,
            safety: safety.map_err(|e| e.to_string())?,
            max_age: publication.max_age(),
            budget_bytes: publication.budget_bytes,
            okp_in_combined_set: publication.okp_in_combined_set,
            newest: NEWEST,
            archive_bytes: ARCHIVE_BYTES,
        })
    }
}
