//! The engine and the scheduler over real databases, with a driver of the tests and a clock in their hands; rings over a token
//! in memory.

mod alerts;
mod away;
mod compromise;
mod declare;
mod engine;
mod faults;
mod frozen;
mod grace;
mod jobs;
mod joined;
mod kills;
mod measured;
mod probes;
mod reach;
mod replicas;
mod rings;
mod usage;
mod world;

/// Each function becomes one test on each engine.
macro_rules! contract {
    ($($module:ident :: $name:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$module::$name(store::testing::place::Place::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$module::$name(store::testing::place::Place::postgres().await).await;
            })*
        }
    };
}

contract! {
    alerts::an_overdue_rotation_fires_is_acknowledged_becomes_graver_and_resolves,
    alerts::two_replicas_that_look_at_once_fire_each_alert_once,
    alerts::an_alert_is_acknowledged_while_it_resolves,
    alerts::what_is_over_before_anybody_was_told_is_not_told,
    alerts::a_silence_ends_and_what_still_fires_is_told,
    alerts::a_database_that_is_frozen_neither_fires_nor_resolves,
    alerts::a_ring_that_cannot_sign_is_told_after_two_minutes,
    compromise::a_report_calls_people_until_somebody_decides,
    compromise::threat_ten_thousand_reports_of_one_principal_are_a_hundred,
    compromise::threat_an_acknowledged_or_silenced_report_hides_another_about_the_same,
    compromise::a_report_that_cannot_be_read_ends_no_alert_and_stops_no_other,
    compromise::what_is_no_report_is_refused_and_leaves_nothing,
    compromise::levels_are_reached_over_restarts_and_by_two_replicas,
    compromise::a_digest_is_made_once_also_after_an_outage,
    compromise::whether_an_audience_is_told_is_decided_once_with_its_leaf,
    declare::threat_a_rotation_that_is_held_is_declared_and_waits_for_nobody,
    engine::a_rotation_goes_from_its_check_to_the_end_of_the_old_version,
    engine::a_step_that_fails_is_tried_again_and_then_left_to_a_person,
    engine::a_rotation_is_cancelled_before_its_promotion_and_rolled_back_after_it,
    frozen::threat_an_owner_that_was_frozen_and_overtaken_changes_nothing,
    grace::a_key_leaves_the_key_sets_at_the_end_of_a_finite_grace,
    kills::a_replica_that_dies_at_any_step_is_followed_by_another,
    measured::what_ended_lately_is_measured_and_found_in_the_log,
    replicas::three_replicas_run_each_event_and_each_job_once,
    replicas::two_replicas_ten_minutes_apart_go_by_the_database,
    jobs::a_week_without_a_replica_is_made_up_for_by_one_run,
    jobs::a_run_whose_replica_died_is_gone_on_with,
    reach::fault_ten_thousand_events_due_in_one_hour_are_each_begun_once,
    reach::a_large_inventory_is_imported_read_planned_and_checked_in_time,
}
