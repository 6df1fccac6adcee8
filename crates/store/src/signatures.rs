//! The hot path: a batch of signatures on their way out, in one transaction.

use std::collections::{BTreeSet, HashMap};

use crate::database::{Store, on};
use crate::engine::Taken;
use crate::engine::{Begun, Columns, Connection, Engine, Value, expect_rows, json};
use crate::error::Error;
use crate::fence::Fence;
use crate::idempotency::{Idempotency, IdempotentAnswer};
use crate::kept::KeptLeaf;
use crate::leaves::{Leaf, check_leaf, uncovered};
use crate::log_head;
use crate::stops::Judged;

/// What the log puts into one transaction at most.
pub const MAX_BATCH: usize = 256;

/// One signature on its way out: released only when its leaf is committed.
#[derive(Debug, Clone)]
pub struct SignatureRecord {
    pub leaf: Leaf,
    /// The key that signed; the transaction refuses it unless it is active.
    pub kid: String,
    /// The transaction refuses it if something could have stopped its ring since.
    pub judged: Judged,
    pub idempotency: Option<Idempotency>,
}

impl SignatureRecord {
    /// About what it adds to a statement.
    pub fn bytes(&self) -> usize {
        let answer = self.idempotency.as_ref();
        let answer = answer.map_or(0, |asked| asked.response.len() + asked.key.len());
        self.leaf.body.len() + answer
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureOutcome {
    Committed {
        index: i64,
    },
    /// The key is not active any more (or never was): the signature must not leave.
    KeyMayNotSign,
    /// The log may tell of a stop that whoever signed did not know of, or the time for a ratification has passed: the
    /// signature must not leave.
    Unjudged,
    /// The idempotency key was used before, perhaps by another replica a moment ago.
    AnsweredBefore(IdempotentAnswer),
}

/// What became of a batch.
#[derive(Default)]
pub(crate) struct Written {
    outcomes: Vec<SignatureOutcome>,
    /// Leaves of answers of before, by other replicas perhaps, that no checkpoint covers.
    again: Vec<KeptLeaf>,
}

/// The order matters. The log head first: from there on no other writer can change a key, so the
/// state read next is the state at commit (invariant 4). Answers known before go before it, so
/// that a retry gets its first answer even when its key has been revoked in between.
///
/// A record that is refused or was answered before gets no leaf: its signature never leaves, and
/// the indexes stay contiguous. If we die before COMMIT nothing of the batch is in the log and
/// nothing of it was released; if we die after it, the leaves stand and the callers retry.
pub(crate) async fn commit<E: Engine>(
    engine: &E,
    fence: &Fence,
    batch: &[SignatureRecord],
    covered: i64,
) -> Result<Written, Error> {
    check(batch)?;
    if batch.is_empty() {
        return Ok(Written::default());
    }
    let kids: BTreeSet<&str> = batch.iter().map(|record| record.kid.as_str()).collect();
    let reserved = batch.len() as i64;
    let times = batch.iter().map(|record| record.leaf.time);
    let taken = Taken {
        leaves: reserved,
        is_news: false,
        time: times.max().unwrap_or_default(),
    };
    // Answers known before go first: with any to look for, no leaf is written yet.
    let one_by_one =
        |record: &SignatureRecord| record.idempotency.is_some() || record.judged.until.is_some();
    let leaves: Vec<_> = match batch.iter().any(one_by_one) {
        true => Vec::new(),
        false => batch.iter().map(|record| record.leaf.columns()).collect(),
    };
    let before = fence.before();
    let judged = batch.iter().map(|record| record.judged.below);
    let judged = judged.min().unwrap_or_default();
    let Begun {
        mut tx,
        head,
        active,
        emergency,
        written,
    } = engine
        .begin_signatures(taken, &kids, &leaves, judged)
        .await?;
    let first = head.size - reserved;
    let refuses = |record: &SignatureRecord| {
        let time = record.leaf.time;
        match active.contains(&record.kid) {
            false => Some(SignatureOutcome::KeyMayNotSign),
            true => (!record.judged.permits(emergency, head.now, time))
                .then_some(SignatureOutcome::Unjudged),
        }
    };
    let written = match fence.check(before, &head, first) {
        Ok(()) if written > 0 => all_written(batch, first, &refuses, written),
        Ok(()) => write::<E>(&mut tx, batch, first, &refuses, covered).await,
        Err(error) => Err(error),
    };
    match written {
        Ok(written) => {
            engine.commit(tx).await?;
            let indexes = written.outcomes.iter().filter_map(|outcome| match outcome {
                SignatureOutcome::Committed { index } => Some(*index),
                _ => None,
            });
            if let Some(last) = indexes.max() {
                fence.raise(last + 1, &head);
            }
            Ok(written)
        }
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

fn check(batch: &[SignatureRecord]) -> Result<(), Error> {
    if batch.len() > MAX_BATCH {
        return Err(Error::Malformed {
            what: "a batch of more than 256 signatures",
        });
    }
    for record in batch {
        check_leaf(&record.leaf)?;
        if record.leaf.kind != "sign" || record.leaf.kid.as_deref() != Some(record.kid.as_str()) {
            return Err(Error::Malformed {
                what: "a signature that does not match its leaf",
            });
        }
    }
    Ok(())
}

/// An answer on its way in: with the index of its leaf and its time.
type PlacedAnswer<'a> = (&'a Idempotency, i64, i64);

/// Why the signature must not leave, if it must not.
type Refuses<'a> = dyn Fn(&SignatureRecord) -> Option<SignatureOutcome> + Sync + 'a;

/// Every leaf is in its place already. That each key may sign was a condition of it, and is looked at once more.
fn all_written(
    batch: &[SignatureRecord],
    first: i64,
    refuses: &Refuses<'_>,
    written: u64,
) -> Result<Written, Error> {
    expect_rows(written, batch.len())?;
    if !batch.iter().all(|record| refuses(record).is_none()) {
        return Err(Error::Corrupt {
            what: "a leaf of a key that may not sign",
            source: None,
        });
    }
    let outcomes = (first..).take(batch.len());
    Ok(Written {
        outcomes: outcomes
            .map(|index| SignatureOutcome::Committed { index })
            .collect(),
        again: Vec::new(),
    })
}

async fn write<E: Engine>(
    tx: &mut E::Transaction,
    batch: &[SignatureRecord],
    first: i64,
    refuses: &Refuses<'_>,
    covered: i64,
) -> Result<Written, Error> {
    let known = known_answers::<E>(tx, batch).await?;
    let again = uncovered(tx, known.values().map(|answer| answer.index), covered).await?;
    let mut next = first;
    let mut leaves = Vec::with_capacity(batch.len());
    let mut answers = Vec::new();
    // Two records of one batch may carry the same idempotency key; the first one wins.
    let mut in_batch: HashMap<(&str, &str), PlacedAnswer<'_>> = HashMap::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    for (at, record) in batch.iter().enumerate() {
        let asked = record.idempotency.as_ref();
        let just_now = asked.and_then(|key| in_batch.get(&name(key)));
        if let Some(answer) = known.get(&at).cloned().or_else(|| just_now.map(answer)) {
            outcomes.push(SignatureOutcome::AnsweredBefore(answer));
            continue;
        }
        if let Some(refused) = refuses(record) {
            outcomes.push(refused);
            continue;
        }
        let index = next;
        next += 1;
        leaves.push(record.leaf.columns());
        if let Some(key) = asked {
            let time = record.leaf.time;
            answers.push(key.columns(index, time));
            in_batch.insert(name(key), (key, index, time));
        }
        outcomes.push(SignatureOutcome::Committed { index });
    }

    if next != first + batch.len() as i64 {
        // Some were refused: give their places back before anybody can see them taken.
        tx.execute(log_head::HEAD_SET, &[Value::Int(next)]).await?;
    }
    if !leaves.is_empty() {
        let written = E::insert_leaves(tx, first, &leaves).await?;
        expect_rows(written, leaves.len())?;
    }
    if !answers.is_empty() {
        let written = E::insert_answers(tx, &answers).await?;
        expect_rows(written, answers.len())?;
    }
    Ok(Written { outcomes, again })
}

fn name(key: &Idempotency) -> (&str, &str) {
    (&key.principal, &key.key)
}

fn answer(&(key, index, time): &PlacedAnswer<'_>) -> IdempotentAnswer {
    IdempotentAnswer {
        request_hash: key.request_hash.clone(),
        response: key.response.clone(),
        index,
        time,
    }
}

/// Which records of the batch were answered before, by their place in the batch.
async fn known_answers<E: Engine>(
    tx: &mut E::Transaction,
    batch: &[SignatureRecord],
) -> Result<HashMap<usize, IdempotentAnswer>, Error> {
    let asked: Vec<(usize, (&str, &str))> = batch
        .iter()
        .enumerate()
        .filter_map(|(at, record)| record.idempotency.as_ref().map(|key| (at, name(key))))
        .collect();
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<_> = asked.iter().map(|(_, name)| name).collect();
    let rows = tx
        .fetch(E::DIALECT.known_answers, &[Value::Text(&json(&names)?)])
        .await?;
    rows.iter()
        .map(|row| {
            let at = usize::try_from(row.int(0)?)
                .ok()
                .and_then(|place| asked.get(place));
            let Some((at, _)) = at else {
                return Err(Error::Corrupt {
                    what: "an idempotent response without a request",
                    source: None,
                });
            };
            let answer = IdempotentAnswer {
                request_hash: row.text(1)?,
                response: row.text(2)?,
                index: row.int(3)?,
                time: row.int(4)?,
            };
            Ok((*at, answer))
        })
        .collect()
}

impl Store {
    /// Gives every signature its leaf, or says why it must not leave; at most [`MAX_BATCH`] in one
    /// transaction, outcomes in the order of the batch. On any error none of them may leave.
    /// Call it from a task that is not dropped half way: a dropped call is an unknown outcome.
    pub async fn commit_signatures(
        &self,
        batch: &[SignatureRecord],
    ) -> Result<Vec<SignatureOutcome>, Error> {
        let covered = self.kept.covered_size();
        let written = on!(self, engine => commit(engine, &self.fence, batch, covered))?;
        let leaves = batch.iter().zip(&written.outcomes);
        let committed = leaves.filter_map(|(record, outcome)| match outcome {
            SignatureOutcome::Committed { index } => Some((*index, record.leaf.body.clone())),
            _ => None,
        });
        match self.kept.keep(committed.chain(written.again)) {
            true => Ok(written.outcomes),
            false => Err(Error::HeldBack),
        }
    }
}
