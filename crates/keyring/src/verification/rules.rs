//! What the configuration says about verdicts, read once at the start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use trust::timestamp::{Authorities, TimestampError};
use trust::verdict::Withdrawn;
use trust::{Algorithm, Time};

use super::settings::Settings;

/// Who is believed about time, and which algorithms are not sound any more.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub(super) authorities: Authorities,
    withdrawn: BTreeMap<Algorithm, Time>,
}

#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("verification.timestamp_authorities: cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("verification.timestamp_authorities: {path}")]
    Certificates {
        path: PathBuf,
        #[source]
        source: TimestampError,
    },
}

impl Rules {
    pub fn read(settings: &Settings) -> Result<Self, RulesError> {
        let mut authorities = Authorities::default();
        for path in &settings.timestamp_authorities {
            let pem = std::fs::read(path).map_err(|source| RulesError::Read {
                path: path.clone(),
                source,
            })?;
            authorities
                .add_pem(&pem)
                .map_err(|source| RulesError::Certificates {
                    path: path.clone(),
                    source,
                })?;
        }
        Ok(Self {
            authorities,
            withdrawn: settings.withdrawn.clone(),
        })
    }

    /// Who is believed about time, and until when their certificates are valid.
    pub fn expiries(&self) -> impl Iterator<Item = (String, Time)> {
        self.authorities.expiries()
    }

    pub(super) fn withdrawn(&self, algorithm: Algorithm) -> Option<Withdrawn> {
        let at = *self.withdrawn.get(&algorithm)?;
        Some(Withdrawn { at })
    }
}
