//! The integration tests: one binary, one module for each subject.

#[path = "../support/mod.rs"]
mod support;

mod layering;
