//! Rotation of everything that has a calendar: what there is, by which rules it rotates, and what carries that out.

/// Why something of this crate was not done.
pub mod error;
/// What there is: one list over rings and assets whose values somebody else keeps; import, export, reports.
pub mod inventory;
/// By which rules each key type rotates, version by version.
pub mod policies;
