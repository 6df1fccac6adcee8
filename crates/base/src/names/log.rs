//! The transparency log and its witnesses.

use super::Values::{Named, Of};

/// Upper bounds in leaves.
pub const LEAVES_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_000.0];

/// Why a witness did not cosign.
pub const WITNESS_REASONS: [&str; 6] = [
    "unreachable",
    "answer",
    "cosignature",
    "ahead",
    "inconsistent",
    "own",
];

const WITNESS: super::Values = Named("a witness, as the policy calls it");

super::table! {
    LOG_METRICS: "Transparency log and witnesses"
    Counter LOG_INTEGRATED = "chancery_log_integrated_leaves_total" {} "Leaves put into the tree by this replica.";
    Counter LOG_ERRORS = "chancery_log_errors_total" {} "Steps of the log that failed, or that found it halted.";
    Gauge LOG_TREE_SIZE = "chancery_log_tree_size_leaves" {} "Leaves in the tree when this replica integrated last.";
    Histogram(super::LATENCY_BUCKETS) LOG_INTEGRATION_SECONDS = "chancery_log_integration_seconds" {}
        "Duration of a step that put leaves into the tree.";
    Histogram(LEAVES_BUCKETS) GROUP_COMMIT_LEAVES = "chancery_group_commit_leaves" {} "Leaves of one group commit.";
    Gauge LOG_WAITING = "chancery_log_waiting_leaves" {} "Leaves in the database that no checkpoint covers yet.";
    Gauge LOG_CHECKPOINT_AGE = "chancery_log_checkpoint_age_seconds" {} "Time since the newest checkpoint was signed.";
    Gauge LOG_INTEGRATES = "chancery_log_integrates" {} "1 on the replica that integrates, else 0.";
    Gauge LOG_HALTED = "chancery_log_halted" {} "1 while the log is halted and nothing is signed, else 0.";
    Gauge KEPT_LEAVES = "chancery_log_kept_leaves" {}
        "Leaves that this replica answered with and no published checkpoint covers.";
    Gauge KEPT_COMPLETE = "chancery_log_kept_complete" {}
        "1 while the kept leaves are all that no published checkpoint covers, else 0.";
    Counter COSIGNATURES = "chancery_log_cosignatures_total" { witness: WITNESS } "Cosignatures recorded.";
    Counter WITNESS_FAILURES = "chancery_log_witness_failures_total"
        { witness: WITNESS, why: Of(&WITNESS_REASONS) }
        "Times that a witness did not cosign.";
    Gauge WITNESS_LAG = "chancery_log_witness_lag_leaves" { witness: WITNESS }
        "Leaves of the newest checkpoint not yet cosigned by the witness.";
}
