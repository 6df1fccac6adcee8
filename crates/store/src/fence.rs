//! An index is given out once. A database that was replaced by an older one, such as a standby that lacked the last
//! seconds or a file that was restored, gives indexes out again: what this process has committed
//! itself tells it so (case L1).

use std::sync::atomic::{AtomicI64, Ordering};

use crate::error::Error;

/// How many leaves this process knows to be committed.
#[derive(Debug, Default)]
pub(crate) struct Fence(AtomicI64);

impl Fence {
    /// Asked in the transaction, before it is committed.
    pub fn check(&self, index: i64) -> Result<(), Error> {
        let committed = self.0.load(Ordering::Relaxed);
        match index < committed {
            true => Err(Error::Rewound { index, committed }),
            false => Ok(()),
        }
    }

    /// After a commit that is known to have succeeded.
    pub fn raise(&self, size: i64) {
        self.0.fetch_max(size, Ordering::Relaxed);
    }
}
