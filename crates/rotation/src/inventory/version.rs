//! Versions of assets as they are shown.

use serde::Serialize;
use store::{ExternalVersionRow, KeyRow};
use trust::Time;

/// One version of an asset, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionView {
    pub version: u32,
    pub state: &'static str,
    pub created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Who said so; of a ring's key nobody, because its transcript does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_by: Option<String>,
    /// Of a ring's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
}

impl From<ExternalVersionRow> for VersionView {
    fn from(row: ExternalVersionRow) -> Self {
        Self {
            version: row.number,
            state: row.state.as_str(),
            created_at: row.created_at,
            rotated_at: row.rotated_at,
            expires_at: row.expires_at,
            reported_by: Some(row.reported_by),
            kid: None,
        }
    }
}

impl From<KeyRow> for VersionView {
    fn from(row: KeyRow) -> Self {
        Self {
            version: row.number,
            state: row.status.as_str(),
            created_at: row.published_at,
            rotated_at: row.activated_at,
            expires_at: None,
            reported_by: None,
            kid: Some(row.kid.as_str().to_owned()),
        }
    }
}
