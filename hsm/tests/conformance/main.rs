//! What any token must do to be used by Chancery. Runs unchanged against `CHANCERY_TEST_MODULE`; `second.rs` runs this
//! whole suite again against kryoptic.

#[path = "../support/mod.rs"]
mod support;

mod born;
mod refused;
mod second;
mod signed;
