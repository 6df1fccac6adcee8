//! Rotation of everything that has to be renewed: what there is and by which rules it rotates, drivers that make, publish,
//! promote and end versions, the engine that runs one rotation step by step, the jobs that say when (ADR 64), and the alerts. What is due
//! is decided by the pure crate `calendar`.

/// Conditions that people are told of while they hold.
pub mod alerts;
/// Reports of compromise, and what is decided of them.
pub mod compromise;
/// What is told once a week.
pub mod digest;
/// What makes versions and puts them where they belong: one driver for each kind of asset.
pub mod drivers;
/// Rotations as they run: durable, resumed by any replica, each step once.
pub mod engine;
/// Why something of the inventory or of policies was not done.
pub mod error;
/// What the planner is told of an installation.
pub mod facts;
/// What there is: one list over rings and assets whose values somebody else keeps; import, export, reports.
pub mod inventory;
/// The scheduler and its six jobs.
pub mod jobs;
mod key_type_labels;
/// What metrics say of the inventory and of rotations.
pub mod measured;
/// What the outside is told of incidents, as it was decided.
pub mod notices;
/// By which rules each key type rotates, version by version.
pub mod policies;
/// `[rotation]`.
pub mod settings;
mod times;

#[cfg(test)]
mod tests;
