//! The sign path: policy, primary key, token, software verification, audit, release.

mod formats;
mod sign;

pub use formats::{Encoding, Format, Serialised};
pub use sign::{Error, Signed, Signing};
