//! A small witness (c2sp.org/tlog-witness): it cosigns a log's checkpoint if the log has only grown
//! since the last one, and remembers that before it answers. One process, one directory.

mod command;
mod key;
mod server;
mod state;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::cosignature;
use trust::tlog::note::{Note, NoteSignature, VerifierKey};
use trust::tlog::witness::{AddCheckpoint, Refusal, Seen, decide};
use trust::{Sha256Digest, Time};

pub use command::{Command, CommandError, Made, New, Serve};
pub use key::WitnessKey;
pub use server::{ServeError, serve};
pub use state::Error as StateError;
use state::State;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The protocol's own no, with its status.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing is cosigned that cannot be remembered.
    #[error(transparent)]
    State(#[from] StateError),
    /// What was remembered was not written by this witness: going on could roll a log back.
    #[error(
        "the stored state of {origin:?} is not a checkpoint signed by this witness and the log"
    )]
    Foreign { origin: String },
    #[error("the system clock is out of the range that can be cosigned")]
    Clock(#[source] cosignature::CosignatureError),
}

/// A witness with its key, its memory and the logs that it knows.
pub struct Witness {
    key: WitnessKey,
    logs: Vec<VerifierKey>,
    state: State,
    /// One lock for each origin, held from the look at the state until it is written: of two
    /// requests the later one must not be answered with the state of before.
    turns: BTreeMap<String, Mutex<()>>,
}

impl Witness {
    /// `logs` are the keys of the logs; several may bear the same origin.
    pub fn open(
        key: WitnessKey,
        directory: &Path,
        logs: Vec<VerifierKey>,
    ) -> Result<Self, StateError> {
        let turn = |log: &VerifierKey| (log.name().to_owned(), Mutex::default());
        Ok(Self {
            turns: logs.iter().map(turn).collect(),
            state: State::open(directory)?,
            key,
            logs,
        })
    }

    pub fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// `add-checkpoint`: the cosignature's line. Blocks on the disk.
    pub fn add(&self, body: &[u8], now: Time) -> Result<NoteSignature, Error> {
        let request = AddCheckpoint::parse(body).map_err(Refusal::BadRequest)?;
        let origin = request.unverified_origin().to_owned();
        let Some(turn) = self.turns.get(&origin) else {
            decide(None, &request, &self.logs)?;
            return Err(Refusal::UnknownLog(origin).into());
        };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);

        let seen = self.seen(&origin)?;
        // What it returns is what the cosigned note says, which is what is kept.
        decide(seen.as_ref(), &request, &self.logs)?;
        let line = self.key.cosign(&request.note.text, now)?;
        let theirs = request.note.signatures.iter();
        let by_log = |line: &&NoteSignature| self.is_of_log(&origin, line);
        let kept = Note {
            signatures: theirs.filter(by_log).chain([&line]).cloned().collect(),
            text: request.note.text.clone(),
        };
        // If we die before it, nothing was answered; after it, the log asks again and is told
        // where we stand.
        self.state.write(&origin, &kept.to_string())?;
        Ok(line)
    }

    /// The last checkpoint that was cosigned of the log whose origin has this SHA-256, in hex.
    pub fn checkpoint(&self, origin_hash: &str) -> Result<Option<String>, Error> {
        let known = self.turns.keys();
        let origin = known.into_iter().find(|origin| name(origin) == origin_hash);
        match origin {
            Some(origin) => Ok(self.kept(origin)?.map(|note| note.to_string())),
            None => Ok(None),
        }
    }

    fn seen(&self, origin: &str) -> Result<Option<Seen>, Error> {
        let Some(note) = self.kept(origin)? else {
            return Ok(None);
        };
        let checkpoint = Checkpoint::parse(&note.text).ok();
        let seen = |checkpoint: Checkpoint| Seen {
            size: checkpoint.size,
            root: checkpoint.root,
        };
        let foreign = || Error::Foreign {
            origin: origin.to_owned(),
        };
        checkpoint.map(seen).map(Some).ok_or_else(foreign)
    }

    /// Signed by us or by the log, so that a bit that flipped is not taken for a fork.
    fn kept(&self, origin: &str) -> Result<Option<Note>, Error> {
        let Some(text) = self.state.read(origin)? else {
            return Ok(None);
        };
        let vouched = |note: &Note| {
            let ours = cosignature::verify(note, self.key.verifier());
            let named = Checkpoint::parse(&note.text).is_ok_and(|c| c.origin == origin);
            named && (matches!(ours, Some(Ok(_))) || checkpoint::open(note, &self.logs).is_ok())
        };
        match Note::parse(text.as_bytes()) {
            Ok(note) if vouched(&note) => Ok(Some(note)),
            _ => Err(Error::Foreign {
                origin: origin.to_owned(),
            }),
        }
    }

    fn is_of_log(&self, origin: &str, line: &NoteSignature) -> bool {
        let mut keys = self.logs.iter().filter(|key| key.name() == origin);
        keys.any(|key| key.name() == line.name && key.id() == line.id)
    }
}

/// What the protocol, and the state's directory, call a log.
fn name(origin: &str) -> String {
    Sha256Digest::of(origin.as_bytes()).to_string()
}
