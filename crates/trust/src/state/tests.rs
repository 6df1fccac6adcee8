use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::life::Life;
use crate::request::RevocationReason;
use crate::safety::Safety;
use crate::testing::{accepted, at, destroy, kid, revoke};

fn safety() -> Safety {
    let seconds = Duration::from_secs;
    Safety::new(seconds(100), seconds(50), seconds(90), seconds(10)).unwrap()
}

/// Key 1 in every state, by the transitions that lead there. The last two are those of a key that
/// was revoked when it was primary, and then destroyed.
fn states() -> Vec<KeyState> {
    let prepared = KeyState::prepared(at(1));
    let standby = prepared
        .clone()
        .publish(&kid(1), accepted(1), at(2))
        .unwrap();
    let primary = standby.clone().activate(&safety(), at(102)).unwrap();
    let secondary = primary.clone().demote(at(200)).unwrap();
    let retired = secondary.clone().retire(&safety(), at(250)).unwrap();
    let archived = retired
        .clone()
        .archive(&kid(1), &destroy(1), at(300))
        .unwrap();
    let revoked = archived
        .clone()
        .revoke(&kid(1), &revoke(1, None), at(400))
        .unwrap();
    let stopped = primary
        .clone()
        .revoke(&kid(1), &revoke(1, None), at(150))
        .unwrap();
    let destroyed = stopped
        .clone()
        .archive(&kid(1), &destroy(1), at(160))
        .unwrap();
    vec![
        prepared, standby, primary, secondary, retired, archived, revoked, stopped, destroyed,
    ]
}

/// Which transitions every state has; all others are refused and give the state back unchanged.
#[test]
fn only_these_transitions_exist() {
    let late = at(1000);
    type Try = fn(KeyState, Time) -> Result<KeyState, RefusedTransition>;
    let transitions: [(&str, Try); 8] = [
        ("publish", |state, at| {
            state.publish(&kid(1), accepted(1), at)
        }),
        ("activate", |state, at| state.activate(&safety(), at)),
        ("demote", |state, at| state.demote(at)),
        ("roll_back", |state, at| state.roll_back(at)),
        ("retire", |state, at| state.retire(&safety(), at)),
        ("archive", |state, at| {
            state.archive(&kid(1), &destroy(1), at)
        }),
        ("revoke", |state, at| {
            state.revoke(&kid(1), &revoke(1, None), at)
        }),
        ("compromise", |state, at| {
            state.revoke(&kid(1), &revoke(1, Some(self::at(9))), at)
        }),
    ];
    let allowed = [
        vec!["publish", "revoke", "compromise"],
        vec!["activate", "revoke", "compromise"],
        vec!["demote", "revoke", "compromise"],
        vec!["roll_back", "retire", "revoke", "compromise"],
        vec!["archive", "revoke", "compromise"],
        vec!["revoke", "compromise"],
        vec!["compromise"],
        vec!["archive", "compromise"],
        vec!["compromise"],
    ];
    for (state, allowed) in states().into_iter().zip(allowed) {
        for (name, transition) in transitions {
            match transition(state.clone(), late) {
                Ok(next) => {
                    assert!(allowed.contains(&name), "{state:?} {name}");
                    assert_ne!(next, state);
                }
                Err(refused) => {
                    assert!(!allowed.contains(&name), "{state:?} {name}: {refused}");
                    assert_eq!(*refused.state, state, "unchanged");
                }
            }
        }
    }
}

#[test]
fn a_key_waits_publish_safety_before_it_signs() {
    let standby = states().remove(1);
    let refused = standby.clone().activate(&safety(), at(101)).unwrap_err();
    assert_eq!(refused.why, TransitionError::TooEarly(at(102)));
    assert!(standby.activate(&safety(), at(102)).is_ok());
}

#[test]
fn a_secondary_waits_retire_safety_before_it_stops() {
    let secondary = states().remove(3);
    let refused = secondary.retire(&safety(), at(249)).unwrap_err();
    assert_eq!(refused.why, TransitionError::TooEarly(at(250)));
}

#[test]
fn publish_safety_has_a_floor() {
    let seconds = Duration::from_secs;
    let error = Safety::new(seconds(309), seconds(0), seconds(300), seconds(10)).unwrap_err();
    assert_eq!(error.floor, seconds(310));
}

#[test]
fn a_proof_is_for_one_key() {
    let prepared = KeyState::prepared(at(1));
    let refused = prepared
        .clone()
        .publish(&kid(1), accepted(2), at(2))
        .unwrap_err();
    assert_eq!(refused.why, TransitionError::OtherKey(kid(2)));
    let refused = prepared
        .revoke(&kid(1), &revoke(2, None), at(2))
        .unwrap_err();
    assert_eq!(refused.why, TransitionError::OtherKey(kid(2)));
    let refused = states()
        .remove(4)
        .archive(&kid(1), &destroy(2), at(900))
        .unwrap_err();
    assert_eq!(refused.why, TransitionError::OtherKeys);
}

#[test]
fn time_does_not_run_backwards() {
    let refused = states().remove(2).demote(at(101)).unwrap_err();
    assert_eq!(
        refused.why,
        TransitionError::Backwards {
            at: at(101),
            last: at(102)
        }
    );
}

#[test]
fn a_revocation_may_turn_out_to_be_a_compromise_but_never_ends() {
    let revoked = states().remove(6);
    let compromised = revoked
        .clone()
        .revoke(&kid(1), &revoke(1, Some(at(150))), at(500))
        .unwrap();
    let KeyState::Revoked { revocation, .. } = &compromised else {
        panic!("{compromised:?}")
    };
    assert_eq!(
        revocation.revoked_at,
        at(400),
        "the first revocation stands"
    );
    assert_eq!(revocation.compromised_since, Some(at(150)));
    assert!(
        compromised
            .revoke(&kid(1), &revoke(1, None), at(600))
            .is_err()
    );
}

#[test]
fn a_row_is_read_as_it_was_written() {
    for state in states() {
        assert_eq!(state.life().state().unwrap(), state);
    }
}

#[test]
fn rows_that_contradict_themselves_are_refused() {
    let archived = states().remove(5).life();
    let mut rows = vec![];
    for break_it in [
        (|life| life.published_at = None) as fn(&mut Life),
        |life| life.activated_at = None,
        |life| life.demoted_at = None,
        |life| life.retired_at = None,
        |life| life.prepared_at = at(3),
        |life| life.archived_at = Some(at(249)),
    ] {
        let mut life = archived;
        break_it(&mut life);
        rows.push(life);
    }
    for life in rows {
        assert!(life.state().is_err(), "{life:?}");
    }
}

#[test]
fn the_end_of_a_key_is_the_first_of_its_ends() {
    let ends: Vec<_> = states().iter().map(KeyState::ended_at).collect();
    let retired_at = Some(at(250));
    assert_eq!(
        ends,
        [
            None,
            None,
            None,
            None,
            retired_at,
            retired_at,
            retired_at,
            Some(at(150)),
            Some(at(150))
        ]
    );
    let revoked = states()
        .remove(2)
        .revoke(&kid(1), &revoke(1, None), at(220))
        .unwrap();
    assert_eq!(revoked.ended_at(), Some(at(220)));
}

#[test]
fn severity_is_raised_and_never_lowered() {
    let because = |reason| {
        let order = crate::request::Revoke {
            reason,
            ..revoke(1, None).order().clone()
        };
        Approved::for_test(order, revoke(1, None).request().clone())
    };
    let none = || revoke(1, None);
    let unspecified = || because(RevocationReason::Unspecified);
    let since = |seconds| revoke(1, Some(at(seconds)));
    type Order = Approved<Revoke>;
    let cases: [(Order, Order, bool); 9] = [
        (none(), since(150), true),
        (unspecified(), since(150), true),
        (since(150), since(149), true),
        (since(150), since(150), false),
        (since(150), since(151), false),
        (since(150), none(), false),
        (since(150), unspecified(), false),
        (none(), unspecified(), false),
        (unspecified(), none(), false),
    ];
    for (first, second, more) in cases {
        let first = states().remove(2).revoke(&kid(1), &first, at(400)).unwrap();
        let what = format!("{:?} {:?}", first, second.order());
        match first.clone().revoke(&kid(1), &second, at(500)) {
            Ok(KeyState::Revoked {
                before, revocation, ..
            }) => {
                assert!(more, "{what}");
                // The first act's time, the last one's words.
                assert_eq!(revocation.revoked_at, at(400));
                assert_eq!(revocation.reason, second.order().reason);
                assert_eq!(
                    revocation.compromised_since,
                    second.order().compromised_since
                );
                assert_eq!(*before, states().remove(2));
            }
            Ok(other) => panic!("{what}: {other:?}"),
            Err(refused) => {
                assert!(!more, "{what}");
                assert_eq!(refused.why, TransitionError::NotMoreSevere);
                assert_eq!(*refused.state, first);
            }
        }
    }
}

#[test]
fn a_revoked_key_is_destroyed_once_and_stays_revoked() {
    let stopped = states().remove(7);
    let refused = stopped
        .clone()
        .archive(&kid(1), &destroy(2), at(900))
        .unwrap_err();
    assert_eq!(refused.why, TransitionError::OtherKeys);
    let refused = stopped
        .clone()
        .archive(&kid(1), &destroy(1), at(149))
        .unwrap_err();
    assert!(matches!(refused.why, TransitionError::Backwards { .. }));
    for when in [150, 151, 900] {
        let destroyed = stopped
            .clone()
            .archive(&kid(1), &destroy(1), at(when))
            .unwrap();
        assert_eq!(destroyed.word(), "revoked");
        assert!(!destroyed.can_sign() && !destroyed.is_publishable());
        assert_eq!(destroyed.life().archived_at, Some(at(when)));
        assert_eq!(destroyed.ended_at(), Some(at(150)));
        assert!(
            destroyed
                .clone()
                .archive(&kid(1), &destroy(1), at(901))
                .is_err()
        );
        // It may still turn out to have been compromised, and stays destroyed.
        let worse = destroyed
            .revoke(&kid(1), &revoke(1, Some(at(9))), at(950))
            .unwrap();
        assert_eq!(worse.life().archived_at, Some(at(when)));
        assert_eq!(worse.life().state().unwrap(), worse);
    }
    // A key that was archived first is gone already.
    let archived = states().remove(6);
    assert!(archived.archive(&kid(1), &destroy(1), at(900)).is_err());
}

/// A row of instants cannot say which of two in one millisecond was first.
#[test]
fn revoked_and_destroyed_in_one_millisecond_is_one_state_in_either_order() {
    let retired = states().remove(4);
    let one = retired
        .clone()
        .revoke(&kid(1), &revoke(1, None), at(300))
        .and_then(|state| state.archive(&kid(1), &destroy(1), at(300)))
        .unwrap();
    let other = retired
        .archive(&kid(1), &destroy(1), at(300))
        .and_then(|state| state.revoke(&kid(1), &revoke(1, None), at(300)))
        .unwrap();
    assert_eq!(one, other);
    assert_eq!(one.life().state().unwrap(), one);
}

#[test]
fn a_row_of_a_key_destroyed_before_it_was_retired_is_refused() {
    let life = states().remove(4).life();
    let archived = |archived_at| Life {
        archived_at,
        ..life
    };
    let retired_at = life.retired_at;
    assert!(archived(retired_at).state().is_ok());
    assert!(archived(Some(at(149))).state().is_err(), "{retired_at:?}");
    assert!(
        Life {
            revocation: None,
            ..states().remove(8).life()
        }
        .state()
        .is_err()
    );
}

/// What is known of a key at an instant is never undone by what happened later.
#[test]
fn as_of_an_instant_a_destroyed_key_stands_where_it_stood() {
    let destroyed = states().remove(8);
    let word = |seconds| destroyed.as_of(at(seconds)).map(|state| state.word());
    assert_eq!(word(1), None);
    assert_eq!(word(2), Some("prepared"));
    assert_eq!(word(149), Some("active"));
    assert_eq!(destroyed.as_of(at(155)), Some(states().remove(7)));
    assert_eq!(destroyed.as_of(at(160)), Some(destroyed.clone()));
}

/// One step of a key's life, at an instant not before the one before it.
#[derive(Clone, Copy, Debug)]
enum Event {
    Publish,
    Activate,
    Demote,
    RollBack,
    Retire,
    Archive,
    Revoke(Option<i64>),
}

fn event() -> impl Strategy<Value = (Event, i64)> {
    let event = prop_oneof![
        2 => Just(Event::Publish),
        3 => Just(Event::Activate),
        3 => Just(Event::Demote),
        1 => Just(Event::RollBack),
        2 => Just(Event::Retire),
        3 => Just(Event::Archive),
        1 => Just(Event::Revoke(None)),
        2 => (0..300_i64).prop_map(|since| Event::Revoke(Some(since))),
    ];
    // Often nothing passes in between.
    let wait = prop_oneof![2 => Just(0), 1 => Just(1), 2 => 2..120_i64];
    (event, wait)
}

/// What must hold from one state to the next.
fn follows(before: &KeyState, after: &KeyState) -> Result<(), TestCaseError> {
    let (old, new) = (before.life(), after.life());
    prop_assert_eq!(&new.state().unwrap(), after, "read as written");
    prop_assert!(old.published_at.is_none() || new.published_at == old.published_at);
    prop_assert!(old.activated_at.is_none() || new.activated_at == old.activated_at);
    prop_assert!(old.retired_at.is_none() || new.retired_at == old.retired_at);
    prop_assert!(old.archived_at.is_none() || new.archived_at == old.archived_at);
    if let Some(old) = old.revocation {
        let new = new.revocation.expect("a revoked key stays revoked");
        prop_assert_eq!(new.revoked_at, old.revoked_at);
        prop_assert!(new == old || new.is_more_severe_than(&old));
        prop_assert!(!old.is_more_severe_than(&new));
        prop_assert!(!after.can_sign() && !after.is_publishable());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_life_loses_what_happened(events in prop::collection::vec(event(), 0..25)) {
        let mut state = KeyState::prepared(at(1));
        let mut now = 1;
        for (event, wait) in events {
            now += wait;
            let before = state.clone();
            let result = match event {
                Event::Publish => state.publish(&kid(1), accepted(1), at(now)),
                Event::Activate => state.activate(&safety(), at(now)),
                Event::Demote => state.demote(at(now)),
                Event::RollBack => state.roll_back(at(now)),
                Event::Retire => state.retire(&safety(), at(now)),
                Event::Archive => state.archive(&kid(1), &destroy(1), at(now)),
                Event::Revoke(since) => state.revoke(&kid(1), &revoke(1, since.map(at)), at(now)),
            };
            state = match result {
                Ok(next) => {
                    follows(&before, &next)?;
                    next
                }
                Err(refused) => {
                    prop_assert_eq!(&*refused.state, &before);
                    *refused.state
                }
            };
            let today = state.as_of(at(now));
            prop_assert!(today.is_none_or(|today| today == state));
        }
    }

    #[test]
    fn more_severe_is_an_order(all in prop::collection::vec(prop::option::of(prop::option::of(0..4_i64)), 3)) {
        let revocations: Vec<_> = all
            .into_iter()
            .map(|compromised| Revocation {
                reason: match compromised {
                    Some(_) => RevocationReason::Compromised,
                    None => RevocationReason::Superseded,
                },
                revoked_at: at(9),
                compromised_since: compromised.flatten().map(at),
            })
            .collect();
        let [a, b, c] = &revocations[..] else { panic!("three") };
        prop_assert!(!a.is_more_severe_than(a));
        prop_assert!(!(a.is_more_severe_than(b) && b.is_more_severe_than(a)));
        if a.is_more_severe_than(b) && b.is_more_severe_than(c) {
            prop_assert!(a.is_more_severe_than(c));
        }
        // Of two different ones, one is more severe.
        prop_assert_eq!(a != b, a.is_more_severe_than(b) || b.is_more_severe_than(a));
    }
}
