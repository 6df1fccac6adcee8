//! The sign path: policy, primary key, token, software verification, audit, release.

mod answer;
mod formats;
mod log_key;
mod retention;
mod sign;
mod signed;

pub use formats::{Encoding, Format, Serialised};
pub use log_key::LogKey;
pub use retention::forget_old_answers;
pub use sign::{IdempotencyKey, Signing};
pub use signed::{Error, Signed};
