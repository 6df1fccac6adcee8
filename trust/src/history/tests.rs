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
        history.tell(act)?;
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
