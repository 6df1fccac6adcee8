//! What every part of the service stands on.

mod env;
pub mod names;
pub mod settings;

pub use env::{Env, NoRandomness};
