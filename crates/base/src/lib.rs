//! What every part of the service stands on.

mod env;
pub mod names;
mod repeats;
pub mod settings;
pub mod signals;
pub mod system;
mod tasks;

pub use env::{Env, NoRandomness};
pub use repeats::Repeats;
pub use tasks::{Run, Tasks};
