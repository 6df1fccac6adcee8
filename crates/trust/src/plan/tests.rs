//! The plans, and the invariants of the design over random histories of a ring.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::alg::Algorithm;
use crate::publication::{PublishedKey, plan_jwks};
use crate::request::Usage;
use crate::testing::{accepted, at, destroy, key, kid, revoke, ring};

const MAX_AGE: u64 = 90;
const SKEW: u64 = 10;

fn safety() -> Safety {
    let seconds = Duration::from_secs;
    Safety::new(seconds(100), seconds(50), seconds(MAX_AGE), seconds(SKEW)).unwrap()
}

fn standby(number: u32, published_at: i64) -> RingKey {
    let state = KeyState::prepared(at(0))
        .publish(&kid(number), accepted(number), at(published_at))
        .unwrap();
    RingKey {
        kid: kid(number),
        number,
        state,
    }
}

/// Carries out a plan as one transaction.
fn apply(keys: &mut [RingKey], steps: &[Step], now: Time) {
    for step in steps {
        let key = keys.iter_mut().find(|key| key.kid == step.kid).unwrap();
        let state = key.state.clone();
        key.state = match step.action {
            Action::Activate => state.activate(&safety(), now),
            Action::Demote => state.demote(now),
            Action::RollBack => state.roll_back(now),
            Action::Retire => state.retire(&safety(), now),
            // It is no state: the key is what it was.
            Action::Unpublish => Ok(state),
            Action::Archive => state.archive(&key.kid, &destroy(key.number), now),
            Action::Revoke => state.revoke(&key.kid, &revoke(key.number, Some(now)), now),
        }
        .unwrap();
    }
}

#[test]
fn the_first_key_is_activated_alone() {
    let mut keys = vec![standby(1, 10)];
    let early = plan_rotate(&keys, &safety(), at(109)).unwrap_err();
    assert_eq!(
        early,
        Blocked::NotReady {
            kid: kid(1),
            ready_at: at(110)
        }
    );
    let steps = plan_rotate(&keys, &safety(), at(110)).unwrap();
    assert_eq!(steps.len(), 1);
    apply(&mut keys, &steps, at(110));
    assert!(keys[0].state.is_primary());
    assert_eq!(
        plan_rotate(&keys, &safety(), at(500)).unwrap_err(),
        Blocked::NoStandby
    );
}

#[test]
fn a_rotation_demotes_before_it_activates_and_can_be_rolled_back() {
    let mut keys = vec![standby(1, 10), standby(2, 20)];
    let steps = plan_rotate(&keys, &safety(), at(200)).unwrap();
    apply(&mut keys, &steps, at(200));
    let steps = plan_rotate(&keys, &safety(), at(300)).unwrap();
    assert_eq!(
        steps.iter().map(|s| s.action).collect::<Vec<_>>(),
        [Action::Demote, Action::Activate]
    );
    apply(&mut keys, &steps, at(300));
    assert!(keys[1].state.is_primary());

    let steps = plan_roll_back(&keys).unwrap();
    apply(&mut keys, &steps, at(310));
    assert!(keys[0].state.is_primary());
    // The newer key is not a standby any more, but rolling back once more returns to it.
    assert_eq!(
        plan_rotate(&keys, &safety(), at(400)).unwrap_err(),
        Blocked::NoStandby
    );
    let steps = plan_roll_back(&keys).unwrap();
    apply(&mut keys, &steps, at(320));
    assert!(keys[1].state.is_primary());

    assert!(matches!(
        plan_retire(&keys, &kid(1), &safety(), at(369)),
        Err(Blocked::NotReady { .. })
    ));
    let steps = plan_retire(&keys, &kid(1), &safety(), at(370)).unwrap();
    apply(&mut keys, &steps, at(370));
    assert_eq!(
        plan_roll_back(&keys).unwrap_err(),
        Blocked::NothingToRollBackTo
    );
    let steps = plan_archive(&keys, &kid(1)).unwrap();
    apply(&mut keys, &steps, at(380));
    assert_eq!(keys[0].state.word(), "archived");
}

#[test]
fn plans_name_what_is_wrong() {
    let keys = vec![standby(1, 10)];
    let state = |expected| Blocked::State {
        kid: kid(1),
        found: "prepared",
        expected,
    };
    assert_eq!(
        plan_retire(&keys, &kid(1), &safety(), at(900)).unwrap_err(),
        state("secondary")
    );
    assert_eq!(
        plan_archive(&keys, &kid(1)).unwrap_err(),
        state("retired or revoked, and not destroyed")
    );
    // A revoked key is destroyed too, once.
    let mut revoked = keys.clone();
    let state = revoked[0].state.clone();
    revoked[0].state = state.revoke(&kid(1), &revoke(1, None), at(20)).unwrap();
    let steps = plan_archive(&revoked, &kid(1)).unwrap();
    assert_eq!(steps[0].action, Action::Archive);
    apply(&mut revoked, &steps, at(30));
    assert_eq!(revoked[0].state.word(), "revoked");
    assert!(plan_archive(&revoked, &kid(1)).is_err());
    assert_eq!(
        plan_archive(&keys, &kid(2)).unwrap_err(),
        Blocked::UnknownKey(kid(2))
    );
    assert_eq!(
        plan_roll_back(&keys).unwrap_err(),
        Blocked::NothingToRollBackTo
    );
}

#[test]
fn a_revoked_primary_is_replaced_in_the_same_transaction() {
    let mut keys = vec![standby(1, 10), standby(2, 150)];
    let steps = plan_rotate(&keys, &safety(), at(110)).unwrap();
    apply(&mut keys, &steps, at(110));
    let plan =
        |keys: &[RingKey], now, if_none| plan_revoke(keys, &kid(1), &safety(), at(now), if_none);
    let early = plan(&keys, 200, IfNoStandby::Refuse).unwrap_err();
    assert_eq!(
        early,
        Blocked::NotReady {
            kid: kid(2),
            ready_at: at(250)
        }
    );
    let stop = plan(&keys, 200, IfNoStandby::StopSigning).unwrap();
    assert_eq!(
        stop.iter().map(|step| step.action).collect::<Vec<_>>(),
        [Action::Revoke]
    );
    assert!(stop[0].reason.contains("stops signing"));
    let steps = plan(&keys, 250, IfNoStandby::Refuse).unwrap();
    apply(&mut keys, &steps, at(250));
    assert_eq!(keys[0].state.word(), "revoked");
    assert!(keys[1].state.is_primary());
}

#[test]
fn two_primaries_are_an_error_and_never_the_first_of_them() {
    let mut keys = vec![standby(1, 10), standby(2, 10), standby(3, 10)];
    for key in &mut keys[..2] {
        key.state = key.state.clone().activate(&safety(), at(200)).unwrap();
    }
    assert_eq!(
        plan_rotate(&keys, &safety(), at(500)).unwrap_err(),
        Blocked::Primaries(2)
    );
    assert_eq!(plan_roll_back(&keys).unwrap_err(), Blocked::Primaries(2));
}

#[derive(Clone, Debug)]
enum Event {
    Wait(u16),
    NewKey,
    Publish(prop::sample::Index),
    Rotate,
    RollBack,
    /// The first key that can be retired.
    Retire,
    /// The first key that can be archived.
    Archive,
    /// Any key, the primary too.
    Revoke(prop::sample::Index),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let index = any::<prop::sample::Index>;
    let event = prop_oneof![
        4 => (0..200u16).prop_map(Event::Wait),
        2 => Just(Event::NewKey),
        3 => index().prop_map(Event::Publish),
        3 => Just(Event::Rotate),
        1 => Just(Event::RollBack),
        2 => Just(Event::Retire),
        1 => Just(Event::Archive),
        1 => index().prop_map(Event::Revoke),
    ];
    prop::collection::vec(event, 1..80)
}

/// A ring through a history; what every event may not break is checked after it.
struct Model {
    now: i64,
    keys: Vec<RingKey>,
    opened: bool,
    /// Documents served, with when they are last used.
    served: Vec<(Time, Vec<Kid>)>,
}

impl Model {
    fn kid_at(&self, index: prop::sample::Index) -> Option<usize> {
        (!self.keys.is_empty()).then(|| index.index(self.keys.len()))
    }

    fn step(&mut self, event: Event) {
        let now = at(self.now);
        match event {
            Event::Wait(seconds) => self.now += i64::from(seconds),
            Event::NewKey => {
                let number = u32::try_from(self.keys.len()).unwrap() + 1;
                self.keys.push(RingKey {
                    kid: kid(number),
                    number,
                    state: KeyState::prepared(now),
                });
            }
            Event::Publish(index) => {
                if let Some(at) = self.kid_at(index) {
                    let RingKey { kid, number, state } = self.keys[at].clone();
                    if let Ok(published) = state.publish(&kid, accepted(number), now) {
                        self.keys[at].state = published;
                    }
                }
            }
            Event::Rotate => self.plan(plan_rotate(&self.keys, &safety(), now)),
            Event::RollBack => self.plan(plan_roll_back(&self.keys)),
            Event::Retire => {
                self.first(|keys, kid| plan_retire(keys, kid, &safety(), now));
            }
            Event::Archive => self.first(plan_archive),
            Event::Revoke(index) => {
                if let Some(at) = self.kid_at(index) {
                    let kid = &self.keys[at].kid;
                    let refuse = IfNoStandby::Refuse;
                    let revoked = matches!(self.keys[at].state, KeyState::Revoked { .. });
                    if !revoked {
                        self.plan(plan_revoke(&self.keys, kid, &safety(), now, refuse));
                    }
                }
            }
        }
    }

    fn first(&mut self, plan: impl Fn(&[RingKey], &Kid) -> Result<Vec<Step>, Blocked>) {
        let plan = self
            .keys
            .iter()
            .find_map(|key| plan(&self.keys, &key.kid).ok());
        self.plan(plan.ok_or(Blocked::NoStandby));
    }

    fn plan(&mut self, plan: Result<Vec<Step>, Blocked>) {
        if let Ok(steps) = plan {
            apply(&mut self.keys, &steps, at(self.now));
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let now = at(self.now);
        // 1: one primary, from the moment the ring is opened.
        let primaries = self
            .keys
            .iter()
            .filter(|key| key.state.is_primary())
            .count();
        self.opened |= primaries > 0;
        prop_assert_eq!(primaries, usize::from(self.opened));
        // 2: nothing signs that was not published long enough before.
        for key in self.keys.iter().filter(|key| key.state.can_sign()) {
            let life = key.state.life();
            let (published, activated) = (life.published_at.unwrap(), life.activated_at.unwrap());
            prop_assert!(activated >= published + safety().publish_safety());
        }
        // 3: no revoked and no unaccepted key is published.
        let candidates: Vec<_> = self.keys.iter().map(published_key).collect();
        let jwks = plan_jwks(&candidates, 600, true).unwrap();
        for key in &self.keys {
            let life = key.state.life();
            if jwks.included.contains(&key.kid) {
                prop_assert!(life.revocation.is_none() && life.published_at.is_some());
            } else {
                prop_assert!(!key.state.can_sign(), "a key that can sign is left out");
            }
        }
        // 5: whoever fetched JWKS up to max-age ago can verify everything that can be signed now.
        self.served
            .push((now + Duration::from_secs(MAX_AGE), jwks.included));
        for (used_until, kids) in self.served.iter().filter(|(until, _)| *until >= now) {
            for key in self.keys.iter().filter(|key| key.state.can_sign()) {
                prop_assert!(
                    kids.contains(&key.kid),
                    "served until {used_until} without {}",
                    key.kid
                );
            }
        }
        // And every state survives the store.
        for key in &self.keys {
            prop_assert_eq!(&key.state.life().state().unwrap(), &key.state);
        }
        Ok(())
    }
}

fn published_key(ring_key: &RingKey) -> PublishedKey {
    PublishedKey {
        ring: ring(),
        number: ring_key.number,
        algorithm: Algorithm::Es256,
        usage: Usage::Structured,
        public_key: key(ring_key.number),
        state: ring_key.state.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_invariants_hold_in_every_history(events in events()) {
        let mut model = Model { now: 0, keys: vec![], opened: false, served: vec![] };
        for event in events {
            model.step(event);
            model.check()?;
        }
    }
}

/// The histories really get somewhere: a property over nothing proves nothing.
#[test]
fn the_histories_reach_every_state() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let mut model = Model {
            now: 0,
            keys: vec![],
            opened: false,
            served: vec![],
        };
        for event in events().new_tree(&mut runner).unwrap().current() {
            model.step(event);
        }
        reached.extend(model.keys.iter().map(|key| key.state.word()));
    }
    assert_eq!(
        reached.into_iter().collect::<Vec<_>>(),
        ["active", "archived", "prepared", "retired", "revoked"]
    );
}
