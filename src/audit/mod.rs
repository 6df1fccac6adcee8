//! Whether the log is what it says: checked from inside, against everything that is stored, and from
//! outside, against what was seen before. Nothing here changes anything.

mod acts;
mod check;
mod clock;
mod files;
mod finding;
mod keys;
mod leaves;
mod monitor;
mod register;
mod tree;

pub use acts::Act;
pub use check::{Auditor, Error, Report};
pub use files::full;
pub use finding::{Finding, Findings};
pub use monitor::{Certificate, Heard, Published, Standing, State, Watch};
