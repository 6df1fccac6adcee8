//! The figures, their names and what they mean. Labels never hold anything a caller chose.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Upper bounds in seconds: fine around a signature, coarse towards the time limits.
pub const LATENCY_BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0,
];

/// Counter, labels `ring`, `kid`: signatures released.
pub const SIGNATURES: &str = "chancery_signatures_total";
/// Histogram, label `route`: from the request's head to its answer's head.
pub const REQUEST_SECONDS: &str = "chancery_http_request_duration_seconds";
/// Counter, labels `route`, `status` (`2xx`, `4xx`, …): requests answered.
pub const REQUESTS: &str = "chancery_http_requests_total";
/// Counter, label `code`: requests answered with a problem document.
pub const PROBLEMS: &str = "chancery_http_problems_total";
/// Counter, label `code`: refusals for lack of credentials, role or standing.
pub const REFUSALS: &str = "chancery_refusals_total";
/// Counter: refusals of unknown callers beyond what is written to the trail.
pub const REFUSALS_NOT_WRITTEN: &str = "chancery_refusals_not_written_total";
/// Counter: signatures of passkeys that were refused because their counter did not rise.
pub const PASSKEYS_CLONED: &str = "chancery_passkey_clones_refused_total";
/// Counter, labels `issuer` (as the configuration calls it), `outcome` (`read`, `failed`): attempts to read the keys of an
/// OIDC issuer.
pub const OIDC_REFRESHES: &str = "chancery_oidc_key_reads_total";
/// Gauge, label `issuer`: since its keys were read.
pub const OIDC_KEYS_AGE: &str = "chancery_oidc_keys_age_seconds";
/// Gauge, label `issuer`, 1 or 0: its keys were read recently enough that its tokens are believed.
pub const OIDC_USABLE: &str = "chancery_oidc_issuer_usable";
/// Gauge: when the certificate of the API listener expires, Unix time.
pub const TLS_CERTIFICATE_EXPIRES: &str = "chancery_tls_certificate_expires_timestamp_seconds";
/// Gauge: how far the clock of this process is ahead of the database's.
pub const CLOCK_OFFSET: &str = "chancery_clock_offset_seconds";
/// Gauge: leaves that this replica answered with and no published checkpoint covers.
pub const KEPT_LEAVES: &str = "chancery_log_kept_leaves";
/// Gauge, 1 or 0: they are all of them.
pub const KEPT_COMPLETE: &str = "chancery_log_kept_complete";
/// Gauge: requests being answered now.
pub const IN_FLIGHT: &str = "chancery_http_requests_in_flight";
/// Gauge, label `listener` (`API`, `operations`): open connections.
pub const CONNECTIONS: &str = "chancery_connections";
/// Counter, labels `listener`, `why` (`all`, `address`, `descriptors`): connections closed as soon as
/// they were accepted.
pub const CONNECTIONS_REFUSED: &str = "chancery_connections_refused_total";
/// Counter, label `answer` (`full`, `not_modified`): JWKS requests.
pub const JWKS_REQUESTS: &str = "chancery_jwks_requests_total";
/// Gauge, 1 or 0: the token answers.
pub const HSM_UP: &str = "chancery_hsm_up";
/// Gauge, label `ring`, 1 or 0: the last signature of the ring, a caller's or a probe's, succeeded.
pub const RING_READY: &str = "chancery_ring_ready";
/// Gauge, label `ring`, 1 or 0: signing is stopped in an emergency.
pub const RING_STOPPED: &str = "chancery_ring_stopped";
/// Gauge, label `ring`: until its emergency rotation has to be ratified; 0 where none waits.
pub const RATIFICATION_LEFT: &str = "chancery_emergency_ratification_left_seconds";
/// Gauge: acts and statements of emergencies in the database that do not hold.
pub const EMERGENCY_FAULTS: &str = "chancery_emergency_faults";
/// Gauge: signatures waiting for the token.
pub const HSM_QUEUE: &str = "chancery_hsm_queue_length";
/// Gauge: rises with every re-initialisation of the token's library.
pub const HSM_GENERATION: &str = "chancery_hsm_generation";
/// Gauge: worker processes that run.
pub const HSM_PROCESSES: &str = "chancery_hsm_processes";
/// Counter, label `what`: signatures, failures and each rung of the recovery ladder.
pub const HSM_EVENTS: &str = "chancery_hsm_events_total";
/// Gauge: the database's version that the read model stands at.
pub const SNAPSHOT_VERSION: &str = "chancery_snapshot_version";
/// Gauge: how long ago the read model was last confirmed by the database.
pub const SNAPSHOT_AGE_SECONDS: &str = "chancery_snapshot_age_seconds";
/// Gauge, labels `ring`, `kid`: time since the key was published.
pub const KEY_AGE_SECONDS: &str = "chancery_key_age_seconds";
/// Gauge: keys in the database that the read model did not believe.
pub const KEYS_REFUSED: &str = "chancery_keys_refused";
/// Counter, label `answer` (`loaded`, `refused`, `unknown`, `failed`): keys read from the database because somebody
/// asked for them.
pub const ARCHIVE_READS: &str = "chancery_archive_reads_total";
/// Gauge, label `table`: rows that the read model left out because they cannot be read.
pub const ROWS_UNREADABLE: &str = "chancery_rows_unreadable";
/// Counter, label `witness` (as the policy calls it): cosignatures recorded.
pub const COSIGNATURES: &str = "chancery_log_cosignatures_total";
/// Counter, labels `witness`, `why` (`unreachable`, `answer`, `cosignature`, `ahead`,
/// `inconsistent`, `own`): times that a witness did not cosign.
pub const WITNESS_FAILURES: &str = "chancery_log_witness_failures_total";
/// Gauge, label `witness`: leaves of the newest checkpoint beyond those that it cosigned.
pub const WITNESS_LAG: &str = "chancery_log_witness_lag_leaves";
/// Gauge, label `task`, 1 or 0: the background task runs.
pub const TASK_UP: &str = "chancery_background_task_up";
/// Counter, label `task`: times that a background task panicked and was started again.
pub const TASK_RESTARTS: &str = "chancery_background_task_restarts_total";

/// Counter: leaves that were put into the tree by this replica.
pub const LOG_INTEGRATED: &str = "chancery_log_integrated_leaves_total";
/// Counter: steps of the log that failed, or that found it halted.
pub const LOG_ERRORS: &str = "chancery_log_errors_total";
/// Gauge: leaves in the tree, as this replica integrated them last.
pub const LOG_TREE_SIZE: &str = "chancery_log_tree_size_leaves";
/// Histogram: one step of the integrator that put leaves into the tree.
pub const LOG_INTEGRATION_SECONDS: &str = "chancery_log_integration_seconds";
/// Gauge: leaves in the database that no checkpoint covers.
pub const LOG_WAITING: &str = "chancery_log_waiting_leaves";
/// Gauge: since the newest checkpoint was signed.
pub const LOG_CHECKPOINT_AGE: &str = "chancery_log_checkpoint_age_seconds";
/// Gauge, 1 or 0: this replica integrates.
pub const LOG_INTEGRATES: &str = "chancery_log_integrates";
/// Gauge, 1 or 0: nothing is signed, because the log is halted.
pub const LOG_HALTED: &str = "chancery_log_halted";
/// Histogram: leaves of one group commit.
pub const GROUP_COMMIT_LEAVES: &str = "chancery_group_commit_leaves";
/// Upper bounds in leaves.
pub const LEAVES_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_000.0];
/// Counter, label `receiver`: notifications that a receiver acknowledged.
pub const NOTIFY_DELIVERED: &str = "chancery_notifications_delivered_total";
/// Counter, label `receiver`: attempts that failed.
pub const NOTIFY_FAILED: &str = "chancery_notifications_failed_total";
/// Counter, label `receiver`: notifications that are not tried any more.
pub const NOTIFY_GIVEN_UP: &str = "chancery_notifications_given_up_total";
/// Counter: notifications that were not kept because too many waited for their receiver.
pub const NOTIFY_DROPPED: &str = "chancery_notifications_dropped_total";
/// Gauge, label `receiver`: notifications that wait.
pub const NOTIFY_WAITING: &str = "chancery_notifications_waiting";
/// Gauge: how long the notification that waits longest has waited.
pub const NOTIFY_OLDEST_SECONDS: &str = "chancery_notifications_oldest_waiting_seconds";
/// Gauge: notifications that were given up and not forgotten yet.
pub const NOTIFY_DEAD: &str = "chancery_notifications_dead";
/// Gauge: 1 while more rotations do not go on by themselves than are looked at.
pub const NOTIFY_ROTATIONS_LEFT: &str = "chancery_notifications_rotations_left_out";
/// Gauge, 1 or 0: the database answered at the scrape.
pub const DATABASE_UP: &str = "chancery_database_up";
/// Gauge, labels `pool` (`service`, `visitors`; SQLite's `writer`), `state` (`used`, `idle`): connections to the database.
pub const DATABASE_CONNECTIONS: &str = "chancery_database_connections";
/// Gauge, label `pool`: more connections are not opened.
pub const DATABASE_CONNECTIONS_LIMIT: &str = "chancery_database_connections_limit";
/// Gauge, 1 or 0: the last write to the database succeeded.
pub const DATABASE_WRITABLE: &str = "chancery_database_writable";
/// Gauge, labels `ring`, `state`: keys.
pub const KEYS: &str = "chancery_keys";
/// Gauge, labels `version`, `commit`: always 1.
pub const BUILD_INFO: &str = "chancery_build_info";
/// Gauge: Unix time.
pub const PROCESS_START: &str = "process_start_time_seconds";
/// Counter: whole seconds of user and system time.
pub const PROCESS_CPU: &str = "process_cpu_seconds_total";
/// Gauge.
pub const PROCESS_MEMORY: &str = "process_resident_memory_bytes";
/// Gauge.
pub const PROCESS_FILES: &str = "process_open_fds";
/// Gauge.
pub const PROCESS_MOST_FILES: &str = "process_max_fds";

/// Gauge: approved ceremonies that wait for an executor.
pub const EXECUTOR_WAITING: &str = "chancery_executor_waiting_ceremonies";
/// Gauge: how long the one that was approved first has waited.
pub const EXECUTOR_OLDEST_SECONDS: &str = "chancery_executor_oldest_waiting_seconds";
/// Counter of the executor, label `outcome` (`executed`, `refused`).
pub const EXECUTOR_CEREMONIES: &str = "chancery_executor_ceremonies_total";
/// Counter of the executor, label `outcome` (`done`, `failed`): how often it looked for approved ceremonies.
pub const EXECUTOR_ROUNDS: &str = "chancery_executor_rounds_total";

/// Gauge, label `state` (`scheduled`, `running`, `waiting`, `failed`): rotations that are open.
pub const ROTATIONS_OPEN: &str = "chancery_rotations_open";
/// Counter, label `step`: attempts at steps of rotations that failed.
pub const ROTATION_FAILURES: &str = "chancery_rotation_step_failures_total";
/// Counter, labels `job`, `outcome` (`done`, `failed`): runs of jobs that this replica ended.
pub const JOB_RUNS: &str = "chancery_job_runs_total";
/// Gauge, label `job`: when a run of the job last succeeded, on whichever replica, Unix time.
pub const JOB_SUCCEEDED: &str = "chancery_job_last_success_timestamp_seconds";

/// Says of each figure what it means.
pub fn describe() {
    describe_counter!(SIGNATURES, "Signatures released, by ring and kid.");
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time from receiving a request's head to sending the response's head."
    );
    describe_counter!(REQUESTS, "Requests answered, by route and status class.");
    describe_counter!(
        REFUSALS_NOT_WRITTEN,
        "Refusals that could not be written to the audit trail."
    );
    describe_counter!(PROBLEMS, "Requests answered with a problem document.");
    describe_counter!(
        REFUSALS,
        "Requests refused for missing credentials or permissions."
    );
    describe_counter!(
        PASSKEYS_CLONED,
        "Signatures of passkeys refused because their counter did not rise: there may be a copy of the passkey."
    );
    describe_counter!(
        OIDC_REFRESHES,
        "Attempts to read the keys of an OIDC issuer, by issuer and outcome."
    );
    describe_gauge!(
        OIDC_KEYS_AGE,
        Unit::Seconds,
        "Time since the keys of the OIDC issuer were read."
    );
    describe_gauge!(
        OIDC_USABLE,
        "1 while the keys of the OIDC issuer are recent enough that its tokens are accepted."
    );
    describe_gauge!(
        RING_READY,
        "Whether the last signature of the ring succeeded, by ring; 1 or 0."
    );
    describe_gauge!(
        RING_STOPPED,
        "Whether the ring's signing is stopped in an emergency, by ring; 1 or 0."
    );
    describe_gauge!(
        RATIFICATION_LEFT,
        Unit::Seconds,
        "Time until the ring's emergency rotation has to be ratified, by ring; 0 where none waits."
    );
    describe_gauge!(
        EMERGENCY_FAULTS,
        "Acts and statements of emergencies in the database that do not hold."
    );
    describe_gauge!(
        TLS_CERTIFICATE_EXPIRES,
        Unit::Seconds,
        "When the certificate of the API listener expires, Unix time."
    );
    describe_gauge!(
        KEPT_LEAVES,
        "Leaves that this replica answered with and no published checkpoint covers."
    );
    describe_gauge!(
        KEPT_COMPLETE,
        "Whether the kept leaves are all that no published checkpoint covers."
    );
    describe_gauge!(IN_FLIGHT, "Requests in flight.");
    describe_gauge!(CONNECTIONS, "Open connections, by listener.");
    describe_counter!(
        CONNECTIONS_REFUSED,
        "Connections closed as soon as they were accepted, by listener and the limit reached."
    );
    describe_gauge!(
        CLOCK_OFFSET,
        Unit::Seconds,
        "How far the clock of this process is ahead of the database's."
    );
    describe_counter!(JWKS_REQUESTS, "JWKS requests, by response.");
    describe_gauge!(HSM_UP, "1 while the token is available.");
    describe_gauge!(HSM_QUEUE, "Signatures waiting for the token.");
    describe_gauge!(
        HSM_GENERATION,
        "Number of re-initialisations of the PKCS#11 library."
    );
    describe_gauge!(HSM_PROCESSES, "Running worker processes.");
    describe_counter!(
        HSM_EVENTS,
        "Signatures, failures and recoveries of the token, by kind."
    );
    describe_gauge!(SNAPSHOT_VERSION, "Database version of the read model.");
    describe_gauge!(
        SNAPSHOT_AGE_SECONDS,
        Unit::Seconds,
        "Time since the database last confirmed the read model."
    );
    describe_gauge!(
        KEY_AGE_SECONDS,
        Unit::Seconds,
        "Time since a key that is prepared, active or retired was published."
    );
    describe_counter!(
        ARCHIVE_READS,
        "Keys read from the database because somebody asked for them."
    );
    describe_gauge!(KEYS_REFUSED, "Keys in the database that were refused.");
    describe_gauge!(
        ROWS_UNREADABLE,
        "Rows of the database that are unreadable and left out, by table."
    );
    describe_counter!(COSIGNATURES, "Cosignatures recorded, by witness.");
    describe_counter!(
        WITNESS_FAILURES,
        "Requests that a witness did not cosign, by witness and reason."
    );
    describe_gauge!(
        WITNESS_LAG,
        "Leaves of the newest checkpoint not yet cosigned by the witness."
    );
    describe_gauge!(TASK_UP, "1 while the background task is running.");
    describe_counter!(TASK_RESTARTS, "Restarts of background tasks after a panic.");
    describe_of_the_log();
    describe_of_notifications();
    describe_of_the_executor();
    describe_of_rotations();
    describe_of_the_process();
}

fn describe_of_the_log() {
    describe_counter!(LOG_INTEGRATED, "Leaves put into the tree by this replica.");
    describe_counter!(LOG_ERRORS, "Steps of the log that failed.");
    describe_gauge!(
        LOG_TREE_SIZE,
        "Leaves in the tree when this replica integrated last."
    );
    describe_histogram!(
        LOG_INTEGRATION_SECONDS,
        Unit::Seconds,
        "Duration of a step that put leaves into the tree."
    );
    describe_gauge!(
        LOG_WAITING,
        "Leaves in the database that no checkpoint covers yet."
    );
    describe_gauge!(
        LOG_CHECKPOINT_AGE,
        Unit::Seconds,
        "Time since the newest checkpoint was signed."
    );
    describe_gauge!(LOG_INTEGRATES, "1 on the replica that integrates.");
    describe_gauge!(
        LOG_HALTED,
        "1 while the log is halted and nothing is signed."
    );
    describe_histogram!(GROUP_COMMIT_LEAVES, "Leaves of one group commit.");
}

fn describe_of_notifications() {
    describe_counter!(
        NOTIFY_DELIVERED,
        "Notifications acknowledged by their receiver."
    );
    describe_counter!(
        NOTIFY_FAILED,
        "Attempts to deliver a notification that failed."
    );
    describe_counter!(NOTIFY_GIVEN_UP, "Notifications that became dead letters.");
    describe_counter!(
        NOTIFY_DROPPED,
        "Notifications not kept because too many waited for their receiver."
    );
    describe_gauge!(NOTIFY_WAITING, "Notifications waiting, by receiver.");
    describe_gauge!(
        NOTIFY_OLDEST_SECONDS,
        Unit::Seconds,
        "How long the oldest waiting notification has waited."
    );
    describe_gauge!(NOTIFY_DEAD, "Dead letters.");
    describe_gauge!(
        NOTIFY_ROTATIONS_LEFT,
        "1 while more rotations do not go on by themselves than are looked at."
    );
}

fn describe_of_the_executor() {
    describe_gauge!(
        EXECUTOR_WAITING,
        "Approved ceremonies that wait for an executor."
    );
    describe_gauge!(
        EXECUTOR_OLDEST_SECONDS,
        Unit::Seconds,
        "How long the approved ceremony that waits longest has waited for an executor."
    );
    describe_counter!(
        EXECUTOR_CEREMONIES,
        "Approved ceremonies that the executor carried out or refused to."
    );
    describe_counter!(
        EXECUTOR_ROUNDS,
        "How often the executor looked for approved ceremonies."
    );
}

fn describe_of_rotations() {
    describe_gauge!(ROTATIONS_OPEN, "Rotations that are open, by state.");
    describe_counter!(
        ROTATION_FAILURES,
        "Attempts at steps of rotations that failed, by step."
    );
    describe_counter!(
        JOB_RUNS,
        "Runs of jobs that this replica ended, by job and outcome."
    );
    describe_gauge!(
        JOB_SUCCEEDED,
        Unit::Seconds,
        "When a run of the job last succeeded, Unix time."
    );
}

fn describe_of_the_process() {
    describe_gauge!(DATABASE_UP, "1 if the database answered at this scrape.");
    describe_gauge!(
        DATABASE_WRITABLE,
        "1 if the last write to the database succeeded."
    );
    describe_gauge!(
        DATABASE_CONNECTIONS,
        "Open connections to the database, by pool and state."
    );
    describe_gauge!(
        DATABASE_CONNECTIONS_LIMIT,
        "Largest number of connections to the database, by pool."
    );
    describe_gauge!(KEYS, "Keys, by ring and state.");
    describe_gauge!(
        BUILD_INFO,
        "Always 1; the labels say which program this is."
    );
    describe_gauge!(
        PROCESS_START,
        Unit::Seconds,
        "Start of the process, Unix time."
    );
    describe_counter!(
        PROCESS_CPU,
        Unit::Seconds,
        "User and system CPU time of the process."
    );
    describe_gauge!(
        PROCESS_MEMORY,
        Unit::Bytes,
        "Resident memory of the process."
    );
    describe_gauge!(PROCESS_FILES, "Open file descriptors of the process.");
    describe_gauge!(
        PROCESS_MOST_FILES,
        "Limit of open file descriptors of the process."
    );
}
