//! Who has to approve in an emergency, and by which kind of key.

use std::collections::BTreeSet;

use crate::chain::Trusted;
use crate::policy::Threshold;
use crate::request::Operation;
use crate::roster::{MemberId, Role, Roster};

use super::{Counted, Electorate};

/// An emergency rotation needs one of each, three distinct members.
pub(super) static ROLES: [Role; 3] = [Role::SecurityLead, Role::OnCallManager, Role::Custodian];

/// At least so many of the three sign with a key that is no passkey: the page that asks for a passkey's signature is
/// served by the service itself.
const NOT_BY_PASSKEY: usize = 2;

/// Whose approvals of an operation count.
pub(super) fn electorate<'a>(roster: &'a Roster, operation: &Operation) -> Electorate<'a> {
    match operation {
        Operation::EmergencyRotation(_) => Electorate::emergency(roster),
        _ => Electorate::custodians(roster),
    }
}

/// One who counted.
struct Approver<'a> {
    roles: &'a [Role],
    passkey: bool,
}

/// How many more approvals are missing at least.
pub(super) fn missing(
    trusted: &Trusted,
    operation: &Operation,
    counted: &[Counted],
    needed: Threshold,
) -> usize {
    let approvers = approvers(trusted, counted);
    let (all, keys) = (
        approvers.len(),
        approvers.iter().filter(|each| !each.passkey).count(),
    );
    match operation {
        Operation::EmergencyRotation(_) => {
            needed.get().saturating_sub(all).max(lacking(&approvers))
        }
        // What lets signing go on is decided away from the service's own pages.
        Operation::Resume(_) | Operation::Ratification(_) => needed.get().saturating_sub(keys),
        _ => super::missing(counted, needed),
    }
}

fn approvers<'a>(trusted: &'a Trusted, counted: &[Counted]) -> Vec<Approver<'a>> {
    let approvers = counted.iter().map(|counted| Approver {
        roles: trusted
            .roster()
            .member(&counted.member)
            .map_or(&[], |member| member.roles.as_slice()),
        passkey: counted.is_by_passkey(),
    });
    approvers.collect()
}

/// In which roles one more member who signs without a passkey brings an emergency rotation nearer. Empty of every other
/// operation.
pub(super) fn wanting(trusted: &Trusted, operation: &Operation, counted: &[Counted]) -> Vec<Role> {
    match operation {
        Operation::EmergencyRotation(_) => helpful(&approvers(trusted, counted)),
        _ => Vec::new(),
    }
}

/// The roles among the three that a roster has nobody for who could approve an emergency rotation of this proposer's: none
/// where three distinct members who are active and not suspended fill them, two of them by a key that is no passkey. Without
/// a proposer, of whoever proposes.
pub fn roles_without_member(
    roster: &Roster,
    proposer: Option<&MemberId>,
    suspended: &BTreeSet<MemberId>,
) -> Vec<Role> {
    let members = roster.members.iter().filter(|member| {
        member.active && proposer != Some(&member.id) && !suspended.contains(&member.id)
    });
    let approvers = members.map(|member| Approver {
        roles: &member.roles,
        passkey: member.keys.iter().all(|key| key.is_passkey()),
    });
    helpful(&approvers.collect::<Vec<_>>())
}

fn helpful(approvers: &[Approver<'_>]) -> Vec<Role> {
    let lacks = lacking(approvers);
    let helps = |role: &Role| {
        let more = approvers.iter().map(|each| Approver { ..*each });
        let one = Approver {
            roles: std::slice::from_ref(role),
            passkey: false,
        };
        lacking(&more.chain([one]).collect::<Vec<_>>()) < lacks
    };
    ROLES.iter().filter(|role| helps(role)).cloned().collect()
}

/// How many of the three roles nobody is left for, if each member fills one; or, where all are filled, how many of those
/// who fill them would have to sign with another kind of key.
fn lacking(approvers: &[Approver<'_>]) -> usize {
    /// The best assignment of the roles from `role` on: how many are filled, and by how many without a passkey.
    fn best(approvers: &[Approver<'_>], role: usize, taken: &mut Vec<usize>) -> (usize, usize) {
        let Some(wanted) = ROLES.get(role) else {
            return (0, 0);
        };
        let mut found = best(approvers, role + 1, taken);
        for (at, approver) in approvers.iter().enumerate() {
            if taken.contains(&at) || !approver.roles.contains(wanted) {
                continue;
            }
            taken.push(at);
            let (filled, keys) = best(approvers, role + 1, taken);
            taken.pop();
            found = found.max((filled + 1, keys + usize::from(!approver.passkey)));
        }
        found
    }
    // Only so many of each role can matter, and a roster may be long.
    let (filled, keys) = best(&few(approvers), 0, &mut Vec::new());
    match ROLES.len() - filled {
        0 => NOT_BY_PASSKEY.saturating_sub(keys),
        roles => roles,
    }
}

/// At most three of each combination of roles and kind of key: more of the same cannot fill more places.
fn few<'a>(approvers: &[Approver<'a>]) -> Vec<Approver<'a>> {
    let mut kept: Vec<Approver<'a>> = Vec::new();
    for each in approvers {
        let same = |other: &&Approver<'_>| {
            let has = |roles: &[Role]| ROLES.each_ref().map(|role| roles.contains(role));
            other.passkey == each.passkey && has(other.roles) == has(each.roles)
        };
        if kept.iter().filter(same).count() < ROLES.len() {
            kept.push(Approver {
                roles: each.roles,
                passkey: each.passkey,
            });
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use Role::{Custodian, OnCallManager, Operator, SecurityLead};

    /// Roles of each who approved, and whether by a passkey.
    fn lack(approvers: &[(&[Role], bool)]) -> usize {
        let approvers: Vec<_> = approvers
            .iter()
            .map(|&(roles, passkey)| Approver { roles, passkey })
            .collect();
        lacking(&approvers)
    }

    #[test]
    fn three_distinct_members_fill_the_three_roles() {
        let (lead, manager, custodian) = ([SecurityLead], [OnCallManager], [Custodian]);
        let three = [
            (&lead[..], false),
            (&manager[..], false),
            (&custodian[..], false),
        ];
        assert_eq!(lack(&three), 0);
        assert_eq!(lack(&three[..2]), 1);
        assert_eq!(lack(&[]), 3);
        // Who could fill several fills the one that nobody else does.
        let (all, two) = (
            [Custodian, SecurityLead, OnCallManager],
            [Custodian, SecurityLead],
        );
        assert_eq!(
            lack(&[(&all, false), (&two, false), (&custodian, false)]),
            0
        );
        assert_eq!(
            lack(&[(&custodian, false), (&custodian, false), (&all, false)]),
            1
        );
        assert_eq!(lack(&[(&[Operator], false), (&lead, false)]), 2);
    }

    #[test]
    fn an_emergency_rotation_by_one_person_in_three_roles_lacks_two() {
        let all = [Custodian, SecurityLead, OnCallManager];
        assert_eq!(lack(&[(&all, false)]), 2);
    }

    #[test]
    fn roles_in_which_one_more_approval_helps_are_named() {
        let wanted = |approvers: &[(&[Role], bool)]| {
            let approvers = approvers.iter();
            let approvers = approvers.map(|&(roles, passkey)| Approver { roles, passkey });
            helpful(&approvers.collect::<Vec<_>>())
        };
        let (lead, manager, custodian) = ([SecurityLead], [OnCallManager], [Custodian]);
        assert_eq!(wanted(&[]), ROLES);
        // However many custodians there are.
        assert_eq!(
            wanted(&[(&custodian, false), (&custodian, false)]),
            [SecurityLead, OnCallManager]
        );
        let two = [(&lead[..], false), (&custodian[..], false)];
        assert_eq!(wanted(&two), [OnCallManager]);
        let all = [Custodian, SecurityLead, OnCallManager];
        assert_eq!(wanted(&[(&all, false)]), ROLES);
        let three = [
            (&lead[..], false),
            (&manager[..], false),
            (&custodian[..], false),
        ];
        assert_eq!(wanted(&three), []);
        let two_passkeys = [
            (&lead[..], true),
            (&manager[..], true),
            (&custodian[..], false),
        ];
        assert_eq!(wanted(&two_passkeys), [SecurityLead, OnCallManager]);
    }

    #[test]
    fn an_emergency_rotation_by_two_passkeys_of_three_lacks_one() {
        let (lead, manager, custodian) = ([SecurityLead], [OnCallManager], [Custodian]);
        let by =
            |first, second, third| lack(&[(&lead, first), (&manager, second), (&custodian, third)]);
        assert_eq!(by(true, false, false), 0);
        assert_eq!(by(true, true, false), 1);
        assert_eq!(by(true, true, true), 2);
        // A second custodian who has no passkey fills the place.
        let more = [
            (&lead[..], true),
            (&manager[..], false),
            (&custodian[..], true),
            (&custodian[..], false),
        ];
        assert_eq!(lack(&more), 0);
    }
}
