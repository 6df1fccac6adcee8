//! Lines of ceremonies: what is about different subjects never stands in each other's way, and what
//! is about one subject has one order.

use trust::request::{ClockCorrection, Operation, Request, RevocationReason};
use trust::tally::{History, Last, Obstacle, Standing};
use trust::transcript::{SuccessionError, verify_succession};
use trust::*;

use crate::support::{NewKey, World, as_ordered, destroy, generate, minute, name, revoke};

/// A request in its lines, after the last ceremonies of some of them.
fn request(
    world: &World,
    operation: Operation,
    nonce: u8,
    after: &[&VerifiedTranscript],
) -> Request {
    let mut request = world.request_for(operation);
    request.nonce = bytes16::Nonce([nonce; 16]);
    for line in &mut request.lines {
        let of_it = |last: &&&VerifiedTranscript| {
            let mut lines = last.request().lines.iter();
            lines.any(|before| before.subject == line.subject)
        };
        if let Some(last) = after.iter().rev().find(of_it) {
            let mut lines = last.request().lines.iter();
            let before = lines.find(|before| before.subject == line.subject).unwrap();
            line.sequence = before.sequence + 1;
            line.previous = Some(last.digest());
        }
    }
    request
}

/// The history of everything that was carried out.
fn history(done: &[&VerifiedTranscript]) -> History {
    let mut history = History::default();
    for transcript in done {
        for line in &transcript.request().lines {
            let last = Last {
                sequence: line.sequence,
                digest: transcript.digest(),
            };
            history.lines.insert(line.subject.clone(), last);
        }
    }
    history
}

fn carried_out(world: &World, ceremony: &Ceremony) -> VerifiedTranscript {
    let request = Request::decode(&ceremony.request).unwrap();
    let outcome = match &request.operation {
        Operation::Generate(_) => {
            approval::Outcome::Generated(NewKey::generate().generated(&request))
        }
        other => as_ordered(other),
    };
    let bytes = world.finished(ceremony, outcome).encode().unwrap();
    verify_transcript(&bytes, &world.pin).unwrap()
}

fn superseded(kid: &Kid) -> Operation {
    let mut operation = revoke(kid);
    if let Operation::Revoke(order) = &mut operation {
        order.reason = RevocationReason::Superseded;
        order.compromised_since = None;
    }
    operation
}

fn correction(last: u64) -> Operation {
    Operation::ClockCorrection(ClockCorrection {
        bound: minute(0),
        first: 0,
        last,
        origin: "seal.example/log".to_owned(),
    })
}

/// The first and the second ceremony of ten subjects.
fn ten() -> Vec<[Operation; 2]> {
    let mut all = Vec::new();
    for ring in ["one", "two", "three", "four", "log"] {
        let mut second = generate(ring);
        second.number = 2;
        second.predecessor = Some(NewKey::generate().kid());
        all.push([generate(ring), second].map(Operation::Generate));
    }
    for _ in 0..3 {
        let kid = NewKey::generate().kid();
        all.push([superseded(&kid), revoke(&kid)]);
    }
    let kid = NewKey::generate().kid();
    all.push([destroy(std::slice::from_ref(&kid)), revoke(&kid)]);
    all.push([correction(7), correction(9)]);
    all
}

/// Ten requests are open; every approval arrives between approvals of the others.
fn side_by_side(
    world: &World,
    requests: &[Request],
    done: &[&VerifiedTranscript],
) -> Vec<Ceremony> {
    let mut open: Vec<_> = requests
        .iter()
        .map(|each| world.ceremony(each, &[]))
        .collect();
    let history = history(done);
    let tallied = |open: &[Ceremony]| -> Vec<Standing> {
        let tally = |each| tally(&world.trusted(), each, &history, minute(10)).into_standing();
        open.iter().map(tally).collect()
    };
    for ceremony in &mut open {
        let approval = world.approval(&ceremony.request, &world.alice);
        ceremony.approvals.push(approval);
    }
    assert_eq!(tallied(&open), vec![Standing::Waiting { missing: 1 }; 10]);
    for ceremony in open.iter_mut().rev() {
        let approval = world.approval(&ceremony.request, &world.bob);
        ceremony.approvals.push(approval);
    }
    assert_eq!(tallied(&open), vec![Standing::Approved; 10]);
    open
}

#[test]
fn ten_ceremonies_side_by_side_never_stand_in_each_others_way() {
    let world = World::quick();
    let subjects = ten();
    let requests = |which: usize, after: &[&VerifiedTranscript]| -> Vec<Request> {
        (1..)
            .zip(&subjects)
            .map(|(nonce, both)| {
                request(&world, both[which].clone(), nonce + 10 * which as u8, after)
            })
            .collect()
    };
    let first: Vec<_> = side_by_side(&world, &requests(0, &[]), &[])
        .iter()
        .map(|ceremony| carried_out(&world, ceremony))
        .collect();
    let done: Vec<_> = first.iter().collect();
    let second: Vec<_> = side_by_side(&world, &requests(1, &done), &done)
        .iter()
        .map(|ceremony| carried_out(&world, ceremony))
        .collect();

    // Any order in which each subject keeps its own is an order in which it can have been.
    let mut all: Vec<_> = first.into_iter().chain(second).collect();
    let mut places: Vec<usize> = (0..20).collect();
    let mut random = 9_u32;
    for _ in 0..100 {
        for at in (1..20).rev() {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            places.swap(at, random as usize % (at + 1));
        }
        // The earlier of two places is the first ceremony's.
        for subject in 0..10 {
            let place = |which| places.iter().position(|each| *each == which).unwrap();
            let (one, two) = (place(subject), place(subject + 10));
            if two < one {
                places.swap(one, two);
            }
        }
        all = reordered(all, &places);
        verify_succession(&all).unwrap();
        all = restored(all, &places);
    }
    // Of one subject the order cannot be turned around.
    for subject in 0..10 {
        all.swap(subject, subject + 10);
        let error = verify_succession(&all).unwrap_err();
        let expected = SuccessionError::Sequence {
            index: subject,
            subject: all[subject].request().lines[0].subject.clone(),
            found: 2,
            expected: 1,
        };
        assert_eq!(error.to_string(), expected.to_string());
        all.swap(subject, subject + 10);
    }
    // Nor can one be left out before another of its subject.
    let left_out = all.remove(3);
    assert!(verify_succession(&all).is_err());
    all.insert(3, left_out);
    verify_succession(&all).unwrap();
}

/// The transcripts in another order. Nothing that is verified can be copied, so they are moved.
fn reordered(all: Vec<VerifiedTranscript>, places: &[usize]) -> Vec<VerifiedTranscript> {
    let mut all: Vec<_> = all.into_iter().map(Some).collect();
    places.iter().map(|at| all[*at].take().unwrap()).collect()
}

/// Back again.
fn restored(all: Vec<VerifiedTranscript>, places: &[usize]) -> Vec<VerifiedTranscript> {
    let mut moved: Vec<_> = places.iter().copied().zip(all).collect();
    moved.sort_by_key(|(at, _)| *at);
    moved.into_iter().map(|(_, each)| each).collect()
}

#[test]
fn a_key_is_revoked_while_its_ring_rotates() {
    let world = World::quick();
    let signers = [&world.alice, &world.bob];
    let born = request(
        &world,
        Operation::Generate(generate("atp-integrity")),
        1,
        &[],
    );
    let born = carried_out(&world, &world.ceremony(&born, &signers));
    let kid = born.kids()[0].clone();
    let mut next = generate("atp-integrity");
    next.number = 2;
    next.predecessor = Some(kid.clone());
    let rotation = request(&world, Operation::Generate(next), 2, &[&born]);
    let rotation = world.ceremony(&rotation, &signers);
    let revocation = request(&world, revoke(&kid), 3, &[&born]);
    let revocation = world.ceremony(&revocation, &signers);

    // Whichever is carried out first, the other is as good as before.
    for (first, second) in [(&rotation, &revocation), (&revocation, &rotation)] {
        let first = carried_out(&world, first);
        let history = history(&[&born, &first]);
        let tally = tally(&world.trusted(), second, &history, minute(10));
        assert_eq!(tally.standing, Standing::Approved);
    }
    let mut all = vec![
        born,
        carried_out(&world, &rotation),
        carried_out(&world, &revocation),
    ];
    verify_succession(&all).unwrap();
    all.swap(1, 2);
    verify_succession(&all).unwrap();
}

#[test]
fn a_second_ceremony_on_the_same_key_is_void_after_the_first() {
    let world = World::quick();
    let signers = [&world.alice, &world.bob];
    let kids = [NewKey::generate().kid(), NewKey::generate().kid()];
    let first = request(&world, revoke(&kids[0]), 1, &[]);
    let second = request(&world, destroy(&kids), 2, &[]);
    let open = world.ceremony(&second, &signers);
    let before = tally(&world.trusted(), &open, &history(&[]), minute(10));
    assert_eq!(before.standing, Standing::Approved);

    let first = carried_out(&world, &world.ceremony(&first, &signers));
    let after = tally(&world.trusted(), &open, &history(&[&first]), minute(10));
    let subject = Subject::Key(kids[0].clone());
    let expected = [
        Obstacle::Sequence {
            subject: subject.clone(),
            found: 1,
            expected: 2,
        },
        Obstacle::Previous(subject.clone()),
    ];
    assert_eq!(after.standing, Standing::Refused(expected.to_vec()));
    // Whoever carried it out all the same is found between the transcripts.
    let both = [first, carried_out(&world, &open)];
    let error = verify_succession(&both).unwrap_err();
    assert!(
        matches!(&error, SuccessionError::Sequence { index: 1, subject: found, .. } if *found == subject),
        "{error}"
    );
    // Proposed anew, in the line as it is now, it can go on.
    let [first, _] = both;
    let again = request(&world, destroy(&kids), 3, &[&first]);
    let again = carried_out(&world, &world.ceremony(&again, &signers));
    verify_succession(&[first, again]).unwrap();
}

#[test]
fn a_request_of_one_subject_replayed_on_another_with_the_same_number() {
    let world = World::quick();
    let signers = [&world.alice, &world.bob];
    let one = request(&world, Operation::Generate(generate("one")), 1, &[]);
    let two = request(&world, Operation::Generate(generate("two")), 2, &[]);
    let (honest, other) = (
        world.ceremony(&one, &signers),
        world.ceremony(&two, &signers),
    );
    // The signatures for one ring are none for the other, although both are the first of a line.
    let replayed = Ceremony {
        request: other.request.clone(),
        ..honest.clone()
    };
    let refused = world.tally(&replayed).into_standing();
    let unsigned = Obstacle::Proposal(world.carol.id.clone());
    assert_eq!(refused, Standing::Refused(vec![unsigned]));
    // Nor can the lines say another subject than the operation, whoever signs it.
    for subject in [
        Subject::Ring(name("two")),
        Subject::Key(NewKey::generate().kid()),
        Subject::Trust,
        Subject::Log,
    ] {
        let mut moved = one.clone();
        moved.lines[0].subject = subject;
        refused_lines(&world, &moved);
    }
    // Its own line has gone on; the other's, which has not, is none of its business.
    let done = carried_out(&world, &honest);
    let again = tally(&world.trusted(), &honest, &history(&[&done]), minute(10));
    assert!(matches!(again.standing, Standing::Refused(_)));
    let good = tally(&world.trusted(), &other, &history(&[&done]), minute(10));
    assert_eq!(good.standing, Standing::Approved);
    // One nonce in two lines is one used twice.
    let same = request(&world, Operation::Generate(generate("two")), 1, &[]);
    let same = carried_out(&world, &world.ceremony(&same, &signers));
    let error = verify_succession(&[done, same]).unwrap_err();
    assert!(
        matches!(error, SuccessionError::Nonce { index: 1 }),
        "{error}"
    );
}

fn refused_lines(world: &World, request: &Request) {
    let ceremony = world.ceremony(request, &[&world.alice, &world.bob]);
    let expected = Obstacle::Content(request::RequestError::Lines);
    match world.tally(&ceremony).into_standing() {
        Standing::Refused(obstacles) => assert_eq!(obstacles[0], expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_lines_of_a_destruction_are_those_of_its_keys_in_their_order() {
    let world = World::quick();
    let kids = [NewKey::generate().kid(), NewKey::generate().kid()];
    let good = request(&world, destroy(&kids), 1, &[]);
    let changes: [fn(&mut Vec<Line>); 5] = [
        |lines| lines.clear(),
        |lines| lines.truncate(1),
        |lines| lines.swap(0, 1),
        |lines| lines.push(lines[0].clone()),
        |lines| lines[1].subject = Subject::Ring(name("atp-integrity")),
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad.lines);
        refused_lines(&world, &bad);
    }
    let done = carried_out(&world, &world.ceremony(&good, &[&world.alice, &world.bob]));
    assert_eq!(done.kids().len(), 2);
}

/// Former custodians can still sign under the roster of their time, and no database shows it.
#[test]
fn a_later_ceremony_of_a_line_does_not_go_back_to_an_older_chain() {
    let mut world = World::quick();
    let old = World::quick();
    let document = world.next_roster(|_| {}, &[&world.alice, &world.bob]);
    world.chains.changes.push(chain::Change::Roster(document));
    let kid = NewKey::generate().kid();
    let signers = [&world.alice, &world.bob];
    let first = request(&world, superseded(&kid), 1, &[]);
    let first = carried_out(&world, &world.ceremony(&first, &signers));
    let second = request(&old, revoke(&kid), 2, &[&first]);
    let second = carried_out(&old, &old.ceremony(&second, &signers));
    let error = verify_succession(&[first, second]).unwrap_err();
    assert!(
        matches!(error, SuccessionError::Chain { index: 1 }),
        "{error}"
    );
}
