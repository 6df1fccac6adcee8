//! The integration tests: one binary, one module for each subject.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends"
)]

mod support;

mod access_oidc;
mod alerts;
mod api_foreign;
mod api_forgery;
mod api_formats;
mod api_input;
mod api_limits;
mod api_mtls;
mod api_publication;
mod api_timestamp;
mod api_usage;
mod api_verdicts;
mod assets;
mod ceremony_crash;
mod ceremony_database;
mod ceremony_elsewhere;
mod ceremony_http;
mod ceremony_lines;
mod ceremony_roster;
mod ceremony_votes;
mod doctor;
mod documents;
mod documents_log;
mod documents_runbooks;
mod documents_scripts;
mod documents_story;
mod executor;
mod executor_files;
mod executor_orders;
mod executor_told;
mod fault_database;
mod fault_service;
mod fault_table;
mod fault_token;
mod interop_cbom;
mod interop_curl;
mod interop_jwks;
mod interop_openssl;
mod interop_ssh;
mod interop_witnesses;
mod layering;
mod log_archive;
mod log_check;
mod log_clock;
mod log_evidence;
mod log_failover;
mod log_kill;
mod log_monitor;
mod log_new_origin;
mod log_receipts;
mod log_retention;
mod log_rewound;
mod log_second_verifier;
mod log_storage;
mod log_superuser;
mod log_witness;
mod log_witness_answers;
mod log_witnesses;
mod notify_alerts;
mod notify_mail;
mod notify_webhook;
mod orders_night;
mod prometheus;
mod prometheus_files;
mod rotation_exercise;
mod rotation_kill;
mod rotation_policy;
mod rotation_ring;
mod rotation_witness;
mod rotation_year;
mod traces;
mod upgrade;
