//! What an auditor runs: signatures, evidence files and transcripts offline, and a monitor that follows a log from
//! outside. All rules are those of `trust`; this crate reads files, asks services and prints.

pub mod client;
pub mod evidence;
mod follow;
pub mod input;
pub mod monitor;
mod offline;
pub mod output;
pub mod record;
pub mod review;
pub mod signatures;
pub mod transcript;
mod watch;

pub use monitor::{Monitor, findings};
pub use record::Record;
pub use review::Review;
pub use signatures::Verify;
pub use transcript::Transcript;
