use std::num::NonZeroU32;
use std::ops::Range;

use super::*;
use crate::bytes16::Nonce;
use crate::withdrawal::{USE, WITHDRAW};

const ORDER: Nonce = Nonce([5; 16]);

fn at(seconds: i64) -> Time {
    Time::from_millis(seconds * 1_000)
}

fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

fn kid(letter: &str) -> Kid {
    letter.repeat(43).parse().unwrap()
}

fn of_order(index: i64, action: &str, number: Option<u64>, request: &str) -> Act {
    Act {
        index,
        leaf: ActLeaf {
            digest: Some(digest(request)),
            reference: Some(ORDER.to_string()),
            use_number: number,
            ..ActLeaf::new(ActKind::Order, action, "test", at(index))
        },
    }
}

fn of_ceremony(index: i64, action: &str, request: &str, told: &str, key: Option<&str>) -> Act {
    Act {
        index,
        leaf: ActLeaf {
            digest: Some(digest(told)),
            reference: Some(digest(request).to_string()),
            ring: Some("atp".to_owned()),
            kid: key.map(kid),
            ..ActLeaf::new(ActKind::Ceremony, action, "test", at(index))
        },
    }
}

/// By Alice, Bob and Carol.
fn approved() -> Quorum {
    let members = ["alice", "bob", "carol"].map(|member| member.parse().unwrap());
    Quorum {
        members: members.to_vec(),
        by_passkey: Vec::new(),
        needed: 2,
        keys: 1,
    }
}

fn expected() -> LoggedUse {
    LoggedUse {
        used: OrderUse {
            id: ORDER,
            number: NonZeroU32::MIN,
        },
        request: digest("mine"),
        execution: digest("made"),
        core: digest("transcript"),
        kid: kid("A"),
        ring: "atp".parse().unwrap(),
        predecessor: kid("E"),
        executor: "robot".parse().unwrap(),
        approved: approved(),
        by_executor: true,
        earliest: at(10),
        window: OrderWindow::always(),
        execute_by: at(20),
        order: LoggedOrder {
            request: digest("order"),
            execution: digest("ordered"),
            core: digest("order's transcript"),
            execute_by: at(8),
            documents: 1,
            decision: Decision {
                proposer: Some("dave".parse().unwrap()),
                approved: approved(),
                accepted: approved(),
            },
        },
    }
}

/// Leaf 5 carries the order out, 6 accepts it, 7 the key before, 11 takes the use, 12 intends the key, 13 makes it, and 15
/// accepts it.
fn acts() -> Vec<Act> {
    vec![
        of_ceremony(5, ORDERED, "order", "ordered", None),
        of_ceremony(6, ACCEPTED, "order", "order's transcript", None),
        of_ceremony(7, ACCEPTED, "another", "another", Some("E")),
        of_order(11, USE, Some(1), "mine"),
        of_ceremony(12, INTENT, "mine", "intent", None),
        of_ceremony(13, "generated", "mine", "made", Some("A")),
        of_ceremony(15, ACCEPTED, "mine", "transcript", Some("A")),
    ]
}

const PLACE: UsePlace<'_> = UsePlace {
    accepted: 15,
    ended: None,
    suspensions: &[],
};

fn check(change: impl FnOnce(&mut Vec<Act>)) -> Result<(), UseFault> {
    let mut acts = acts();
    change(&mut acts);
    check_use(&expected(), &PLACE, &acts)
}

fn without(index: i64) -> Result<(), UseFault> {
    check(|acts| acts.retain(|act| act.index != index))
}

/// With the leaf somewhere else, and at another time.
fn moved(from: i64, to: i64) -> Result<(), UseFault> {
    check(|acts| {
        for act in acts.iter_mut().filter(|act| act.index == from) {
            (act.index, act.leaf.time) = (to, at(to));
        }
    })
}

#[test]
fn a_use_is_the_first_of_its_number_and_before_its_withdrawal() {
    assert_eq!(check(|_| ()), Ok(()));
    assert_eq!(without(11), Err(UseFault::Unlogged));
    let with = |act: Act| check(|acts| acts.push(act));
    assert_eq!(with(of_order(9, USE, Some(2), "other")), Ok(()));
    assert_eq!(with(of_order(9, "accepted", Some(1), "other")), Ok(()));
    let taken = with(of_order(10, USE, Some(1), "other"));
    assert_eq!(taken, Err(UseFault::Taken(10)));
    assert_eq!(with(of_order(14, USE, Some(1), "other")), Ok(()));
    let withdrawn = with(of_order(14, WITHDRAW, None, "w"));
    assert_eq!(withdrawn, Err(UseFault::Withdrawn(14)));
    assert_eq!(with(of_order(16, WITHDRAW, None, "w")), Ok(()));
}

#[test]
fn threat_an_order_is_dated_back_after_it_was_used() {
    assert_eq!(without(6), Err(UseFault::OrderUnlogged));
    assert_eq!(moved(6, 11), Err(UseFault::OrderUnlogged));
    assert_eq!(moved(6, 14), Err(UseFault::OrderUnlogged));
    let other = check(|acts| acts.push(of_ceremony(4, ACCEPTED, "order", "another", None)));
    assert_eq!(other, Err(UseFault::OtherOrder(4)));
}

#[test]
fn threat_an_order_is_accepted_by_former_custodians() {
    let ended = |ended, change: &dyn Fn(&mut Vec<Act>)| {
        let mut acts = acts();
        change(&mut acts);
        let place = UsePlace {
            ended: Some(ended),
            ..PLACE
        };
        check_use(&expected(), &place, &acts)
    };
    assert_eq!(ended(8, &|_| ()), Ok(()));
    assert_eq!(ended(7, &|_| ()), Ok(()));
    // Between execution and acceptance, as for every ceremony.
    let between = 6;
    let later = |acts: &mut Vec<Act>| acts[1].index = 8;
    assert_eq!(ended(between, &later), Ok(()));
    let former = Err(UseFault::FormerRoster(6));
    assert_eq!(ended(4, &|_| ()), former);
    let late = |acts: &mut Vec<Act>| (acts[1].index, acts[1].leaf.time) = (8, at(9));
    assert_eq!(ended(between, &late), Err(UseFault::FormerRoster(8)));
    let unmade = |acts: &mut Vec<Act>| {
        acts.remove(0);
        acts[0].index = 8;
    };
    assert_eq!(ended(between, &unmade), Err(UseFault::FormerRoster(8)));
}

#[test]
fn threat_an_executor_states_a_time_at_which_it_made_nothing() {
    for index in [12, 13] {
        assert_eq!(without(index), Err(UseFault::Unmade), "{index}");
    }
    // Before the use, or after the acceptance.
    assert_eq!(moved(12, 8), Err(UseFault::Unmade));
    assert_eq!(moved(13, 10), Err(UseFault::Unmade));
    assert_eq!(moved(12, 14), Err(UseFault::Unmade));
    let time = |index, second| {
        check(|acts| {
            let act = acts.iter_mut().find(|act| act.index == index).unwrap();
            act.leaf.time = at(second);
        })
    };
    for index in [11, 12, 13, 15] {
        for second in [9, 21] {
            let fault = UseFault::Time {
                index,
                at: at(second),
            };
            assert_eq!(time(index, second), Err(fault));
        }
        assert_eq!(time(index, 20), Ok(()));
    }
    // Custodians take the time they need.
    let mut expected = expected();
    expected.by_executor = false;
    let mut late = acts();
    late[6].leaf.time = at(999);
    assert_eq!(check_use(&expected, &PLACE, &late), Ok(()));
    expected.window.until_minute = 0;
    assert!(matches!(
        check_use(&expected, &PLACE, &late),
        Err(UseFault::Time { index: 12, .. })
    ));
    // Of another key, or another record.
    let other = check(|acts| acts[5].leaf.kid = Some(kid("I")));
    assert_eq!(other, Err(UseFault::Unmade));
    let other = check(|acts| acts[5].leaf.digest = Some(digest("other")));
    assert_eq!(other, Err(UseFault::Unmade));
}

#[test]
fn threat_a_key_under_an_order_succeeds_one_that_the_ring_never_had() {
    assert_eq!(without(7), Err(UseFault::Predecessor));
    assert_eq!(moved(7, 12), Err(UseFault::Predecessor));
    let elsewhere = check(|acts| acts[2].leaf.ring = Some("oauth".to_owned()));
    assert_eq!(elsewhere, Err(UseFault::Predecessor));
}

#[test]
fn threat_the_acceptance_is_of_something_else() {
    let unaccepted = Err(UseFault::Unaccepted(15));
    assert_eq!(without(15), unaccepted);
    let other = |change: &dyn Fn(&mut ActLeaf)| check(|acts| change(&mut acts[6].leaf));
    assert_eq!(other(&|leaf| leaf.kid = Some(kid("I"))), unaccepted);
    assert_eq!(other(&|leaf| leaf.digest = None), unaccepted);
    assert_eq!(other(&|leaf| leaf.kind = ActKind::Key), unaccepted);
    assert_eq!(other(&|leaf| leaf.reference = None), unaccepted);
}

#[test]
fn threat_a_suspended_executor_s_earlier_result_is_accepted() {
    let during = |index, until: Option<i64>, member: Option<&str>| {
        let suspensions = [Suspended {
            index,
            until,
            member: member.map(|member| member.parse().unwrap()),
        }];
        let place = UsePlace {
            suspensions: &suspensions,
            ..PLACE
        };
        check_use(&expected(), &place, &acts())
    };
    let robot = Some("robot");
    let suspended = |range: Range<i64>, member| {
        for index in range {
            let fault = UseFault::Suspended(index);
            assert_eq!(during(index, None, member), Err(fault.clone()));
            assert_eq!(during(index, Some(14), member), Err(fault));
        }
    };
    suspended(8..14, robot);
    // One that cannot be read may be anybody's.
    suspended(8..14, None);
    assert_eq!(during(9, None, Some("second")), Ok(()));
    // Settled before the use, or after the acceptance.
    assert_eq!(during(8, Some(9), robot), Ok(()));
    assert_eq!(during(16, None, robot), Ok(()));
}

/// With these members suspended at a leaf, until another.
fn suspending(suspended: &[(i64, Option<i64>, &str)]) -> Result<(), UseFault> {
    let suspensions = suspended.iter().map(|(index, until, member)| Suspended {
        index: *index,
        until: *until,
        member: Some(member.parse().unwrap()),
    });
    let suspensions: Vec<Suspended> = suspensions.collect();
    let place = UsePlace {
        suspensions: &suspensions,
        ..PLACE
    };
    check_use(&expected(), &place, &acts())
}

#[test]
fn threat_a_key_is_made_after_its_order_was_paused_by_suspensions() {
    // One of three may be.
    let one = suspending(&[(8, None, "alice"), (9, None, "second")]);
    assert_eq!(one, Ok(()));
    let two = |index, until| suspending(&[(8, None, "alice"), (index, until, "carol")]);
    for index in 8..13 {
        assert_eq!(two(index, None), Err(UseFault::Paused(index)));
        assert_eq!(two(index, Some(14)), Err(UseFault::Paused(index)));
    }
    // After the key was made, or settled before its use.
    assert_eq!(two(14, None), Ok(()));
    assert_eq!(two(9, Some(10)), Ok(()));
}

#[test]
fn threat_an_order_is_decided_by_members_whom_the_log_suspended() {
    let undecided = |why| Err(UseFault::Undecided(6, why));
    // Though the next roster had them again before the order was used.
    let both = |index| suspending(&[(2, Some(8), "alice"), (index, Some(8), "carol")]);
    assert_eq!(both(4), undecided(Undecided::Approvals));
    assert_eq!(both(5), undecided(Undecided::Acceptances));
    assert_eq!(both(7), Ok(()));
    let proposer = suspending(&[(4, Some(8), "dave")]);
    assert_eq!(proposer, undecided(Undecided::Proposer));
}
