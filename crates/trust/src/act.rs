//! One act of the log, and its place.

use serde::{Deserialize, Serialize};

use crate::leaf::ActLeaf;

/// An act and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    pub index: i64,
    pub leaf: ActLeaf,
}

impl Act {
    /// The code of a finding that it rests on no ceremony, of an act on the log.
    pub fn code(&self) -> &'static str {
        match self.leaf.action.as_str() {
            "new-origin" => "origin",
            _ => "correction",
        }
    }
}
