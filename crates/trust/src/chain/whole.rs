//! The chain with everything that stands in it.

use super::{ChainError, Chains, Pin, Trusted, walk_with};
use crate::transcript::log_keys_of_chain;

/// Walks from the pinned genesis to the newest document. Every document is verified over its
/// stored bytes by the rules of the one before it.
pub fn walk(chains: &Chains, pin: &Pin) -> Result<Trusted, ChainError> {
    walk_with(chains, pin, log_keys_of_chain)
}
