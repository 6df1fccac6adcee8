//! The read model: rings in memory with the keys that they need, replaced as a whole when the database says that
//! something changed. Signing and JWKS never ask the database for a key. Older keys are read when somebody asks for them.
//!
//! A key gets in here only with its transcript, which is tallied again from the
//! pinned genesis, and a row that does not agree with its transcript is refused and reported.

mod archive;
mod believe;
mod cpu;
mod error;
mod find;
mod follow;
mod foreseen;
mod former;
mod load;
mod past;
mod publish;
mod read;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod under_order;

pub use archive::NoKey;
pub use cpu::{Cpu, Share, Unfinished};
pub use error::Error;
pub(crate) use foreseen::{fault_of_use, leaves_of_use};
pub use load::Keys;
pub use past::{AcceptedPage, KeyPage};
pub use publish::Document;
pub use settings::{PublicationSettings, Settings};
pub use snapshot::{Current, Key, RejectedKey, Ring, Snapshot, UnreadableRing};
