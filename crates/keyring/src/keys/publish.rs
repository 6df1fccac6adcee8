//! JWKS documents: made once per snapshot, served from memory.

use std::sync::Arc;
use std::time::Duration;

use base64ct::Encoding as _;
use trust::Sha256Digest;

/// In units of `max_age`, which is a quarter of `publish_safety` at most: whatever a cache does, it
/// has the present set before a new key signs.
const STALE: u32 = 2;

/// A published document and its validators.
#[derive(Debug, Clone)]
pub struct Document {
    pub bytes: Arc<[u8]>,
    /// A strong entity tag with its quotes, RFC 9110 section 8.8.3.
    pub etag: String,
    /// How long a verifier may keep it; derived from `publish_safety`.
    pub max_age: Duration,
    /// Keys that did not fit the byte budget: counted and linked, never dropped in silence.
    pub left_out: usize,
    /// Nothing is published yet. An empty set is never served: clients take it for an answer.
    pub is_empty: bool,
    /// How long a cache may serve it beyond `max_age` while it cannot reach us.
    pub stale: Duration,
}

impl Document {
    pub(super) fn new(published: trust::publication::Published, max_age: Duration) -> Self {
        let digest = Sha256Digest::of(&published.document);
        let tag = &digest.as_bytes()[..16];
        Self {
            etag: format!("\"{}\"", base64ct::Base64UrlUnpadded::encode_string(tag)),
            is_empty: published.included.is_empty(),
            bytes: published.document.into(),
            max_age,
            stale: max_age * STALE,
            left_out: published.left_out.len(),
        }
    }
}
