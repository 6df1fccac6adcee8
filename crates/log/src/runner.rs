//! Runs the integrator in every replica; the lease decides which of them does anything. Beside it
//! the witnesses are asked, in every replica: any of them may be the first to hear that this
//! database is an old one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use trust::leaf::ActKind;
use trust::tlog::policy::WitnessPolicy;

use super::integrator::{self, Integrator, Step};
use super::kept::{self, AtTheEnd};
use super::late::Late;
use super::proofs::is_witnessed;
use super::published::Published;
use super::witnesses::{Waits, Witnesses};
use super::{Event, Log};
use base::{Env, Tasks, Trouble, names};
use store::{CheckpointRow, Halted, Store};
use trust::error_chain;

/// Pause after an error that may pass by itself; a person's error is looked at again as often.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a replica that does not integrate looks at what is published.
const LOOK: Duration = Duration::from_secs(20);

const CHECKPOINT_LOST: &str = "a signed checkpoint is missing from the database, which is older than the log: run \
    `chancery log recover`";

/// How often kept leaves are compared with what is published.
const FORGET: Duration = Duration::from_secs(2);

/// Signatures that are put into the index together: the more of them, the fewer pages each one
/// costs, and the more leaves are looked through for a signature that is not in it yet.
const TOGETHER: i64 = store::MAX_INDEXED;

/// Acts on keys that are put into their index together, and how many times in one round.
const ACTS_TOGETHER: i64 = 2_000;
const ACTS_AT_ONCE: usize = 5;

/// Fewer than that wait so long for others.
const TOGETHER_WITHIN: Duration = Duration::from_secs(20);

pub struct LogRunner {
    pub integrator: Integrator<Store>,
    pub store: Store,
    pub env: Env,
    pub interval: Duration,
    pub heartbeat: Duration,
    pub published: watch::Sender<Published>,
    pub witnesses: Witnesses,
    /// Whether enough witnesses have answered.
    pub waits: Waits,
    pub policy: Option<Arc<WitnessPolicy>>,
    /// Where kept leaves are left, and under which name.
    pub kept: PathBuf,
    pub instance: String,
    /// When this replica last held the database against what is published.
    pub looked: tokio::time::Instant,
    /// Why the log is halted by what this replica read; kept when the task is started again.
    pub refused: Option<Arc<str>>,
    /// Whether it is halted because leaves are missing from the database.
    pub incomplete: bool,
    /// Which of the kept leaves are in the file.
    pub saved: u64,
}

impl LogRunner {
    /// For when it has been stopped.
    pub fn at_the_end(&self) -> AtTheEnd {
        AtTheEnd {
            store: self.store.clone(),
            integrator: self.integrator.another(),
            directory: self.kept.clone(),
            instance: self.instance.clone(),
        }
    }

    pub fn watch(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// One task for each witness, and one that integrates and publishes.
    pub fn start(mut self, tasks: &mut Tasks) {
        self.witnesses.start(tasks);
        tasks.start("log", self, |runner| Box::pin(runner.run()));
    }

    /// Until it is stopped.
    async fn run(&mut self) {
        let findings = self.witnesses.findings();
        let news = self.witnesses.news();
        let mut integrates = false;
        let mut trouble = Trouble::default();
        let mut late = Late::default();
        let mut forgot = Instant::now();
        let mut indexed = Instant::now();
        loop {
            // A database that was restored signs nothing before somebody outside could say so.
            let (alarm, waits) = {
                let findings = findings.borrow();
                (findings.alarm(), self.waits.before(&findings))
            };
            if let Some(alarm) = alarm {
                metrics::counter!(base::names::LOG_ERRORS).increment(1);
                let why = error_chain(&*alarm);
                if trouble.is(&why).is_some() {
                    tracing::error!(error = why, "the log is halted");
                }
                // Somebody outside knows more of the log, or another one.
                self.save_kept(true);
                self.publish(Some(why.into()), false).await;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            // Clocks that differ, or another database under a running replica: nothing is written, no checkpoint
            // is signed, and the lease goes to somebody else.
            if let Some(halted) = self.look().await {
                if trouble.is(&halted.why).is_some() {
                    tracing::error!(error = &*halted.why, "the log is halted");
                }
                self.incomplete |= halted.incomplete;
                self.save_kept(self.is_incomplete());
                self.publish(Some(halted.why), false).await;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            self.forget_what_is_published(&mut forgot).await;
            if waits.is_some() {
                let refused = self.refused.clone().or(waits);
                self.publish(refused, false).await;
                let _ = tokio::time::timeout(PAUSE, news.notified()).await;
                continue;
            }
            let (step, looked) = self.step(self.refused.is_some()).await;
            match &step {
                Ok(Step::Elsewhere) => integrates = false,
                Ok(_) => integrates = true,
                Err(_) => {}
            }
            let mut pause = match &step {
                Ok(Step::More) => Duration::ZERO,
                Ok(_) => self.interval,
                Err(_) => PAUSE.max(self.interval),
            };
            let error = step.as_ref().err();
            if let Some(error) = error.filter(|error| error.is_incomplete()) {
                self.incomplete = true;
                self.store.lacks_leaves(&error_chain(error));
            }
            self.refused = still_refused(self.refused.take(), error, looked);
            self.incomplete &= self.refused.is_some();
            self.save_kept(self.is_incomplete());
            if let Err(error) = &step {
                metrics::counter!(base::names::LOG_ERRORS).increment(1);
                let why = error_chain(error);
                let told = trouble.is(&why);
                match error.is_fatal() {
                    true if told.is_some() => tracing::error!(error = why, "the log is halted"),
                    false if told.is_some() => {
                        tracing::warn!(error = why, "integration of the log failed; retrying");
                    }
                    _ => {}
                }
            } else if self.refused.is_none() && trouble.is_over() {
                tracing::info!("the log is integrated again");
            }
            late.came_to(step.as_ref().err().map(|error| error_chain(error)));
            let stopped = self.waits.meanwhile(&findings.borrow());
            self.publish(self.refused.clone().or(stopped), integrates)
                .await;
            self.look_for_late(&mut late).await;
            // Whatever became of the tree; but one replica is enough.
            if !matches!(step, Ok(Step::Elsewhere)) && self.index(&mut indexed).await {
                pause = Duration::ZERO;
            }
            if matches!(step, Ok(Step::Done)) {
                self.beat().await;
            }
            // A cosignature is published, and an alarm heard, as soon as it is there.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = news.notified(), if !pause.is_zero() => {}
            }
        }
    }

    /// What is published need not be kept any more; by what is stored, and not by a row, which may be lost.
    async fn forget_what_is_published(&self, last: &mut Instant) {
        if last.elapsed() < FORGET || self.store.kept_count() == (0, true) {
            return;
        }
        *last = Instant::now();
        if let Ok(size) = self.integrator.published_size().await {
            self.store.covered(size.cast_signed());
        }
    }

    /// By this replica, or by a row of a checkpoint that is gone.
    fn is_incomplete(&self) -> bool {
        let published = self.published.borrow();
        self.incomplete || published.incomplete && published.refused.is_some()
    }

    /// What was answered and is not published, when leaves turn out to be missing, and again when there are others.
    /// Before it is written the answers end: what is committed meanwhile may come too late for the file.
    fn save_kept(&mut self, missing: bool) {
        self.store.hold_back(missing);
        let revision = self.store.kept_revision();
        if missing
            && revision != self.saved
            && kept::save_all(&self.store, &self.kept, &self.instance)
        {
            self.saved = revision;
        }
    }

    /// Compares the clocks, and asks which database it is.
    async fn look(&self) -> Option<Halted> {
        let before = self.env.now().millis();
        if let Ok((database, _)) = self.store.look().await {
            // The database's reading lies between two of ours, however long it took.
            let offset = database.clamp(before, self.env.now().millis().max(before)) - database;
            metrics::gauge!(names::CLOCK_OFFSET).set(offset as f64 / 1_000.0);
        }
        self.store.halted()
    }

    /// A replica that does not integrate looks now and then whether what it signs into is still
    /// the log that is published: the one that integrates may be a new process that refuses. While
    /// it refuses it looks each time. The second value: whether it has looked.
    async fn step(&mut self, refuses: bool) -> (Result<Step, integrator::Error>, bool) {
        let mut step = self.integrator.step().await;
        let elsewhere = matches!(step, Ok(Step::Elsewhere));
        if elsewhere && !refuses && self.looked.elapsed() <= LOOK {
            return (step, false);
        }
        self.looked = tokio::time::Instant::now();
        if elsewhere && let Err(error) = self.integrator.inspect().await {
            step = Err(error);
        }
        (step, true)
    }

    /// Those who wait for a receipt wake up when the checkpoint is another.
    pub(super) async fn publish(&self, refused: Option<Arc<str>>, integrates: bool) {
        let incomplete = self.incomplete;
        let last = self.store.last_checkpoint().await;
        self.published.send_if_modified(|published| {
            let stopped = published.refused != refused || published.integrates != integrates;
            let before = std::mem::replace(&mut published.refused, refused);
            published.integrates = integrates;
            published.incomplete &= published.refused.is_some();
            published.incomplete |= incomplete;
            let Ok(last) = last else {
                // Nothing was learned, so what was refused stays refused.
                if published.refused.is_none() {
                    published.refused = before;
                }
                return stopped;
            };
            let size = |row: Option<&CheckpointRow>| row.map(|row| row.size);
            // Under a running replica: it remembers what the database has forgotten.
            if size(last.as_ref()) < size(published.checkpoint.as_deref()) {
                published
                    .refused
                    .get_or_insert_with(|| CHECKPOINT_LOST.into());
                published.incomplete = true;
                return true;
            }
            let news = size(last.as_ref()) != size(published.checkpoint.as_deref());
            let cosigned = last.as_ref().map(|row| &row.cosignatures)
                != published.checkpoint.as_ref().map(|row| &row.cosignatures);
            if news || cosigned {
                published.witnessed = self.witnessed(last.as_ref());
                published.checkpoint = last.map(Arc::new);
            }
            stopped || news || cosigned
        });
    }

    async fn look_for_late(&self, late: &mut Late) {
        let Ok(head) = self.store.log_size().await else {
            return;
        };
        self.published.send_if_modified(|published| {
            let covered = published.checkpoint.as_ref().map(|row| row.size);
            let why = late.look(head, covered, self.interval, Instant::now());
            let changed = published.late.is_some() != why.is_some();
            published.late = why;
            changed
        });
    }

    fn witnessed(&self, row: Option<&CheckpointRow>) -> Option<bool> {
        Some(is_witnessed(self.policy.as_ref()?, row?))
    }

    /// Fills the index of signatures and counts them in bulk, so that both cost next to nothing where
    /// they are made. True if there is more to do at once.
    async fn index(&self, last: &mut Instant) -> bool {
        let least = match last.elapsed() < TOGETHER_WITHIN {
            true => TOGETHER,
            false => 1,
        };
        let waiting = async {
            let unindexed = self.store.unindexed().await?;
            let acted = self.store.acted().await?;
            let without_acts = unindexed.max(acted.head - acted.size);
            Ok::<_, store::Error>(without_acts.max(self.store.uncounted().await?))
        };
        match waiting.await {
            Ok(waiting) if waiting < least => return false,
            Ok(_) => *last = Instant::now(),
            // The step has told of it.
            Err(_) => return false,
        }
        let done = async {
            // After an upgrade there may be millions of them, and the integrator has other work.
            let mut more = true;
            for _ in 0..ACTS_AT_ONCE {
                more = more && self.store.index_acts(ACTS_TOGETHER).await?;
            }
            let indexed = self.store.index_signatures(TOGETHER).await?;
            let counted = self.store.count_signatures(TOGETHER).await?;
            Ok::<_, store::Error>(more || indexed.max(counted) == TOGETHER)
        };
        match done.await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(
                    error = error_chain(&error),
                    "the index and the counts of signatures were not updated; retrying"
                );
                false
            }
        }
    }

    /// A log that is silent because nothing happens looks like one that was stopped; so it says
    /// that nothing happened, in a leaf that a stranger can check.
    async fn beat(&self) {
        let now = self.env.now();
        let Ok(tree) = self.store.tree().await else {
            return;
        };
        // A clock that ran ahead and was corrected stays in the tree: then the last checkpoint tells.
        let checkpoint = self.published.borrow().checkpoint.clone();
        let last = match (tree.clock > now, checkpoint) {
            (true, Some(row)) => row.time,
            _ => tree.clock,
        };
        let silent = now.millis() - last.millis();
        if tree.size == 0 || silent < i64::try_from(self.heartbeat.as_millis()).unwrap_or(i64::MAX)
        {
            return;
        }
        let event = Event::new(ActKind::Admin, "heartbeat", "chancery", now);
        if let Err(error) = Log::new(self.store.clone())
            .commit(&store::Change::Record, &event)
            .await
        {
            tracing::warn!(
                error = error_chain(&error),
                "the heartbeat leaf was not written"
            );
        }
    }
}

/// A refusal ends when a look at what is stored found nothing wrong, and not because the next look
/// could not be had.
fn still_refused(
    before: Option<Arc<str>>,
    error: Option<&integrator::Error>,
    looked: bool,
) -> Option<Arc<str>> {
    match error {
        Some(error) if error.is_fatal() => Some(Arc::from(error_chain(error))),
        Some(_) => before,
        None => before.filter(|_| !looked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_outlives_what_says_nothing_about_it() {
        let fatal = integrator::Error::Gap(7);
        let passing = integrator::Error::Store(store::Error::closed());
        let refused = still_refused(None, Some(&fatal), true);
        assert!(refused.is_some());
        assert_eq!(
            still_refused(refused.clone(), Some(&passing), true),
            refused
        );
        assert_eq!(still_refused(refused.clone(), None, false), refused);
        assert_eq!(still_refused(refused, None, true), None);
        assert_eq!(still_refused(None, Some(&passing), false), None);
    }
}
