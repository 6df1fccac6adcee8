//! The time by which rotations run: the database's, so that it does not matter whose clock is wrong.

use base::Env;
use calendar::Time;
use store::Store;

use crate::times::from_row;

/// Whose time.
#[derive(Clone)]
pub enum Clock {
    /// The database's.
    Database(Store),
    /// One that is handed in: a simulation's, or a test's.
    Given(Env),
}

impl Clock {
    /// Now.
    pub async fn now(&self) -> Result<Time, store::Error> {
        match self {
            Self::Database(store) => store.database_time().await.map(from_row),
            Self::Given(env) => Ok(from_row(env.now())),
        }
    }
}
