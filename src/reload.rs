//! What the running service reads again, at SIGHUP and when a file changes: the authorities of time stamps and the filter of
//! the service log. The listener follows its TLS files and the token its PIN file by themselves. Of everything else it is
//! said that it needs a restart. What cannot be used is said, and the old one stays in use.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base::files::{LOOK, Stamp};
use base::signals::Hangup;
use keyring::verification::{Rules, Verification};
use trust::error_chain;

use crate::config::Config;
use crate::telemetry::Filter;

pub struct Reload {
    /// The configuration file, and the variables laid over it.
    pub file: PathBuf,
    pub environment: Vec<(String, String)>,
    /// As it was read at the start, with what was taken over since.
    pub config: Config,
    pub filter: Filter,
    pub verification: Verification,
    pub hangup: Hangup,
}

/// What the files were the last time.
#[derive(PartialEq, Eq)]
struct Seen {
    config: Stamp,
    authorities: Vec<Stamp>,
    witnesses: Option<Stamp>,
}

impl Reload {
    /// Runs without end.
    pub async fn follow(&mut self) {
        let mut seen = self.look();
        loop {
            let told = tokio::select! {
                () = self.hangup.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let found = self.look();
            if told || found.config != seen.config {
                self.configuration();
            }
            // The configuration may name others now.
            let now = self.look();
            if told || now.authorities != seen.authorities {
                self.authorities();
            }
            if seen.witnesses != now.witnesses {
                tracing::warn!("the file of log.witnesses has changed: this needs a restart");
            }
            seen = now;
        }
    }

    fn look(&self) -> Seen {
        let authorities = self.config.verification.timestamp_authorities.iter();
        Seen {
            config: Stamp::of(&self.file),
            authorities: authorities.map(|path| Stamp::of(path)).collect(),
            witnesses: self.config.log.witnesses.as_deref().map(Stamp::of),
        }
    }

    fn configuration(&mut self) {
        let new = match Config::load(&self.file, self.environment.iter().cloned()) {
            Ok(new) => new,
            Err(error) => {
                let error = error_chain(&error);
                tracing::error!(
                    error,
                    "the configuration cannot be used; the old one stays in use"
                );
                return;
            }
        };
        if new.telemetry.filter != self.config.telemetry.filter {
            match self.filter.replace(&new.telemetry.filter) {
                Ok(()) => {
                    tracing::info!(
                        filter = new.telemetry.filter,
                        "the filter of the service log was replaced"
                    );
                    self.config
                        .telemetry
                        .filter
                        .clone_from(&new.telemetry.filter);
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::error!(
                        error,
                        "telemetry.filter cannot be used; the old one stays in use"
                    );
                }
            }
        }
        let others = self.others(&new);
        if !others.is_empty() {
            let sections = others.into_iter().collect::<Vec<_>>().join(", ");
            tracing::warn!(
                sections,
                "changed settings of these sections need a restart"
            );
        }
        self.config.verification = new.verification;
    }

    /// Sections that differ in what is not taken over.
    fn others(&self, new: &Config) -> BTreeSet<String> {
        let kept = |config: &Config| {
            let mut config = config.clone();
            config.verification = self.config.verification.clone();
            config
                .telemetry
                .filter
                .clone_from(&self.config.telemetry.filter);
            toml::Table::try_from(config).unwrap_or_default()
        };
        let (old, new) = (kept(&self.config), kept(new));
        let names = old.keys().chain(new.keys());
        let changed = names.filter(|name| old.get(*name) != new.get(*name));
        changed.cloned().collect()
    }

    fn authorities(&self) {
        match Rules::read(&self.config.verification) {
            Ok(rules) => {
                self.verification.replace_rules(rules);
                let files = self.config.verification.timestamp_authorities.len();
                tracing::info!(files, "the time-stamp authorities were read again");
            }
            Err(error) => {
                let error = error_chain(&error);
                tracing::error!(
                    error,
                    "the time-stamp authorities cannot be used; the old ones stay in use"
                );
            }
        }
    }
}
