//! Many rows in one statement. Measured against a JSON parameter expanded by `json_each`: a
//! quarter less CPU per row, because SQLite parses JSON anew for each column.

use std::sync::LazyLock;

use super::TxConnection;
use crate::asked::last_emergency;
use crate::engine::{Connection, LeafColumns, Taken, Value};
use crate::error::Error;

/// A statement has a fixed number of rows, so there is one for each of these sizes, and a batch
/// fills the next larger one up with NULL, which `WHERE` leaves out.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

/// Moves the head, and answers with it, with those of the keys (a JSON array of kids) that may sign, with the last leaf by
/// which a ring may have been kept from signing, and with the number of rows that the INSERT before it inserted.
macro_rules! head_and_keys {
    () => {
        concat!(
            "UPDATE log_head SET size = size + ?, version = version + ?, clock = MAX(clock, ?)
        WHERE id = 1
        RETURNING size, clock, CAST(unixepoch('subsec') * 1000 AS INTEGER), '', 0,
            (SELECT json_group_array(kid) FROM signing_key
                WHERE state = 'active' AND kid IN (SELECT value FROM json_each(?))),
            ",
            last_emergency!(sqlite),
            ", changes()"
        )
    };
}

pub(super) const BEGIN: &str = concat!("BEGIN IMMEDIATE; ", head_and_keys!());

/// The same after as many leaves, which are inserted only if so many of the keys (a JSON array of kids) may sign, and if
/// what keeps rings from signing is below an index.
static BEGIN_WITH_LEAVES: LazyLock<[String; 5]> = LazyLock::new(|| {
    SIZES.map(|size| {
        let rows = vec!["(?, ?, ?, ?, ?, ?, ?)"; size].join(", ");
        let (head, last) = (head_and_keys!(), last_emergency!(sqlite));
        format!(
            "BEGIN IMMEDIATE;
            INSERT INTO log_leaf (idx, time, kind, ring, kid, sig_hash, body)
            SELECT (SELECT size FROM log_head WHERE id = 1) + column1,
                column2, column3, column4, column5, column6, column7
            FROM (VALUES {rows}) WHERE column1 IS NOT NULL AND ? =
                (SELECT count(*) FROM signing_key
                    WHERE state = 'active' AND kid IN (SELECT value FROM json_each(?)))
                AND {last} < ?;
            {head}"
        )
    })
});

/// The statement that begins a transaction of signatures, and its values. With leaves it inserts them if all of the
/// keys may sign: one call instead of two, because each is a way to SQLite's thread and back.
pub(super) fn begin<'v>(
    taken: Taken,
    (kids, count): (&'v str, usize),
    leaves: &[LeafColumns<'v>],
    judged: i64,
) -> Result<(&'static str, Vec<Value<'v>>), Error> {
    let (mut sql, mut values) = (BEGIN, Vec::new());
    if !leaves.is_empty() {
        let at = SIZES.iter().position(|size| *size >= leaves.len());
        let at = at.ok_or(TOO_MANY)?;
        sql = &BEGIN_WITH_LEAVES[at];
        values.reserve(7 * SIZES[at] + 7);
        for (place, [time, kind, ring, kid, sig_hash, body]) in (0..).zip(leaves.iter().copied()) {
            values.extend([Value::Int(place), time, kind, ring, kid, sig_hash, body]);
        }
        values.resize(7 * SIZES[at], Value::MaybeInt(None));
        let permitted = [Value::Int(count as i64), Value::Text(kids)];
        values.extend(permitted);
        values.push(Value::Int(judged));
    }
    values.extend(taken.values());
    values.push(Value::Text(kids));
    Ok((sql, values))
}

const TOO_MANY: Error = Error::Malformed {
    what: "more rows than one statement takes",
};

/// An INSERT of rows with `WIDTH` columns, of which the first is never NULL.
pub(crate) struct Bulk<const WIDTH: usize> {
    statements: LazyLock<[String; 5]>,
}

pub(crate) static LEAVES: Bulk<7> = Bulk {
    statements: LazyLock::new(|| {
        sized::<7>("log_leaf (idx, time, kind, ring, kid, sig_hash, body)")
    }),
};
pub(crate) static ANSWERS: Bulk<6> = Bulk {
    statements: LazyLock::new(|| {
        sized::<6>("idempotency (idx, time, principal, key, request_hash, response)")
    }),
};

fn sized<const WIDTH: usize>(target: &str) -> [String; 5] {
    let row = format!("({})", ["?"; WIDTH].join(", "));
    SIZES.map(|size| {
        let rows = vec![row.as_str(); size].join(", ");
        format!("INSERT INTO {target} SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL")
    })
}

impl<const WIDTH: usize> Bulk<WIDTH> {
    pub(super) async fn insert(
        &'static self,
        tx: &mut TxConnection,
        rows: impl Iterator<Item = [Value<'_>; WIDTH]>,
    ) -> Result<u64, Error> {
        let mut values: Vec<Value<'_>> = rows.flatten().collect();
        let at = SIZES.iter().position(|size| size * WIDTH >= values.len());
        let at = at.ok_or(TOO_MANY)?;
        values.resize(SIZES[at] * WIDTH, Value::MaybeInt(None));
        tx.execute(&self.statements[at], &values).await
    }

    #[cfg(test)]
    pub(crate) fn all(&'static self) -> Vec<&'static str> {
        self.statements.iter().map(String::as_str).collect()
    }
}
