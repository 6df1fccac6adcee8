use proptest::prelude::*;

use super::*;

fn kid(n: u8) -> Kid {
    let mut text = "A".repeat(42);
    text.push(char::from(b'A' + 4 * n));
    text.parse().expect("a kid")
}

fn act(kind: ActKind, action: &str, one: Option<u8>, other: Option<u8>, at: i64) -> ActLeaf {
    ActLeaf {
        kid: one.map(kid),
        previous_kid: other.map(kid),
        ring: Some("atp".to_owned()),
        ..ActLeaf::new(kind, action, "test", Time::from_millis(at))
    }
}

fn told(acts: &[ActLeaf]) -> Result<History, NotAHistory> {
    let mut history = History::new(kid(0), Time::from_millis(1));
    for act in acts {
        assert!(History::concerns(act, &kid(0)));
        history.apply(act)?;
    }
    Ok(history)
}

#[test]
fn a_whole_life_is_told_again() {
    use ActKind::{Ceremony, Key};
    let mut revoke = act(Key, "revoke", Some(1), Some(0), 9);
    revoke.reason = Some("compromised".to_owned());
    revoke.compromised_since = Some(Time::from_millis(5));
    let acts = [
        act(Ceremony, "accepted", Some(0), None, 2),
        act(Key, "rotate", Some(0), Some(2), 3),
        act(Key, "rotate", Some(1), Some(0), 4),
        act(Key, "roll-back", Some(0), Some(1), 5),
        act(Key, "rotate", Some(1), Some(0), 6),
        act(Key, "retire", Some(0), None, 7),
        act(Key, "archive", Some(0), None, 8),
        revoke,
    ];
    let words = [
        "prepared", "active", "active", "active", "active", "retired", "archived", "revoked",
    ];
    for (count, word) in (1..).zip(words) {
        let state = told(&acts[..count]).expect("a history").state();
        assert_eq!(state.expect("a state").word(), word, "after {count}");
    }
    let history = told(&acts).expect("a history");
    assert_eq!(history.life().activated_at, Some(Time::from_millis(3)));
    assert_eq!(history.life().demoted_at, Some(Time::from_millis(6)));
}

#[test]
fn acts_out_of_order_are_no_history() {
    use ActKind::{Ceremony, Key};
    let accepted = || act(Ceremony, "accepted", Some(0), None, 2);
    let rotate = || act(Key, "rotate", Some(0), None, 3);
    let bad: [Vec<ActLeaf>; 6] = [
        vec![rotate()],
        vec![accepted(), accepted()],
        vec![accepted(), rotate(), rotate()],
        vec![accepted(), act(Key, "retire", Some(0), None, 4)],
        vec![accepted(), rotate(), act(Key, "archive", Some(0), None, 4)],
        vec![accepted(), act(Key, "revoke", None, Some(0), 4)],
    ];
    for acts in bad {
        assert!(told(&acts).is_err(), "{acts:?}");
    }
}

fn revoked(reason: &str, since: Option<i64>, at: i64) -> ActLeaf {
    ActLeaf {
        reason: Some(reason.to_owned()),
        compromised_since: since.map(Time::from_millis),
        reference: Some(format!("the ceremony of {at}")),
        ..act(ActKind::Key, "revoke", None, Some(0), at)
    }
}

#[test]
fn a_revocation_is_told_again_only_if_it_is_more_severe() {
    use ActKind::{Ceremony, Key};
    let before = [
        act(Ceremony, "accepted", Some(0), None, 2),
        act(Key, "rotate", Some(0), None, 3),
        revoked("superseded", None, 9),
    ];
    let with = |acts: &[ActLeaf]| told(&[&before[..], acts].concat());
    let history = with(&[
        revoked("compromised", Some(7), 11),
        revoked("compromised", Some(5), 12),
    ])
    .expect("a history");
    let revocation = history.life().revocation.expect("a revocation");
    assert_eq!(revocation.reason, RevocationReason::Compromised);
    assert_eq!(
        revocation.revoked_at,
        Time::from_millis(9),
        "the first act's"
    );
    assert_eq!(revocation.compromised_since, Some(Time::from_millis(5)));
    assert_eq!(
        history.revoked_by(),
        Some("the ceremony of 12"),
        "the last one's"
    );
    assert_eq!(history.life().demoted_at, Some(Time::from_millis(9)));
    for (first, second) in [
        (("compromised", Some(5)), ("compromised", Some(5))),
        (("compromised", Some(5)), ("compromised", Some(6))),
        (("compromised", Some(5)), ("superseded", None)),
        (("compromised", Some(5)), ("unspecified", None)),
        (("compromised", None), ("compromised", Some(1))),
    ] {
        let acts = [
            revoked(first.0, first.1, 11),
            revoked(second.0, second.1, 12),
        ];
        assert_eq!(
            with(&acts).unwrap_err(),
            NotAHistory::NotMoreSevere,
            "{acts:?}"
        );
    }
    for reason in ["superseded", "unspecified"] {
        let error = with(&[revoked(reason, None, 11)]).unwrap_err();
        assert_eq!(error, NotAHistory::NotMoreSevere);
    }
    assert_eq!(
        with(&[revoked("because", None, 11)]).unwrap_err(),
        NotAHistory::Revocation
    );
    assert_eq!(
        with(&[revoked("superseded", Some(5), 11)]).unwrap_err(),
        NotAHistory::Revocation
    );
}

#[test]
fn a_revoked_key_is_destroyed_once_wherever_it_stood() {
    use ActKind::{Ceremony, Key};
    let accepted = act(Ceremony, "accepted", Some(0), None, 2);
    let rotate = act(Key, "rotate", Some(0), None, 3);
    let demote = act(Key, "rotate", Some(1), Some(0), 4);
    let retire = act(Key, "retire", Some(0), None, 5);
    let archive = |at| act(Key, "archive", Some(0), None, at);
    // The acceptance of the destruction is an act as well.
    let again = act(Ceremony, "accepted", Some(0), None, 10);
    for before in [
        vec![accepted.clone()],
        vec![accepted.clone(), rotate.clone()],
        vec![accepted.clone(), rotate.clone(), demote.clone()],
        vec![
            accepted.clone(),
            rotate.clone(),
            demote.clone(),
            retire.clone(),
        ],
    ] {
        let end = [revoked("superseded", None, 9), again.clone(), archive(11)];
        let whole = [&before[..], &end].concat();
        let history = told(&whole).expect("a history");
        let state = history.state().expect("a state");
        assert_eq!(state.word(), "revoked");
        assert_eq!(history.life().archived_at, Some(Time::from_millis(11)));
        assert_eq!(state.life(), history.life());
        let worse = [&whole[..], &[revoked("compromised", Some(5), 12)]].concat();
        let worse = told(&worse).expect("a history");
        assert_eq!(worse.life().archived_at, Some(Time::from_millis(11)));
        assert!(told(&[&whole[..], &[archive(12)]].concat()).is_err());
        // Not before it was revoked, if it had not ended otherwise.
        let early = [&before[..], &[archive(8)]].concat();
        assert_eq!(told(&early).is_ok(), before.len() == 4);
    }
    let gone = [
        accepted,
        rotate,
        demote,
        retire,
        archive(8),
        revoked("superseded", None, 9),
    ];
    assert_eq!(
        told(&gone)
            .expect("a history")
            .state()
            .expect("a state")
            .word(),
        "revoked"
    );
    assert!(told(&[&gone[..], &[archive(10)]].concat()).is_err());
}

/// An act on this key, on another, or on both.
fn any_act() -> impl Strategy<Value = (usize, Option<i64>, i64)> {
    (0..9_usize, prop::option::of(0..20_i64), 0..3_i64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever is told: what is refused changes nothing, what is told has a state that is written
    /// and read back, and a revocation is never taken back or made milder.
    #[test]
    fn every_history_that_is_told_has_a_state(acts in prop::collection::vec(any_act(), 0..20)) {
        use ActKind::{Ceremony, Key};
        let mut history = History::new(kid(0), Time::from_millis(1));
        let mut now = 1;
        for (which, since, wait) in acts {
            now += wait;
            let next = match which {
                0 | 1 => act(Ceremony, "accepted", Some(0), None, now),
                2 => act(Key, "rotate", Some(0), Some(1), now),
                3 => act(Key, "rotate", Some(1), Some(0), now),
                4 => act(Key, "roll-back", Some(0), Some(1), now),
                5 => act(Key, "retire", Some(0), None, now),
                6 => act(Key, "archive", Some(0), None, now),
                7 => revoked("compromised", since, now),
                _ => revoked("superseded", None, now),
            };
            prop_assert!(History::concerns(&next, &kid(0)));
            let before = history.clone();
            if history.apply(&next).is_err() {
                prop_assert_eq!(history.life(), before.life());
                continue;
            }
            let state = history.state().expect("a state");
            prop_assert_eq!(state.life().state().expect("read back"), state);
            if let Some(old) = before.life().revocation {
                let new = history.life().revocation.expect("stays revoked");
                prop_assert_eq!(old.revoked_at, new.revoked_at);
                prop_assert!(new == old || new.is_more_severe_than(&old));
            }
        }
    }
}
