//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz webauthn`
#![no_main]

#[path = "../parsers.rs"]
#[expect(dead_code, reason = "each target uses one of the parsers")]
mod parsers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| parsers::webauthn(data));
