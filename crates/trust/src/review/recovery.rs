//! What is signed about a recovery, for reading.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Sha256Digest;
use crate::dsse;
use crate::json::{self, JsonError};
use crate::namespace::{Namespace, Purpose};
use crate::recovery::{RecoveryRoster, VetoBody};
use crate::roster::Roster;
use crate::words;

use super::{NotAFile, Review, flatten};

/// Renders what is signed about a recovery: the recovery roster, the roster that it puts in place, or a
/// veto; `None` for a file that is something else. What it has to be compared with is said by people.
pub fn review_recovery(file: &[u8]) -> Result<Option<Review>, NotAFile> {
    let (namespace, body) = dsse::parse_pae(file)?;
    let purposes = [Purpose::RecoveryRoster, Purpose::Recover, Purpose::Veto];
    let begins =
        |purpose: &Purpose| namespace.starts_with(&format!("chancery/{}.", purpose.word()));
    let Some(purpose) = purposes.into_iter().find(begins) else {
        return Ok(None);
    };
    let (value, place) = match purpose {
        // A veto is of a document, which says where it is.
        Purpose::Veto => (read_as::<VetoBody>(body)?.1, None),
        Purpose::Recover => {
            let (roster, value) = read_as::<Roster>(body)?;
            (value, Some((roster.service, roster.environment)))
        }
        _ => {
            let (roster, value) = read_as::<RecoveryRoster>(body)?;
            (value, Some((roster.service, roster.environment)))
        }
    };
    if let Some((service, environment)) = place {
        let expected = Namespace::new(purpose, &service, &environment).to_string();
        if expected != namespace {
            let found = namespace.to_owned();
            return Err(NotAFile::Namespace { found, expected });
        }
    }
    let digest = Sha256Digest::of(body);
    Ok(Some(Review {
        lines: flatten(&value)?,
        changes: Vec::new(),
        digest,
        words: words::words(digest.as_bytes()),
    }))
}

/// What is read, and the same as it is shown.
fn read_as<T: DeserializeOwned + Serialize>(
    body: &[u8],
) -> Result<(T, serde_json::Value), JsonError> {
    let read: T = json::require_canonical(body)?;
    let value = serde_json::to_value(&read).map_err(|error| JsonError::Write(error.to_string()))?;
    Ok((read, value))
}
