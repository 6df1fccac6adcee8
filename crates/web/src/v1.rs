//! The endpoints, one a file: its errors, its documentation, its handler, its tests.

mod alert;
mod alert_acknowledge;
mod alert_silence;
mod alert_unsilence;
mod alerts;
mod asset;
mod asset_events;
mod asset_report;
mod asset_versions;
mod assets_register;
mod audit;
mod blast_radius;
pub mod calls;
mod ceremonies;
mod ceremonies_waiting;
mod ceremony;
mod ceremony_attestations;
mod ceremony_draft;
mod ceremony_events;
mod ceremony_propose;
mod ceremony_record;
mod ceremony_request;
mod ceremony_signatures;
mod ceremony_statement;
mod ceremony_transcript;
mod closed_answers;
mod compromise_declare;
mod compromise_dismiss;
mod compromise_report;
mod compromise_reports;
mod consistency;
mod emergency;
mod emergency_stop;
mod emergency_stop_draft;
mod emergency_stop_file;
mod evidence;
mod history;
mod history_pages;
mod instant;
mod inventory;
mod jobs;
mod jwks;
mod jwks_as_of;
pub mod jwks_cache;
mod key;
mod key_certificate;
mod key_jwk;
mod key_life;
mod key_log;
mod key_pem;
mod key_transcript;
mod key_usage;
mod keys;
mod leaf_evidence;
mod log_checkpoint;
mod log_tile;
mod order;
mod order_withdraw;
mod orders;
mod passkey_options;
mod policies;
mod policy;
mod policy_set;
mod policy_versions;
mod propagation;
pub mod reader;
mod receipt;
pub mod response;
mod ring;
mod ring_jwks;
mod ring_jwks_as_of;
mod ring_usage;
mod rings;
mod rotation_cancel;
mod rotation_cleanup;
mod rotation_emergency;
mod rotation_event;
mod rotation_events;
mod rotation_execute;
mod rotation_hold;
mod rotation_keys;
mod rotation_plan;
mod rotation_release;
mod rotation_report;
mod rotation_retry;
mod rotation_roll_back;
mod rotation_schedule;
mod rotation_simulate;
mod rotation_step;
mod rotation_words;
mod scheduler_pause;
mod scheduler_resume;
mod scheduler_status;
pub mod scraped;
mod sign;
mod sign_batch;
mod sign_request;
pub mod state;
pub mod streams;
mod submitted_signature;
mod trust_chain;
mod trust_statement;
mod trust_statement_open;
mod trust_statement_sign;
mod trust_statements;
mod used_reads;
mod verify;
mod verify_batch;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::state::SharedState;

/// Every endpoint; a new one is entered here and above.
pub fn routes() -> OpenApiRouter<SharedState> {
    OpenApiRouter::new()
        .routes(routes!(sign::handle))
        .routes(routes!(sign_batch::handle))
        .routes(routes!(verify::handle))
        .routes(routes!(verify_batch::handle))
        .routes(routes!(blast_radius::handle))
        .routes(routes!(jwks::handle))
        .routes(routes!(ring_jwks::handle))
        .routes(routes!(jwks_as_of::handle))
        .routes(routes!(ring_jwks_as_of::handle))
        .routes(routes!(history::handle))
        .routes(routes!(key::handle))
        .routes(routes!(key_log::handle))
        .routes(routes!(key_jwk::handle))
        .routes(routes!(key_pem::handle))
        .routes(routes!(key_certificate::handle))
        .routes(routes!(key_transcript::handle))
        .routes(routes!(ceremony_transcript::handle))
        .routes(routes!(ceremony_attestations::handle))
        .routes(routes!(ceremony_record::handle))
        .routes(routes!(ceremonies::handle, ceremony_propose::handle))
        .routes(routes!(ceremonies_waiting::handle))
        .routes(routes!(ceremony_events::handle))
        .routes(routes!(ceremony_draft::handle))
        .routes(routes!(ceremony::handle))
        .routes(routes!(ceremony_request::handle))
        .routes(routes!(ceremony_statement::handle))
        .routes(routes!(passkey_options::handle))
        .routes(routes!(ceremony_signatures::handle))
        .routes(routes!(orders::handle))
        .routes(routes!(order::handle))
        .routes(routes!(order_withdraw::handle))
        .routes(routes!(emergency::handle))
        .routes(routes!(emergency_stop::handle))
        .routes(routes!(emergency_stop_draft::handle))
        .routes(routes!(emergency_stop_file::handle))
        .routes(routes!(trust_chain::handle))
        .routes(routes!(
            trust_statements::handle,
            trust_statement_open::handle
        ))
        .routes(routes!(trust_statement::handle))
        .routes(routes!(trust_statement_sign::handle))
        .routes(routes!(rings::handle))
        .routes(routes!(ring::handle))
        .routes(routes!(ring_usage::handle))
        .routes(routes!(key_usage::handle))
        .routes(routes!(keys::handle))
        .routes(routes!(inventory::handle))
        .routes(routes!(rotation_plan::handle, rotation_schedule::handle))
        .routes(routes!(rotation_execute::handle))
        .routes(routes!(rotation_keys::handle))
        .routes(routes!(rotation_cleanup::handle))
        .routes(routes!(rotation_report::handle))
        .routes(routes!(rotation_emergency::handle))
        .routes(routes!(rotation_simulate::handle))
        .routes(routes!(scheduler_status::handle))
        .routes(routes!(scheduler_pause::handle))
        .routes(routes!(scheduler_resume::handle))
        .routes(routes!(rotation_events::handle))
        .routes(routes!(rotation_event::handle))
        .routes(routes!(rotation_cancel::handle))
        .routes(routes!(rotation_roll_back::handle))
        .routes(routes!(rotation_retry::handle))
        .routes(routes!(rotation_hold::handle))
        .routes(routes!(rotation_release::handle))
        .routes(routes!(rotation_step::handle))
        .routes(routes!(jobs::handle))
        .routes(routes!(alerts::handle))
        .routes(routes!(alert::handle))
        .routes(routes!(alert_acknowledge::handle))
        .routes(routes!(alert_silence::handle))
        .routes(routes!(alert_unsilence::handle))
        .routes(routes!(compromise_report::handle))
        .routes(routes!(compromise_reports::handle))
        .routes(routes!(compromise_dismiss::handle))
        .routes(routes!(compromise_declare::handle))
        .routes(routes!(propagation::handle))
        .routes(routes!(assets_register::handle))
        .routes(routes!(asset::handle))
        .routes(routes!(asset_versions::handle))
        .routes(routes!(asset_events::handle))
        .routes(routes!(asset_report::handle))
        .routes(routes!(policies::handle))
        .routes(routes!(policy::handle, policy_set::handle))
        .routes(routes!(policy_versions::handle))
        .routes(routes!(audit::handle))
        .routes(routes!(receipt::handle))
        .routes(routes!(consistency::handle))
        .routes(routes!(leaf_evidence::handle))
        .routes(routes!(evidence::handle))
        .routes(routes!(log_checkpoint::handle))
        .routes(routes!(log_tile::handle))
}
