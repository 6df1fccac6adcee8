//! Signatures at a given rate while a rotation goes on, each verified at once by strangers with caches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::api::{Api, Signed};
use super::book::{Book, Entry};
use super::latency::{Course, Histogram, millis};
use super::load_report::{LoadReport, Phase, PhaseReport};
use super::stranger::{Rejected, Stranger};

/// Answers that wait to be verified.
const WAITING: usize = 16_384;

/// How much.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub per_second: u32,
    pub concurrency: u32,
    /// Signatures at most.
    pub most: u64,
}

/// Between two signatures while nothing is to happen.
const RESTING: Duration = Duration::from_secs(1);

struct Sample {
    at: Instant,
    /// It was made at a lower rate than the one given: it has no gap.
    rested: bool,
    took: Duration,
    signed: Result<Signed, String>,
}

#[derive(Default)]
struct PhaseBook {
    latency: Histogram,
    failed: u64,
    by_kid: BTreeMap<String, u64>,
}

/// Everything that is known while the load runs.
struct Recorder {
    began: Instant,
    book: Book,
    phases: BTreeMap<Phase, PhaseBook>,
    course: Course,
    last: Option<Instant>,
    gap: Duration,
    old: String,
    begun: bool,
    new_key_after: Option<Duration>,
}

/// Whether nothing is to happen, and what was signed since that changed.
struct Rests {
    now: bool,
    changed: bool,
    last: Instant,
}

impl Rests {
    /// Whether it is signed at this tick, and whether it was rested before.
    fn signs(&mut self) -> Option<bool> {
        if self.now && self.last.elapsed() < RESTING {
            return None;
        }
        self.last = Instant::now();
        Some(self.now || std::mem::take(&mut self.changed))
    }
}

/// A load that runs until it is told to end.
pub struct Load {
    rate: Rate,
    recorder: Arc<Mutex<Recorder>>,
    stop: Arc<AtomicBool>,
    rests: Arc<Mutex<Rests>>,
    asked: Arc<AtomicU64>,
    workers: JoinSet<()>,
    verifier: JoinHandle<Stranger>,
}

fn locked(recorder: &Mutex<Recorder>) -> MutexGuard<'_, Recorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    fn phase(&self) -> Phase {
        match (self.begun, self.new_key_after) {
            (false, _) => Phase::Before,
            (true, None) => Phase::During,
            (true, Some(_)) => Phase::After,
        }
    }

    fn record(&mut self, sample: Sample, rejected: Vec<Rejected>) {
        let ended = sample.at + sample.took;
        let from_begin = ended.saturating_duration_since(self.began);
        if let Ok(signed) = &sample.signed {
            let is_new = self.begun && signed.kid != self.old;
            if is_new && self.new_key_after.is_none() {
                self.new_key_after = Some(from_begin);
            }
            // Answers come in any order.
            if let Some(last) = self.last.filter(|_| !sample.rested) {
                self.gap = self.gap.max(ended.saturating_duration_since(last));
            }
            self.last = Some(self.last.map_or(ended, |last| last.max(ended)));
        }
        let phase = self.phases.entry(self.phase()).or_default();
        match &sample.signed {
            Ok(signed) => {
                phase.latency.add(sample.took);
                *phase.by_kid.entry(signed.kid.clone()).or_default() += 1;
            }
            Err(_) => phase.failed += 1,
        }
        let latency = sample.signed.is_ok().then_some(sample.took);
        self.course.add(from_begin, latency);
        self.book.enter(Entry {
            signed: sample.signed,
            rejected,
        });
    }
}

impl Load {
    /// Goes on from what was signed before.
    pub fn start(api: &Api, ring: &str, rate: Rate, old: &str, book: Book, by: Stranger) -> Self {
        let began = Instant::now();
        let recorder = Arc::new(Mutex::new(Recorder {
            began,
            book,
            phases: BTreeMap::new(),
            course: Course::default(),
            last: None,
            gap: Duration::ZERO,
            old: old.to_owned(),
            begun: false,
            new_key_after: None,
        }));
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let rests = Arc::new(Mutex::new(Rests {
            now: false,
            changed: false,
            last: began,
        }));
        let (tell, mut told) = mpsc::channel(WAITING);
        let mut workers = JoinSet::new();
        let between = Duration::from_secs(1) / rate.per_second.max(1);
        for worker in 0..rate.concurrency {
            let mut ticks =
                interval_at(began + between * worker, between * rate.concurrency.max(1));
            // What was missed while an answer was waited for is not made up for: the gap tells of it.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (api, ring, tell) = (api.clone(), ring.to_owned(), tell.clone());
            let (stop, asked): (_, Arc<AtomicU64>) = (Arc::clone(&stop), Arc::clone(&asked));
            let rests = Arc::clone(&rests);
            workers.spawn(async move {
                loop {
                    ticks.tick().await;
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let signs = rests.lock().unwrap_or_else(PoisonError::into_inner).signs();
                    let Some(rested) = signs else { continue };
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    if number >= rate.most {
                        break;
                    }
                    let at = Instant::now();
                    let claims = json!({ "test": "zero-downtime", "number": number });
                    let signed = api.sign(&ring, &claims).await;
                    let signed = signed.map_err(|failure| format!("{:#}", failure.error));
                    let took = at.elapsed();
                    let sample = Sample {
                        at,
                        rested,
                        took,
                        signed,
                    };
                    if tell.send(sample).await.is_err() {
                        break;
                    }
                }
            });
        }
        let records = Arc::clone(&recorder);
        let mut by = by;
        let verifier = tokio::spawn(async move {
            while let Some(sample) = told.recv().await {
                let rejected = match &sample.signed {
                    Ok(signed) => by.verify(signed).await,
                    Err(_) => Vec::new(),
                };
                locked(&records).record(sample, rejected);
            }
            by
        });
        Self {
            rate,
            recorder,
            stop,
            rests,
            asked,
            workers,
            verifier,
        }
    }

    /// The rotation is begun.
    pub fn begins(&self) {
        locked(&self.recorder).begun = true;
    }

    /// Whether nothing is to happen for a while: it is signed once in a second then.
    pub fn rests(&self, now: bool) {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.changed |= rests.now && !now;
        rests.now = now;
    }

    /// Whether a new key was seen to sign.
    pub fn new_key_signs(&self) -> bool {
        locked(&self.recorder).new_key_after.is_some()
    }

    /// As many requests were made as may be.
    pub fn is_used_up(&self) -> bool {
        self.asked.load(Ordering::Relaxed) >= self.rate.most
    }

    /// Ends it, with all that was found; the verifier goes on as it is.
    pub async fn end(mut self) -> anyhow::Result<(Book, LoadReport, Stranger)> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = Instant::now();
        let rests = {
            let rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
            rests.now
        };
        while self.workers.join_next().await.is_some() {}
        let stranger = self.verifier.await?;
        let mut recorder = locked(&self.recorder);
        // Until now, too, nothing was signed.
        if let Some(last) = recorder.last.filter(|_| !rests) {
            recorder.gap = recorder.gap.max(ended.saturating_duration_since(last));
        }
        let phases = std::mem::take(&mut recorder.phases);
        let phases = phases.into_iter().map(|(phase, book)| PhaseReport {
            phase,
            signatures: book.latency.count(),
            failed: book.failed,
            p50_ms: millis(book.latency.percentile(0.50)),
            p95_ms: millis(book.latency.percentile(0.95)),
            p99_ms: millis(book.latency.percentile(0.99)),
            longest_ms: millis(book.latency.longest()),
            by_kid: book.by_kid,
        });
        let new_key_after = recorder.new_key_after;
        let report = LoadReport {
            rate_per_second: self.rate.per_second,
            concurrency: self.rate.concurrency,
            longest_gap_ms: millis(recorder.gap),
            phases: phases.collect(),
            new_key_after_ms: new_key_after
                .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            course: std::mem::take(&mut recorder.course),
        };
        Ok((std::mem::take(&mut recorder.book), report, stranger))
    }
}
