//! What every part of the service stands on.

mod env;
pub mod files;
pub mod names;
pub mod process;
mod repeats;
pub mod settings;
pub mod signals;
pub mod step;
pub mod system;
mod tasks;
pub mod trace;

pub use env::{Env, NoRandomness};
pub use repeats::{Repeats, Trouble};
pub use tasks::{Run, Tasks};
