//! The process and its database.

use super::Values::{Named, Of};

const TASK: super::Values = Named("a background task of the program");
const POOL: super::Values = Of(&["service", "visitors", "writer"]);

super::table! {
    PROCESS_METRICS: "Process and database"
    Gauge BUILD_INFO = "chancery_build_info"
        { version: Named("of the program; one"), commit: Named("of its source; one") }
        "Always 1; the labels say which program this is.";
    Gauge TASK_UP = "chancery_background_task_up" { task: TASK } "1 while the background task runs, else 0.";
    Counter TASK_RESTARTS = "chancery_background_task_restarts_total" { task: TASK }
        "Restarts of background tasks after a panic.";
    Counter SPANS = "chancery_spans_total" { outcome: Of(&["exported", "failed"]) }
        "Spans sent to the collector of traces, or not taken by it.";
    Counter SPANS_MADE = "chancery_spans_made_total" {}
        "Spans that were to be sent to the collector of traces; those that were neither exported nor failed wait, or were dropped because too many waited.";
    Gauge DATABASE_UP = "chancery_database_up" {} "1 if the database answered when it was asked last, else 0.";
    Gauge DATABASE_WRITABLE = "chancery_database_writable" {} "1 if the last write to the database succeeded, else 0.";
    Gauge DATABASE_CONNECTIONS = "chancery_database_connections" { pool: POOL, state: Of(&["used", "idle"]) }
        "Open connections to the database.";
    Gauge DATABASE_CONNECTIONS_LIMIT = "chancery_database_connections_limit" { pool: POOL }
        "Largest number of connections to the database.";
    Gauge DATABASE_METRICS_AGE = "chancery_database_metrics_age_seconds" {}
        "How old the metrics that are read from the database at a scrape are; NaN before the first answer.";
    Gauge CLOCK_OFFSET = "chancery_clock_offset_seconds" {}
        "How far the clock of this process is ahead of the database's.";
    Gauge PROCESS_START = "process_start_time_seconds" {} "Start of the process, Unix time.";
    Counter PROCESS_CPU = "process_cpu_seconds_total" {} "User and system CPU time of the process, whole seconds.";
    Gauge PROCESS_MEMORY = "process_resident_memory_bytes" {} "Resident memory of the process.";
    Gauge PROCESS_FILES = "process_open_fds" {} "Open file descriptors of the process.";
    Gauge PROCESS_MOST_FILES = "process_max_fds" {} "Limit of open file descriptors of the process.";
}
