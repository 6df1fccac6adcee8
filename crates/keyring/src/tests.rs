//! The whole crate over a real database, keys in memory and custodians who sign: after every step the state of everything
//! is looked at.

mod archive;
mod archive_faults;
mod archive_kill;
mod ceremony_accept;
mod ceremony_bundle;
mod ceremony_carried;
mod ceremony_destroy;
mod ceremony_execute;
mod ceremony_executor;
mod ceremony_files;
mod ceremony_generate;
mod ceremony_propose;
mod ceremony_vote;
mod ceremony_witness;
mod emergency;
mod emergency_costs;
pub mod installation;
mod keys;
mod log_check;
mod log_check_statements;
mod orders_due;
mod orders_in_log;
mod passkeys;
mod rotation;
mod service;
pub mod serving;
mod signing;
mod signing_faults;
mod standing_orders;
mod statements;
mod suspended_in_log;
mod unpublished;
mod unreadable_rows;
mod verification;
mod verification_batch;
mod verification_evidence;
