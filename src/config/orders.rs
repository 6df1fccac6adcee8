use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the executor of standing orders needs beside the token.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Orders {
    /// The executor's SSH key, with which it signs what it makes under a standing order: a private key file, or a public
    /// one whose private half an agent or a hardware key holds. Only on the executor's machine.
    pub result_key: Option<PathBuf>,
}

impl Orders {
    pub(super) fn resolve(&mut self, base: &Path) {
        if let Some(key) = &mut self.result_key {
            *key = base.join(&key);
        }
    }
}
