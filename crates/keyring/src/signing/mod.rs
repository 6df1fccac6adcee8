//! The sign path: policy, primary key, token, software verification, audit, release.

mod answer;
mod formats;
mod retention;
mod seal;
mod sign;

pub use formats::{Encoding, Format, Serialised};
pub use retention::forget_old_answers;
pub use seal::LogKey;
pub use sign::{Error, IdempotencyKey, Signed, Signing};
