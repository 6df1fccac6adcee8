//! The service's end: starts, feeds, watches and replaces worker processes.

use std::sync::Arc;
use std::time::Instant;

use crate::api::{
    Administer, DestroyOrder, GenerateOrder, Generated, ObjectInfo, Reply, Sign, SignRequest,
    TokenIdentity, Warrant,
};
use crate::config::{Power, TokenConfig};
use crate::error::Error;
use crate::health::Health;
use crate::key::{CkaId, KeyRef, Signature};

/// A pool of workers on one token. Cheap to clone; the last clone stops the workers.
#[derive(Clone)]
pub struct Supervisor {}

impl Supervisor {
    /// Returns at once with settings errors only; a token that is absent or slow is waited for in the background.
    pub fn start(_config: TokenConfig, _power: Power) -> Result<Supervisor, Error> {
        Err(Error::Stopping)
    }

    /// Waits until a worker is ready, or says why none will be.
    pub fn wait_ready(&self, _deadline: Instant) -> Result<TokenIdentity, Error> {
        Err(Error::Stopping)
    }

    pub fn health(&self) -> Health {
        unreachable!()
    }

    /// Binds ahead of the first use: the key is found, compared and has signed a challenge when this returns.
    pub fn prepare(&self, _key: &Arc<KeyRef>, _deadline: Instant) -> Result<(), Error> {
        Err(Error::Stopping)
    }

    /// Refuses new work, waits for the accepted until `deadline`, ends the workers.
    pub fn stop(&self, _deadline: Instant) {}
}

impl Sign for Supervisor {
    fn submit(&self, _key: &Arc<KeyRef>, _input: &[u8], _deadline: Instant, reply: Reply) {
        reply(Err(Error::Stopping));
    }

    fn submit_all(&self, requests: Vec<SignRequest>) {
        for request in requests {
            self.submit(
                &request.key,
                &request.input,
                request.deadline,
                request.reply,
            );
        }
    }
}

impl Administer for Supervisor {
    fn generate(&self, _warrant: impl Warrant<GenerateOrder>) -> Result<Generated, Error> {
        Err(Error::Stopping)
    }

    fn destroy(&self, _warrant: impl Warrant<DestroyOrder>) -> Result<(), Error> {
        Err(Error::Stopping)
    }

    fn find(&self, _cka_id: CkaId) -> Result<Vec<ObjectInfo>, Error> {
        Err(Error::Stopping)
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, Error> {
        Err(Error::Stopping)
    }

    fn read_back(&self, _cka_id: CkaId) -> Result<Generated, Error> {
        Err(Error::Stopping)
    }

    fn prove(&self, _key: &KeyRef, _input: &[u8]) -> Result<Signature, Error> {
        Err(Error::Stopping)
    }

    fn token(&self) -> Result<TokenIdentity, Error> {
        Err(Error::Stopping)
    }
}
