use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{Database, Store};

use base::settings::{Invalid, Profile, Secret, is_loopback};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
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
    /// By how much the clocks of this machine, of the database and of the log's latest leaf may differ before
    /// nothing is written: 100 to 60 000 ms.
    #[serde(default = "clock_tolerance")]
    pub clock_tolerance_ms: u64,
    /// By what a PostgreSQL server is told from one that has taken its place.
    #[serde(default)]
    pub identity: Identity,
    /// What is asked of a connection to PostgreSQL on another machine in the production profile.
    #[serde(default)]
    pub tls: Tls,
}

/// How a PostgreSQL server on another machine must be reached; the modes are those of `sslmode` in the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// `verify-full` or `verify-ca`.
    #[default]
    Verified,
    /// `require` will do: somebody on the way can pretend to be the server.
    Unverified,
    /// Any mode: somebody on the way can read and change everything.
    None,
}

/// By what a server is told from the one that takes its place after a fail-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// By its system identifier, the timeline of its WAL and how far it has written.
    #[default]
    Server,
    /// By an index that is given out again. For managed servers that forbid the functions that say the rest.
    IndexOnly,
}

fn clock_tolerance() -> u64 {
    2_000
}

fn connections() -> u32 {
    10
}

impl Settings {
    /// The SQLite file, or nothing on PostgreSQL.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        self.url.strip_prefix("sqlite:").map(PathBuf::from)
    }

    /// A store as these settings want it.
    pub fn apply(&self, store: Store) -> Store {
        match self.identity {
            Identity::Server => store,
            Identity::IndexOnly => store.by_index_only(),
        }
    }

    pub fn clock_tolerance(&self) -> Duration {
        Duration::from_millis(self.clock_tolerance_ms)
    }

    pub fn resolve(&mut self, base: &Path) {
        if let Some(path) = self.sqlite_path()
            && path.is_relative()
        {
            self.url = format!("sqlite:{}", base.join(path).display());
        }
    }

    pub fn validate(&self, profile: Profile) -> Result<(), Invalid> {
        if !(100..=60_000).contains(&self.clock_tolerance_ms) {
            let problem = "expected 100 to 60000 milliseconds";
            return Err(Invalid::new("store.clock_tolerance_ms", problem));
        }
        if self.sqlite_path().is_none() {
            let url = postgres(&self.url).map_err(|problem| Invalid::new("store.url", problem))?;
            if url.password().is_some() || parameter(&url, &["password"]).is_some() {
                return Err(Invalid::new(
                    "store.url",
                    "must not hold the password: use store.password = { file = \"…\" }",
                ));
            }
            if profile == Profile::Production && !is_local(&url) {
                self.validate_tls(&url)?;
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

    /// The driver's default is `prefer`: TLS unless somebody on the way says that there is none.
    fn validate_tls(&self, url: &Url) -> Result<(), Invalid> {
        let mode = parameter(url, &["sslmode", "ssl-mode"]).unwrap_or_default();
        let verified = ["verify-full", "verify-ca"];
        let enough = match self.tls {
            Tls::Verified => verified.contains(&mode.as_str()),
            Tls::Unverified => verified.contains(&mode.as_str()) || mode == "require",
            Tls::None => true,
        };
        if enough {
            return Ok(());
        }
        Err(Invalid::new(
            "store.url",
            "the server is not named as one on this machine, so the URL must say \
             ?sslmode=verify-full&sslrootcert=FILE; store.tls = \"unverified\" allows sslmode=require, and \
             store.tls = \"none\" allows connections that somebody on the way can read and change",
        ))
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

/// The last value of a parameter of the URL, in lower case; the driver takes the last too.
fn parameter(url: &Url, names: &[&str]) -> Option<String> {
    let named = url
        .query_pairs()
        .filter(|(name, _)| names.contains(&&**name));
    named.last().map(|(_, value)| value.to_lowercase())
}

/// Whether the driver connects to this machine: by a socket, or by an address that only leads here. Without a host
/// the environment of the process decides, so that is not known here.
fn is_local(url: &Url) -> bool {
    let named = parameter(url, &["host", "hostaddr"]);
    let in_url = url.host_str().filter(|host| !host.is_empty());
    let in_url = in_url.map(|host| percent_decode_str(host).decode_utf8_lossy().into_owned());
    named
        .or(in_url)
        .is_some_and(|host| host.starts_with('/') || is_loopback(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, password: Option<&str>) -> Settings {
        Settings {
            url: url.to_owned(),
            password: password.map(|password| Secret::Inline(password.into())),
            connections: 1,
            clock_tolerance_ms: clock_tolerance(),
            identity: Identity::Server,
            tls: Tls::default(),
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
            (
                "postgres://a@b/c?password=secret",
                "must not hold the password",
            ),
        ] {
            let refused = settings(url, None)
                .validate(Profile::Production)
                .unwrap_err();
            assert!(refused.to_string().contains(why), "{url}: {refused}");
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
        for url in ["sqlite:keys.db", "postgres://a@localhost/c"] {
            settings(url, None).validate(Profile::Production).unwrap();
        }
        let inline = settings("postgres://a@127.0.0.1/c", Some("x"));
        assert!(inline.validate(Profile::Production).is_err());
        inline.validate(Profile::Demonstration).unwrap();
    }

    #[test]
    fn case_w7_a_remote_database_is_reached_by_tls() {
        let accepted = |url: &str, tls, profile| {
            Settings {
                tls,
                ..settings(url, None)
            }
            .validate(profile)
        };
        let local = [
            "postgres://a@127.0.0.1/c",
            "postgres://a@127.9.9.9/c?sslmode=disable",
            "postgres://a@[::1]:5433/c",
            "postgres://a@LOCALHOST/c",
            "postgres://a@%2Frun%2Fpostgresql/c",
            "postgres:///c?host=/run/postgresql",
            "postgres://db.example/c?hostaddr=127.0.0.1",
        ];
        for url in local {
            accepted(url, Tls::Verified, Profile::Production)
                .unwrap_or_else(|e| panic!("{url}: {e}"));
        }
        // By URL: verified, unverified, none.
        for (url, expected) in [
            ("postgres://a@db.example/c", [false, false, true]),
            (
                "postgres://a@10.0.0.1/c?sslmode=prefer",
                [false, false, true],
            ),
            (
                "postgres://a@db.example/c?sslmode=require",
                [false, true, true],
            ),
            (
                "postgres://a@db.example/c?ssl-mode=VERIFY-CA",
                [true, true, true],
            ),
            (
                "postgres://a@db.example/c?sslmode=verify-full",
                [true, true, true],
            ),
            (
                "postgres://a@db.example/c?sslmode=verify-full&sslmode=disable",
                [false, false, true],
            ),
            (
                "postgres://a@127.0.0.1/c?host=db.example",
                [false, false, true],
            ),
            ("postgres://a@localhost.example/c", [false, false, true]),
            ("postgres:///c", [false, false, true]),
        ] {
            let levels = [Tls::Verified, Tls::Unverified, Tls::None];
            for (tls, expected) in levels.into_iter().zip(expected) {
                let found = accepted(url, tls, Profile::Production);
                assert_eq!(found.is_ok(), expected, "{url} {tls:?}");
                if let Err(refused) = found {
                    assert!(
                        refused.to_string().contains("sslmode=verify-full"),
                        "{refused}"
                    );
                }
            }
            accepted(url, Tls::Verified, Profile::Demonstration).unwrap();
        }
    }
}
