//! What a message says of an alert.

use serde::{Deserialize, Serialize};

/// What is told of an alert beside what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertFacts {
    /// None of many that are told together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The rule.
    pub name: String,
    pub severity: String,
    /// The page that says what to do.
    pub runbook: String,
    /// What to type first.
    pub next: String,
    /// Of one that climbed: the level that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}
