//! A ring that nobody asks is asked by a probe, whose signature is thrown away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trust::error_chain;

use super::formats::token_input;
use super::readiness::Outcome;
use super::sign::Signing;
use crate::keys::Key;
use base::Env;
use token::Pool;

/// How often it is looked whether somebody has to be probed.
const EVERY: Duration = Duration::from_secs(5);

/// What was seen for so long is asked for again.
const STALE: Duration = Duration::from_secs(10);

/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Signing {
    /// Runs until its task is ended.
    pub async fn probe(self, instance: String) {
        loop {
            self.probe_once(&instance).await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Asks what was not seen for long, and what failed.
    pub async fn probe_once(&self, instance: &str) {
        let known = self.readiness.outcomes();
        let due = |outcome: Option<&Outcome>| {
            outcome.is_none_or(|seen| !seen.is_good() || seen.at.elapsed() >= STALE)
        };
        let snapshot = self.keys.current();
        let primaries = snapshot
            .rings
            .values()
            .filter_map(|ring| ring.primary.as_ref());
        let primaries: Vec<_> = primaries.cloned().collect();
        let rings: Vec<_> = primaries.iter().map(|key| Arc::clone(&key.ring)).collect();
        self.readiness.forget_others(&rings);
        for key in primaries {
            if due(known.rings.get(&key.ring)) {
                let error = probe_key(&self.pool, &self.env, &key).await.err();
                self.readiness.ring(&key.ring, error);
            }
        }
        if due(known.write.as_ref()) {
            // A write like any other, of a row that means nothing.
            let written = self
                .store
                .lease("readiness", instance, Duration::ZERO)
                .await;
            let error = written.err().map(|error| error_chain(&error).into());
            self.readiness.write(error);
        }
    }
}

/// A signature over a message under a payload type that is reserved for the service: it is thrown away, and is a
/// signature over nobody's data if it is not.
pub async fn probe_key(pool: &Pool, env: &Env, key: &Key) -> Result<(), Arc<str>> {
    let random = env
        .random::<16>()
        .map_err(|error| Arc::from(error_chain(&error)))?;
    let message = trust::dsse::pae("chancery/probe.v1", &random);
    let input = token_input(key.algorithm, &message);
    let deadline = Instant::now() + PATIENCE;
    let mut signed = pool.sign_all(&key.handle, vec![input], deadline).await;
    match signed.pop() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error_chain(&error).into()),
        None => Err("the token gave no answer".into()),
    }
}
