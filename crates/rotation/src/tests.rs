//! The engine and the scheduler over real databases, with a driver of the tests and a clock in their hands; rings over a token
//! in memory.

mod declare;
mod engine;
mod jobs;
mod joined;
mod kills;
mod measured;
mod probes;
mod replicas;
mod rings;
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
    declare::threat_a_rotation_that_is_held_is_declared_and_waits_for_nobody,
    engine::a_rotation_goes_from_its_check_to_the_end_of_the_old_version,
    engine::a_step_that_fails_is_tried_again_and_then_left_to_a_person,
    engine::a_rotation_is_cancelled_before_its_promotion_and_rolled_back_after_it,
    kills::a_replica_that_dies_at_any_step_is_followed_by_another,
    measured::what_ended_lately_is_measured_and_found_in_the_log,
    replicas::three_replicas_run_each_event_and_each_job_once,
    replicas::two_replicas_ten_minutes_apart_go_by_the_database,
    jobs::a_week_without_a_replica_is_made_up_for_by_one_run,
    jobs::a_run_whose_replica_died_is_gone_on_with,
}
