//! The witnesses of the policy, asked beside the integrator: each by a task of its own, so that a
//! slow one delays nobody. What they cosign goes into the database; the integrator publishes it.
//!
//! A witness also remembers what this database may have forgotten. It is not believed for it: it
//! shows the checkpoint that it cosigned last, and if the log's own key signed that, the log is
//! older than it was, or forked, and must not go on. A witness's bare word that it saw more counts
//! only if a second one says so too (or there is no second one), because whoever could stop the
//! log alone would be its master. The same goes for a 422: without such a checkpoint it is a
//! failure of that witness, loud and counted.

mod alarm;
pub(super) mod remote;
mod waits;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::note::{MAX_SIGNATURES, Note, NoteError, NoteSignature};
use trust::tlog::policy::{PolicyError, WitnessPolicy};
use trust::tlog::witness::AddCheckpoint;

use super::integrator::verifier_keys;
use super::published::Published;
use super::settings::Missing;
use super::signer::CheckpointSigner;
use super::tiles::{self, Tiles};
use base::names;
use base::{Env, Tasks};
use store::{CheckpointRow, Store};
use trust::error_chain;

pub use alarm::Findings;
use alarm::{Alarm, Finding};
use remote::{Answer, Remote};
pub use waits::Waits;

/// Pause after a first failure; doubled up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Witnesses that record at the same moment, before something else is wrong.
const CONFLICTS: usize = 64;

/// The policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("log.witnesses: {path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("log.witnesses: {path}")]
    Policy {
        path: PathBuf,
        #[source]
        source: PolicyError,
    },
    #[error("log.witnesses: the witness {name}")]
    Remote {
        name: String,
        #[source]
        source: remote::Error,
    },
    #[error(
        "log.witnesses: the witnesses that have a URL cannot complete the quorum, so signing would \
         wait for ever: add the URLs, or set log.witnesses_missing = \"go-on\""
    )]
    NoQuorum,
    #[error(
        "log.witnesses: a checkpoint holds at most {MAX_SIGNATURES} signatures, including the log's own"
    )]
    TooMany,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Remote(#[from] remote::Error),
    #[error("the log's database cannot be read or written")]
    Store(#[from] store::Error),
    #[error(transparent)]
    Tiles(#[from] tiles::Error),
    #[error("the log's own checkpoint cannot be parsed")]
    Own(#[source] NoteError),
    #[error("the witness reports the log as inconsistent from {old} to {new} leaves")]
    Inconsistent { old: u64, new: u64 },
    #[error("the witness reports {seen} leaves; the database has {known}")]
    Ahead { seen: u64, known: u64 },
    #[error("the witness refuses the checkpoint of {0} leaves: it knows another of that size")]
    Another(u64),
    #[error("the witness reports contradictory tree sizes")]
    Undecided,
}

impl Error {
    fn why(&self) -> &'static str {
        match self {
            Self::Remote(error) => error.why(),
            Self::Store(_) | Self::Tiles(_) | Self::Own(_) => "own",
            Self::Inconsistent { .. } | Self::Another(_) => "inconsistent",
            Self::Ahead { .. } => "ahead",
            Self::Undecided => "answer",
        }
    }
}

/// The policy of a configuration's file; without one nobody is asked.
pub fn read_policy(path: Option<&Path>) -> Result<Option<Arc<WitnessPolicy>>, SettingsError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let policy = WitnessPolicy::parse(&text).map_err(|source| SettingsError::Policy {
        path: path.to_owned(),
        source,
    })?;
    if policy.witnesses().len() >= MAX_SIGNATURES {
        return Err(SettingsError::TooMany);
    }
    Ok(Some(Arc::new(policy)))
}

/// What every witness's task shares.
pub struct Shared {
    pub store: Store,
    pub tiles: Tiles,
    pub signer: Arc<dyn CheckpointSigner>,
    pub env: Env,
    pub origin: String,
    pub heartbeat: Duration,
    pub published: watch::Receiver<Published>,
}

/// The tasks, and what they found.
pub struct Witnesses {
    asking: Vec<Asking>,
    findings: Arc<watch::Sender<Findings>>,
    news: Arc<Notify>,
}

impl Witnesses {
    pub fn new(
        policy: Option<&WitnessPolicy>,
        missing: Missing,
        timeout: Duration,
        shared: Shared,
    ) -> Result<Self, SettingsError> {
        if let Some(policy) = policy
            && missing != Missing::GoOn
            && !policy.complete_with(|witness| witness.url.is_some())
        {
            return Err(SettingsError::NoQuorum);
        }
        let shared = Arc::new(shared);
        let mut remotes = Vec::new();
        for witness in policy.map(WitnessPolicy::witnesses).unwrap_or_default() {
            let Some(url) = &witness.url else {
                tracing::warn!(
                    witness = witness.name,
                    "not queried: the policy has no URL for it"
                );
                continue;
            };
            let remote = Remote::new(witness.key.clone(), url, timeout);
            let remote = remote.map_err(|source| SettingsError::Remote {
                name: witness.name.clone(),
                source,
            })?;
            remotes.push((witness.name.clone(), remote));
        }
        let names = remotes.iter().map(|(name, _)| name.as_str());
        let (findings, _) = watch::channel(Findings::new(names));
        let (findings, news) = (Arc::new(findings), Arc::new(Notify::new()));
        let asking = remotes
            .into_iter()
            .enumerate()
            .map(|(place, (name, remote))| Asking {
                place,
                name,
                remote,
                shared: shared.clone(),
                findings: findings.clone(),
                news: news.clone(),
                known: 0,
                greeted: false,
                asked: -1,
                evidence: None,
                failures: 0,
                last: Instant::now(),
            });
        Ok(Self {
            asking: asking.collect(),
            findings,
            news,
        })
    }

    pub fn findings(&self) -> watch::Receiver<Findings> {
        self.findings.subscribe()
    }

    /// Notified when there is something to publish, or to stop for.
    pub fn news(&self) -> Arc<Notify> {
        self.news.clone()
    }

    /// A task for each of them.
    pub fn start(&mut self, tasks: &mut Tasks) {
        for asking in self.asking.drain(..) {
            let name = format!("witness {}", asking.name);
            tasks.start(name, asking, |asking| Box::pin(asking.run()));
        }
    }
}

/// One witness.
struct Asking {
    place: usize,
    /// As the policy calls it.
    name: String,
    remote: Remote,
    shared: Arc<Shared>,
    findings: Arc<watch::Sender<Findings>>,
    news: Arc<Notify>,
    /// What it cosigned last, as far as we know. It says so itself when we are wrong.
    known: u64,
    /// Whether it has once agreed with what the database holds.
    greeted: bool,
    /// The size of the checkpoint that it was last asked for with success.
    asked: i64,
    /// A checkpoint by our own key that the database does not account for.
    evidence: Option<Checkpoint>,
    failures: u32,
    last: Instant,
}

impl Asking {
    async fn run(&mut self) {
        let mut published = self.shared.published.clone();
        for why in names::WITNESS_REASONS {
            let labels = [("witness", self.name.clone()), ("why", why.to_owned())];
            metrics::counter!(names::WITNESS_FAILURES, &labels).increment(0);
        }
        // Before anything new is signed: what was seen of this log before.
        self.ask(None).await;
        self.find(Finding::asked);
        loop {
            let now = published.borrow_and_update().clone();
            let size = now.checkpoint.as_ref().map_or(0, |row| row.size);
            let behind = size.saturating_sub(i64::try_from(self.known).unwrap_or(i64::MAX));
            metrics::gauge!(names::WITNESS_LAG, "witness" => self.name.clone())
                .set(behind.max(0) as f64);
            // Only who integrates sends what is new; the others would ask for the same.
            let new = now.integrates && size > self.asked;
            let wait = match (self.failures, new) {
                (0, true) => Duration::ZERO,
                (0, false) => self.shared.heartbeat,
                (failures, _) => pause(failures).min(self.shared.heartbeat),
            };
            tokio::select! {
                () = tokio::time::sleep_until(self.last + wait) => self.ask(now.checkpoint).await,
                changed = published.changed() => if changed.is_err() {
                    return;
                }
            }
        }
    }

    async fn ask(&mut self, row: Option<Arc<CheckpointRow>>) {
        self.last = Instant::now();
        let outcome = match row.filter(|_| self.greeted) {
            Some(row) => self.attempt(&row).await,
            None => self.greet().await,
        };
        match outcome {
            Ok(()) => {
                self.greeted = true;
                self.find(Finding::agrees);
                if self.failures > 0 {
                    tracing::info!(witness = self.name, "the witness is available again");
                }
                self.failures = 0;
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &Error) {
        let labels = [
            ("witness", self.name.clone()),
            ("why", error.why().to_owned()),
        ];
        metrics::counter!(names::WITNESS_FAILURES, &labels).increment(1);
        let (witness, text) = (&self.name, error_chain(error));
        match error {
            Error::Inconsistent { .. } | Error::Another(_) | Error::Ahead { .. } => {
                tracing::error!(witness, error = text, "a witness contradicts the log");
            }
            // Said once; the figure counts on.
            _ if self.failures == 0 => tracing::warn!(witness, error = text, "not cosigned"),
            _ => tracing::debug!(witness, error = text, "not cosigned"),
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// The last checkpoint that is stored, submitted as any other: what it says to that tells
    /// whether it saw more, and every witness answers it. Reading what it cosigned last, which it
    /// need not serve, comes into question only where nothing is stored.
    async fn greet(&mut self) -> Result<(), Error> {
        match self.shared.store.last_checkpoint().await? {
            Some(row) => self.attempt(&row).await,
            None => self.examine().await,
        }
    }

    async fn attempt(&mut self, row: &CheckpointRow) -> Result<(), Error> {
        self.weigh().await?;
        let size = row.size as u64;
        let note = Note::parse(row.note.as_bytes()).map_err(Error::Own)?;
        // Once more after it said where it stands.
        for _ in 0..2 {
            if self.known > size {
                return self.ahead(row).await;
            }
            let old = self.known;
            let proof = match old == 0 || old == size {
                true => Vec::new(),
                false => self.shared.tiles.consistency(old, size, size).await?,
            };
            let request = AddCheckpoint {
                old,
                proof,
                note: note.clone(),
            };
            let env = &self.shared.env;
            let signed = row.time;
            match self.remote.add(&request, signed, || env.now()).await? {
                Answer::Cosigned(line) => {
                    self.known = size;
                    self.record(row, &line).await?;
                    self.asked = row.size;
                    return Ok(());
                }
                // Where it stands is right, so it is the root that it does not know.
                Answer::At(stands) if stands == old && old == size => {
                    self.ask_for_proof().await;
                    return Err(Error::Another(size));
                }
                Answer::At(size) => self.known = size,
                Answer::Inconsistent => {
                    self.ask_for_proof().await;
                    return Err(Error::Inconsistent { old, new: size });
                }
            }
        }
        Err(Error::Undecided)
    }

    /// The witness says that it saw more than this checkpoint. If the database knows that much,
    /// another replica was faster; if not, the database is older than what the witness saw.
    async fn ahead(&mut self, row: &CheckpointRow) -> Result<(), Error> {
        let (seen, known) = (self.known, self.database().await?);
        if seen <= known {
            self.asked = row.size;
            return Ok(());
        }
        // Next time it is asked from the beginning, in case it was a slip.
        self.known = 0;
        self.find(|mine| mine.claims(seen));
        self.ask_for_proof().await;
        Err(Error::Ahead { seen, known })
    }

    /// Whether it can show what it says; if not, that it says so is the error.
    async fn ask_for_proof(&mut self) {
        if let Err(error) = self.examine().await {
            let (witness, error) = (&self.name, error_chain(&error));
            tracing::warn!(
                witness,
                error,
                "the witness does not return the checkpoint that it cosigned"
            );
        }
    }

    /// Looks at what the witness cosigned last. Only what the log's own key signed counts.
    async fn examine(&mut self) -> Result<(), Error> {
        let shared = &self.shared;
        let Some(bytes) = self.remote.latest(&shared.origin).await? else {
            return Ok(());
        };
        let keys = verifier_keys(&shared.origin, shared.signer.as_ref());
        let opened = Note::parse(&bytes).and_then(|note| checkpoint::open(&note, &keys));
        match opened {
            Ok(seen) => self.evidence = Some(seen),
            Err(error) => {
                let (witness, error) = (&self.name, error_chain(&error));
                tracing::warn!(
                    witness,
                    error,
                    "the checkpoint it returns is not signed by this log"
                );
                return Ok(());
            }
        }
        self.weigh().await
    }

    /// Holds the evidence against the database, again and again: it may be put right.
    async fn weigh(&mut self) -> Result<(), Error> {
        let Some(seen) = &self.evidence else {
            return Ok(());
        };
        let known = self.database().await?;
        let witness = self.name.clone();
        let alarm = if seen.size > known {
            Some(Alarm::Older {
                witness,
                seen: seen.size,
                known,
            })
        } else if self.shared.tiles.root_at(seen.size, known).await? != seen.root {
            Some(Alarm::Forked {
                witness,
                size: seen.size,
            })
        } else {
            None
        };
        if alarm.is_none() {
            self.known = seen.size;
            self.evidence = None;
        }
        self.find(|mine| mine.proves(alarm.map(Arc::new)));
        Ok(())
    }

    /// Leaves of the last checkpoint that was signed, as the database knows now.
    async fn database(&self) -> Result<u64, Error> {
        let last = self.shared.store.last_checkpoint().await?;
        Ok(last.map_or(0, |row| row.size as u64))
    }

    /// Adds the line to those of the checkpoint. One of this witness is enough: the earliest.
    async fn record(&self, row: &CheckpointRow, line: &NoteSignature) -> Result<(), Error> {
        let store = &self.shared.store;
        for _ in 0..CONFLICTS {
            let stands = store.checkpoint_over(row.size - 1).await?;
            let Some(stands) = stands.filter(|stands| stands.size == row.size) else {
                break;
            };
            let whole = Note::parse(stands.signed().as_bytes()).map_err(Error::Own)?;
            let same = |other: &NoteSignature| (&other.name, other.id) == (&line.name, line.id);
            if whole.signatures.iter().any(same) {
                return Ok(());
            }
            let all = format!("{}{line}", stands.cosignatures);
            if store.cosign(row.size, &stands.cosignatures, &all).await? {
                metrics::counter!(names::COSIGNATURES, "witness" => self.name.clone()).increment(1);
                self.news.notify_one();
                return Ok(());
            }
        }
        Err(store::Error::conflict(store::Subject::Tree).into())
    }

    fn find(&self, change: impl FnOnce(&mut Finding)) {
        let changed = self
            .findings
            .send_if_modified(|findings| findings.change(self.place, change));
        if changed {
            self.news.notify_one();
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doubled = PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST)
}
