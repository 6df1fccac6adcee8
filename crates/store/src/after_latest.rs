//! Changes whose instant is decided under the log head: a key's end is not before a leaf that stands in
//! the log already, whatever the clock of who ends it says. Otherwise signatures that were released would
//! be of after its end (case S10).

/// When a change may take place: not before `earliest`, and not before the latest leaf.
///
/// The latest leaf is what the log head says: it follows the corrections of wrong clocks. A head that lies further
/// ahead of the clocks than they may differ lets nothing through (`ClockAhead`), so the instant is one that can be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterLatest {
    pub earliest: i64,
    /// Later than the latest leaf, where one of the same instant would be of after the change.
    pub strictly: bool,
}

impl AfterLatest {
    /// `clock` is the latest time of a leaf, by the head that was taken.
    pub(crate) fn instant(&self, clock: i64) -> i64 {
        let after = clock.saturating_add(i64::from(self.strictly));
        self.earliest.max(after)
    }
}
