//! Reading, the same on both engines. Each call is one statement and so one consistent view.

use crate::decode::unreadable;
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;

/// What one page of leaves holds at most, whatever is asked for.
pub const MAX_PAGE: i64 = 10_000;

pub(crate) trait FromColumns: Sized {
    fn read(row: &impl Columns) -> Result<Self, Error>;
}

pub(crate) async fn all<E: Engine, T: FromColumns>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Vec<T>, Error> {
    let rows = engine.reader().await?.fetch(sql, values).await?;
    rows.iter().map(T::read).collect()
}

pub(crate) async fn one<E: Engine, T: FromColumns>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Option<T>, Error> {
    Ok(all(engine, sql, values).await?.into_iter().next())
}

/// Whether a count is above zero.
pub(crate) async fn any<E: Engine>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<bool, Error> {
    match engine.reader().await?.fetch_optional(sql, values).await? {
        Some(row) => Ok(row.int(0)? > 0),
        None => Ok(false),
    }
}

/// A closed set of words: a state of a machine of ours.
pub(crate) trait Word: Sized + Copy + 'static {
    /// `table.column`
    const COLUMN: &'static str;
    const ALL: &'static [Self];

    fn word(self) -> &'static str;

    fn read_word(row: &impl Columns, column: usize) -> Result<Self, Error> {
        let value = row.text(column)?;
        let known = Self::ALL.iter().find(|one| one.word() == value);
        known
            .copied()
            .ok_or_else(|| unreadable(Self::COLUMN, &value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CeremonyState, ObjectState};

    /// A row of one text.
    struct Row(&'static str);

    impl Columns for Row {
        fn int(&self, _: usize) -> Result<i64, Error> {
            unreachable!()
        }
        fn text(&self, _: usize) -> Result<String, Error> {
            Ok(self.0.to_owned())
        }
        fn blob(&self, _: usize) -> Result<Vec<u8>, Error> {
            unreachable!()
        }
        fn maybe_int(&self, _: usize) -> Result<Option<i64>, Error> {
            unreachable!()
        }
        fn maybe_text(&self, _: usize) -> Result<Option<String>, Error> {
            unreachable!()
        }
        fn maybe_blob(&self, _: usize) -> Result<Option<Vec<u8>>, Error> {
            unreachable!()
        }
    }

    fn says(error: &Error) -> String {
        assert!(error.is_corrupt());
        error.to_string()
    }

    #[test]
    fn an_unknown_word_is_named_with_its_table_and_column() {
        let state = ObjectState::read_word(&Row("destroying"), 0).unwrap();
        assert_eq!(state, ObjectState::Destroying);
        let error = ObjectState::read_word(&Row("melted"), 0).unwrap_err();
        let expected = r#"the database is corrupt: key_object.state is "melted""#;
        assert_eq!(says(&error), expected);
        let error = CeremonyState::read_word(&Row("Closed"), 0).unwrap_err();
        let expected = r#"the database is corrupt: ceremony.state is "Closed""#;
        assert_eq!(says(&error), expected);
    }

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for &state in CeremonyState::ALL {
            let row = Row(state.as_str());
            assert_eq!(CeremonyState::read_word(&row, 0).unwrap(), state);
        }
        for &state in ObjectState::ALL {
            let row = Row(state.as_str());
            assert_eq!(ObjectState::read_word(&row, 0).unwrap(), state);
        }
    }
}
