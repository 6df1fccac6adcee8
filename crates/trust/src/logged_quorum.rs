//! A quorum held against the suspensions of which the log tells. A record has those that its writer put there, and whoever
//! owns the database can leave one out; its leaf cannot be left out.

use crate::roster::MemberId;

/// Leaves between which a member was suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspended {
    /// The leaf of the suspension.
    pub index: i64,
    /// The leaf of the next roster, which settled it.
    pub until: Option<i64>,
    /// None where the log tells of a suspension that is not there to be read: it may be anybody's.
    pub member: Option<MemberId>,
}

impl Suspended {
    /// Whether it came before a leaf, and no roster had settled it at another.
    pub fn holds(&self, before: i64, at: i64) -> bool {
        self.index < before && self.until.is_none_or(|until| until > at)
    }
}

/// Members who counted for something, and how many have to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Each once.
    pub members: Vec<MemberId>,
    /// Who of them signed by passkey.
    pub by_passkey: Vec<MemberId>,
    /// How many have to count.
    pub needed: usize,
    /// How many of these by another key than a passkey.
    pub keys: usize,
}

impl Quorum {
    /// Whether enough are left without those whom these suspend. Each of which nobody knows whom it suspends takes one
    /// away.
    pub fn holds_without<'a>(&self, suspensions: impl Iterator<Item = &'a Suspended>) -> bool {
        let (mut out, mut unknown): (Vec<&MemberId>, usize) = (Vec::new(), 0);
        for suspension in suspensions {
            match &suspension.member {
                Some(member) => out.push(member),
                None => unknown += 1,
            }
        }
        let out = &out;
        let left = || {
            let members = self.members.iter();
            members.filter(move |member| !out.contains(member))
        };
        let keys = left().filter(|member| !self.by_passkey.contains(member));
        let enough = |count: usize, needed: usize| count.saturating_sub(unknown) >= needed;
        enough(left().count(), self.needed) && enough(keys.count(), self.keys)
    }
}

/// Whose signatures decided a ceremony.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who proposed it.
    pub proposer: Option<MemberId>,
    /// Who approved it.
    pub approved: Quorum,
    /// Who accepted what was done.
    pub accepted: Quorum,
}

/// What the log has against those who decided a ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// The proposer did not count when it was carried out.
    #[error("its proposer was suspended before it was carried out")]
    Proposer,
    /// Too few approvals are left.
    #[error("too few of those who approved it were not suspended before it was carried out")]
    Approvals,
    /// Too few acceptances are left.
    #[error("too few of those who accepted it were not suspended before it took effect")]
    Acceptances,
}

impl Decision {
    /// Whether enough of those who decided it counted by the log: proposer and approvals until the leaf that tells of its
    /// execution, if one does, acceptances until the leaf `effect` by which it takes effect. `suspensions` are all of
    /// which the log tells before.
    pub fn check(
        &self,
        executed: Option<i64>,
        effect: i64,
        suspensions: &[Suspended],
    ) -> Result<(), Undecided> {
        let executed = executed.filter(|executed| *executed < effect);
        let executed = executed.unwrap_or(effect);
        let before = |leaf: i64| {
            let all = suspensions.iter();
            all.filter(move |each| each.holds(leaf, executed))
        };
        let is_proposer = |each: &Suspended| each.member.is_none() || each.member == self.proposer;
        if before(executed).any(is_proposer) {
            return Err(Undecided::Proposer);
        }
        if !self.approved.holds_without(before(executed)) {
            return Err(Undecided::Approvals);
        }
        match self.accepted.holds_without(before(effect)) {
            true => Ok(()),
            false => Err(Undecided::Acceptances),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &[&str]) -> Vec<MemberId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn of(member: Option<&str>) -> Suspended {
        Suspended {
            index: 5,
            until: None,
            member: member.map(|member| member.parse().unwrap()),
        }
    }

    fn quorum(keys: usize) -> Quorum {
        Quorum {
            members: all(&["alice", "bob", "carol"]),
            by_passkey: all(&["bob", "carol"]),
            needed: 2,
            keys,
        }
    }

    #[test]
    fn enough_are_left_without_the_suspended() {
        let holds = |suspended: &[Suspended]| quorum(1).holds_without(suspended.iter());
        assert!(holds(&[]));
        assert!(holds(&[of(Some("bob"))]));
        assert!(holds(&[of(Some("bob")), of(Some("bob")), of(Some("dave"))]));
        assert!(!holds(&[of(Some("bob")), of(Some("carol"))]));
        // Two are left, and both signed by passkey.
        assert!(!holds(&[of(Some("alice"))]));
        assert!(!quorum(2).holds_without([].iter()));
    }

    #[test]
    fn threat_whoever_a_suspension_meant_is_taken_out_of_the_database() {
        let holds = |suspended: &[Suspended]| quorum(0).holds_without(suspended.iter());
        assert!(holds(&[of(None)]));
        assert!(!holds(&[of(None), of(None)]));
        assert!(!holds(&[of(None), of(Some("alice"))]));
        assert!(!quorum(1).holds_without([of(None)].iter()));
    }

    #[test]
    fn a_suspension_holds_from_its_leaf_to_the_next_roster() {
        let until = |until| Suspended {
            until,
            ..of(Some("alice"))
        };
        assert!(until(None).holds(6, 6));
        assert!(!until(None).holds(5, 5));
        assert!(until(Some(7)).holds(9, 6));
        assert!(!until(Some(7)).holds(9, 7));
    }

    /// By Alice and Bob, accepted by Bob and Dave.
    fn decision() -> Decision {
        let quorum = |members: &[&str]| Quorum {
            members: all(members),
            by_passkey: Vec::new(),
            needed: 2,
            keys: 1,
        };
        Decision {
            proposer: Some("carol".parse().unwrap()),
            approved: quorum(&["alice", "bob"]),
            accepted: quorum(&["bob", "dave"]),
        }
    }

    #[test]
    fn threat_a_member_whom_the_log_suspended_before_counts_for_a_ceremony() {
        // Carried out at leaf 10, in effect at leaf 20.
        let with = |who: &str, index: i64, until: Option<i64>| {
            let suspended = Suspended {
                index,
                until,
                ..of(Some(who))
            };
            decision().check(Some(10), 20, &[suspended])
        };
        assert_eq!(with("alice", 9, None), Err(Undecided::Approvals));
        assert_eq!(with("alice", 9, Some(15)), Err(Undecided::Approvals));
        assert_eq!(with("carol", 9, None), Err(Undecided::Proposer));
        assert_eq!(with("dave", 9, None), Err(Undecided::Acceptances));
        assert_eq!(with("dave", 19, None), Err(Undecided::Acceptances));
        // Somebody else, afterwards, or settled before.
        assert_eq!(with("erin", 9, None), Ok(()));
        assert_eq!(with("alice", 11, None), Ok(()));
        assert_eq!(with("carol", 11, None), Ok(()));
        assert_eq!(with("dave", 21, None), Ok(()));
        assert_eq!(with("bob", 5, Some(8)), Ok(()));
    }

    #[test]
    fn threat_no_leaf_tells_of_the_execution_or_a_later_one() {
        for executed in [None, Some(20), Some(30)] {
            let check = |member| decision().check(executed, 20, &[of(member)]);
            assert_eq!(check(Some("alice")), Err(Undecided::Approvals));
            // Nobody knows whose it is.
            assert_eq!(check(None), Err(Undecided::Proposer));
        }
    }
}
