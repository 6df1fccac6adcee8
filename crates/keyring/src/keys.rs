//! The read model: every ring and key in memory, replaced as a whole when the database says that
//! something changed. Signing and JWKS never ask the database for a key.
//!
//! A key gets in here only with its transcript, which is tallied again from the
//! pinned genesis, and a row that does not agree with its transcript is refused and reported.

mod follow;
mod load;
mod publish;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;

pub use load::{Error, Keys, Settings};
pub use publish::Document;
pub use settings::PublicationSettings;
pub use snapshot::{Current, Key, RejectedKey, Ring, Snapshot, UnreadableRing};
