//! The contract of the store: the same functions on SQLite and on a PostgreSQL that this process
//! starts. What concerns one engine only stands in a file of its own.

mod alerts;
mod archive;
mod assets;
mod ceremonies;
mod clock;
mod compromise;
mod conflicts;
mod counts;
mod executions;
mod faults;
mod index;
mod life;
mod lines;
mod new_origin;
mod objects;
mod orders;
mod outbox;
mod passkeys;
mod plans;
mod races;
mod raw;
mod reading;
mod roles;
mod rotation_fence;
mod rotations;
mod schema;
mod severity;
mod signing;
mod statements;
mod stops;
mod tree;
mod usage;
mod versions;
mod vocabulary;

use crate::testing::{place, server, world};

/// Each function becomes one test on each engine.
macro_rules! contract {
    ($($module:ident :: $name:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$module::$name(super::place::Place::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$module::$name(super::place::Place::postgres().await).await;
            })*
        }
    };
}

contract! {
    life::key_lives_from_generation_to_archive,
    life::revoked_primary_hands_over_to_its_successor,
    signing::indexes_are_contiguous_from_zero,
    signing::revoked_key_gets_no_leaf_and_leaves_no_gap,
    signing::groups_of_every_size_get_their_leaves,
    signing::group_of_a_revoked_key_leaves_nothing,
    signing::first_answer_stands,
    signing::case_l1_an_answer_is_kept_by_whoever_gives_it,
    ceremonies::ceremonies_stand_in_the_lines_of_their_subjects,
    ceremonies::proposal_comes_with_its_signature_or_an_order,
    ceremonies::place_goes_to_the_first_that_is_executed,
    ceremonies::signatures_come_while_they_are_due,
    ceremonies::ceremony_moves_only_as_it_may,
    ceremonies::generation_is_intended_once,
    objects::one_act_on_a_device_at_a_time,
    ceremonies::rejected_ceremony_never_begins,
    objects::only_an_ended_key_is_destroyed,
    ceremonies::executed_ceremony_is_closed_once,
    ceremonies::ceremonies_come_in_pages_behind_what_cannot_be_read,
    objects::reconciliation_resolves_each_object_once,
    objects::overtaken_act_is_resolved_and_fails,
    conflicts::documents_come_in_the_order_of_their_chain,
    conflicts::ring_is_created_once,
    clock::case_v1_a_process_whose_clock_is_off_writes_nothing,
    clock::case_v1_a_leaf_that_lies_ahead_lets_its_correction_alone_through,
    clock::case_v1_a_correction_counts_every_other_leaf,
    clock::case_s10_an_end_follows_corrections_and_the_tolerance,
    conflicts::case_l1_an_index_is_not_given_out_twice,
    conflicts::accepted_key_agrees_with_its_object,
    conflicts::pointer_moves_only_from_where_it_stands,
    conflicts::revocation_is_final,
    conflicts::case_c4_credential_is_granted_and_withdrawn,
    signing::malformed_leaves_and_batches_are_refused,
    raw::past_cannot_be_changed,
    raw::rows_keep_what_they_were_born_with,
    raw::half_states_and_jumps_are_refused,
    passkeys::threat_cloned_counter,
    passkeys::an_attestation_comes_with_the_signature_and_stays,
    statements::threat_a_rejection_races_the_last_signature,
    statements::threat_a_suspension_races_the_last_signature,
    statements::threat_a_veto_races_the_installation,
    statements::one_of_two_documents_is_installed,
    statements::lost_documents_come_back_with_their_leaves,
    races::concurrent_writers_leave_no_gap,
    races::revocation_fences_signatures,
    races::one_of_two_replicas_switches,
    races::one_answer_for_one_idempotency_key,
    races::replicas_hear_of_a_change,
    races::dropped_calls_leave_nothing_behind,
    races::closed_store_refuses_and_keeps,
    index::earliest_is_found_at_every_state_of_the_index,
    index::what_was_signed_is_found_while_the_index_grows,
    index::index_begins_with_what_is_there,
    index::index_goes_on_in_the_next_part,
    counts::case_s3_counts_by_day_are_those_of_the_leaves,
    counts::case_s3_a_log_that_is_not_counted_is_not_read_through,
    counts::signatures_are_counted_once,
    counts::case_s10_the_instant_is_decided_under_the_head,
    reading::occurrence_is_the_earliest,
    reading::leaves_are_found_by_what_they_tell,
    reading::signatures_are_counted_by_day,
    reading::every_statement_prepares,
    plans::no_statement_walks_along_history,
    plans::case_s1_refusals_are_not_read_for_acts_on_keys,
    plans::case_s4_old_answers_go_in_pages,
    plans::old_keys_are_found_by_an_index,
    plans::emergencies_are_found_by_indexes_of_their_own,
    archive::acts_are_found_wherever_their_index_stands,
    archive::keys_are_counted_by_ring_and_state,
    lines::ten_ceremonies_on_ten_subjects_are_all_carried_out,
    lines::first_that_is_carried_out_voids_the_other_of_its_subject_alone,
    lines::place_is_given_back_only_if_it_is_the_last,
    lines::nonce_is_used_by_what_was_carried_out,
    lines::an_orders_use_is_not_taken_twice,
    orders::an_order_is_accepted_once_and_found_with_its_uses,
    orders::an_order_is_used_as_often_as_it_says,
    orders::a_withdrawn_order_permits_nothing_more,
    orders::two_executors_at_once_do_not_use_one_number,
    orders::what_the_log_tells_of_an_order_is_found,
    stops::a_frozen_replica_that_wakes_after_a_stop_releases_nothing,
    stops::a_ring_that_is_not_ratified_in_time_signs_no_more,
    stops::stops_and_resumes_share_a_line,
    stops::what_keeps_rings_from_signing_is_found_from_the_newest_on,
    stops::passkeys_that_may_be_copied_are_among_the_acts_that_are_told_of,
    stops::a_ratification_that_was_carried_out_may_fail,
    stops::what_is_said_for_the_record_is_counted_where_it_is_kept,
    lines::ceremony_without_a_ring_lives,
    severity::a_severity_is_never_lowered,
    severity::private_half_of_a_revoked_key_is_destroyed_once,
    severity::two_keys_are_destroyed_only_when_both_are_gone,
    severity::failed_destruction_tells_of_what_is_gone,
    executions::an_execution_is_held_by_one_and_run_out_by_nobody,
    executions::of_two_executors_at_once_one_has_it,
    versions::change_bumps_its_subject_alone,
    versions::versions_only_grow,
    vocabulary::unknown_word_is_refused_until_it_has_a_row,
    tree::case_v1_one_integrator_at_a_time,
    tree::tree_is_swapped_from_what_it_was,
    tree::tree_only_grows,
    tree::checkpoint_is_of_the_tree_and_by_a_key_that_signs,
    tree::revoked_log_key_signs_no_checkpoint,
    tree::cosignatures_are_added_to_what_was_read,
    tree::checkpoints_are_found_by_what_they_cover,
    tree::bodies_of_old_signatures_may_go,
    tree::nothing_else_of_a_leaf_may_change,
    tree::pruning_goes_on_where_it_died,
    new_origin::case_l2_origin_begins_once_with_all_of_its_ceremony,
    new_origin::case_l2_no_hand_gives_the_log_another_origin,
    outbox::a_message_is_kept_once_and_delivered_once,
    outbox::what_waits_for_a_receiver_is_bounded_and_the_rest_counted,
    outbox::old_messages_go_in_pages_and_what_waits_stays,
    outbox::a_condition_lasts_until_its_end_was_acknowledged,
    alerts::of_two_looks_at_once_one_fires_an_alert,
    alerts::what_a_person_does_to_an_alert_has_its_leaf_and_is_not_undone,
    alerts::news_of_an_alert_wait_until_they_are_told,
    alerts::open_alerts_are_counted_by_where_they_stand,
    alerts::alerts_are_read_in_pages_and_forgotten_when_they_are_old,
    alerts::a_level_is_marked_as_told_of_the_time_that_the_alert_fires,
    alerts::an_end_is_told_if_its_beginning_was_told_meanwhile,
    compromise::reports_are_kept_once_bounded_and_decided_once,
    compromise::notices_and_digests_are_kept_once,
    rotations::a_version_is_made_by_one_rotation,
    rotations::an_owner_that_was_overtaken_writes_nothing,
    rotations::a_step_does_not_begin_against_a_mark_or_a_pause,
    rotations::a_step_ends_once_and_is_tried_again_by_a_persons_word,
    rotations::of_what_is_due_emergencies_come_first_then_priority_then_the_due_date,
    rotations::a_declaration_overtakes_whoever_has_the_lease,
    rotations::rotations_that_are_told_of_are_read_by_themselves,
    rotation_fence::an_overtaken_owner_changes_no_ring_and_takes_no_use,
    rotation_fence::an_owner_changes_no_ring_against_a_persons_word,
    rotations::a_slot_of_a_job_is_run_once,
    rotations::the_scheduler_is_paused_and_keys_are_acknowledged,
    assets::rings_and_assets_of_others_are_one_list,
    assets::assets_are_registered_all_or_none,
    assets::a_report_makes_the_next_primary,
    assets::policies_follow_each_other,
    assets::threat_a_row_takes_the_leaf_or_the_numbers_of_later_policies,
    assets::no_hand_rewrites_the_inventory,
    usage::hours_are_those_of_the_leaves_wherever_the_counts_stand,
    usage::old_hours_go_in_pages_and_the_days_stay,
    usage::a_key_leaves_the_key_sets_once_after_its_end,
    schema::migrations_that_changed_are_refused,
    schema::case_c8_a_newer_schema_says_so,
}
