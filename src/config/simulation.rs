use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::Env;
use base::settings::{Invalid, Profile};
use serde::{Deserialize, Serialize};

use super::{Config, Service};

/// The one environment whose clock may be simulated.
const ENVIRONMENT: &str = "simulation";

/// Ten years: what the calendar simulates at most.
const MOST_SECONDS: u64 = 3_660 * 86_400;

/// `[simulation]`: a clock that somebody moves. A genesis names its environment and is pinned, so no installation of another
/// environment can be started with it, and one that was is of no other environment afterwards.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// How many seconds all processes of the installation are ahead of the system's clock; without the file none. It is read
    /// whenever the time is asked for, and the clock never goes back.
    pub clock_file: PathBuf,
}

impl Simulation {
    pub(super) fn resolve(&mut self, base: &Path) {
        self.clock_file = base.join(&self.clock_file);
    }

    pub(super) fn validate(&self, service: &Service, profile: Profile) -> Result<(), Invalid> {
        let setting = "simulation.clock_file";
        if service.environment != ENVIRONMENT || profile == Profile::Production {
            let what = format!(
                "a simulated clock needs service.environment = \"{ENVIRONMENT}\" and another profile than production"
            );
            return Err(Invalid::new(setting, what));
        }
        self.read()
            .map(drop)
            .map_err(|what| Invalid::new(setting, what))
    }

    /// Seconds ahead.
    fn read(&self) -> Result<u64, String> {
        let told = |what: &dyn std::fmt::Display| format!("{}: {what}", self.clock_file.display());
        match std::fs::read_to_string(&self.clock_file) {
            Ok(text) => match text.trim().parse() {
                Ok(seconds) if seconds <= MOST_SECONDS => Ok(seconds),
                _ => Err(told(&format!("expected 0 to {MOST_SECONDS} seconds"))),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(told(&error)),
        }
    }

    fn env(self, env: &Env) -> Env {
        let last = Arc::new(AtomicU64::new(0));
        env.ahead(move || {
            // What cannot be read now was checked at the start: the time goes on from where it was.
            let seconds = self.read().unwrap_or(0);
            Duration::from_secs(last.fetch_max(seconds, Ordering::Relaxed).max(seconds))
        })
    }
}

/// The world at the time that the configuration gives it; where that cannot be read whoever needs it says so.
pub fn simulated(path: &Path, environment: &[(String, String)], env: Env) -> Env {
    let config = Config::load(path, environment.iter().cloned()).ok();
    match config.and_then(|config| config.simulation) {
        Some(simulation) => simulation.env(&env),
        None => env,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trust::Time;

    fn service(environment: &str) -> Service {
        Service {
            name: "chancery".to_owned(),
            environment: environment.to_owned(),
            issuer: "http://127.0.0.1:1".to_owned(),
            history_ring: None,
        }
    }

    #[test]
    fn threat_a_simulated_clock_outside_of_a_simulation() {
        let directory = tempfile::tempdir().unwrap();
        let simulation = Simulation {
            clock_file: directory.path().join("clock"),
        };
        let of = |environment, profile| simulation.validate(&service(environment), profile);
        assert!(of("simulation", Profile::Demonstration).is_ok());
        assert!(of("simulation", Profile::Production).is_err());
        assert!(of("production", Profile::Demonstration).is_err());
        std::fs::write(&simulation.clock_file, "-1").unwrap();
        let refused = of("simulation", Profile::Demonstration).unwrap_err();
        assert!(refused.to_string().contains("seconds"), "{refused}");
    }

    #[test]
    fn a_simulated_clock_goes_on_and_never_back() {
        let directory = tempfile::tempdir().unwrap();
        let clock_file = directory.path().join("clock");
        let env = Env::new(|| Time::from_millis(500), |_| Ok(()));
        let env = Simulation {
            clock_file: clock_file.clone(),
        }
        .env(&env);
        assert_eq!(env.now(), Time::from_millis(500));
        std::fs::write(&clock_file, "60\n").unwrap();
        assert_eq!(env.now(), Time::from_millis(60_500));
        for earlier in ["30", "", "soon"] {
            std::fs::write(&clock_file, earlier).unwrap();
            assert_eq!(env.now(), Time::from_millis(60_500), "{earlier:?}");
        }
    }
}
