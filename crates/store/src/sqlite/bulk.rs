//! Many rows in one statement. Measured against a JSON parameter expanded by `json_each`: a
//! quarter less CPU per row, because SQLite parses JSON anew for each column.

use std::sync::LazyLock;

use super::TxConnection;
use crate::engine::{Connection, Value};
use crate::error::Error;

/// A statement has a fixed number of rows, so there is one for each of these sizes, and a batch
/// fills the next larger one up with NULL, which `WHERE` leaves out.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

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
        let at = at.ok_or(Error::Malformed {
            what: "more rows than one statement takes",
        })?;
        values.resize(SIZES[at] * WIDTH, Value::MaybeInt(None));
        tx.execute(&self.statements[at], &values).await
    }

    #[cfg(test)]
    pub(crate) fn all(&'static self) -> Vec<&'static str> {
        self.statements.iter().map(String::as_str).collect()
    }
}
