//! The inventory, rotations and jobs.

use super::KEY_TYPE;
use super::Values::Of;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// Upper bounds in seconds: a minute to three months.
pub const ROTATION_BUCKETS: [f64; 12] = [
    MINUTE,
    5.0 * MINUTE,
    15.0 * MINUTE,
    HOUR,
    4.0 * HOUR,
    12.0 * HOUR,
    DAY,
    2.0 * DAY,
    7.0 * DAY,
    14.0 * DAY,
    30.0 * DAY,
    90.0 * DAY,
];

/// Words of the crate `calendar`, whose tests compare them.
pub const OPEN_STATES: [&str; 4] = ["scheduled", "running", "waiting", "failed"];
/// How rotations end, in words of the crate `calendar`.
pub const END_STATES: [&str; 3] = ["done", "rolled-back", "cancelled"];
/// Why rotations wait, in words of the crate `calendar`.
pub const WAIT_REASONS: [&str; 24] = [
    "approval",
    "order-used-up",
    "order-ended",
    "order-paused",
    "order-interval",
    "propagation",
    "probe-contradicts",
    "campaign",
    "old-still-used",
    "paused",
    "held",
    "capacity",
    "window",
    "backlog",
    "policy-changed",
    "token",
    "database",
    "witness",
    "executor",
    "clock",
    "retry",
    "person",
    "already-rotates",
    "too-short",
];
/// The steps of a rotation, in words of the crate `calendar`.
pub const ROTATION_STEPS: [&str; 8] = [
    "pre-check",
    "generate",
    "publish",
    "test",
    "promote",
    "watch",
    "retire",
    "archive",
];
/// The jobs of the scheduler, in words of the crate `calendar`.
pub const JOB_NAMES: [&str; 6] = [
    "key_rotation_health_check",
    "automated_key_rotation_check",
    "execute_scheduled_key_rotations",
    "key_rotation_cleanup",
    "key_usage_monitoring",
    "generate_key_rotation_compliance_report",
];
/// The three warnings before a value ends, by its policy: 30, 7 and 1 days before where it says nothing else, but at most a
/// third, a tenth and a thirtieth of its lifetime.
pub const EXPIRY_WARNINGS: [&str; 3] = ["first", "second", "third"];
/// Where an alert that is not over stands: one that is acknowledged or silenced fires as well.
pub const ALERT_STATES: [&str; 4] = ["pending", "firing", "acknowledged", "silenced"];
/// How grave alerts are, in words of the crate `calendar`.
pub const ALERT_SEVERITIES: [&str; 2] = ["warning", "critical"];
/// Shares of its interval that an asset is older than.
pub const OLDER_THAN: [&str; 2] = ["1.25", "1.5"];

const JOB: super::Values = Of(&JOB_NAMES);

super::table! {
    ROTATION_METRICS: "Inventory, rotations and jobs"
    Gauge ASSETS = "chancery_assets" { key_type: KEY_TYPE } "Assets in use.";
    Gauge ASSETS_OVERDUE = "chancery_assets_overdue" { key_type: KEY_TYPE }
        "Assets whose next version should be in use by their policy and is not.";
    Gauge ASSETS_UNPLANNED = "chancery_assets_unplanned" { key_type: KEY_TYPE }
        "Assets in use that have no date: no policy, or no version in use.";
    Gauge ASSETS_EXPIRING = "chancery_assets_expiring" { key_type: KEY_TYPE, warning: Of(&EXPIRY_WARNINGS) }
        "Assets whose value in use ends by itself and whose policy warns of that by now; as a rule 30, 7 and 1 days before.";
    Gauge ASSETS_EXPIRED = "chancery_assets_expired" { key_type: KEY_TYPE } "Assets whose value in use has ended by itself.";
    Gauge ASSETS_OLDER = "chancery_assets_older" { key_type: KEY_TYPE, than: Of(&OLDER_THAN) }
        "Assets older than this share of the interval of their calendar, where they have one; `1.25` counts those of `1.5` as well.";
    Gauge ASSET_OLDEST_AGE = "chancery_asset_oldest_age_seconds" { key_type: KEY_TYPE }
        "Age of the value in use of the oldest asset; NaN where there is none.";
    Gauge ROTATION_LAG = "chancery_rotation_lag_seconds" { key_type: KEY_TYPE }
        "How long the asset that is overdue longest has been overdue; 0 where none is.";
    Gauge ROTATIONS_OPEN = "chancery_rotations_open" { state: Of(&OPEN_STATES) } "Rotations that are open.";
    Gauge ROTATIONS_WAITING = "chancery_rotations_waiting" { reason: Of(&WAIT_REASONS) }
        "Open rotations that wait, by what for; `old-still-used` is a use of an old key.";
    Gauge ROTATION_DELAY = "chancery_rotation_delay_seconds" {}
        "How long ago the hour of the open rotation was that should have begun longest ago and has not, of those that nobody holds or is asked for; 0 where none is late.";
    Gauge ROTATION_LONGEST = "chancery_rotation_longest_seconds" {}
        "How long ago the hour of the open rotation was that runs longest and has no new version in use, of those that have not failed and that nobody holds or is asked for; 0 where none runs.";
    Gauge ROTATIONS_SUCCEEDED = "chancery_rotations_succeeded_ratio" {}
        "Share of the rotations that ended in the last 92 days with their new version in use; NaN where none ended.";
    Gauge ROTATIONS_PROMOTED = "chancery_rotations_promoted" {}
        "Rotations that ended in the last 92 days with their new version in use.";
    Gauge ROTATIONS_ON_SCHEDULE = "chancery_rotations_on_schedule_ratio" {}
        "Share of the new versions of the last 92 days that were in use by the time that they were due; NaN where there is none.";
    Gauge ROTATIONS_AUTOMATIC = "chancery_rotations_automatic_ratio" {}
        "Share of the new versions of the last 92 days that needed no ceremony; NaN where there is none.";
    Gauge ROTATIONS_AUDITED = "chancery_rotations_audited_ratio" {}
        "Share of the rotations that ended in the last 92 days of whose end the log tells; NaN where none ended.";
    Gauge ROTATIONS_UNAUDITED = "chancery_rotations_unaudited" {}
        "Rotations that ended in the last 92 days of whose end the log does not tell.";
    Counter ROTATIONS_ENDED = "chancery_rotations_ended_total" { key_type: KEY_TYPE, state: Of(&END_STATES) }
        "Rotations that this replica ended.";
    Histogram(ROTATION_BUCKETS) ROTATION_SECONDS = "chancery_rotation_duration_seconds" { key_type: KEY_TYPE }
        "From the hour of a rotation until its new version was in use, of those that this replica promoted.";
    Counter ROTATION_FAILURES = "chancery_rotation_step_failures_total"
        { step: Of(&ROTATION_STEPS), reason: Of(&["transient", "person"]) }
        "Attempts at steps of rotations that failed: `transient` ones are tried again, the others wait for a person.";
    Counter JOB_RUNS = "chancery_job_runs_total" { name: JOB, outcome: Of(&["done", "failed"]) }
        "Runs of jobs that this replica ended.";
    Gauge JOB_SUCCEEDED = "chancery_job_last_success_timestamp_seconds" { name: JOB }
        "When a run of the job last succeeded, on whichever replica, Unix time; of a job of which no success is known, the first slot that is known of it.";
    Gauge ALERTS = "chancery_alerts" { state: Of(&ALERT_STATES), severity: Of(&ALERT_SEVERITIES) }
        "Alerts that are not over; those that are silenced are not counted as acknowledged.";
    Gauge ALERTS_LOOKED = "chancery_alerts_looked_timestamp_seconds" {}
        "When this replica last looked at alerts and wrote what became of them, Unix time; 0 where it has not. One replica looks at a time.";
    Gauge INVENTORY_METRICS_AGE = "chancery_inventory_metrics_age_seconds" {}
        "How long ago the metrics of the inventory, of rotations and of alerts were all read; before they were first, how long that has been tried.";
    Gauge INVENTORY_METRICS_SECONDS = "chancery_inventory_metrics_read_seconds" {}
        "How long it took to read the inventory for its metrics.";
}
