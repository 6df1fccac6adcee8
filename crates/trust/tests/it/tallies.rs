//! The tally over random ballot boxes: no set of signatures under the threshold ever passes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use trust::approval::Approval;
use trust::tally::{History, Standing};
use trust::*;

use crate::support::{Custodian, World, armored, minute};

/// Who signs: custodians, Carol who proposes, Dave who is an operator, Mallory who is nobody.
const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "dave", "mallory"];

#[derive(Clone, Copy, Debug)]
enum How {
    Properly,
    Late,
    ForAnotherPurpose,
    SomethingElse,
    Elsewhere,
    Damaged,
}

fn ballot() -> impl Strategy<Value = (usize, How)> {
    let how = prop_oneof![
        4 => Just(How::Properly),
        1 => Just(How::Late),
        1 => Just(How::ForAnotherPurpose),
        1 => Just(How::SomethingElse),
        1 => Just(How::Elsewhere),
        1 => Just(How::Damaged),
    ];
    (0..PEOPLE.len(), how)
}

fn cast(world: &World, request: &[u8], person: usize, how: How) -> Approval {
    let signer = Custodian::quick(PEOPLE[person]);
    let proper = world.approval(request, &signer);
    match how {
        How::Properly => proper,
        How::Late => Approval {
            received_at: minute(31),
            ..proper
        },
        How::ForAnotherPurpose => {
            let signature = world.signature(Purpose::Accept, request, &signer);
            Approval {
                signature,
                ..proper
            }
        }
        How::SomethingElse => world.approval(b"something else", &signer),
        How::Elsewhere => {
            let namespace = world
                .namespace(Purpose::Approve)
                .to_string()
                .replace("production", "staging");
            let signature = signer.signed(&namespace, &dsse::pae(&namespace, request));
            Approval {
                signature,
                ..proper
            }
        }
        How::Damaged => Approval {
            signature: MemberSignature::ssh(armored(&proper.signature).replace("U1NI", "U1NJ")),
            ..proper
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn approved_exactly_by_two_custodians_who_did_not_propose(
        ballots in prop::collection::vec(ballot(), 0..7)
    ) {
        let world = World::quick();
        let mut ceremony = world.ceremony(&world.request(), &[]);
        for (person, how) in &ballots {
            let approval = cast(&world, &ceremony.request, *person, *how);
            ceremony.approvals.push(approval);
        }
        let proper: BTreeSet<_> = ballots
            .iter()
            .filter(|(person, how)| matches!(how, How::Properly) && *person < 2)
            .map(|(person, _)| *person)
            .collect();
        let tally = tally(&world.trusted(), &ceremony, &History::default(), minute(32));
        prop_assert_eq!(tally.counted.len(), proper.len());
        prop_assert_eq!(tally.counted.len() + tally.not_counted.len(), ballots.len());
        prop_assert_eq!(tally.standing == Standing::Approved, proper.len() >= 2);
        prop_assert_eq!(tally.into_approved().is_ok(), proper.len() >= 2);
    }

    /// The order of arrival changes nothing but who is named first.
    #[test]
    fn the_order_of_the_ballots_does_not_matter(
        ballots in prop::collection::vec(ballot(), 0..7), seed: u64
    ) {
        let world = World::quick();
        let mut ceremony = world.ceremony(&world.request(), &[]);
        for (person, how) in &ballots {
            let approval = cast(&world, &ceremony.request, *person, *how);
            ceremony.approvals.push(approval);
        }
        let mut shuffled = ceremony.clone();
        for at in (1..shuffled.approvals.len()).rev() {
            let other = usize::try_from(seed.rotate_left(u32::try_from(at).unwrap()) % 7).unwrap();
            shuffled.approvals.swap(at, other % (at + 1));
        }
        let members = |ceremony: &Ceremony| -> BTreeSet<MemberId> {
            world.tally(ceremony).counted.iter().map(|counted| counted.member.clone()).collect()
        };
        prop_assert_eq!(members(&ceremony), members(&shuffled));
    }
}
