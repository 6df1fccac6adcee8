//! Since when a signature exists: by its row, and where that decides, by the tree itself.
//!
//! A row alone is what a database says. The tree has it only if the row is the leaf that was
//! integrated. A leaf whose time is before the leaves of the checkpoint before it was slipped in and dated back, or a
//! clock ran ahead: its time proves nothing. Any other counts with its own time, as in an evidence file (case V1).

use trust::verdict::Existence;
use trust::{Kid, Time};

use super::question::Error;
use crate::keys::Keys;
use log::{ProofError, Proofs};
use store::{Occurrence, Store};
use trust::log_acts::CorrectedTimes;

/// What the log says of one signature.
pub(super) struct Logged {
    pub index: i64,
    /// None where nothing proves the row any more.
    pub existence: Option<Existence>,
}

/// None where the tree has another leaf in its place: then it was not logged by us.
pub(super) async fn proven(
    proofs: &Proofs,
    keys: &Keys,
    entry: &Occurrence,
    remarks: &mut Vec<String>,
) -> Result<Option<Logged>, Error> {
    let times = keys.times().await.map_err(unreadable)?;
    let at = match proofs.existed_at(entry.index, &times).await {
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

/// What stands behind an act of the key in the log came after it, whatever time it claims: as in
/// an evidence file.
pub(super) async fn after_acts(
    keys: &Keys,
    store: &Store,
    kid: &Kid,
    logged: &mut Logged,
) -> Result<(), Error> {
    let acts = keys.acts_of(kid).await.map_err(unreadable)?;
    // A life does not run backwards, so the last act before it says it.
    let last = acts.into_iter().filter(|index| *index < logged.index).max();
    let (Some(index), Some(existence)) = (last, &mut logged.existence) else {
        return Ok(());
    };
    if let Some(act) = store.leaf(index).await.map_err(unreadable)? {
        let times = keys.times().await.map_err(unreadable)?;
        let act_time = times.of(index.unsigned_abs(), Time::from_millis(act.time));
        let after = act_time + std::time::Duration::from_millis(1);
        existence.at = existence.at.max(after);
    }
    Ok(())
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
