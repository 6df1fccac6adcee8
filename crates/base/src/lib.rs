//! What every part of the service stands on.

mod env;
pub mod files;
pub mod names;
pub mod process;
mod repeats;
pub mod settings;
pub mod signals;
pub mod system;
mod tasks;

/// An approved ceremony that waits for longer has no executor: an alert, and an error of `doctor`.
pub const EXECUTOR_LATE: std::time::Duration = std::time::Duration::from_secs(15 * 60);

pub use env::{Env, NoRandomness};
pub use repeats::{Repeats, Trouble};
pub use tasks::{Run, Tasks};
