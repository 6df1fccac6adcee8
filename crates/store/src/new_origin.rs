//! The log begins anew under another origin, with the leaves that are left: the ceremony that says so, which was held on
//! files, in its legal steps, and the tree.

use trust::{Sha256Digest, Time};

use crate::ceremonies::{self, CeremonyRow, CeremonyState};
use crate::engine::{Connection, Value};
use crate::error::{Error, Subject};
use crate::lines::LineRow;
use crate::statements::statements;

statements! {
    ENTER = "UPDATE log_tree SET size = $1, root = $2, clock = CASE WHEN clock < $3 THEN $3 ELSE clock END, origin = $4
        WHERE id = 1 AND origin = $5 AND size <= $1";
}

/// A new origin of the log.
#[derive(Debug, Clone)]
pub struct BeginOrigin {
    /// Closed, with its execution and its transcript, which has the members' signatures.
    pub row: CeremonyRow,
    pub lines: Vec<LineRow>,
    pub previous_origin: String,
    pub origin: String,
    /// The leaves that the new tree begins with: all that there are. Their tiles are written.
    pub size: i64,
    pub root: Sha256Digest,
    /// The latest time that they tell.
    pub clock: Time,
    pub at: i64,
}

/// The ceremony from its proposal to its end.
pub(crate) async fn hold<C: Connection>(
    tx: &mut C,
    begin: &BeginOrigin,
    index: i64,
) -> Result<(), Error> {
    if index != begin.size {
        return Err(Error::conflict(Subject::LogSize));
    }
    let row = &begin.row;
    let (Some(execution), Some(transcript)) = (&row.execution, &row.transcript) else {
        return Err(Error::Malformed {
            what: "a new origin whose ceremony is not closed",
        });
    };
    ceremonies::file(tx, row, &begin.lines, None).await?;
    let id = row.id.to_string();
    let (proposed, approved) = (CeremonyState::Proposed, CeremonyState::Approved);
    ceremonies::advance(tx, &id, proposed, approved, begin.at).await?;
    ceremonies::executed(tx, &id, approved, execution, begin.at).await?;
    ceremonies::close(tx, &id, transcript, begin.at).await
}

/// The tree, once the leaf is there.
pub(crate) async fn enter<C: Connection>(tx: &mut C, begin: &BeginOrigin) -> Result<(), Error> {
    let root = begin.root.to_string();
    let values = [
        Value::Int(begin.size),
        Value::Text(&root),
        Value::Int(begin.clock.millis()),
        Value::Text(&begin.origin),
        Value::Text(&begin.previous_origin),
    ];
    match tx.execute(ENTER, &values).await? {
        1 => Ok(()),
        _ => Err(Error::conflict(Subject::Tree)),
    }
}
