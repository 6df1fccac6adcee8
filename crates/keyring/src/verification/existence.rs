//! Since when a signature exists: by its row, and where that decides, by the tree itself.
//!
//! A row alone is what a database says. The tree has it only if the row is the leaf that was
//! integrated. A leaf whose time is before the leaves of the checkpoint before it was slipped in and dated back, or a
//! clock ran ahead: its time proves nothing. Any other counts with its own time, as in an evidence file (case V1).

use std::collections::HashMap;
use std::sync::Arc;

use trust::verdict::Existence;
use trust::{Kid, Time};

use super::question::Error;
use crate::keys::{Keys, Share};
use log::{ProofError, Proofs};
use store::{Occurrence, Store};
use trust::log_acts::CorrectedTimes;

/// What the log says of one signature.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub index: i64,
    /// None where nothing proves the row any more.
    pub existence: Option<Existence>,
}

/// What the log said to one batch of questions: nothing is asked twice, however often a signature or a
/// key comes in it (case S13).
#[derive(Default)]
pub(crate) struct Once {
    times: Option<Arc<CorrectedTimes>>,
    acts: HashMap<Kid, Vec<i64>>,
    /// When an act took place, by its index.
    of_act: HashMap<i64, Option<Time>>,
    found: HashMap<i64, (Option<Logged>, Vec<String>)>,
}

impl Once {
    /// None where the tree has another leaf in its place: then it was not logged by us.
    pub async fn logged(
        &mut self,
        (proofs, keys, store): (&Proofs, &Keys, &Store),
        kid: &Kid,
        entry: &Occurrence,
        remarks: &mut Vec<String>,
    ) -> Result<Option<Logged>, Error> {
        // The row of an index is of one key, and the entry is of this one.
        if !self.found.contains_key(&entry.index) {
            let mut own = Vec::new();
            let times = self.times(keys).await?;
            let mut logged = proven(proofs, &times, entry, &mut own).await?;
            if let Some(logged) = &mut logged {
                self.after_acts(keys, store, kid, logged).await?;
            }
            self.found.insert(entry.index, (logged, own));
        }
        let Some((logged, own)) = self.found.get(&entry.index) else {
            return Ok(None);
        };
        remarks.extend(own.iter().cloned());
        Ok(logged.clone())
    }

    async fn times(&mut self, keys: &Keys) -> Result<Arc<CorrectedTimes>, Error> {
        match &self.times {
            Some(times) => Ok(times.clone()),
            None => {
                let times = keys.times().await.map_err(unreadable)?;
                Ok(self.times.insert(times).clone())
            }
        }
    }

    /// What stands behind an act of the key in the log came after it, whatever time it claims: as in an
    /// evidence file.
    async fn after_acts(
        &mut self,
        keys: &Keys,
        store: &Store,
        kid: &Kid,
        logged: &mut Logged,
    ) -> Result<(), Error> {
        let Some(existence) = &mut logged.existence else {
            return Ok(());
        };
        if !self.acts.contains_key(kid) {
            let acts = keys.acts_of(kid, Share::Stranger).await;
            let acts = acts.map_err(unreadable)?;
            self.acts.insert(kid.clone(), acts);
        }
        let acts = self.acts.get(kid).into_iter().flatten().copied();
        // A life does not run backwards, so the last act before it says it.
        let Some(index) = acts.filter(|index| *index < logged.index).max() else {
            return Ok(());
        };
        if !self.of_act.contains_key(&index) {
            let act = store.leaf(index).await.map_err(unreadable)?;
            let times = self.times(keys).await?;
            let of =
                |act: store::LeafRow| times.of(index.unsigned_abs(), Time::from_millis(act.time));
            self.of_act.insert(index, act.map(of));
        }
        if let Some(Some(act_time)) = self.of_act.get(&index) {
            let after = *act_time + std::time::Duration::from_millis(1);
            existence.at = existence.at.max(after);
        }
        Ok(())
    }
}

async fn proven(
    proofs: &Proofs,
    times: &CorrectedTimes,
    entry: &Occurrence,
    remarks: &mut Vec<String>,
) -> Result<Option<Logged>, Error> {
    let at = match proofs.existed_at(entry.index, times).await {
        Ok(at) => at,
        Err(ProofError::Broken(why)) => {
            tracing::error!(
                index = entry.index,
                why,
                "a row of the log is not in the Merkle tree"
            );
            remarks.push(
                "the row in the database differs from the leaf in the Merkle tree".to_owned(),
            );
            return Ok(None);
        }
        // The row alone is the word of a database.
        Err(ProofError::Pruned(index)) => {
            remarks.push(
                "its leaf body was pruned after the retention period; a receipt or evidence \
                 obtained earlier still verifies"
                    .to_owned(),
            );
            return Ok(Some(Logged {
                index,
                existence: None,
            }));
        }
        Err(error) => return Err(Error::Tree(std::sync::Arc::new(error))),
    };
    Ok(at.map(|existed| match existed.backdated {
        false => logged(entry, existed.at),
        true => {
            remarks.push(
                "its time is before that of earlier leaves and proves nothing: `chancery log check` says which"
                    .to_owned(),
            );
            Logged {
                index: entry.index,
                existence: None,
            }
        }
    }))
}

fn unreadable(error: store::Error) -> Error {
    Error::Log(std::sync::Arc::new(error))
}

/// The row as it stands, for a verdict that does not rest on it.
pub(super) fn by_row(entry: &Occurrence, times: &CorrectedTimes) -> Logged {
    let at = times.of(entry.index.unsigned_abs(), Time::from_millis(entry.time));
    logged(entry, at)
}

fn logged(entry: &Occurrence, at: Time) -> Logged {
    Logged {
        index: entry.index,
        existence: Some(Existence { at, sound: true }),
    }
}
