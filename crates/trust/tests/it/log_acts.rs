//! Ceremonies on the log itself: a clock that is corrected, an origin that is new.

use trust::approval::Outcome;
use trust::request::{ClockCorrection, LostLeaves, NewOrigin, Operation, RequestError};
use trust::tally::{AcceptanceError, Finished, Obstacle, Standing, tally_acceptance};
use trust::tlog::checkpoint::Checkpoint;
use trust::*;

use crate::support::{NewKey, World, as_ordered, log, minute};

fn refused(world: &World, operation: Operation) -> RequestError {
    let request = world.request_for(operation);
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    match world.tally(&ceremony).into_standing() {
        Standing::Refused(obstacles) => match &obstacles[..] {
            [Obstacle::Content(error)] => error.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn correction() -> ClockCorrection {
    ClockCorrection {
        bound: minute(0),
        first: 7,
        last: 9,
        origin: "old".to_owned(),
    }
}

/// A log of five leaves, of which three are left.
fn new_origin() -> NewOrigin {
    let note = log::checkpoint("old", &NewKey::generate(), &["a", "b", "c", "d", "e"]);
    NewOrigin {
        lost: Some(LostLeaves { first: 3, last: 4 }),
        origin: "new".to_owned(),
        previous_checkpoint: note.to_string(),
        previous_origin: "old".to_owned(),
        root: log::root(&["a", "b", "c"]),
        size: 3,
    }
}

/// What becomes of a ceremony of which this is stated.
fn stated(operation: &Operation, outcome: Outcome) -> Result<Finished, AcceptanceError> {
    let world = World::quick();
    let request = world.request_for(operation.clone());
    let signers = [&world.alice, &world.bob];
    let record = world.record(&world.ceremony(&request, &signers));
    let acceptance = world.acceptance(&world.statement(&record, outcome), &signers);
    tally_acceptance(&world.trusted(), &record, &acceptance)
        .map(|tally| tally.into_finished().unwrap())
}

#[test]
fn a_clock_correction_and_a_new_origin_have_transcripts() {
    let world = World::quick();
    for operation in [
        Operation::ClockCorrection(correction()),
        Operation::NewOrigin(new_origin()),
    ] {
        let request = world.request_for(operation.clone());
        assert_eq!(request.lines[0].subject, Subject::Log);
        let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
        match world.tally(&ceremony).into_approved().unwrap() {
            ApprovedOperation::ClockCorrection(approved) => {
                assert_eq!(approved.order(), &correction());
            }
            ApprovedOperation::NewOrigin(approved) => assert_eq!(approved.order().origin, "new"),
            other => panic!("{other:?}"),
        }
        let bytes = world.done(&request).encode().unwrap();
        let verified = verify_transcript(&bytes, &world.pin).unwrap();
        assert!(verified.kids().is_empty());
        match verified.finished() {
            Finished::Corrected(found) => assert_eq!(found, &correction()),
            Finished::NewOrigin => assert!(matches!(operation, Operation::NewOrigin(_))),
            other => panic!("{other:?}"),
        }
        assert!(matches!(verified.into_key(), Err(TranscriptError::NotAKey)));
    }
}

#[test]
fn a_correction_is_of_leaves_that_can_be_meant_and_of_the_past() {
    let world = World::quick();
    let with = |change: fn(&mut ClockCorrection)| {
        let mut order = correction();
        change(&mut order);
        refused(&world, Operation::ClockCorrection(order))
    };
    let range = RequestError::Range("clock-correction");
    assert_eq!(with(|order| order.first = 10), range);
    assert!(matches!(
        with(|order| order.bound = minute(1)),
        RequestError::Order {
            earlier: "bound",
            ..
        }
    ));
    let text = RequestError::Text("operation.clock-correction.origin", 200);
    assert_eq!(with(|order| order.origin.clear()), text);
    assert_eq!(with(|order| order.origin = "n".repeat(201)), text);
    let spaced = RequestError::Origin(
        "clock-correction",
        "an origin must not contain whitespace or \"+\"",
    );
    assert_eq!(with(|order| order.origin = "a b".to_owned()), spaced);
    let one = ClockCorrection {
        first: 9,
        ..correction()
    };
    let request = world.request_for(Operation::ClockCorrection(one));
    assert_eq!(request.check(), Ok(()));
}

#[test]
fn a_new_origin_says_what_was_lost_and_shows_the_old_checkpoint() {
    let world = World::quick();
    let with = |change: &dyn Fn(&mut NewOrigin)| {
        let mut order = new_origin();
        change(&mut order);
        refused(&world, Operation::NewOrigin(order))
    };
    let range = RequestError::Range("new-origin");
    assert_eq!(with(&|order| order.lost = None), range);
    assert_eq!(with(&|order| order.size = 4), range);
    assert_eq!(with(&|order| order.size = 5), range);
    assert_eq!(with(&|order| order.size = 6), range);
    assert_eq!(with(&|order| (order.size, order.lost) = (6, None)), range);
    let lost = |first, last| Some(LostLeaves { first, last });
    assert_eq!(with(&|order| order.lost = lost(2, 4)), range);
    assert_eq!(with(&|order| order.lost = lost(3, 3)), range);
    assert_eq!(with(&|order| order.lost = lost(3, 5)), range);
    let all = ["a", "b", "c", "d", "e"];
    for (size, lost) in [(5, None), (4, lost(4, 4)), (0, lost(0, 4))] {
        let root = log::root(&all[..size]);
        let order = NewOrigin {
            size: size as u64,
            lost,
            root,
            ..new_origin()
        };
        let request = world.request_for(Operation::NewOrigin(order));
        assert_eq!(request.check(), Ok(()));
    }

    // With nothing lost, or nothing left, there is one root that it can be.
    let other = log::root(&["x"]);
    assert_eq!(
        with(&|order| (order.size, order.lost, order.root) = (5, None, other)),
        range
    );
    assert_eq!(
        with(&|order| (order.size, order.lost, order.root) = (0, lost(0, 4), other)),
        range
    );
    let zeros = Checkpoint {
        origin: "old".to_owned(),
        size: 0,
        root: Sha256Digest::from_bytes([0; 32]),
    };
    let zeros = |order: &mut NewOrigin| {
        (order.size, order.lost, order.root) = (0, None, zeros.root);
        order.previous_checkpoint = format!("{}\n\u{2014} x AAAAAAA=\n", zeros.body());
    };
    assert_eq!(with(&zeros), range, "the root of nothing is not this");
    let wrong = |what| RequestError::Origin("new-origin", what);
    let spaced = wrong("an origin must not contain whitespace or \"+\"");
    for name in ["a b", "a+b", "a\u{a0}b"] {
        assert_eq!(with(&|order| order.origin = name.to_owned()), spaced);
        assert_eq!(
            with(&|order| order.previous_origin = name.to_owned()),
            spaced
        );
    }

    let same = wrong("the new origin equals the previous one");
    assert_eq!(with(&|order| order.origin = "old".to_owned()), same);
    let none = wrong("previous_checkpoint is not a checkpoint of the previous origin");
    assert_eq!(
        with(&|order| order.previous_origin = "older".to_owned()),
        none
    );
    assert_eq!(with(&|order| order.previous_checkpoint.clear()), none);
    assert_eq!(
        with(&|order| order.previous_checkpoint.insert(0, ' ')),
        none
    );
    let unsigned = |order: &mut NewOrigin| {
        let end = order.previous_checkpoint.find("\n\n").unwrap();
        order.previous_checkpoint.truncate(end + 1);
    };
    assert_eq!(
        with(&unsigned),
        none,
        "a note is whole, with its signatures"
    );
    let text = RequestError::Text("operation.new-origin.origin", 200);
    assert_eq!(with(&|order| order.origin.clear()), text);
    assert_eq!(with(&|order| order.origin = "n".repeat(201)), text);
    assert_eq!(with(&|order| order.origin = "a\nb".to_owned()), text);
}

#[test]
fn what_was_done_to_the_log_is_what_was_ordered() {
    let operation = Operation::ClockCorrection(correction());
    assert!(stated(&operation, as_ordered(&operation)).is_ok());
    for done in [
        ClockCorrection {
            first: 6,
            ..correction()
        },
        ClockCorrection {
            last: 8,
            ..correction()
        },
        ClockCorrection {
            bound: minute(0) - std::time::Duration::from_millis(1),
            ..correction()
        },
        ClockCorrection {
            origin: "new".to_owned(),
            ..correction()
        },
    ] {
        let error = stated(&operation, Outcome::Corrected(done)).unwrap_err();
        assert!(matches!(error, AcceptanceError::OtherOutcome), "{error}");
    }
    let operation = Operation::NewOrigin(new_origin());
    assert!(stated(&operation, as_ordered(&operation)).is_ok());
    let (right, other) = (new_origin().root, log::root(&["x"]));
    for (origin, root, size) in [
        ("old", right, 3),
        ("new", right, 4),
        ("new", right, 2),
        ("new", other, 3),
    ] {
        let outcome = Outcome::NewOrigin {
            origin: origin.to_owned(),
            root,
            size,
        };
        let error = stated(&operation, outcome).unwrap_err();
        assert!(matches!(error, AcceptanceError::OtherOutcome), "{error}");
    }
    let other = as_ordered(&Operation::ClockCorrection(correction()));
    let error = stated(&operation, other).unwrap_err();
    assert!(matches!(error, AcceptanceError::OtherOutcome), "{error}");
}
