//! What an event needs next, fault by fault.

use calendar::next_step::{
    CLOCK_TOLERANCE, MOST_ATTEMPTS, OldUse, Outcome, Propagation, pause_after,
};
use calendar::words::{EventState, Reason, Step, Trigger};
use calendar::{EventFacts, Next, Policies, Policy, Span, Time, next_step};

use crate::support::{at, days, policies, with};

fn slot() -> Time {
    at("2026-12-05 04:00")
}

fn policy<'a>(policies: &'a Policies, key_type: &str) -> &'a Policy {
    policies.get(&key_type.parse().unwrap()).unwrap()
}

/// An event whose steps before `step` are done, published and promoted at the slot as far as that was.
fn before(step: Step) -> EventFacts {
    let mut event = EventFacts::scheduled(Trigger::Time, slot());
    event.propagation = Propagation::Proven;
    for done in Step::ALL.iter().take(step.index()) {
        event.begin(*done, slot());
        event.end(*done, slot(), Outcome::Done);
        match done {
            Step::Publish => event.published_at = Some(slot()),
            Step::Promote => event.promoted_at = Some(slot() + days(1)),
            _ => {}
        }
    }
    event
}

/// The whole way of a JWT key, each step at its instant and none before.
#[test]
fn the_eight_steps_come_in_their_order_and_at_their_time() {
    let policies = policies();
    let policy = policy(&policies, "jwt_signing");
    let mut event = EventFacts::scheduled(Trigger::Time, slot());
    event.propagation = Propagation::Proven;
    let mut now = slot() - days(3);
    let mut seen = Vec::new();
    loop {
        match next_step(&event, policy, now) {
            Next::WaitUntil(until) => {
                assert_eq!(
                    next_step(&event, policy, until - Span::seconds(1)),
                    Next::WaitUntil(until)
                );
                now = until;
            }
            Next::Step(step) => {
                seen.push((step, now));
                event.begin(step, now);
                match step {
                    Step::Publish => event.published_at = Some(now),
                    Step::Promote => event.promoted_at = Some(now),
                    _ => {}
                }
                event.end(step, now, Outcome::Done);
            }
            other => {
                assert_eq!(other, Next::Done);
                break;
            }
        }
    }
    let instants: Vec<_> = seen
        .iter()
        .map(|(step, at)| (step.as_str(), at.since(slot())))
        .collect();
    let expected = [
        ("pre-check", Span::ZERO),
        ("generate", Span::ZERO),
        ("publish", Span::ZERO),
        ("test", Span::ZERO),
        ("promote", days(1)),
        ("watch", days(2)),
        ("retire", days(2)),
        ("archive", days(31)),
    ];
    assert_eq!(instants, expected);
}

#[test]
fn a_step_that_was_begun_and_has_no_end_is_gone_on_with() {
    let policies = policies();
    for step in Step::ALL {
        let mut event = before(*step);
        let late = slot() + days(60);
        event.begin(*step, late);
        event.state = EventState::Running;
        event.paused = true;
        assert_eq!(
            next_step(&event, policy(&policies, "jwt_signing"), late),
            Next::Step(*step),
            "{step}"
        );
    }
}

#[test]
fn a_probe_that_never_sees_the_kid_holds_the_rotation() {
    let policies = policies();
    let policy = policy(&policies, "jwt_signing");
    let mut event = before(Step::Promote);
    event.propagation = Propagation::Missing;
    let safe = slot() + days(1);
    assert_eq!(
        next_step(&event, policy, safe - Span::seconds(1)),
        Next::WaitUntil(safe)
    );
    for later in [safe, safe + days(400)] {
        assert_eq!(
            next_step(&event, policy, later),
            Next::Waiting(Reason::Propagation)
        );
    }
    event.propagation = Propagation::Proven;
    assert_eq!(next_step(&event, policy, safe), Next::Step(Step::Promote));
    // Proven is not enough before the caches can have it.
    assert_eq!(
        next_step(&event, policy, safe - Span::seconds(1)),
        Next::WaitUntil(safe)
    );
}

#[test]
fn a_probe_that_lies_holds_the_rotation() {
    let policies = policies();
    let mut event = before(Step::Promote);
    event.propagation = Propagation::Contradicted;
    let next = next_step(&event, policy(&policies, "jwt_signing"), slot() + days(2));
    assert_eq!(next, Next::Waiting(Reason::ProbeContradicts));
}

#[test]
fn a_clock_that_jumped_back_decides_nothing() {
    let policies = policies();
    let policy = policy(&policies, "jwt_signing");
    let event = before(Step::Promote);
    assert_eq!(
        next_step(&event, policy, slot() - days(1)),
        Next::Waiting(Reason::Clock)
    );
    let next = next_step(&event, policy, slot() - CLOCK_TOLERANCE);
    assert_eq!(next, Next::WaitUntil(slot() + days(1)));
    // One that jumped forward does what is due, each step once: the rest follows from what it writes.
    assert_eq!(
        next_step(&event, policy, slot() + days(9_000)),
        Next::Step(Step::Promote)
    );
}

#[test]
fn failures_are_tried_again_and_end_at_a_person() {
    let policies = policies();
    let policy = policy(&policies, "jwt_signing");
    let mut event = before(Step::Generate);
    let mut now = slot();
    for attempt in 1..=MOST_ATTEMPTS {
        assert_eq!(
            next_step(&event, policy, now),
            Next::Step(Step::Generate),
            "attempt {attempt}"
        );
        event.begin(Step::Generate, now);
        event.end(Step::Generate, now, Outcome::Failed { transient: true });
        if attempt < MOST_ATTEMPTS {
            let until = now + pause_after(attempt);
            assert_eq!(next_step(&event, policy, now), Next::WaitUntil(until));
            now = until;
        }
    }
    assert_eq!(
        next_step(&event, policy, now + days(9)),
        Next::Waiting(Reason::Person)
    );
    assert_eq!(
        (pause_after(1), pause_after(2), pause_after(99)),
        (Span::seconds(30), Span::minutes(1), Span::hours(1))
    );
    let mut refused = before(Step::Generate);
    refused.begin(Step::Generate, slot());
    refused.end(Step::Generate, slot(), Outcome::Failed { transient: false });
    assert_eq!(
        next_step(&refused, policy, slot() + days(9)),
        Next::Waiting(Reason::Person)
    );
}

#[test]
fn a_rotation_can_be_rolled_back_until_the_old_version_is_retired() {
    let policies = policies();
    let policy = policy(&policies, "jwt_signing");
    let later = slot() + days(10);
    for step in Step::ALL {
        let mut event = before(*step);
        event.roll_back = true;
        let next = next_step(&event, policy, later);
        match step.index() {
            0..=4 => assert_eq!(next, Next::Cancel, "{step}: nothing was promoted"),
            5..=6 => assert_eq!(next, Next::RollBack, "{step}"),
            _ => assert!(
                matches!(next, Next::WaitUntil(_)),
                "{step}: too late, it goes on: {next:?}"
            ),
        }
        // A roll-back that failed for good waits for a person.
        event.state = EventState::Failed;
        assert_eq!(
            next_step(&event, policy, later),
            Next::Waiting(Reason::Person)
        );
        event.state = EventState::Done;
        assert_eq!(next_step(&event, policy, later), Next::Done);
    }
    let mut cancelled = before(Step::Watch);
    cancelled.cancel = true;
    let next = next_step(&cancelled, policy, slot() + days(1));
    assert!(
        matches!(next, Next::WaitUntil(_)),
        "what was promoted is not cancelled: {next:?}"
    );
}

#[test]
fn a_pause_and_a_hold_stop_each_step_but_no_emergency() {
    let policies = policies();
    let policy = policy(&policies, "jwt_signing");
    for step in Step::ALL {
        let mut event = before(*step);
        event.paused = true;
        let later = slot() + days(60);
        assert_eq!(
            next_step(&event, policy, later),
            Next::Waiting(Reason::Paused),
            "{step}"
        );
        event.held = true;
        assert_eq!(
            next_step(&event, policy, later),
            Next::Waiting(Reason::Held),
            "{step}"
        );
        event.trigger = Trigger::Event;
        assert_eq!(
            next_step(&event, policy, later),
            Next::Step(*step),
            "{step}"
        );
    }
}

/// It was begun, and has come to a wait: for a time that was approved, or after a failure.
#[test]
fn a_promotion_that_waits_is_held_and_judged_anew() {
    let policies = policies();
    let policy = policy(&policies, "jwt_signing");
    let later = slot() + days(10);
    for failed in [false, true] {
        let mut event = before(Step::Promote);
        event.begin(Step::Promote, slot() + days(1));
        if failed {
            let transient = Outcome::Failed { transient: true };
            event.end(Step::Promote, slot() + days(1), transient);
        }
        event.state = EventState::Waiting;
        let next = |event: &EventFacts| next_step(event, policy, later);
        assert_eq!(next(&event), Next::Step(Step::Promote));
        let mut stopped = event.clone();
        stopped.held = true;
        assert_eq!(next(&stopped), Next::Waiting(Reason::Held));
        stopped.held = false;
        stopped.paused = true;
        assert_eq!(next(&stopped), Next::Waiting(Reason::Paused));
        stopped.paused = false;
        stopped.propagation = Propagation::Contradicted;
        assert_eq!(next(&stopped), Next::Waiting(Reason::ProbeContradicts));
        // What it did all the same is written.
        stopped.in_use = true;
        (stopped.held, stopped.cancel) = (true, true);
        assert_eq!(next(&stopped), Next::Step(Step::Promote));
    }
    // What somebody was asked for is not asked for anew because of the hour, and not while it is held.
    let mut asked = before(Step::Generate);
    asked.begin(Step::Generate, slot());
    asked.state = EventState::Waiting;
    assert_eq!(next_step(&asked, policy, later), Next::Step(Step::Generate));
    asked.held = true;
    let held = next_step(&asked, policy, later);
    assert_eq!(held, Next::Waiting(Reason::Held));
}

#[test]
fn an_emergency_does_not_run_beside_the_old_version_and_is_held_to_publication() {
    let policies = policies();
    let jwt = policy(&policies, "jwt_signing");
    let mut event = before(Step::Promote);
    event.trigger = Trigger::Event;
    assert_eq!(
        next_step(&event, jwt, slot()),
        Next::WaitUntil(slot() + days(1)),
        "verifiers do not have it yet"
    );
    event.published_at = Some(slot() - days(40));
    assert_eq!(
        next_step(&event, jwt, slot()),
        Next::Step(Step::Promote),
        "a standby key"
    );
    // What no verifier fetches is ready at once.
    let mut secret = before(Step::Promote);
    secret.trigger = Trigger::Event;
    assert_eq!(
        next_step(&secret, policy(&policies, "api_key"), slot()),
        Next::Step(Step::Promote)
    );
    let mut promoted = before(Step::Watch);
    promoted.trigger = Trigger::Event;
    assert_eq!(
        next_step(&promoted, jwt, slot() + days(1)),
        Next::Step(Step::Watch)
    );
}

#[test]
fn what_no_order_covers_waits_and_says_for_what() {
    let policies = policies();
    let policy = policy(&policies, "jwt_signing");
    for reason in [
        Reason::Approval,
        Reason::OrderUsedUp,
        Reason::OrderEnded,
        Reason::Executor,
    ] {
        let mut event = before(Step::Generate);
        event.consent_missing = Some(reason);
        assert_eq!(
            next_step(&event, policy, slot() + days(1)),
            Next::Waiting(reason)
        );
    }
}

#[test]
fn grace_for_ever_ends_with_retirement_and_other_grace_with_the_last_use() {
    let policies = policies();
    let later = slot() + days(400);
    assert_eq!(
        next_step(&before(Step::Archive), policy(&policies, "signing"), later),
        Next::Done
    );
    let mut event = before(Step::Archive);
    event.old_use = OldUse::Needed;
    // What encrypts waits for its census; a signature key's grace ends.
    let next = next_step(&event, policy(&policies, "database_encryption"), later);
    assert_eq!(next, Next::Waiting(Reason::OldStillUsed));
    assert_eq!(
        next_step(&event, policy(&policies, "jwt_signing"), later),
        Next::Step(Step::Archive)
    );
    let mut moving = before(Step::Watch);
    moving.campaign_running = true;
    let next = next_step(&moving, policy(&policies, "database_encryption"), later);
    assert_eq!(next, Next::Waiting(Reason::Campaign));
}

#[test]
fn a_window_is_waited_for_and_people_are_told_a_day_before() {
    let policies = with(|document| {
        if document.key_type.as_str() == "jwt_signing" {
            let sunday = r#"[{"days":["sunday"],"from_minute":0,"until_minute":120}]"#;
            document.windows = serde_json::from_str(sunday).unwrap();
        }
    });
    let policy = policy(&policies, "jwt_signing");
    let event = before(Step::PreCheck);
    assert_eq!(
        next_step(&event, policy, slot() - days(2)),
        Next::WaitUntil(slot() - days(1))
    );
    // 2026-12-05 is a Saturday.
    let sunday = at("2026-12-06 00:00");
    assert_eq!(
        next_step(&before(Step::Generate), policy, slot()),
        Next::WaitUntil(sunday)
    );
    let mut event = before(Step::Promote);
    event.published_at = Some(sunday);
    assert_eq!(
        next_step(&event, policy, sunday + days(1)),
        Next::WaitUntil(sunday + days(7))
    );
    event.trigger = Trigger::Event;
    assert_eq!(
        next_step(&event, policy, sunday + days(1)),
        Next::Step(Step::Promote)
    );
}
