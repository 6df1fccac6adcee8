use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::Database;

use base::settings::{Invalid, Profile, Secret};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;

/// `[store]`: `sqlite:PATH` (relative to the configuration file) or `postgres://user@host/db`,
/// the password apart from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub url: String,
    pub password: Option<Secret>,
    /// Connections to PostgreSQL: half of them for what anybody may ask, and one more for its notices.
    #[serde(default = "connections")]
    pub connections: u32,
}

fn connections() -> u32 {
    10
}

impl Settings {
    /// The SQLite file, or nothing on PostgreSQL.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        self.url.strip_prefix("sqlite:").map(PathBuf::from)
    }

    pub fn resolve(&mut self, base: &Path) {
        if let Some(path) = self.sqlite_path()
            && path.is_relative()
        {
            self.url = format!("sqlite:{}", base.join(path).display());
        }
    }

    pub fn validate(&self, profile: Profile) -> Result<(), Invalid> {
        if self.sqlite_path().is_none() {
            let url = postgres(&self.url).map_err(|problem| Invalid::new("store.url", problem))?;
            if url.password().is_some() {
                return Err(Invalid::new(
                    "store.url",
                    "must not hold the password: use store.password = { file = \"…\" }",
                ));
            }
        }
        match &self.password {
            Some(Secret::Inline(_)) if profile == Profile::Production => Err(Invalid::new(
                "store.password",
                "must be { file = \"…\" } or { env = \"…\" } in the production profile",
            )),
            _ => Ok(()),
        }
    }

    /// What to connect to; `variable` looks a variable of the environment up.
    pub fn database(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Database, String> {
        if let Some(path) = self.sqlite_path() {
            return Ok(Database::Sqlite { path });
        }
        let mut url = postgres(&self.url).map_err(|problem| format!("store.url: {problem}"))?;
        if let Some(secret) = &self.password {
            let password = secret.read(variable)?;
            // `Url` leaves a percent sign as it is; the password may hold one.
            let password = utf8_percent_encode(password.expose_secret(), NON_ALPHANUMERIC);
            url.set_password(Some(&password.to_string()))
                .map_err(|()| "store.url: there is no host that a password could be for")?;
        }
        Ok(Database::Postgres {
            url: String::from(url).into(),
            connections: self.connections,
        })
    }
}

fn postgres(url: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).ok();
    parsed
        .filter(|url| url.scheme() == "postgres")
        .ok_or_else(|| "expected sqlite:PATH or postgres://user@host/database".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, password: Option<&str>) -> Settings {
        Settings {
            url: url.to_owned(),
            password: password.map(|password| Secret::Inline(password.into())),
            connections: 1,
        }
    }

    fn connects_to(url: &str, password: Option<&str>) -> String {
        match settings(url, password).database(|_| None) {
            Ok(Database::Postgres { url, .. }) => url.expose_secret().to_owned(),
            Ok(Database::Sqlite { path }) => path.display().to_string(),
            Err(problem) => problem,
        }
    }

    #[test]
    fn a_password_becomes_part_of_the_url_whatever_is_in_it() {
        let told = connects_to(
            "postgres://ada@db.example:5433/keys?sslmode=require",
            Some("a/b@c:%d é"),
        );
        assert_eq!(
            told,
            "postgres://ada:a%2Fb%40c%3A%25d%20%C3%A9@db.example:5433/keys?sslmode=require"
        );
        let read = Url::parse(&told).unwrap();
        assert_eq!(read.host_str(), Some("db.example"));
        assert_eq!(
            connects_to("postgres://ada@[::1]/keys", None),
            "postgres://ada@[::1]/keys"
        );
        assert_eq!(connects_to("sqlite:/a/b.db", None), "/a/b.db");
        assert!(connects_to("postgres:keys", Some("x")).contains("no host"));
    }

    #[test]
    fn what_is_no_database_and_what_holds_a_password_is_refused() {
        for (url, why) in [
            ("mysql://a@b/c", "expected sqlite:PATH"),
            ("keys.db", "expected sqlite:PATH"),
            ("postgres://a:secret@b/c", "must not hold the password"),
        ] {
            let refused = settings(url, None)
                .validate(Profile::Production)
                .unwrap_err();
            assert!(refused.to_string().contains(why), "{url}: {refused}");
            assert!(!refused.to_string().contains("secret@"), "{refused}");
        }
        for url in ["sqlite:keys.db", "postgres://a@b/c"] {
            settings(url, None).validate(Profile::Production).unwrap();
        }
        let inline = settings("postgres://a@b/c", Some("x"));
        assert!(inline.validate(Profile::Production).is_err());
        inline.validate(Profile::Demonstration).unwrap();
    }
}
