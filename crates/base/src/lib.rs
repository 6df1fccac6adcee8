//! What every part of the service stands on.

mod env;
pub mod names;
pub mod settings;
pub mod signals;
pub mod system;
mod tasks;

pub use env::{Env, NoRandomness};
pub use tasks::{Run, Tasks};
