//! The log's own key: the primary of the ring `log`. It signs checkpoints and nothing else, and
//! checkpoints are signed by nothing else.

use std::sync::Arc;
use std::time::Instant;

use trust::{LOG_RING, PublicKey};

use crate::keys::{Key, Keys};
use log::{CheckpointNotSigned, CheckpointSignature, CheckpointSigner, Later};
use token::Pool;

pub struct LogKey {
    keys: Arc<Keys>,
    pool: Pool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the ring \"log\" has no active key")]
    NoActiveKey,
    #[error("the HSM did not sign")]
    Token(#[source] token::Error),
}

impl LogKey {
    pub fn new(keys: Arc<Keys>, pool: Pool) -> Self {
        Self { keys, pool }
    }

    fn primary(&self) -> Option<Arc<Key>> {
        let snapshot = self.keys.current();
        snapshot.rings.get(LOG_RING)?.primary.clone()
    }
}

impl CheckpointSigner for LogKey {
    fn keys(&self) -> Vec<PublicKey> {
        let snapshot = self.keys.current();
        let keys = snapshot.keys_of_ring(LOG_RING).unwrap_or_default();
        keys.iter().map(|key| key.public.clone()).collect()
    }

    fn is_ready(&self) -> bool {
        self.primary().is_some()
    }

    fn sign(
        &self,
        text: String,
        deadline: Instant,
    ) -> Later<Result<CheckpointSignature, CheckpointNotSigned>> {
        let key = self.primary();
        let pool = self.pool.clone();
        Box::pin(async move {
            let not_sealed = |error: Error| CheckpointNotSigned(Arc::new(error));
            let key = key.ok_or_else(|| not_sealed(Error::NoActiveKey))?;
            let input = match key.algorithm.hash() {
                Some(hash) => hash.digest(text.as_bytes()),
                None => text.into_bytes(),
            };
            let signature = pool
                .sign_all(&key.handle, vec![input], deadline)
                .await
                .pop()
                .unwrap_or(Err(token::Error::Stopped))
                .map_err(|error| not_sealed(Error::Token(error)))?;
            Ok(CheckpointSignature {
                kid: key.kid.clone(),
                public: key.public.clone(),
                signature,
            })
        })
    }
}
