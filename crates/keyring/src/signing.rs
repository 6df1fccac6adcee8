//! The sign path: policy, primary key, token, software verification, audit, release.

mod answer;
mod formats;
mod log_key;
mod probe;
mod readiness;
mod retention;
mod sign;
mod signed;

pub use formats::{Encoding, Format, Serialised};
pub use log_key::LogKey;
pub use probe::probe_key;
pub use readiness::{Outcome, Outcomes};
pub use retention::forget_old_answers;
pub use sign::{IdempotencyKey, Signing};
pub use signed::{Error, Signed};
