//! The command line: `--only id,id`, `--quick`, `--soak SECONDS`, and the sub-modes that run as children.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub struct Arguments {
    pub mode: Mode,
    only: Vec<String>,
    /// Short windows: to see that everything runs, not to quote.
    pub quick: bool,
    /// How long the soak lasts.
    pub soak: Duration,
}

pub enum Mode {
    Measure,
    /// The bare token in a process of its own, so that its CPU is counted alone.
    RawSign(Bare),
    RawVerify,
}

/// What a bare signer needs to know. The PIN is in a file.
pub struct Bare {
    pub module: PathBuf,
    pub pin: PathBuf,
    pub token: String,
    pub label: String,
    pub scheme: String,
    pub sessions: usize,
}

impl Arguments {
    pub fn parse(given: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self {
            mode: Mode::Measure,
            only: Vec::new(),
            quick: false,
            soak: Duration::from_secs(60),
        };
        let mut given = given;
        while let Some(argument) = given.next() {
            let mut value = || {
                given
                    .next()
                    .with_context(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                // What cargo itself appends.
                "--bench" => {}
                "--quick" => arguments.quick = true,
                "--only" => arguments
                    .only
                    .extend(value()?.split(',').map(str::to_owned)),
                "--soak" => arguments.soak = Duration::from_secs(value()?.parse()?),
                "raw-verify" => arguments.mode = Mode::RawVerify,
                "raw-sign" => {
                    arguments.mode = Mode::RawSign(Bare {
                        module: value()?.into(),
                        pin: value()?.into(),
                        token: value()?,
                        label: value()?,
                        scheme: value()?,
                        sessions: value()?.parse()?,
                    });
                }
                _ => bail!("{argument} is not known; --only id,id, --soak SECONDS and --quick are"),
            }
        }
        Ok(arguments)
    }

    /// Whether one of these ids is to be measured, which some are only if they are named.
    pub fn wants(&self, ids: &[&str], named_only: bool) -> bool {
        self.only.is_empty() && !named_only
            || ids.iter().any(|id| self.only.iter().any(|only| only == id))
    }

    pub fn repetitions(&self) -> usize {
        if self.quick { 2 } else { 5 }
    }

    /// One stretch of measuring. CPU is counted in hundredths of a second, so it cannot be much shorter.
    pub fn window(&self) -> Duration {
        Duration::from_millis(if self.quick { 500 } else { 3_000 })
    }
}
