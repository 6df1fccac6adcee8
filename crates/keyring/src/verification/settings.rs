use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trust::{Algorithm, Time};

/// `[verification]`: what verdicts rest on besides the keys and the log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// PEM files with the certificates of RFC 3161 time stamp authorities that are trusted, or of
    /// those that issue to them; relative to the configuration file. Revocation of a certificate is
    /// not looked up: an authority that is not trusted any more is taken out of here.
    pub timestamp_authorities: Vec<PathBuf>,
    /// Algorithms that are not sound any more, each with the instant since when: a signature has
    /// to have existed before, `{ RS256 = "2035-01-01T00:00:00.000Z" }`.
    pub withdrawn: BTreeMap<Algorithm, Time>,
}

impl Settings {
    pub fn resolve(&mut self, base: &Path) {
        for path in &mut self.timestamp_authorities {
            if path.is_relative() {
                *path = base.join(&*path);
            }
        }
    }
}
