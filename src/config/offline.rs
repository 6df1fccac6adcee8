use std::path::Path;

use ::trust::{Name, Pin, Sha256Digest};
use base::settings::Profile;
use serde::Deserialize;

use super::{Error, Executor, lay_over, read};

/// What an executor without database and network reads of a configuration: what it is called, and its way to the token.
/// Other sections are of other machines, and are not looked at.
#[derive(Debug, Clone, Deserialize)]
pub struct Offline {
    profile: Profile,
    service: Named,
    pub executor: Executor,
}

#[derive(Debug, Clone, Deserialize)]
struct Named {
    name: String,
    environment: String,
}

impl Offline {
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let mut table = read(path)?;
        lay_over(&mut table, environment)?;
        let offline: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|error| Error::Shape(Box::new(error)))?;
        offline.executor.validate(offline.profile)?;
        Ok(offline)
    }

    /// Whom it believes: the genesis is typed, and compared with what its custodians recorded.
    pub fn pin(&self, genesis: Sha256Digest) -> Result<Pin, String> {
        let name = |text: &str| text.parse::<Name>().map_err(|e| format!("{text:?}: {e}"));
        Ok(Pin {
            genesis,
            service: name(&self.service.name)?,
            environment: name(&self.service.environment)?,
        })
    }
}
