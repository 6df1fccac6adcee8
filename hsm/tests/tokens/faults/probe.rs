//! Idle workers are probed by real signatures, so an outage is known before a caller meets it.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm::{Health, KeySpec, Power, Supervisor};

use super::load::pause;
use super::shim::Shimmed;
use crate::support::*;

fn until(signer: &Supervisor, wanted: impl Fn(&Health) -> bool) {
    let deadline = soon();
    while !wanted(&signer.health()) {
        assert!(Instant::now() < deadline, "{:?}", signer.health());
        pause(5);
    }
}

#[test]
fn an_idle_worker_is_probed_with_the_key_kept_for_it() {
    let shimmed = Shimmed::fresh();
    let probe = new_key(&shimmed.token.executor(), KeySpec::P256);
    let mut config = shimmed.token.config();
    config.probe = Some(Arc::clone(&probe));
    config.probe_interval = Some(Duration::from_millis(50));
    let signer = started(config, Power::Use);
    let before = shimmed.calls("C_Sign");
    until(&signer, |health| health.counters.probes >= 3);
    assert!(shimmed.calls("C_Sign") > before, "a probe is a signature");
    assert_eq!(signer.health().counters.probes_failed, 0);
    shimmed.inject("C_Sign corrupt");
    until(&signer, |health| {
        health.counters.mismatches > 0 && health.counters.probes_failed > 0
    });
    shimmed.heal();
    assert_signs(&signer, &probe, 1);
}

#[test]
fn an_outage_is_noticed_and_over_without_any_request() {
    let token = Token::softhsm();
    let key = new_key(&token.executor(), KeySpec::P256);
    let mut config = token.config();
    config.probe_interval = Some(Duration::from_millis(50));
    let signer = started(config, Power::Use);
    assert_signs(&signer, &key, 1);
    let (here, away) = (
        token.dir.path().join("tokens"),
        token.dir.path().join("away"),
    );
    fs::rename(&here, &away).unwrap();
    until(&signer, |health| !health.state.is_ready());
    fs::rename(&away, &here).unwrap();
    until(&signer, |health| health.state.is_ready());
    assert_signs(&signer, &key, 2);
}

#[test]
fn without_a_key_the_token_itself_is_looked_at() {
    let token = Token::softhsm();
    let mut config = token.config();
    config.probe_interval = Some(Duration::from_millis(50));
    let signer = started(config, Power::Use);
    until(&signer, |health| health.counters.probes >= 3);
    let (here, away) = (
        token.dir.path().join("tokens"),
        token.dir.path().join("away"),
    );
    fs::rename(&here, &away).unwrap();
    until(&signer, |health| !health.state.is_ready());
    fs::rename(&away, &here).unwrap();
    until(&signer, |health| health.state.is_ready());
}
