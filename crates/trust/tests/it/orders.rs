//! Standing orders: what custodians can order in advance, and what is made under one.

use std::time::Duration;

use proptest::prelude::*;
use trust::approval::Outcome;
use trust::request::{Misfit, OrderError, RequestError, Weekday};
use trust::tally::{Finished, Obstacle, OrderObstacle, Standing};
use trust::transcript::verify_succession;
use trust::withdrawal::{WithdrawalBody, WithdrawalError, verify_withdrawal, withdrawal_message};
use trust::*;

use crate::support::ordered::{BEGINS, ID, Ordered, request_for_order, standing_order, world};
use crate::support::{Custodian, minute, name};

#[test]
fn the_executor_accepts_a_key_of_a_routine_ring_by_its_signature() {
    let ordered = Ordered::routine();
    let transcript = ordered.transcript(&ordered.request(1), &[]);
    let verified = ordered.verify(&transcript).unwrap();
    assert_eq!(verified.by_executor(), Some(&ordered.robot.id));
    assert_eq!(verified.approved_by(), ["alice", "bob"].map(name));
    assert_eq!(verified.accepted_by(), []);
    assert_eq!(verified.under().unwrap().used.id, ID);
    let accepted = verified.into_key().unwrap();
    assert_eq!(accepted.order().number, 2);
    // Custodians may accept it as well.
    let both = ordered.transcript(&ordered.request(1), &[&ordered.world.carol]);
    let verified = ordered.verify(&both).unwrap();
    assert_eq!(verified.accepted_by(), [name("carol")]);
}

#[test]
fn keys_of_other_rings_are_accepted_by_the_threshold() {
    let ordered = Ordered::critical();
    let (alice, carol) = (&ordered.world.alice, &ordered.world.carol);
    let request = ordered.request(1);
    for too_few in [vec![], vec![alice]] {
        let error = ordered.verify(&ordered.transcript(&request, &too_few));
        let error = error.unwrap_err();
        assert!(matches!(error, TranscriptError::NotAccepted(_)), "{error}");
    }
    // Whoever approved the order, or proposed it, may accept.
    let accepted = ordered.verify(&ordered.transcript(&request, &[alice, carol]));
    assert_eq!(accepted.unwrap().by_executor(), None);
}

#[test]
fn an_order_takes_effect_like_every_ceremony() {
    let (world, robot) = world(true);
    let request = request_for_order(&world, standing_order(&robot));
    let ceremony = world.ceremony(&request, &[&world.alice]);
    assert_eq!(
        world.tally(&ceremony).into_standing(),
        Standing::Waiting { missing: 1 }
    );
    let transcript = world.done(&request);
    let verified = verify_transcript(&transcript.encode().unwrap(), &world.pin).unwrap();
    assert!(matches!(verified.finished(), Finished::Ordered(order) if order.id == ID));
    assert_eq!(request.lines[0].subject, Subject::Order(ID));
    // The outcome is of this order.
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let other = Outcome::Ordered {
        id: bytes16::Nonce([6; 16]),
    };
    let other = world.finished(&ceremony, other);
    assert!(verify_transcript(&other.encode().unwrap(), &world.pin).is_err());
}

#[test]
fn what_no_quorum_can_order_in_advance() {
    let (world, robot) = world(true);
    let refused = |change: &dyn Fn(&mut StandingOrder)| {
        let mut order = standing_order(&robot);
        change(&mut order);
        let request = request_for_order(&world, order);
        match request.check() {
            Err(RequestError::StandingOrder(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    for usage in [Usage::Certificates, Usage::Log, Usage::Wrap] {
        assert_eq!(refused(&|order| order.usage = usage), OrderError::Critical);
    }
    assert_eq!(
        refused(&|order| order.ring = name("log")),
        OrderError::Critical
    );
    let year = Duration::from_secs(366 * 86_400);
    let too_long = |order: &mut StandingOrder| {
        order.not_after = order.not_before + year + Duration::from_millis(1);
    };
    assert_eq!(refused(&too_long), OrderError::Duration);
    let over = |order: &mut StandingOrder| order.not_after = order.not_before;
    assert_eq!(refused(&over), OrderError::Duration);
    for uses in [0, 367] {
        assert_eq!(refused(&|order| order.uses = uses), OrderError::Uses);
    }
    assert_eq!(
        refused(&|order| order.window.days = vec![Weekday::Sunday, Weekday::Monday]),
        OrderError::Window
    );
    let exported = |order: &mut StandingOrder| {
        let request::OrderPlace::Pkcs11(token) = &mut order.place;
        token.template.extractable = true;
    };
    assert_eq!(refused(&exported), OrderError::Template("CKA_EXTRACTABLE"));
    assert_eq!(
        refused(&|order| order.lifetime_seconds = 0),
        OrderError::Seconds("lifetime_seconds")
    );
    let mut request = request_for_order(&world, standing_order(&robot));
    request.nonce = bytes16::Nonce([7; 16]);
    assert_eq!(
        request.check(),
        Err(RequestError::StandingOrder(OrderError::Id))
    );
    // And nobody but an executor of the roster, by a key of its own, can be named.
    for executor in [
        ("dave", world.dave.public.clone()),
        ("robot", world.dave.public.clone()),
        ("nobody", robot.public.clone()),
    ] {
        let mut order = standing_order(&robot);
        order.executor.member = name(executor.0);
        order.executor.key = executor.1;
        let request = request_for_order(&world, order);
        let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
        assert_eq!(
            world.tally(&ceremony).into_standing(),
            Standing::Refused(vec![Obstacle::Executor(name(executor.0))])
        );
    }
}

#[test]
fn uses_are_made_in_their_window_and_not_faster_than_their_interval() {
    // Minute 0 is 09:00 on a Sunday.
    let ordered = Ordered::new(true, |order| {
        order.interval_seconds = 86_400;
        order.window.days = vec![Weekday::Monday, Weekday::Sunday];
        order.window.from_minute = 10 * 60;
        order.window.until_minute = 12 * 60;
    });
    let misfit = |request: &Request, now: Time| match ordered.standing_at(request, now) {
        Standing::Approved => None,
        Standing::Refused(obstacles) => match obstacles.as_slice() {
            [Obstacle::Order(OrderObstacle::Misfit(misfit))] => Some(misfit.clone()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let mut first = ordered.request(1);
    first.execute_by = minute(60 * 24 * 3);
    first.approve_by = first.created_at;
    assert_eq!(misfit(&first, minute(BEGINS)), None);
    // 12:00 is too late, the same hour of Monday is not, and Tuesday is no day of it.
    assert_eq!(
        misfit(&first, minute(180)),
        Some(Misfit::Window(minute(180)))
    );
    assert_eq!(misfit(&first, minute(24 * 60 + 60)), None);
    let tuesday = minute(2 * 24 * 60 + 60);
    assert_eq!(misfit(&first, tuesday), Some(Misfit::Window(tuesday)));
    // The second use a day later, and not asked for before.
    let second = ordered.request(2);
    let day = minute(BEGINS) + Duration::from_secs(86_400);
    assert_eq!(misfit(&second, minute(BEGINS)), Some(Misfit::Early(day)));
    let mut later = ordered;
    later.world.clock = BEGINS + 24 * 60;
    assert_eq!(later.standing(&later.request(2)), Standing::Approved);
}

#[test]
fn a_rejection_blocks_what_an_order_permits() {
    let ordered = Ordered::routine();
    let request = ordered.request(1);
    let mut ceremony = ordered.ceremony(&request);
    let rejection = ordered.world.rejection(&request, &ordered.world.carol);
    ceremony.rejections.push(rejection);
    let now = minute(BEGINS + 10);
    let standing = tally(
        &ordered.world.trusted(),
        &ceremony,
        &History::claimed_by(&ceremony.request),
        now,
    );
    assert!(matches!(
        standing.into_standing(),
        Standing::Rejected { .. }
    ));
}

#[test]
fn one_custodian_withdraws_an_order_and_nobody_else_does() {
    let ordered = Ordered::routine();
    let world = &ordered.world;
    let asked = Sha256Digest::of(b"the order's request");
    let body = WithdrawalBody {
        order: ID,
        reason: "a lost laptop".to_owned(),
        request_digest: asked,
        v: format::V1,
    };
    let bytes = body.encode().unwrap();
    let by = |who: &Custodian, bytes: &[u8]| {
        let signature = world.signature(Purpose::Withdraw, bytes, who);
        verify_withdrawal(&world.trusted(), (ID, asked), bytes, &signature)
    };
    assert_eq!(by(&world.carol, &bytes), Ok(name("carol")));
    for other in [&world.dave, &ordered.robot, &Custodian::quick("mallory")] {
        assert!(matches!(
            by(other, &bytes),
            Err(WithdrawalError::Signature(_))
        ));
    }
    let message = withdrawal_message(&world.pin.service, &world.pin.environment, &bytes);
    assert!(matches!(
        review::open_file(&message),
        Ok(review::File::Withdrawal(_))
    ));
    // Of another order, or for another purpose, it is none.
    let other = WithdrawalBody {
        order: bytes16::Nonce([6; 16]),
        ..body.clone()
    };
    assert_eq!(
        by(&world.carol, &other.encode().unwrap()),
        Err(WithdrawalError::OtherOrder(other.order))
    );
    let hidden = WithdrawalBody {
        reason: "a\u{202e}b".to_owned(),
        ..body
    };
    assert_eq!(
        by(&world.carol, &hidden.encode().unwrap()),
        Err(WithdrawalError::Reason)
    );
    let rejected = world.signature(Purpose::Reject, &bytes, &world.carol);
    assert!(verify_withdrawal(&world.trusted(), (ID, asked), &bytes, &rejected).is_err());
}

#[test]
fn uses_of_an_order_form_a_line_with_the_other_keys_of_the_ring() {
    let mut ordered = Ordered::routine();
    let order = verify_transcript(ordered.order.as_bytes(), &ordered.world.pin).unwrap();
    let first = ordered.first_key();
    let mut before = Some(first.digest());
    let mut all = vec![order, first];
    for number in 1..=2_u32 {
        ordered.world.clock = BEGINS + u64::from(number);
        let mut request = ordered.request(number);
        request.nonce = bytes16::Nonce([10 + u8::try_from(number).unwrap(); 16]);
        request.lines[0].sequence = u64::from(number) + 1;
        request.lines[0].previous = before;
        let verified = ordered.verify(&ordered.transcript(&request, &[])).unwrap();
        before = Some(verified.digest());
        all.push(verified);
    }
    assert!(verify_succession(&all).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Of any two windows and any instant: an instant is in both only if it is in each.
    #[test]
    fn the_day_of_an_instant_is_that_of_the_calendar(seconds in 0_i64..4_000_000_000) {
        let time = Time::from_millis(seconds * 1_000);
        let day = usize::try_from((seconds / 86_400 + 3) % 7).unwrap();
        let mut window = request::OrderWindow::always();
        window.days = vec![Weekday::ALL[day]];
        prop_assert!(window.contains(time));
        window.days = Weekday::ALL.into_iter().filter(|each| *each != Weekday::ALL[day]).collect();
        prop_assert!(!window.contains(time));
    }
}
