//! Columns as what they mean. A value that this program cannot have written is named with its
//! table and column.

use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use trust::Time;

use crate::engine::Columns;
use crate::error::Error;

/// Characters of a value that an error shows at most.
const SHOWN: usize = 80;

/// `column` is `table.column`.
pub(crate) fn unreadable(column: &'static str, value: &str) -> Error {
    let value = value.chars().take(SHOWN).collect();
    Error::UnreadableValue { column, value }
}

/// A row whose columns are asked for by what they mean. `column` is `table.column`.
pub(crate) trait Decode: Columns {
    /// A text in the one spelling of `T`.
    fn parsed<T: FromStr>(&self, at: usize, column: &'static str) -> Result<T, Error> {
        let text = self.text(at)?;
        text.parse().map_err(|_| unreadable(column, &text))
    }

    fn maybe_parsed<T: FromStr>(
        &self,
        at: usize,
        column: &'static str,
    ) -> Result<Option<T>, Error> {
        let text = self.maybe_text(at)?;
        text.map(|text| text.parse().map_err(|_| unreadable(column, &text)))
            .transpose()
    }

    /// Milliseconds since the Unix epoch, in the range of [`Time`].
    fn time(&self, at: usize, column: &'static str) -> Result<Time, Error> {
        instant(self.int(at)?, column)
    }

    fn maybe_time(&self, at: usize, column: &'static str) -> Result<Option<Time>, Error> {
        let millis = self.maybe_int(at)?;
        millis.map(|millis| instant(millis, column)).transpose()
    }

    fn number<T: TryFrom<i64>>(&self, at: usize, column: &'static str) -> Result<T, Error> {
        let number = self.int(at)?;
        T::try_from(number).map_err(|_| unreadable(column, &number.to_string()))
    }

    /// Canonical JSON.
    fn maybe_json<T: DeserializeOwned + Serialize>(
        &self,
        at: usize,
        column: &'static str,
    ) -> Result<Option<T>, Error> {
        let text = self.maybe_text(at)?;
        text.map(|text| {
            trust::json::require_canonical(text.as_bytes()).map_err(|_| unreadable(column, &text))
        })
        .transpose()
    }
}

impl<C: Columns> Decode for C {}

fn instant(millis: i64, column: &'static str) -> Result<Time, Error> {
    let time = Time::from_millis(millis);
    match time.millis() == millis {
        true => Ok(time),
        false => Err(unreadable(column, &millis.to_string())),
    }
}

/// As [`Decode::maybe_json`] reads it.
pub(crate) fn canonical(value: &impl Serialize) -> Result<String, Error> {
    let malformed = || Error::Malformed {
        what: "a value that has no canonical JSON",
    };
    let bytes = trust::json::canonical(value).map_err(|_| malformed())?;
    String::from_utf8(bytes).map_err(|_| malformed())
}
