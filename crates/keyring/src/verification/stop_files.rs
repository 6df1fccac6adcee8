//! Files of stops that were made lately: anybody may ask for one.

use std::sync::Arc;

use moka::future::Cache;
use trust::Sha256Digest;

/// Bytes of all files that are kept.
const KEPT: u64 = 8 << 20;

/// Files of stops that somebody asked for lately: what was signed never changes, and a proof stays one. Each was verified
/// when it was made, for which a chain is walked.
pub type StopFiles = Cache<Sha256Digest, Arc<KnownStop>>;

/// A file that was made.
#[derive(Debug)]
pub struct KnownStop {
    pub bytes: Vec<u8>,
    /// Of one without a proof: how many leaves the newest checkpoint covered.
    pub covered: Option<i64>,
}

pub fn stop_files() -> StopFiles {
    let weight = |_: &Sha256Digest, known: &Arc<KnownStop>| {
        u32::try_from(known.bytes.len()).unwrap_or(u32::MAX)
    };
    Cache::builder().max_capacity(KEPT).weigher(weight).build()
}
