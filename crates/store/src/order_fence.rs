//! What stops the next step of a ceremony under a standing order, asked under the lock.

use crate::engine::{Columns, Connection, Value};
use crate::error::{Error, Subject};
use crate::statements::statements;

statements! {
    PERMITTED = "SELECT uses, withdrawn_at FROM standing_order WHERE id = $1";
    WITHDRAWN = "SELECT COUNT(*) FROM order_use u JOIN standing_order s ON s.id = u.order_id
        WHERE u.ceremony = $1 AND s.withdrawn_at IS NOT NULL";
}

/// Under the lock: there is such an order, it has this use, and nobody withdrew it.
pub(crate) async fn expect_permitted<C: Connection>(
    tx: &mut C,
    order: &str,
    number: i64,
) -> Result<(), Error> {
    let row = tx.fetch_optional(PERMITTED, &[Value::Text(order)]).await?;
    let row = row.ok_or(Error::NotFound {
        what: Subject::Order,
    })?;
    if row.maybe_int(1)?.is_some() {
        return Err(WITHDRAWN_ORDER);
    }
    match (1..=row.int(0)?).contains(&number) {
        true => Ok(()),
        false => Err(Error::conflict(Subject::OrderUse)),
    }
}

pub(crate) const WITHDRAWN_ORDER: Error = Error::Already {
    what: Subject::Order,
    why: "is withdrawn",
};

/// A withdrawal and the next step of a ceremony under the order may come at the same time; whichever commits first wins.
pub(crate) async fn expect_not_withdrawn<C: Connection>(
    tx: &mut C,
    ceremony: &str,
) -> Result<(), Error> {
    match tx
        .fetch_optional(WITHDRAWN, &[Value::Text(ceremony)])
        .await?
    {
        Some(row) if row.int(0)? > 0 => Err(WITHDRAWN_ORDER),
        _ => Ok(()),
    }
}
