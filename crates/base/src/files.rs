//! Files that are looked at for changes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// How often files are looked at.
pub const LOOK: Duration = Duration::from_secs(10);

/// Tells a file from the one that was there before: device, inode, size, and both times in nanoseconds. Two files that are
/// not there are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(Option<(u64, u64, u64, i128, i128)>);

impl Stamp {
    pub fn of(path: &Path) -> Self {
        let nanos =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let found = std::fs::metadata(path).ok();
        Self(found.map(|found| {
            (
                found.dev(),
                found.ino(),
                found.size(),
                nanos(found.mtime(), found.mtime_nsec()),
                nanos(found.ctime(), found.ctime_nsec()),
            )
        }))
    }
}
