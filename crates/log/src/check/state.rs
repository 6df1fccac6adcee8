//! How far a check came without a finding, in a file. What makes it trustworthy is the signed checkpoint in it: the next
//! check verifies its signature, finds the same checkpoint in the database, and rebuilds the edge of the tree from the
//! stored tiles, which has to lead to the roots that are signed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use trust::log_clock::Clock;
use trust::{Kid, Sha256Digest, Time};

use super::leaves::Seal;

/// Of this form.
const VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub v: u32,
    pub genesis: Sha256Digest,
    pub origin: String,
    /// The last checkpoint that was verified with all leaves below it.
    pub size: i64,
    pub root: Sha256Digest,
    /// Its text with the log's signature.
    pub note: String,
    pub mark: Mark,
    /// When the check came so far.
    pub time: Time,
}

/// What is known of the leaves below a place, which is the first leaf of a tile.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub from: i64,
    pub clock: Clock,
    pub corrected: Clock,
    pub checkpoints: u64,
    pub next_checkpoint: i64,
    pub signed_up_to: BTreeMap<Kid, i64>,
    /// Of the leaves before each act on the log.
    pub roots: BTreeMap<i64, Sha256Digest>,
    pub unknown: BTreeMap<String, usize>,
    /// Which acts there are.
    pub seal: Seal,
    /// Where the acts are by which times are corrected.
    pub log_acts: Vec<i64>,
}

impl State {
    pub fn new(genesis: Sha256Digest, origin: &str, mark: Mark, time: Time) -> Self {
        Self {
            v: VERSION,
            genesis,
            origin: origin.to_owned(),
            size: 0,
            root: trust::tlog::merkle::empty_root(),
            note: String::new(),
            mark,
            time,
        }
    }

    /// None where there is none; the reason where it is of no use.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let state: Self = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        match state.v == VERSION {
            true => Ok(Some(state)),
            false => Err(format!("it is of version {}", state.v)),
        }
    }

    /// Whole or not at all.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let new = path.with_extension("new");
        // Made anew: what a link of this name points at is somebody else's.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(new, path)
    }
}
