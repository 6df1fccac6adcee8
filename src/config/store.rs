use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use base::settings::{Invalid, Profile, Secret};

/// `[store]`: `sqlite:PATH` (relative to the configuration file) or `postgres://user@host/db`,
/// the password apart from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub url: String,
    pub password: Option<Secret>,
    /// Connections to PostgreSQL.
    #[serde(default = "connections")]
    pub connections: u32,
}

fn connections() -> u32 {
    10
}

impl Store {
    /// The SQLite file, or nothing on PostgreSQL.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        self.url.strip_prefix("sqlite:").map(PathBuf::from)
    }

    pub(super) fn resolve(&mut self, base: &Path) {
        if let Some(path) = self.sqlite_path()
            && path.is_relative()
        {
            self.url = format!("sqlite:{}", base.join(path).display());
        }
    }

    pub(super) fn validate(&self, profile: Profile) -> Result<(), Invalid> {
        let postgres = self.url.strip_prefix("postgres://");
        if self.sqlite_path().is_none() && postgres.is_none() {
            return Err(Invalid::new(
                "store.url",
                "expected sqlite:PATH or postgres://…",
            ));
        }
        let authority = postgres.and_then(|rest| rest.split('/').next());
        if authority.is_some_and(|a| {
            a.rsplit_once('@')
                .is_some_and(|(user, _)| user.contains(':'))
        }) {
            return Err(Invalid::new(
                "store.url",
                "must not contain the password: use store.password = { file = \"…\" }",
            ));
        }
        match &self.password {
            Some(Secret::Inline(_)) if profile == Profile::Production => Err(Invalid::new(
                "store.password",
                "must be { file = \"…\" } or { env = \"…\" } in the production profile",
            )),
            _ => Ok(()),
        }
    }
}
