//! Tests on real tokens. `conformance` runs unchanged against any module; `faults` breaks things. Each test has a token of
//! its own and a library lives only in worker processes, so tests may run side by side.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends"
)]

mod conformance;
mod faults;
mod support;
mod wrapping;
