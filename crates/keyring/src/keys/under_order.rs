//! Keys made under standing orders. A transcript shows that the order permits the key; that its use was not taken before,
//! and that nobody had withdrawn the order, the log shows.

use trust::acts::Act;
use trust::leaf::Leaf;
use trust::order_log::check_use;

use log::Certified;
use store::Store;

/// Leaves of an order: a withdrawal, and a use for each key that it permits. Whoever adds others is not read further, and
/// keys whose leaves stand behind are refused.
const MOST: i64 = 1_000;

/// Why the key is refused, if it is. `accepted` is the leaf that tells of its acceptance.
pub(super) async fn refuses(
    store: &Store,
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
    let order = used.used.id.to_string();
    let leaves = store.leaves_of_order(&order, MOST).await?;
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
