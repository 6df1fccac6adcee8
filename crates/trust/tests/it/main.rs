//! Ceremonies end to end, with signatures by the real `ssh-keygen`; every threat; every parser.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends"
)]

mod ceremony;
mod chains;
mod evidence;
mod evidence_of_the_log;
mod evidence_of_usage;
mod formats;
mod lines;
mod log_acts;
mod log_proofs;
mod orders;
mod parsers;
mod places;
mod policies;
mod printed;
mod proposals;
mod reads;
mod recoveries;
mod requests;
mod second_verifier;
mod ssh_signatures;
mod story;
mod support;
mod tallies;
mod threats;
mod threats_to_counting;
mod threats_to_enrolment;
mod threats_to_new_keys;
mod threats_to_orders;
mod threats_to_recovery;
mod tlog;
mod transcripts;
mod witnesses;
mod worked_example;
