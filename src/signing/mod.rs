//! The sign path: policy, primary key, token, software verification, audit, release.

mod answer;
mod formats;
mod sign;

pub use formats::{Encoding, Format, Serialised};
pub use sign::{Error, IdempotencyKey, Signed, Signing};
