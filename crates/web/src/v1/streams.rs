//! Answers that last: how many there may be at once, in all and of one reader.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Code, Problem};

/// Of one reader.
pub const OF_READER: usize = 8;

/// In all.
const MOST: usize = 256;

type Readers = Arc<Mutex<HashMap<String, usize>>>;

pub struct Streams {
    permits: Arc<Semaphore>,
    readers: Readers,
}

/// To be one of them; given back by whoever does the work.
pub struct StreamPermit {
    _permit: OwnedSemaphorePermit,
    readers: Readers,
    reader: String,
}

impl Streams {
    /// An eighth of the requests in flight.
    pub fn new(max_in_flight: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new((max_in_flight / 8).clamp(1, MOST))),
            readers: Arc::default(),
        }
    }

    /// Never waits.
    pub fn enter(&self, reader: String) -> Result<StreamPermit, Problem> {
        let too_many = |what: &str| Problem::new(Code::Overloaded, what);
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| too_many("the limit of lasting answers is reached"))?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = readers.entry(reader.clone()).or_default();
        if *count >= OF_READER {
            let what = "the limit of lasting answers of one reader is reached";
            return Err(too_many(what));
        }
        *count += 1;
        Ok(StreamPermit {
            _permit: permit,
            readers: Arc::clone(&self.readers),
            reader,
        })
    }

    #[cfg(test)]
    pub fn under_way(&self) -> usize {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.values().sum()
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = readers.get_mut(&self.reader) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.reader);
            }
        }
    }
}
