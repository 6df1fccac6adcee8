//! What kind of call each endpoint is: `access::calls` says who may make it. A new endpoint is entered here; one that is
//! not is for nobody.

use access::Call;

/// By the endpoint's `operationId`.
pub fn of_operation(id: &str) -> Option<Call> {
    Some(match id {
        "sign" | "sign_batch" => Call::Sign,
        "verify" | "verify_batch" | "blast_radius" => Call::Verify,
        "jwks"
        | "ring_jwks"
        | "jwks_as_of"
        | "ring_jwks_as_of"
        | "history"
        | "key"
        | "key_log"
        | "key_jwk"
        | "key_pem"
        | "key_certificate"
        | "key_transcript"
        | "ceremony_transcript"
        | "stop_file"
        | "ceremony_attestations"
        | "ceremony_record"
        | "trust_chain" => Call::ReadPublished,
        "rings" | "ring" | "ring_usage" | "keys" | "key_usage" | "inventory" | "asset"
        | "asset_versions" | "policies" | "policy" | "policy_versions" => Call::ReadInventory,
        "register_assets" | "set_policy" => Call::ManageInventory,
        "report_rotation" => Call::ReportRotations,
        "ceremonies" | "ceremony" | "ceremony_request" | "ceremony_statement"
        | "ceremonies_waiting" | "ceremony_events" | "ceremony_draft" | "statements"
        | "passkey_options" | "statement" | "orders" | "order" | "emergency" | "stop_draft" => {
            Call::ReadOpenCeremonies
        }
        "propose" | "submit_signature" | "open_statement" | "sign_statement" | "sign_order"
        | "stop_signing" => Call::SubmitToCeremonies,
        "rotation_events" | "rotation_event" | "asset_events" | "jobs" | "rotation_report"
        | "scheduler_status" => Call::ReadRotations,
        "alerts" | "alert" | "compromise_reports" => Call::ReadAlerts,
        "acknowledge_alert" | "silence_alert" | "unsilence_alert" => Call::AttendToAlerts,
        "schedule_rotation" | "rotation_plan" | "execute_rotation" | "rotation_keys"
        | "rotation_cleanup" | "pause_scheduler" | "resume_scheduler" | "cancel_rotation"
        | "roll_back_rotation" | "retry_rotation" | "hold_rotation" | "release_rotation"
        | "simulate_rotations" => Call::AdministerRotations,
        "emergency_rotation" | "dismiss_compromise" | "declare_compromise" => {
            Call::DeclareEmergency
        }
        "report_compromise" => Call::ReportCompromise,
        "report_step" => Call::ReportRotations,
        "acknowledge_key" => Call::AcknowledgeKeys,
        "audit" => Call::ReadAuditTrail,
        "receipt" | "consistency" | "leaf_evidence" | "evidence" | "log_checkpoint"
        | "log_tile" => Call::ReadLog,
        _ => return None,
    })
}
