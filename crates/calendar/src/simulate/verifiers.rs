//! Whether every verifier could check every signature: by what was published when and what could sign when, and by nothing that
//! the planner believes.

use crate::name::AssetName;
use crate::time::Time;

use super::findings::Finding;
use super::report::PublishedSet;
use super::world::Verifier;

/// A version that could sign for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signer {
    pub(super) version: u32,
    pub(super) from: Time,
    /// `None` while it still can.
    pub(super) until: Option<Time>,
    /// A compromised one: verifiers shall not accept it afterwards.
    pub(super) revoked: bool,
}

/// A verifier that is shown a signature at `t` has some document that was served between `t - max_age - skew` and `t`. It
/// cannot check if any such document lacks the version.
pub(super) fn check(
    asset: &AssetName,
    sets: &[PublishedSet],
    signers: &[Signer],
    verifier: &Verifier,
    end: Time,
) -> Vec<Finding> {
    let kept = verifier.max_age.plus(verifier.skew);
    let mut findings = Vec::new();
    for signer in signers {
        // Signatures by it are shown from `from` to `last`.
        let last = match signer.until {
            Some(until) if signer.revoked => until,
            Some(until) => (until + verifier.oldest_signature).min(end),
            None => end,
        };
        for (index, set) in sets.iter().enumerate() {
            if set.versions.contains(&signer.version) {
                continue;
            }
            let replaced = sets.get(index + 1).map_or(end, |next| next.from);
            // What was served until `replaced` is held until then and `kept` more.
            let begins = signer.from.max(set.from);
            let ends = (replaced + kept).min(last);
            if begins < ends {
                findings.push(Finding::CannotCheck {
                    verifier: verifier.name.clone(),
                    asset: asset.clone(),
                    version: signer.version,
                    at: begins,
                    document: set.from,
                });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn hour(n: i64) -> Time {
        Time::from_hour(500_000 + n)
    }

    fn found(published: i64, promoted: i64, retired: i64, removed: i64) -> usize {
        let set = |at: i64, versions: &[u32]| PublishedSet {
            from: hour(at),
            versions: versions.to_vec(),
        };
        let sets = [set(0, &[1]), set(published, &[1, 2]), set(removed, &[2])];
        let signer = |version, from, until: Option<i64>| Signer {
            version,
            from: hour(from),
            until: until.map(hour),
            revoked: false,
        };
        let signers = [signer(1, 0, Some(retired)), signer(2, promoted, None)];
        let verifier = Verifier {
            name: "v".parse().unwrap(),
            max_age: Span::hours(2),
            skew: Span::hours(1),
            oldest_signature: Span::hours(4),
        };
        check(
            &"signing/a".parse().unwrap(),
            &sets,
            &signers,
            &verifier,
            hour(1_000),
        )
        .len()
    }

    #[test]
    fn a_version_that_signs_before_caches_have_it_is_found() {
        assert_eq!(found(10, 13, 20, 30), 0);
        assert_eq!(found(10, 12, 20, 30), 1);
        assert_eq!(found(13, 10, 20, 30), 1);
    }

    #[test]
    fn a_version_that_is_removed_while_its_signatures_are_shown_is_found() {
        assert_eq!(found(10, 13, 20, 24), 0);
        assert_eq!(found(10, 13, 20, 23), 1);
    }
}
