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
        fits_usage: true,
        after_retirement: false,
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

/// Whatever the key's fate, and whatever else is known; only what does not check at all says so.
#[test]
fn signature_of_another_usage_is_invalid() {
    for key in [
        KeyState::prepared(at(0)),
        active(),
        retired(),
        archived(),
        superseded(),
        compromised(),
    ] {
        for (checks, reason) in [(true, Reason::WrongUsage), (false, Reason::BadSignature)] {
            let facts = Facts {
                checks,
                fits_usage: false,
                withdrawn: Some(Withdrawn { at: at(1) }),
                ..facts(&key, Some(10))
            };
            let verdict = verdict(&facts);
            assert_eq!(
                (verdict.outcome, verdict.reasons),
                (Outcome::Invalid, vec![reason])
            );
        }
        let facts = Known {
            fits_usage: false,
            ..known(&key, Some(10), None)
        };
        let wrong = (Outcome::Invalid, vec![Reason::WrongUsage]);
        assert_eq!(now(&facts), wrong);
        if key.life().published_at.is_some() {
            assert_eq!(as_of(&facts, 1_000), wrong);
        }
    }
    let text = serde_json::to_string(&Reason::WrongUsage).unwrap();
    assert_eq!(text, r#""wrong_usage""#);
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

fn sound(seconds: i64) -> Existence {
    Existence {
        at: at(seconds),
        sound: true,
    }
}

/// A signature that checks, with its proofs.
fn known(key: &KeyState, log: Option<i64>, timestamp: Option<i64>) -> Known<'_> {
    Known {
        key: Some(key),
        checks: true,
        fits_usage: true,
        log: log.map(sound),
        timestamp: timestamp.map(|seconds| Stamp::Proof(sound(seconds))),
        withdrawn: None,
    }
}

fn now(known: &Known<'_>) -> (Outcome, Vec<Reason>) {
    let verdict = known.verdict(at(1_000));
    (verdict.outcome, verdict.reasons)
}

fn as_of(known: &Known<'_>, seconds: i64) -> (Outcome, Vec<Reason>) {
    let verdict = known.verdict_as_of(at(seconds));
    (verdict.outcome, verdict.reasons)
}

#[test]
fn the_earlier_of_log_and_timestamp_counts() {
    let key = retired();
    for (log, timestamp, existed_at) in [
        (Some(10), Some(20), Some(10)),
        (Some(20), Some(10), Some(10)),
        (None, Some(20), Some(20)),
        (None, None, None),
    ] {
        let verdict = known(&key, log, timestamp).verdict(at(1_000));
        assert_eq!(verdict.existed_at, existed_at.map(at));
    }
    // A sound proof before an earlier one that is not.
    let unsound = Existence {
        sound: false,
        ..sound(1)
    };
    assert_eq!(Existence::earliest([unsound, sound(9)]), Some(sound(9)));
    assert_eq!(Existence::earliest([unsound]), Some(unsound));
}

#[test]
fn timestamp_proves_existence_but_not_that_we_signed() {
    let (retired, superseded, compromised) = (retired(), superseded(), compromised());
    let in_time = |key| now(&known(key, None, Some(10)));
    let valid = Outcome::ValidRetiredKey;
    assert_eq!(in_time(&retired), (valid, vec![Reason::NotInLog]));
    assert_eq!(
        in_time(&superseded),
        (valid, vec![Reason::KeyRevoked, Reason::NotInLog])
    );
    // A thief can have stolen the key long before anybody noticed.
    let expected = vec![Reason::KeyCompromised, Reason::NotInLog];
    assert_eq!(in_time(&compromised), (Outcome::Indeterminate, expected));
    // Logged too late, stamped in time: both are needed, and both are there.
    assert_eq!(
        now(&known(&compromised, Some(REVOKED_AT), Some(10))),
        (valid, vec![Reason::KeyCompromised])
    );
    assert_eq!(
        now(&known(
            &compromised,
            Some(REVOKED_AT),
            Some(COMPROMISED_SINCE)
        )),
        (Outcome::Revoked, vec![Reason::KeyCompromised])
    );
}

#[test]
fn bad_timestamp_is_a_finding_and_no_proof() {
    let key = retired();
    let bad = |log| Known {
        timestamp: Some(Stamp::Bad),
        ..known(&key, log, None)
    };
    let expected = vec![
        Reason::NoProofOfExistence,
        Reason::NotInLog,
        Reason::BadTimestamp,
    ];
    assert_eq!(now(&bad(None)), (Outcome::Indeterminate, expected));
    assert_eq!(
        now(&bad(Some(10))),
        (Outcome::ValidRetiredKey, vec![Reason::BadTimestamp])
    );
}

#[test]
fn algorithm_withdrawn_counts_from_its_day() {
    let key = active();
    let withdrawn = Some(Withdrawn { at: at(40) });
    let facts = Known {
        withdrawn,
        ..known(&key, Some(30), None)
    };
    let late = Known {
        withdrawn,
        ..known(&key, Some(45), None)
    };
    assert_eq!(facts.verdict(at(50)).outcome, Outcome::Valid);
    assert_eq!(late.verdict(at(50)).outcome, Outcome::Indeterminate);
    // A token from before the day saves it, and a day that has not come says nothing.
    let stamped = Known {
        timestamp: Some(Stamp::Proof(sound(39))),
        ..late
    };
    assert_eq!(stamped.verdict(at(50)).outcome, Outcome::Valid);
    let announced = Known {
        withdrawn: Some(Withdrawn { at: at(60) }),
        ..late
    };
    assert_eq!(announced.verdict(at(50)).outcome, Outcome::Valid);
    let unproved = Known {
        log: None,
        ..announced
    };
    assert_eq!(unproved.verdict(at(59)).outcome, Outcome::Valid);
    assert_eq!(unproved.verdict(at(60)).outcome, Outcome::Indeterminate);
    assert_eq!(
        announced.verdict_as_of(at(59)).reasons,
        Vec::<Reason>::new()
    );
}

#[test]
fn as_of_an_instant_the_key_stands_where_it_stood() {
    let unknown = (Outcome::Invalid, vec![Reason::UnknownKey]);
    let never = (Outcome::Indeterminate, vec![Reason::NeverActive]);
    let valid = (Outcome::Valid, vec![]);
    let of_retired = (Outcome::ValidRetiredKey, vec![]);
    let of_revoked = (Outcome::ValidRetiredKey, vec![Reason::KeyRevoked]);
    let stolen = (Outcome::ValidRetiredKey, vec![Reason::KeyCompromised]);
    let (archived, superseded, compromised) = (archived(), superseded(), compromised());
    // Published at 1, active from 2.
    for (key, instant, expected) in [
        (&archived, 0, &unknown),
        (&archived, 1, &never),
        (&archived, 2, &valid),
        (&archived, RETIRED_AT - 1, &valid),
        (&archived, RETIRED_AT, &of_retired),
        (&archived, 300, &of_retired),
        (&superseded, REVOKED_AT - 1, &valid),
        (&superseded, REVOKED_AT, &of_revoked),
        // Nobody knew yet: no hindsight.
        (&compromised, COMPROMISED_SINCE, &valid),
        (&compromised, REVOKED_AT, &stolen),
    ] {
        let facts = known(key, Some(0), None);
        assert_eq!(as_of(&facts, instant), *expected, "{key:?} at {instant}");
    }
}

#[test]
fn as_of_an_instant_later_proofs_do_not_count() {
    let key = compromised();
    let no_proof = vec![Reason::NoProofOfExistence, Reason::NotInLog];
    // Signed today with a stolen key: it cannot be taken back to a day when the key was active.
    for facts in [
        known(&key, None, None),
        known(&key, Some(70), None),
        known(&key, None, Some(70)),
    ] {
        assert_eq!(
            as_of(&facts, 50),
            (Outcome::Indeterminate, no_proof.clone())
        );
    }
    let facts = known(&key, Some(70), Some(40));
    // In existence then, but not in the log then.
    assert_eq!(as_of(&facts, 50), (Outcome::Valid, vec![Reason::NotInLog]));
    assert_eq!(as_of(&facts, 70), (Outcome::Valid, vec![]));
    // What does not check never did.
    let bad = Known {
        checks: false,
        ..facts
    };
    assert_eq!(
        as_of(&bad, 70),
        (Outcome::Invalid, vec![Reason::BadSignature])
    );
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
        for (checks, fits_usage) in [(false, false), (false, true), (true, false)] {
            let verdict = verdict(&Facts { checks, fits_usage, logged, ..facts(&key, existed_at) });
            prop_assert_eq!(verdict.outcome, Outcome::Invalid);
        }
    }

    /// Long after everything, the verdict as of an instant is the one of today wherever there is a
    /// proof; and nothing is ever good as of an instant without one.
    #[test]
    fn as_of_agrees_with_now(
        log in prop::option::of(0..250i64),
        timestamp in prop::option::of(0..250i64),
        instant in 0..400i64,
        fate in 0..5usize,
    ) {
        let key = [active(), retired(), archived(), superseded(), compromised()][fate].clone();
        let facts = known(&key, log, timestamp);
        if log.is_some() || timestamp.is_some() {
            prop_assert_eq!(as_of(&facts, 1_000), now(&facts));
        }
        let verdict = facts.verdict_as_of(at(instant));
        if matches!(verdict.outcome, Outcome::Valid | Outcome::ValidRetiredKey) {
            prop_assert!(verdict.existed_at.is_some_and(|existed| existed <= at(instant)));
        }
    }
}
