//! Keys made under standing orders. A transcript shows that the order permits the key; that its use was not taken before,
//! and that nobody had withdrawn the order, the log shows.

use trust::acts::Act;
use trust::leaf::{ActKind, Leaf};
use trust::order_log::check_use;

use log::Certified;
use store::{KeyRow, LeafRow, Store};

/// Leaves of an order: a withdrawal, and a use for each key that it permits. Where there are more before the acceptance, a
/// withdrawal may stand behind them, and the key is refused.
const MOST: i64 = 1_000;

/// Why the key is refused, if it is. `accepted` is the leaf that tells of its acceptance.
pub(super) async fn refuses(
    store: &Store,
    row: &KeyRow,
    known: &Certified,
    accepted: Option<i64>,
) -> Result<Option<String>, store::Error> {
    let Some(used) = &known.used else {
        return Ok(None);
    };
    let Some(accepted) = accepted else {
        let why = "the log does not tell of its acceptance under a standing order";
        return Ok(Some(why.to_owned()));
    };
    // The index of acts is not the log: whoever may write there could point behind a withdrawal that came before.
    let told = store.leaf(accepted).await?;
    if !told.is_some_and(|leaf| is_acceptance(&leaf, row)) {
        let why = "the leaf of its acceptance under a standing order is of something else";
        return Ok(Some(why.to_owned()));
    }
    let order = used.used.id.to_string();
    let leaves = store.leaves_of_order(&order, MOST).await?;
    let are_all_read =
        (leaves.len() as i64) < MOST || leaves.last().is_some_and(|leaf| leaf.index >= accepted);
    if !are_all_read {
        let why = "the log tells more of its standing order than the order permits";
        return Ok(Some(why.to_owned()));
    }
    let acts = leaves.into_iter().filter_map(|row| {
        let leaf = Leaf::parse(row.body.as_bytes()).ok()?;
        let Leaf::Act(leaf) = leaf else { return None };
        Some(Act {
            index: row.index,
            leaf: *leaf,
        })
    });
    let acts: Vec<Act> = acts.collect();
    let found = check_use(used, accepted, &acts, |act| act.leaf.time);
    Ok(found.err().map(|fault| fault.to_string()))
}

/// Whether the leaf tells that this key was accepted in its ceremony.
fn is_acceptance(leaf: &LeafRow, row: &KeyRow) -> bool {
    let Ok(Leaf::Act(act)) = Leaf::parse(leaf.body.as_bytes()) else {
        return false;
    };
    act.kind == ActKind::Ceremony
        && act.action == "accepted"
        && act.kid.as_ref() == Some(&row.kid)
        && act.reference.as_deref() == Some(&*row.ceremony.to_string())
}
