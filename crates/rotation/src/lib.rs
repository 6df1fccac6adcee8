//! Rotation of everything that has to be renewed: drivers that make, publish, promote and end versions, the engine that runs
//! one rotation step by step, and the jobs that say when (ADR 64). What is due is decided by the pure crate `calendar`.

/// What makes versions and puts them where they belong: one driver for each kind of asset.
pub mod drivers;
/// Rotations as they run: durable, resumed by any replica, each step once.
pub mod engine;
/// The scheduler and its six jobs.
pub mod jobs;
/// `[rotation]`.
pub mod settings;
mod times;

#[cfg(test)]
mod tests;
