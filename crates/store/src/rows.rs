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

/// A part of a table, in the order of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub rows: Rows<T>,
    /// Where the next page begins, if this one is full.
    pub next: Option<PageStart>,
}

/// So many rows behind the first one that has this key or a later one. Rows whose keys cannot be read are passed by their
/// number, so they hide nothing behind them. Before the first row by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageStart {
    pub key: String,
    pub behind: i64,
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
    decode(&engine.reader().await?.fetch(sql, values).await?)
}

/// One that is full has another behind it. The statement has start and limit among its values.
pub(crate) async fn page<E: Engine, T: Keyed>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
    (start, limit): (&PageStart, i64),
) -> Result<Page<T>, Error> {
    let rows = engine.reader().await?.fetch(sql, values).await?;
    let keys: Vec<Option<String>> = rows.iter().map(|row| T::key(row).ok()).collect();
    let full = keys.len() as i64 >= limit;
    Ok(Page {
        rows: decode(&rows)?,
        next: full.then(|| start.after(&keys)),
    })
}

impl PageStart {
    /// The start of the page after one that has rows with these keys.
    fn after(&self, keys: &[Option<String>]) -> Self {
        let mut next = self.clone();
        for key in keys {
            if let Some(key) = key {
                next = Self {
                    key: key.clone(),
                    behind: 0,
                };
            }
            next.behind += 1;
        }
        next
    }
}

fn decode<T: Keyed>(rows: &[impl Columns]) -> Result<Rows<T>, Error> {
    let mut read = Vec::with_capacity(rows.len());
    let mut unreadable = Vec::new();
    for row in rows {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_behind_the_last_key_that_can_be_read() {
        let start = |key: &str, behind| PageStart {
            key: key.to_owned(),
            behind,
        };
        let keys = |keys: &[&str]| -> Vec<Option<String>> {
            let key = |key: &&str| (*key != "?").then(|| (*key).to_owned());
            keys.iter().map(key).collect()
        };
        let first = PageStart::default();
        assert_eq!(first.after(&keys(&["a", "b"])), start("b", 1));
        assert_eq!(first.after(&keys(&["a", "?", "?"])), start("a", 3));
        assert_eq!(first.after(&keys(&["?", "?"])), start("", 2));
        assert_eq!(start("a", 3).after(&keys(&["?", "?"])), start("a", 5));
        assert_eq!(start("a", 5).after(&keys(&["?", "c"])), start("c", 1));
    }
}
