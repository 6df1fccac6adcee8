use serde::{Deserialize, Serialize};

use base::settings::Invalid;

/// `[service]`: the name under which approvals are given. An approval for one service and
/// environment is worthless in any other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: String,
    pub environment: String,
    /// `iss` of the signed key history; the public base URL of this service.
    pub issuer: String,
    /// The ring that signs the key history (`/v1/keys/history`).
    pub history_ring: Option<String>,
}

impl Service {
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        for (setting, value) in [
            ("service.name", &self.name),
            ("service.environment", &self.environment),
        ] {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if value.is_empty() || value.len() > 40 || !value.chars().all(plain) {
                return Err(Invalid::new(
                    setting,
                    "expected 1 to 40 lower-case letters, digits or hyphens",
                ));
            }
        }
        if self.history_ring.as_deref() == Some(::trust::LOG_RING) {
            return Err(Invalid::new(
                "service.history_ring",
                "the ring \"log\" is reserved for checkpoints",
            ));
        }
        Ok(())
    }
}
