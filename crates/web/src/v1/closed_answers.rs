//! Answers about closed ceremonies that were made lately. Anybody may ask for one, it never changes, and to make it a
//! transcript is verified; so it is kept for the next who asks.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use trust::Sha256Digest;

/// Most that are kept.
const MOST: usize = 64;

/// Bytes of all that are kept.
const BYTES: usize = 8 << 20;

/// The one that was asked for last is the last.
#[derive(Default)]
pub struct ClosedAnswers(Mutex<VecDeque<(Sha256Digest, Bytes)>>);

impl ClosedAnswers {
    pub fn of(&self, ceremony: &Sha256Digest) -> Option<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(of, _)| of == ceremony)?;
        let found = kept.remove(at)?;
        let answer = found.1.clone();
        kept.push_back(found);
        Some(answer)
    }

    /// Those that were not asked for longest go first.
    pub fn keep(&self, ceremony: Sha256Digest, answer: Bytes) {
        if answer.len() > BYTES {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| *of != ceremony);
        kept.push_back((ceremony, answer));
        let size = |kept: &VecDeque<(_, Bytes)>| -> usize {
            kept.iter().map(|(_, answer)| answer.len()).sum()
        };
        while kept.len() > MOST || size(&kept) > BYTES {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_longest_goes_first_and_nothing_grows() {
        let id = |n: usize| Sha256Digest::of(&n.to_be_bytes());
        let kept = ClosedAnswers::default();
        for n in 0..MOST {
            kept.keep(id(n), Bytes::from_static(b"a"));
        }
        assert!(kept.of(&id(0)).is_some());
        kept.keep(id(MOST), Bytes::from_static(b"a"));
        assert!(kept.of(&id(0)).is_some() && kept.of(&id(1)).is_none());
        let large = Bytes::from(vec![0; BYTES / 2]);
        for n in 0..3 {
            kept.keep(id(n), large.clone());
        }
        assert!(kept.of(&id(2)).is_some() && kept.of(&id(0)).is_none());
        kept.keep(id(9), Bytes::from(vec![0; BYTES + 1]));
        assert!(kept.of(&id(9)).is_none());
    }
}
