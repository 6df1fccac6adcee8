//! Logs that began anew, and logs that only say so.

use super::*;

/// What becomes of it.
fn begun(old: &Log, size: usize, origin: &str, at: i64) -> Log {
    let mut log = old.clone();
    log.leaves.truncate(size);
    log.origin = origin.to_owned();
    log.append(&custodians().done(at, new_origin(old, size, origin)));
    log
}

fn hundred() -> Log {
    Log::of(&(0..100).collect::<Vec<i64>>())
}

fn first(log: &Log, size: usize) -> Log {
    let mut log = log.clone();
    log.leaves.truncate(size);
    log
}

/// Whose look remembered the first leaves.
fn seen(log: &Log, size: usize) -> Option<State> {
    let told = look(&first(log, size), None);
    assert_eq!(told.told, []);
    told.state
}

#[test]
fn a_new_origin_is_followed_and_told_once() {
    let old = hundred();
    for (remembered, left, said) in [
        (100, 100, "0 leaves were lost, 0 of them already observed"),
        (80, 90, "10 leaves were lost, 0 of them already observed"),
        (90, 90, "10 leaves were lost, 0 of them already observed"),
        (95, 90, "10 leaves were lost, 5 of them already observed"),
        (100, 3, "97 leaves were lost, 97 of them already observed"),
        (100, 0, "100 leaves were lost, 100 of them already observed"),
    ] {
        let mut new = begun(&old, left, NEW, 100);
        new.silent(111).silent(112);
        let told = look(&new, seen(&old, remembered).as_ref());
        assert_eq!(told.codes(), ["new_origin"], "{remembered} {left}");
        assert_eq!(told.told[0].1, Some(left as i64));
        assert!(told.told[0].2.contains(said), "{:?}", told.told);
        new.silent(113);
        let next = look(&new, told.state.as_ref());
        assert_eq!(next.told, []);
        assert!(next.state.is_some());
        // Back to the old one leads nothing.
        let back = look(&old, told.state.as_ref());
        assert_eq!((back.codes(), back.state), (vec!["forked"], None));
        // Who begins now has nothing to compare with.
        assert_eq!(look(&new, None).told, []);
    }
}

#[test]
fn origins_are_followed_over_several_steps_as_long_as_their_acts_are_there() {
    let old = hundred();
    let middle = begun(&old, 90, "middle.example/log", 100);
    let new = begun(&middle, 91, NEW, 120);
    for (remembered, seen_of_lost) in [(80, 0), (100, 10)] {
        let told = look(&new, seen(&old, remembered).as_ref());
        assert_eq!(told.codes(), ["new_origin"]);
        let said = format!("10 leaves were lost, {seen_of_lost} of them already observed");
        assert!(told.told[0].2.contains(&said), "{:?}", told.told);
    }
    // The middle's own act was lost.
    let new = begun(&middle, 90, NEW, 120);
    let told = look(&new, seen(&old, 80).as_ref());
    assert_eq!((told.codes(), told.state), (vec!["origin", "forked"], None));
}

#[test]
fn another_origin_is_a_fork_unless_its_ceremony_says_how_it_came() {
    let old = hundred();
    let forks: &[(&str, usize, fn(&Log) -> Log)] = &[
        ("no act", 50, |old| {
            let mut new = old.clone();
            new.origin = NEW.to_owned();
            new
        }),
        ("no transcript", 50, |old| {
            let mut new = begun(old, 90, NEW, 100);
            new.transcripts.clear();
            new
        }),
        ("a checkpoint of a third", 50, |old| {
            let mut new = begun(old, 90, NEW, 100);
            new.origin = "third.example/log".to_owned();
            new
        }),
        ("from another origin", 50, |old| {
            let mut other = old.clone();
            other.origin = "third.example/log".to_owned();
            begun(&other, 90, NEW, 100)
        }),
        ("leaves that nobody remembers are others", 50, |old| {
            let mut new = begun(old, 90, NEW, 100);
            new.leaves.swap(70, 71);
            new
        }),
        ("survivors are others", 50, |old| {
            let mut other = old.clone();
            other.leaves.swap(0, 1);
            begun(&other, 90, NEW, 100)
        }),
        ("survivors are others", 95, |old| {
            let mut new = begun(old, 90, NEW, 100);
            new.leaves.swap(0, 1);
            new
        }),
        ("the old log was larger", 95, |old| {
            begun(&first(old, 94), 90, NEW, 100)
        }),
        ("the old log had another tree", 95, |old| {
            let mut other = first(old, 95);
            other.leaves.swap(93, 94);
            begun(&other, 90, NEW, 100)
        }),
        ("the act stands elsewhere", 50, |old| {
            let mut new = begun(old, 90, NEW, 100);
            new.leaves.insert(60, new.leaves[60].clone());
            new
        }),
        ("the act has no origin", 50, |old| {
            let mut new = first(old, 90);
            new.origin = NEW.to_owned();
            let mut done = custodians().done(100, new_origin(old, 90, NEW));
            done.leaf.as_object_mut().unwrap().remove("origin");
            new.append(&done);
            new
        }),
        ("the act tells of another size", 50, |old| {
            let mut new = first(old, 90);
            new.origin = NEW.to_owned();
            let mut done = custodians().done(100, new_origin(old, 90, NEW));
            done.leaf["last"] = 99.into();
            new.append(&done);
            new
        }),
        ("custodians of another genesis", 50, |old| {
            let mut new = first(old, 90);
            new.origin = NEW.to_owned();
            new.append(&Custodians::new("another").done(100, new_origin(old, 90, NEW)));
            new
        }),
    ];
    for (what, remembered, log) in forks {
        let state = seen(&old, *remembered);
        let told = look(&log(&old), state.as_ref());
        assert_eq!(
            told.codes().last(),
            Some(&"forked"),
            "{what}: {:?}",
            told.told
        );
        assert!(told.state.is_none(), "{what}");
    }
    // The same log under its own name is sound.
    assert_eq!(look(&old, seen(&old, 50).as_ref()).told, []);
}

#[test]
fn acts_on_keys_are_among_what_is_left() {
    let act = |kid: &str| {
        json!({
            "action": "accepted", "actor": "test", "kid": kid.repeat(43), "kind": "ceremony",
            "ring": "atp", "time": minute(89), "v": 1,
        })
    };
    let mut old = first(&hundred(), 89);
    old.put(&act("A")).silent(90).silent(91).silent(92);
    let state = seen(&old, old.leaves.len());
    let told = look(&begun(&old, 91, NEW, 100), state.as_ref());
    assert_eq!(told.codes(), ["new_origin"]);
    // Not in a whole subtree of the remembered edge, and yet remembered.
    for other in [Some("E"), None] {
        let mut new = begun(&old, 91, NEW, 100);
        new.leaves[89] = match other {
            Some(kid) => trust::json::canonical(&act(kid)).unwrap(),
            None => new.leaves[88].clone(),
        };
        let told = look(&new, state.as_ref());
        assert_eq!(told.codes(), ["forked"], "{other:?}");
    }
}

#[test]
fn an_origin_does_not_go_on_after_its_end() {
    let old = hundred();
    let mut both = old.clone();
    let done = custodians().done(100, new_origin(&old, 100, NEW));
    both.append(&done).silent(111);
    let shown = std::mem::take(&mut both.transcripts);
    let told = look(&both, None);
    assert_eq!(told.codes(), ["origin"], "{:?}", told.told);
    both.origin = NEW.to_owned();
    both.transcripts = shown;
    both.silent(112);
    let told = look(&both, told.state.as_ref());
    assert_eq!((told.codes(), told.state), (vec!["forked"], None));
}

#[test]
fn a_correction_of_an_old_origin_is_not_one_of_what_took_its_place() {
    let mut old = hundred();
    // Leaf 99 is corrected, and lost; what stands at 99 now is another leaf.
    old.silent(100);
    old.append(&custodians().done(100, correction(OLD, 95, 99, 5)));
    let mut new = begun(&old, 95, NEW, 120);
    for at in 131..140 {
        new.silent(at);
    }
    assert_eq!(look(&new, None).told, []);
    // While it holds where it was made.
    let told = look(&old, None);
    assert_eq!(told.codes(), ["backdated"; 5]);
}
