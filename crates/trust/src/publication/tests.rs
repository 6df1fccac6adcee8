use std::time::Duration;

use super::*;
use crate::safety::Safety;
use crate::testing::{accepted, at, destroy, key, kid, revoke, ring};

fn safety() -> Safety {
    let none = Duration::ZERO;
    Safety::new(none, none, none, none).unwrap()
}

fn standby(number: u32) -> KeyState {
    KeyState::prepared(at(0))
        .publish(&kid(number), accepted(number), at(1))
        .unwrap()
}

fn retired(number: u32, when: i64) -> KeyState {
    let secondary = standby(number)
        .activate(&safety(), at(2))
        .unwrap()
        .demote(at(3))
        .unwrap();
    secondary.retire(&safety(), at(when)).unwrap()
}

fn published(number: u32, state: KeyState) -> PublishedKey {
    PublishedKey {
        ring: ring(),
        number,
        algorithm: Algorithm::Es256,
        usage: Usage::Structured,
        public_key: key(number),
        state,
    }
}

/// Keys 1 to 5: archived, retired, secondary, primary, standby; 6 unaccepted, 7 revoked.
fn keys() -> Vec<PublishedKey> {
    let primary = |number| standby(number).activate(&safety(), at(2)).unwrap();
    let states = [
        retired(1, 10)
            .archive(&kid(1), &destroy(1), at(20))
            .unwrap(),
        retired(2, 30),
        primary(3).demote(at(40)).unwrap(),
        primary(4),
        standby(5),
        KeyState::prepared(at(0)),
        primary(7)
            .revoke(&kid(7), &revoke(7, None), at(50))
            .unwrap(),
    ];
    (1..)
        .zip(states)
        .map(|(number, state)| published(number, state))
        .collect()
}

fn kids(numbers: &[u32]) -> Vec<Kid> {
    numbers.iter().map(|number| kid(*number)).collect()
}

#[test]
fn accepted_keys_that_are_not_revoked_newest_first() {
    let jwks = plan_jwks(&keys(), DEFAULT_BUDGET, false).unwrap();
    assert_eq!(jwks.included, kids(&[5, 4, 3, 2, 1]));
    assert_eq!(jwks.left_out, LeftOut::default());
    assert!(!jwks.over_budget);
    let text = String::from_utf8(jwks.document).unwrap();
    assert!(text.starts_with(r#"{"keys":[{"kty":"EC","#), "{text}");
    assert_eq!(text.matches(r#""kid":"#).count(), 5);
}

#[test]
fn the_order_does_not_depend_on_the_order_of_the_facts() {
    let mut backwards = keys();
    backwards.reverse();
    let [one, two] =
        [keys(), backwards].map(|keys| plan_jwks(&keys, DEFAULT_BUDGET, false).unwrap());
    assert_eq!(one.document, two.document);
}

#[test]
fn what_does_not_fit_is_counted_and_is_the_oldest() {
    let full = plan_jwks(&keys(), DEFAULT_BUDGET, false)
        .unwrap()
        .document
        .len();
    let jwks = plan_jwks(&keys(), full - 1, false).unwrap();
    assert_eq!(jwks.included, kids(&[5, 4, 3, 2]));
    assert_eq!(jwks.left_out, LeftOut { budget: 1, okp: 0 });
    assert!(jwks.document.len() < full);
    assert_eq!(
        plan_jwks(&keys(), full, false).unwrap().left_out,
        LeftOut::default(),
        "an exact fit fits"
    );
}

#[test]
fn keys_that_sign_are_never_left_out() {
    let jwks = plan_jwks(&keys(), 10, false).unwrap();
    assert_eq!(jwks.included, kids(&[5, 4, 3]));
    assert!(jwks.over_budget);
}

#[test]
fn okp_keys_only_where_they_are_wanted() {
    let mut keys = keys();
    keys[3].public_key = PublicKey::ed25519(&[4; 32]).unwrap();
    keys[3].algorithm = Algorithm::Ed25519;
    let ed25519 = keys[3].public_key.kid();
    let without = plan_jwks(&keys, DEFAULT_BUDGET, false).unwrap();
    assert_eq!(without.left_out, LeftOut { budget: 0, okp: 1 });
    assert!(
        plan_jwks(&keys, DEFAULT_BUDGET, true)
            .unwrap()
            .included
            .contains(&ed25519)
    );
}

#[test]
fn one_jwk_per_kid() {
    let mut twice = keys();
    twice.extend(keys());
    assert_eq!(
        plan_jwks(&twice, DEFAULT_BUDGET, false).unwrap().included,
        kids(&[5, 4, 3, 2, 1])
    );
}

#[test]
fn forty_years_of_quarterly_p256_keys_fit_the_default_budget() {
    let keys: Vec<_> = (1..=160)
        .map(|n| published(n, retired(n, i64::from(n) + 10)))
        .collect();
    assert_eq!(
        plan_jwks(&keys, DEFAULT_BUDGET, false).unwrap().left_out,
        LeftOut::default()
    );
}
