use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use base::settings::{Invalid, Profile, duration};

/// A shorter lease could run out while the token still generates.
const SHORTEST_LEASE: Duration = Duration::from_secs(120);

/// `[executor]`: the executor's own way to the token, by a PIN that may create and destroy, and how `chancery executor`
/// runs. Used by `ceremony new generate`, `ceremony execute` and `ceremony reconcile` too; without it this configuration
/// executes no ceremony but revocations.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Executor {
    /// As in `[token]`.
    pub uri: String,
    pub profile: Option<String>,
    pub processes: Option<usize>,
    pub sessions: Option<usize>,
    pub queue_limit: Option<usize>,
    /// `"accepted"` where the token has one PIN for using, generating and destroying, such as SoftHSM: then nothing but this
    /// program keeps a replica from destroying.
    pub same_pin: Option<SamePin>,
    /// Where `chancery executor` answers health and metrics; nowhere when left out. Loopback only.
    pub listen: Option<SocketAddr>,
    /// How often it looks for approved ceremonies where the database does not tell of them.
    #[serde(with = "duration", default = "five_seconds")]
    pub poll: Duration,
    /// How long it has a ceremony without asking again; if it dies, nobody goes on with that ceremony for so long.
    #[serde(with = "duration", default = "two_and_a_half_minutes")]
    pub lease: Duration,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// That the replica's PIN and the executor's are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamePin {
    Accepted,
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn two_and_a_half_minutes() -> Duration {
    Duration::from_secs(150)
}

impl Executor {
    /// Its way to the token.
    pub fn token(&self) -> token::Settings {
        token::Settings {
            uri: self.uri.clone(),
            profile: self.profile.clone(),
            processes: self.processes,
            sessions: self.sessions,
            queue_limit: self.queue_limit.unwrap_or(token::QUEUE_LIMIT),
            environment: self.environment.clone(),
        }
    }

    pub(super) fn validate(&self, profile: Profile) -> Result<(), Invalid> {
        super::token::validate(&self.token(), "executor.uri")?;
        if self.listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            let why = "it must be a loopback address: nobody authenticates there";
            return Err(Invalid::new("executor.listen", why));
        }
        if self.poll.is_zero() {
            return Err(Invalid::new("executor.poll", "must be more than 0s"));
        }
        let least = match profile {
            Profile::Production => SHORTEST_LEASE,
            Profile::Demonstration => Duration::from_secs(1),
        };
        match self.lease >= least {
            true => Ok(()),
            false => Err(Invalid::new(
                "executor.lease",
                format!("must be at least {}", duration::spelled(least)),
            )),
        }
    }

    /// Refuses one PIN for both: whoever takes a replica over would generate and destroy.
    pub fn is_apart_from(
        &self,
        replica: &token::Settings,
        profile: Profile,
    ) -> Result<(), Invalid> {
        let accepted = self.same_pin == Some(SamePin::Accepted) || profile != Profile::Production;
        match accepted || !self.has_pin_of(replica) {
            true => Ok(()),
            false => Err(Invalid::new(
                "executor.uri",
                "its pin-source is that of token.uri: give replicas a PIN that may only use keys, or say executor.same_pin = \"accepted\" where the token has one PIN for all",
            )),
        }
    }

    /// Whether both read one file, by whatever name.
    pub fn has_pin_of(&self, replica: &token::Settings) -> bool {
        match (self.token().pin_file(), replica.pin_file()) {
            (Some(ours), Some(theirs)) => ours == theirs || is_one_file(&ours, &theirs),
            _ => false,
        }
    }
}

fn is_one_file(one: &Path, other: &Path) -> bool {
    let of = |path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((of(one), of(other)), (Ok(one), Ok(other)) if one == other)
}
