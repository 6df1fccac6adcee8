//! What the witnesses found against the log, and whether it has to be halted for it.

use std::sync::Arc;

/// Claims without proof that stop the log, if there are so many witnesses.
const ENOUGH: usize = 2;

/// Why nothing may be signed. Shown by a witness with a checkpoint that the log's own key signed,
/// except for [`Self::Claimed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// A database that was restored from a backup.
    #[error(
        "the witness {witness} has cosigned {seen} leaves of this log, the database has {known}: \
         the database is older than the log, and continuing would fork the log"
    )]
    Older {
        witness: String,
        seen: u64,
        known: u64,
    },
    /// Two histories, both signed.
    #[error(
        "the witness {witness} has cosigned a different tree of {size} leaves, signed by the \
         log's key: the log has forked"
    )]
    Forked { witness: String, size: u64 },
    /// Several say so, or the only one.
    #[error(
        "{witnesses} witnesses report a tree of {seen} leaves or more, the database has fewer: it \
         may be older than the log"
    )]
    Claimed { witnesses: usize, seen: u64 },
}

/// What one witness found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    asked: bool,
    claims: Option<u64>,
    proves: Option<Arc<Alarm>>,
}

impl Finding {
    /// It has answered once, or did not.
    pub fn asked(&mut self) {
        self.asked = true;
    }

    /// It says that it saw so many leaves, more than there are.
    pub fn claims(&mut self, seen: Option<u64>) {
        self.claims = seen;
    }

    pub fn proves(&mut self, alarm: Option<Arc<Alarm>>) {
        self.proves = alarm;
    }
}

/// What all of them found.
#[derive(Debug, Clone, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn new(witnesses: usize) -> Self {
        Self(vec![Finding::default(); witnesses])
    }

    /// Whether anything changed.
    pub(super) fn change(&mut self, place: usize, change: impl FnOnce(&mut Finding)) -> bool {
        let Some(finding) = self.0.get_mut(place) else {
            return false;
        };
        let before = finding.clone();
        change(finding);
        *finding != before
    }

    /// Whether each was asked what it knows of this log.
    pub fn all_asked(&self) -> bool {
        self.0.iter().all(|finding| finding.asked)
    }

    /// Why the log has to be halted.
    pub fn alarm(&self) -> Option<Arc<Alarm>> {
        let mut proofs = self.0.iter().filter_map(|finding| finding.proves.clone());
        if let Some(proof) = proofs.next() {
            return Some(proof);
        }
        let claims: Vec<u64> = self.0.iter().filter_map(|finding| finding.claims).collect();
        let seen = claims.iter().copied().min()?;
        let enough = claims.len() >= ENOUGH.min(self.0.len());
        enough.then(|| {
            Arc::new(Alarm::Claimed {
                witnesses: claims.len(),
                seen,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(claims: &[Option<u64>]) -> Findings {
        let mut findings = Findings::new(claims.len());
        for (place, claim) in claims.iter().enumerate() {
            findings.change(place, |mine| mine.claims(*claim));
        }
        findings
    }

    #[test]
    fn one_witness_among_several_cannot_stop_the_log_by_its_word() {
        assert_eq!(of(&[]).alarm(), None);
        assert_eq!(of(&[None]).alarm(), None);
        assert_eq!(of(&[Some(9), None]).alarm(), None);
        assert_eq!(of(&[None, Some(u64::MAX), None]).alarm(), None);
        for (claims, witnesses) in [
            (&[Some(9)][..], 1),
            (&[Some(9), Some(12)], 2),
            (&[Some(12), None, Some(9)], 2),
            (&[Some(12), Some(11), Some(9)], 3),
        ] {
            let alarm = of(claims).alarm();
            let expected = Alarm::Claimed { witnesses, seen: 9 };
            assert_eq!(alarm.as_deref(), Some(&expected));
        }
    }

    #[test]
    fn a_proof_stops_it_until_it_does_not_hold() {
        let mut findings = of(&[None, None, None]);
        let forked = Arc::new(Alarm::Forked {
            witness: "w".to_owned(),
            size: 3,
        });
        assert!(findings.change(1, |mine| mine.proves(Some(forked.clone()))));
        assert!(!findings.change(1, |mine| mine.proves(Some(forked.clone()))));
        assert_eq!(findings.alarm(), Some(forked));
        assert!(findings.change(1, |mine| mine.proves(None)));
        assert_eq!(findings.alarm(), None);
    }

    #[test]
    fn nothing_is_signed_before_all_were_asked() {
        assert!(Findings::new(0).all_asked());
        let mut findings = Findings::new(2);
        findings.change(0, Finding::asked);
        assert!(!findings.all_asked());
        findings.change(1, Finding::asked);
        assert!(findings.all_asked());
        assert!(!findings.change(2, Finding::asked), "there is no third");
    }
}
