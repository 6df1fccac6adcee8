//! How new each subject is. Triggers of the schema write it in the transaction of the change.

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine};
use crate::error::Error;
use crate::statements::statements;

statements! {
    /// One statement and so one consistent view.
    VERSIONS = "SELECT subject, value FROM version
        UNION ALL SELECT '', version FROM log_head WHERE id = 1";
}

/// What was read at these versions or later is as new as they say. A subject that is the same in
/// both of two answers did not change between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versions {
    /// [`Store::version`]: rises with every change of any subject.
    pub all: i64,
    /// Rings and keys.
    pub keys: i64,
    /// Genesis, rosters, policies.
    pub trust: i64,
    pub credentials: i64,
    /// Ceremonies, their signatures, and objects on devices.
    pub ceremonies: i64,
    /// How far the log is pruned.
    pub log: i64,
}

impl Versions {
    /// Whether the subjects say all that changed since `before`: nothing, or the one change that there was. After several
    /// changes at once, one of them may have been made by hand around the triggers; then everything is read again.
    pub fn follows(&self, before: &Self) -> bool {
        let moved = Self {
            all: before.all,
            ..*self
        } != *before;
        self == before || (moved && self.all == before.all + 1)
    }
}

async fn versions<E: Engine>(engine: &E) -> Result<Versions, Error> {
    let mut versions = Versions::default();
    let mut known = 0;
    for row in engine.reader().await?.fetch(VERSIONS, &[]).await? {
        let slot = match row.text(0)?.as_str() {
            "" => &mut versions.all,
            "keys" => &mut versions.keys,
            "trust" => &mut versions.trust,
            "credentials" => &mut versions.credentials,
            "ceremonies" => &mut versions.ceremonies,
            "log" => &mut versions.log,
            // Of a later program.
            _ => continue,
        };
        *slot = row.int(1)?;
        known += 1;
    }
    // A subject without a row would look as if it never changed.
    if known != 6 {
        return Err(Error::Corrupt {
            what: "a subject without a version",
            source: None,
        });
    }
    Ok(versions)
}

impl Store {
    /// Of every subject, as of one moment.
    pub async fn versions(&self) -> Result<Versions, Error> {
        on!(self, engine => versions(engine))
    }
}
