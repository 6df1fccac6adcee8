//! Many rows at once. One that this program cannot have written is left out alone: the others are
//! as good as before, and whoever reads them is told which one is missing, and why.

use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::{Error, UnreadableRow};
use crate::reads::FromColumns;

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows<T> {
    pub read: Vec<T>,
    pub unreadable: Vec<UnreadableRow>,
}

impl<T> Rows<T> {
    /// Whether the row that is known by this is there and cannot be read.
    pub fn is_unreadable(&self, key: &str) -> bool {
        self.unreadable.iter().any(|row| row.key == key)
    }

    /// For whom a missing row would be a wrong answer: the first unreadable one is the error.
    pub fn all(self) -> Result<Vec<T>, Error> {
        match self.unreadable.into_iter().next() {
            Some(row) => Err(Error::UnreadableRow(row)),
            None => Ok(self.read),
        }
    }
}

/// A row that is told from the others of its table.
pub(crate) trait Keyed: FromColumns {
    const TABLE: &'static str;

    /// From columns that may hold anything.
    fn key(row: &impl Columns) -> Result<String, Error> {
        row.text(0)
    }
}

pub(crate) async fn each<E: Engine, T: Keyed>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Rows<T>, Error> {
    let rows = engine.reader().await?.fetch(sql, values).await?;
    let mut read = Vec::with_capacity(rows.len());
    let mut unreadable = Vec::new();
    for row in &rows {
        match T::read(row) {
            Ok(row) => read.push(row),
            Err(error) if error.is_corrupt() => unreadable.push(UnreadableRow {
                table: T::TABLE,
                key: T::key(row).unwrap_or_else(|_| "?".to_owned()),
                why: match error {
                    Error::UnreadableValue { column, value } => format!("{column} is {value:?}"),
                    error => trust::error_chain(&error),
                },
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(Rows { read, unreadable })
}
