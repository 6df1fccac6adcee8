//! The log's own key, as the rooms to the right of this one lend it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use trust::{Kid, PublicKey};

pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A checkpoint's signature.
#[derive(Debug, Clone)]
pub struct CheckpointSignature {
    pub kid: Kid,
    pub public: PublicKey,
    /// Ed25519, or ECDSA in the fixed form of IEEE P1363.
    pub signature: Vec<u8>,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("the log's key did not sign")]
pub struct CheckpointNotSigned(#[source] pub Arc<dyn std::error::Error + Send + Sync>);

/// What the log needs of its key.
pub trait CheckpointSigner: Send + Sync {
    /// Every key that the log ever had: a checkpoint by any of them is ours.
    fn keys(&self) -> Vec<PublicKey>;

    /// Whether there is a key that signs today. Without one leaves are integrated all the same,
    /// and the first checkpoint covers them.
    fn is_ready(&self) -> bool;

    /// Signs the text of a note. Verified in software before it comes back.
    fn sign(
        &self,
        text: String,
        deadline: Instant,
    ) -> Later<Result<CheckpointSignature, CheckpointNotSigned>>;
}
