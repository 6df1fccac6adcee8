//! Tests on real tokens. `conformance` runs unchanged against any module; `faults` breaks things. Each test has a token of
//! its own and a library lives only in worker processes, so tests may run side by side.

mod conformance;
mod faults;
mod support;
