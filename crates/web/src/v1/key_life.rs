//! A key's state as it is written in answers.

use serde::Serialize;
use trust::Time;
use trust::request::RevocationReason;
use utoipa::ToSchema;

use keyring::keys::Key;

/// State of a key, with the instants that exist in that state.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Life {
    /// `prepared`, `active`, `retired`, `archived` or `revoked`.
    pub state: &'static str,
    /// While active: `primary` signs; `secondary` was primary before and no longer signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub activated_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub demoted_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retired_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archived_at: Option<Time>,
    /// Since when it is in no key set any more: its ring's keys are published for a time after their end. Its signatures
    /// are verified as before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub unpublished_at: Option<Time>,
    /// No signature made after this instant is genuine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Revocation {
    /// `unspecified`, `compromised` or `superseded`.
    pub reason: &'static str,
    #[schema(value_type = String, format = DateTime)]
    pub revoked_at: Time,
    /// With `compromised`: the earliest instant at which an unauthorised party may have signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub compromised_since: Option<Time>,
    /// Log index of the revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_index: Option<i64>,
}

pub fn life(key: &Key) -> Life {
    let state = &key.state;
    let life = state.life();
    Life {
        state: state.word(),
        role: state.can_sign().then(|| {
            if state.is_primary() {
                "primary"
            } else {
                "secondary"
            }
        }),
        activated_at: life.activated_at,
        demoted_at: life.demoted_at,
        retired_at: life.retired_at,
        archived_at: life.archived_at,
        unpublished_at: key.unpublished_at,
        ended_at: state.ended_at(),
        revocation: life.revocation.map(|revocation| Revocation {
            reason: match revocation.reason {
                RevocationReason::Unspecified => "unspecified",
                RevocationReason::Compromised => "compromised",
                RevocationReason::Superseded => "superseded",
            },
            revoked_at: revocation.revoked_at,
            compromised_since: revocation.compromised_since,
            log_index: key.revocation_log_index,
        }),
    }
}
