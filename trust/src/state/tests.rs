use std::time::Duration;

use super::*;
use crate::life::Life;
use crate::safety::Safety;
use crate::testing::{accepted, at, destroy, kid, revoke};

fn safety() -> Safety {
    let seconds = Duration::from_secs;
    Safety::new(seconds(100), seconds(50), seconds(90), seconds(10)).unwrap()
}

/// Key 1 in every state, by the transitions that lead there.
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
    vec![
        prepared, standby, primary, secondary, retired, archived, revoked,
    ]
}

/// Which transitions every state has; all others are refused and give the state back unchanged.
#[test]
fn only_these_transitions_exist() {
    let late = at(1000);
    type Try = fn(KeyState, Time) -> Result<KeyState, Refused>;
    let transitions: [(&str, Try); 7] = [
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
    ];
    let allowed = [
        vec!["publish", "revoke"],
        vec!["activate", "revoke"],
        vec!["demote", "revoke"],
        vec!["roll_back", "retire", "revoke"],
        vec!["archive", "revoke"],
        vec!["revoke"],
        vec![],
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
    assert_eq!(refused.why, Refusal::TooEarly(at(102)));
    assert!(standby.activate(&safety(), at(102)).is_ok());
}

#[test]
fn a_secondary_waits_retire_safety_before_it_stops() {
    let secondary = states().remove(3);
    let refused = secondary.retire(&safety(), at(249)).unwrap_err();
    assert_eq!(refused.why, Refusal::TooEarly(at(250)));
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
    assert_eq!(refused.why, Refusal::OtherKey(kid(2)));
    let refused = prepared
        .revoke(&kid(1), &revoke(2, None), at(2))
        .unwrap_err();
    assert_eq!(refused.why, Refusal::OtherKey(kid(2)));
    let refused = states()
        .remove(4)
        .archive(&kid(1), &destroy(2), at(900))
        .unwrap_err();
    assert_eq!(refused.why, Refusal::OtherKeys);
}

#[test]
fn time_does_not_run_backwards() {
    let refused = states().remove(2).demote(at(101)).unwrap_err();
    assert_eq!(
        refused.why,
        Refusal::Backwards {
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
        [None, None, None, None, retired_at, retired_at, retired_at]
    );
    let revoked = states()
        .remove(2)
        .revoke(&kid(1), &revoke(1, None), at(220))
        .unwrap();
    assert_eq!(revoked.ended_at(), Some(at(220)));
}
