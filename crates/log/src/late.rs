//! Whether leaves wait for a checkpoint longer than they should, and why. They are safe in the
//! database meanwhile and signing goes on, but no receipt can be given for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// A step that fails once is repeated before anybody needs to know.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long leaves have waited.
#[derive(Debug, Default)]
pub struct Late {
    /// Leaves of the newest checkpoint when the wait began.
    covered: i64,
    since: Option<Instant>,
    why: Option<String>,
}

impl Late {
    /// What a step of this replica came to.
    pub fn came_to(&mut self, error: Option<String>) {
        self.why = error;
    }

    /// There are `head` leaves, of which a checkpoint covers some. `now` after `interval`, and a
    /// little more, they are late. Nothing is late before there is a first checkpoint: the log may
    /// have no key yet.
    pub fn look(
        &mut self,
        head: i64,
        covered: Option<i64>,
        interval: Duration,
        now: Instant,
    ) -> Option<Arc<str>> {
        let Some(covered) = covered.filter(|covered| head > *covered) else {
            self.since = None;
            return None;
        };
        if covered != self.covered {
            self.covered = covered;
            self.since = None;
        }
        let since = *self.since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        if waited < PATIENCE + interval.saturating_mul(4) {
            return None;
        }
        let why = self.why.as_deref();
        let why = why.unwrap_or("see the service log of the replica that integrates");
        let leaves = head - covered;
        Some(format!("{leaves} leaves wait for a checkpoint: {why}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_a9_leaves_that_wait_for_storage_are_told_with_the_reason() {
        let mut late = Late::default();
        let start = Instant::now();
        let look = |late: &mut Late, head, covered, seconds| {
            let now = start + Duration::from_secs(seconds);
            late.look(head, covered, Duration::from_millis(500), now)
        };
        assert_eq!(look(&mut late, 9, None, 0), None);
        assert_eq!(look(&mut late, 9, None, 90), None, "no key yet");
        assert_eq!(look(&mut late, 9, Some(9), 91), None);
        // Under load something always waits, and is covered by the next.
        assert_eq!(look(&mut late, 10, Some(9), 92), None);
        assert_eq!(look(&mut late, 99, Some(50), 97), None);
        late.came_to(Some("no space left on the device".to_owned()));
        assert_eq!(look(&mut late, 100, Some(50), 100), None);
        let why = look(&mut late, 100, Some(50), 102).unwrap();
        assert_eq!(
            &*why,
            "50 leaves wait for a checkpoint: no space left on the device"
        );
        late.came_to(None);
        assert!(look(&mut late, 100, Some(50), 103).is_some());
        assert_eq!(look(&mut late, 100, Some(100), 104), None);
        assert_eq!(look(&mut late, 101, Some(100), 200), None);
    }
}
