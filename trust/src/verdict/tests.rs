//! Each row of the table, and that nothing else decides.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::safety::Safety;
use crate::testing::{accepted, at, destroy, kid, revoke};

const RETIRED_AT: i64 = 100;
const REVOKED_AT: i64 = 80;
const COMPROMISED_SINCE: i64 = 60;

fn active() -> KeyState {
    let none = Duration::ZERO;
    let safety = Safety::new(none, none, none, none).unwrap();
    KeyState::prepared(at(0))
        .publish(&kid(1), accepted(1), at(1))
        .and_then(|standby| standby.activate(&safety, at(2)))
        .unwrap()
}

fn retired() -> KeyState {
    let none = Duration::ZERO;
    let safety = Safety::new(none, none, none, none).unwrap();
    active()
        .demote(at(50))
        .and_then(|state| state.retire(&safety, at(RETIRED_AT)))
        .unwrap()
}

fn archived() -> KeyState {
    retired().archive(&kid(1), &destroy(1), at(200)).unwrap()
}

fn superseded() -> KeyState {
    active()
        .revoke(&kid(1), &revoke(1, None), at(REVOKED_AT))
        .unwrap()
}

fn compromised() -> KeyState {
    active()
        .revoke(
            &kid(1),
            &revoke(1, Some(at(COMPROMISED_SINCE))),
            at(REVOKED_AT),
        )
        .unwrap()
}

/// A signature that checks, is in our log, and existed at `existed_at`.
fn facts(key: &KeyState, existed_at: Option<i64>) -> Facts<'_> {
    Facts {
        key: Some(key),
        checks: true,
        existence: existed_at.map(|seconds| Existence {
            at: at(seconds),
            sound: true,
        }),
        logged: true,
        withdrawn: None,
    }
}

fn judged(key: &KeyState, existed_at: Option<i64>) -> (Outcome, Vec<Reason>) {
    let verdict = verdict(&facts(key, existed_at));
    (verdict.outcome, verdict.reasons)
}

#[test]
fn active_key_is_valid() {
    for existed_at in [None, Some(10)] {
        assert_eq!(judged(&active(), existed_at), (Outcome::Valid, vec![]));
    }
    let secondary = active().demote(at(5)).unwrap();
    assert_eq!(judged(&secondary, None), (Outcome::Valid, vec![]));
}

#[test]
fn retired_key_still_verifies() {
    for key in [retired(), archived()] {
        for existed_at in [10, RETIRED_AT] {
            assert_eq!(
                judged(&key, Some(existed_at)),
                (Outcome::ValidRetiredKey, vec![])
            );
        }
    }
}

#[test]
fn retired_key_after_its_end_or_without_proof_is_indeterminate() {
    for key in [retired(), archived()] {
        let (outcome, reasons) = judged(&key, Some(RETIRED_AT + 1));
        assert_eq!(outcome, Outcome::Indeterminate);
        assert_eq!(reasons, [Reason::NoProofOfExistence, Reason::AfterEnd]);
        let (outcome, reasons) = judged(&key, None);
        assert_eq!(
            (outcome, reasons),
            (Outcome::Indeterminate, vec![Reason::NoProofOfExistence])
        );
    }
}

#[test]
fn superseded_key_is_valid_before_revoked_at() {
    let before = judged(&superseded(), Some(REVOKED_AT - 1));
    assert_eq!(before, (Outcome::ValidRetiredKey, vec![Reason::KeyRevoked]));
    for later in [REVOKED_AT, REVOKED_AT + 1] {
        assert_eq!(
            judged(&superseded(), Some(later)),
            (Outcome::Revoked, vec![Reason::KeyRevoked])
        );
    }
    let (outcome, reasons) = judged(&superseded(), None);
    assert_eq!(outcome, Outcome::Indeterminate);
    assert_eq!(reasons, [Reason::KeyRevoked, Reason::NoProofOfExistence]);
}

#[test]
fn compromised_key_is_valid_only_before_the_compromise_and_in_our_log() {
    let key = compromised();
    let before = facts(&key, Some(COMPROMISED_SINCE - 1));
    assert_eq!(verdict(&before).outcome, Outcome::ValidRetiredKey);
    // Not in our log: a thief can have made it, and its proof of existence is somebody else's.
    let verdict = verdict(&Facts {
        logged: false,
        ..before
    });
    assert_eq!(verdict.outcome, Outcome::Indeterminate);
    assert_eq!(verdict.reasons, [Reason::KeyCompromised, Reason::NotInLog]);
    // Between compromise and revocation the thief signs as well as we do.
    for later in [COMPROMISED_SINCE, REVOKED_AT - 1, REVOKED_AT] {
        assert_eq!(
            judged(&key, Some(later)),
            (Outcome::Revoked, vec![Reason::KeyCompromised])
        );
    }
    let (outcome, reasons) = judged(&key, None);
    assert_eq!(outcome, Outcome::Indeterminate);
    assert_eq!(
        reasons,
        [Reason::KeyCompromised, Reason::NoProofOfExistence]
    );
}

#[test]
fn withdrawn_algorithm_needs_an_earlier_and_sound_proof() {
    let key = active();
    let withdrawn = Some(Withdrawn { at: at(40) });
    for (existence, outcome) in [
        (
            Some(Existence {
                at: at(39),
                sound: true,
            }),
            Outcome::Valid,
        ),
        (
            Some(Existence {
                at: at(39),
                sound: false,
            }),
            Outcome::Indeterminate,
        ),
        (
            Some(Existence {
                at: at(40),
                sound: true,
            }),
            Outcome::Indeterminate,
        ),
        (None, Outcome::Indeterminate),
    ] {
        let verdict = verdict(&Facts {
            existence,
            withdrawn,
            ..facts(&key, None)
        });
        assert_eq!(verdict.outcome, outcome, "{existence:?}");
    }
}

#[test]
fn signature_that_does_not_check_is_invalid() {
    for key in [active(), retired(), compromised()] {
        let verdict = verdict(&Facts {
            checks: false,
            ..facts(&key, Some(10))
        });
        assert_eq!(verdict.outcome, Outcome::Invalid);
        assert_eq!(verdict.reasons, [Reason::BadSignature]);
    }
}

#[test]
fn unknown_kid_is_invalid_whatever_else_is_claimed() {
    let key = active();
    let verdict = verdict(&Facts {
        key: None,
        ..facts(&key, Some(10))
    });
    assert_eq!(
        (verdict.outcome, verdict.reasons),
        (Outcome::Invalid, vec![Reason::UnknownKey])
    );
}

#[test]
fn correct_but_not_in_the_log_is_a_finding() {
    let key = active();
    let verdict = verdict(&Facts {
        logged: false,
        ..facts(&key, None)
    });
    assert_eq!(
        (verdict.outcome, verdict.reasons),
        (Outcome::Valid, vec![Reason::NotInLog])
    );
}

#[test]
fn signature_by_a_key_that_never_signed_is_suspicious() {
    let (outcome, reasons) = judged(&KeyState::prepared(at(0)), Some(10));
    assert_eq!(
        (outcome, reasons),
        (Outcome::Indeterminate, vec![Reason::NeverActive])
    );
}

#[test]
fn codes_are_stable() {
    let verdict = verdict(&facts(&retired(), None));
    let text = serde_json::to_string(&verdict).unwrap();
    let expected =
        r#"{"outcome":"INDETERMINATE","reasons":["no_proof_of_existence"],"existed_at":null}"#;
    assert_eq!(text, expected);
}

proptest! {
    /// An earlier proof never makes a verdict worse, whatever the key's fate.
    #[test]
    fn an_earlier_proof_never_hurts(earlier in 0..200i64, later in 0..200i64, fate in 0..5usize) {
        let key = [active(), retired(), archived(), superseded(), compromised()][fate].clone();
        let (earlier, later) = (earlier.min(later), earlier.max(later));
        let good = |seconds| matches!(judged(&key, Some(seconds)).0, Outcome::Valid | Outcome::ValidRetiredKey);
        prop_assert!(good(earlier) || !good(later));
    }

    /// Nothing that does not check is ever anything but invalid.
    #[test]
    fn nothing_saves_a_bad_signature(existed_at in prop::option::of(0..200i64), fate in 0..5usize, logged: bool) {
        let key = [active(), retired(), archived(), superseded(), compromised()][fate].clone();
        let verdict = verdict(&Facts { checks: false, logged, ..facts(&key, existed_at) });
        prop_assert_eq!(verdict.outcome, Outcome::Invalid);
    }
}
