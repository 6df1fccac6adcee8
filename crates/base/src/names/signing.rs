//! Rings, keys and the token.

use super::RING;
use super::Values::{Named, Of};

/// The states of keys, as [`KEYS`] counts them.
pub const KEY_STATES: [&str; 6] = [
    "prepared",
    "primary",
    "secondary",
    "retired",
    "archived",
    "revoked",
];

/// Of which [`KEY_AGE_SECONDS`] shows the newest key: the others do not age.
pub const AGEING_STATES: [&str; 4] = ["prepared", "primary", "secondary", "retired"];

const KEY_STATE: super::Values = Of(&KEY_STATES);

super::table! {
    SIGNING_METRICS: "Signing, keys and the token"
    Counter SIGNATURES = "chancery_signatures_total"
        { ring: RING, kid: Named("a key that this process signed with; at most 1024, the others of a ring are together `other`") }
        "Signatures released, by key version; of rings beyond those both labels are `other`.";
    Gauge RING_READY = "chancery_ring_ready" { ring: RING }
        "1 while the last signature of the ring, a caller's or a probe's, succeeded, else 0.";
    Gauge RINGS_NOT_READY = "chancery_rings_not_ready" {}
        "Rings whose last signature failed, also those that have no series of their own.";
    Gauge RING_STOPPED = "chancery_ring_stopped" { ring: RING }
        "1 while the ring's signing is stopped in an emergency, else 0.";
    Gauge RATIFICATION_LEFT = "chancery_emergency_ratification_left_seconds" { ring: RING }
        "Time until the ring's emergency rotation has to be ratified; 0 where none waits.";
    Gauge EMERGENCY_FAULTS = "chancery_emergency_faults" {}
        "Acts and statements of emergencies in the database that do not hold.";
    Gauge KEYS = "chancery_keys" { ring: RING, state: KEY_STATE } "Keys of the ring.";
    Gauge KEY_AGE_SECONDS = "chancery_key_age_seconds" { ring: RING, state: Of(&AGEING_STATES) }
        "Time since the newest key of the ring in that state was published; NaN where there is none.";
    Gauge RINGS_LEFT_OUT = "chancery_rings_left_out" {} "Rings that have no series of their own, because there are too many.";
    Counter VERDICTS = "chancery_verdicts_total"
        { verdict: Of(&["VALID", "VALID_RETIRED_KEY", "REVOKED", "INDETERMINATE", "INVALID"]) }
        "Verdicts on signatures; `VALID_RETIRED_KEY` is a use of an old key.";
    Counter ARCHIVE_READS = "chancery_archive_reads_total" { answer: Of(&["loaded", "refused", "unknown", "failed"]) }
        "Keys read from the database because somebody asked for them.";
    Gauge KEYS_REFUSED = "chancery_keys_refused" {} "Keys in the database that were refused.";
    Gauge ROWS_UNREADABLE = "chancery_rows_unreadable" { table: Of(&["signing_key", "ring", "credential"]) }
        "Rows of the database that are unreadable and left out.";
    Gauge SNAPSHOT_VERSION = "chancery_snapshot_version" {} "Database version of the read model.";
    Gauge SNAPSHOT_AGE_SECONDS = "chancery_snapshot_age_seconds" {} "Time since the database last confirmed the read model.";
    Counter PASSKEYS_CLONED = "chancery_passkey_clones_refused_total" {}
        "Signatures of passkeys refused because their counter did not rise: there may be a copy of the passkey.";
    Gauge HSM_UP = "chancery_hsm_up" {} "1 while the token is available, else 0.";
    Gauge HSM_QUEUE = "chancery_hsm_queue_length" {} "Signatures waiting for the token.";
    Gauge HSM_GENERATION = "chancery_hsm_generation" {} "Number of re-initialisations of the PKCS#11 library.";
    Gauge HSM_PROCESSES = "chancery_hsm_processes" {} "Running worker processes.";
    Counter HSM_EVENTS = "chancery_hsm_events_total"
        { what: Of(&["signatures", "failures", "overloaded", "deadline_exceeded", "resubmitted", "sessions_reopened", "logins",
            "reinitialised", "processes_started", "processes_killed", "circuit_opened", "mismatches", "wraps", "unwraps", "rewraps",
            "integrity_failures", "probes", "probes_failed"]) }
        "Signatures, wrapped data keys, failures and recoveries of the token, by kind.";
    Gauge EXECUTOR_WAITING = "chancery_executor_waiting_ceremonies" {} "Approved ceremonies that wait for an executor.";
    Gauge EXECUTOR_OLDEST_SECONDS = "chancery_executor_oldest_waiting_seconds" {}
        "How long the approved ceremony that waits longest has waited for an executor; 0 where none waits.";
    Counter EXECUTOR_CEREMONIES = "chancery_executor_ceremonies_total" { outcome: Of(&["executed", "refused"]) }
        "Approved ceremonies that the executor carried out or refused to; exposed by `chancery executor`.";
    Counter EXECUTOR_ROUNDS = "chancery_executor_rounds_total" { outcome: Of(&["done", "failed"]) }
        "How often the executor looked for approved ceremonies; exposed by `chancery executor`.";
}
