//! The outbox as a whole, with a clock that is set by hand and receivers that do what a test says.

mod alerts;
mod away;
mod bounds;
mod endpoint;
mod escalation;
mod notices;
mod once;
mod rotations;
mod world;
