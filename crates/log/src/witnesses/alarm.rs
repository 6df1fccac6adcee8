//! What the witnesses found against the log, and whether it has to be halted for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trust::tlog::policy::WitnessPolicy;

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
    /// As the policy calls the witness.
    name: String,
    /// Whether it was asked at all, whatever became of it.
    asked: bool,
    answered: Option<Instant>,
    claims: Option<u64>,
    proves: Option<Arc<Alarm>>,
}

impl Finding {
    pub fn asked(&mut self) {
        self.asked = true;
    }

    /// What it said of the log agrees with the database. No answer, an error and a contradiction
    /// are not that.
    pub fn agrees(&mut self) {
        self.answered = Some(Instant::now());
        self.claims = None;
    }

    /// It says that it saw so many leaves, more than there are.
    pub fn claims(&mut self, seen: u64) {
        self.claims = Some(seen);
        self.answered = None;
    }

    pub fn proves(&mut self, alarm: Option<Arc<Alarm>>) {
        self.proves = alarm;
        if self.proves.is_some() {
            self.answered = None;
        }
    }

    fn agreed(&self, within: Option<Duration>) -> bool {
        self.answered
            .is_some_and(|at| within.is_none_or(|within| at.elapsed() <= within))
    }
}

/// What all of them found.
#[derive(Debug, Clone, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let named = |name: &str| Finding {
            name: name.to_owned(),
            ..Finding::default()
        };
        Self(names.into_iter().map(named).collect())
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

    /// Whether the witnesses that agreed, once or within a time, are enough for the quorum of the
    /// policy.
    pub fn agreed(&self, policy: &WitnessPolicy, within: Option<Duration>) -> bool {
        policy.complete_with(|witness| self.of(&witness.name).is_some_and(|it| it.agreed(within)))
    }

    /// Those that have not agreed, for a person.
    pub fn missing(&self, within: Option<Duration>) -> String {
        let missing = self.0.iter().filter(|finding| !finding.agreed(within));
        let names: Vec<&str> = missing.map(|finding| finding.name.as_str()).collect();
        names.join(", ")
    }

    fn of(&self, name: &str) -> Option<&Finding> {
        self.0.iter().find(|finding| finding.name == name)
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
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use trust::tlog::note::VerifierKey;

    use super::*;

    fn of(claims: &[Option<u64>]) -> Findings {
        let names = &["a", "b", "c"][..claims.len()];
        let mut findings = Findings::new(names.iter().copied());
        for (place, claim) in claims.iter().enumerate() {
            if let Some(seen) = claim {
                findings.change(place, |mine| mine.claims(*seen));
            }
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

    fn policy(quorum: &str) -> WitnessPolicy {
        let line = |(name, seed): (&str, u8)| {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
            let public = pair.public_key().as_ref().try_into().unwrap();
            let key = VerifierKey::cosigner(name, public).unwrap();
            format!("witness {name} {key}\n")
        };
        let lines: String = [("a", 1), ("b", 2), ("c", 3)].map(line).concat();
        WitnessPolicy::parse(&format!("{lines}{quorum}\n")).unwrap()
    }

    #[test]
    fn case_g1_signing_waits_for_the_answers_that_the_quorum_needs() {
        let two = policy("group two 2 a b c\nquorum two");
        let none = policy("quorum none");
        let mut findings = of(&[None, None, None]);
        assert!(findings.agreed(&none, None));
        assert!(!findings.agreed(&two, None));
        findings.change(0, Finding::agrees);
        // One that contradicts is no answer that lets the log go on.
        findings.change(1, |mine| mine.claims(9));
        assert!(!findings.agreed(&two, None));
        assert_eq!(findings.missing(None), "b, c");
        findings.change(2, Finding::agrees);
        assert!(findings.agreed(&two, None));
        assert!(!findings.change(3, Finding::agrees), "there is no fourth");
        assert!(!findings.all_asked());
        for place in 0..3 {
            findings.change(place, Finding::asked);
        }
        assert!(findings.all_asked());
        // What was said long ago is not said within a time.
        let minute = Some(Duration::from_secs(60));
        assert!(findings.agreed(&two, minute));
        let long_ago = Instant::now() - Duration::from_secs(61);
        for place in [0, 2] {
            findings.change(place, |mine| mine.answered = Some(long_ago));
        }
        findings.change(1, Finding::agrees);
        assert!(!findings.agreed(&two, minute));
        assert_eq!(findings.missing(minute), "a, c");
        assert!(findings.agreed(&two, None));
        assert_eq!(findings.alarm(), None, "it took its word back");
    }
}
