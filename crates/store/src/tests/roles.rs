//! The account of the service on PostgreSQL, as deploy/postgres/roles.sql makes it: enough for every
//! change there is, and for nothing else.

use secrecy::ExposeSecret;

use super::super::*;
use super::place::Place;
use super::world::*;
use super::{assets, executions, lines, outbox, rotation_fence, rotations, severity, usage};

const ROLES: &str = include_str!("../../../../deploy/postgres/roles.sql");

/// The store as the service's account; the hand in the database is the service's too.
async fn as_the_service() -> Place {
    let owner = Place::postgres().await;
    let Database::Postgres { url, .. } = &owner.database else {
        panic!()
    };
    let url = url.expose_secret().to_owned();
    sqlx::raw_sql(ROLES)
        .execute(&mut owner.other_connection().await)
        .await
        .unwrap();
    let url = url.replace("//chancery@", "//chancery_service@");
    let database = Database::Postgres {
        url: url.into(),
        connections: 4,
    };
    let store = Store::connect(&database).await.unwrap();
    Place::of(store, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_account_does_what_the_store_does_and_no_more() {
    let place = as_the_service().await;
    lines::ceremony_without_a_ring_lives(place).await;
    severity::two_keys_are_destroyed_only_when_both_are_gone(as_the_service().await).await;
    lines::an_orders_use_is_not_taken_twice(as_the_service().await).await;
    executions::an_execution_is_held_by_one_and_run_out_by_nobody(as_the_service().await).await;
    outbox::a_message_is_kept_once_and_delivered_once(as_the_service().await).await;
    outbox::what_waits_for_a_receiver_is_bounded_and_the_rest_counted(as_the_service().await).await;
    outbox::old_messages_go_in_pages_and_what_waits_stays(as_the_service().await).await;
    outbox::a_condition_lasts_until_its_end_was_acknowledged(as_the_service().await).await;
    assets::rings_and_assets_of_others_are_one_list(as_the_service().await).await;
    assets::a_report_makes_the_next_primary(as_the_service().await).await;
    assets::policies_follow_each_other(as_the_service().await).await;

    rotations::a_step_ends_once_and_is_tried_again_by_a_persons_word(as_the_service().await).await;
    rotations::a_step_does_not_begin_against_a_mark_or_a_pause(as_the_service().await).await;
    rotations::a_declaration_overtakes_whoever_has_the_lease(as_the_service().await).await;
    rotation_fence::an_overtaken_owner_changes_no_ring_and_takes_no_use(as_the_service().await)
        .await;
    usage::old_hours_go_in_pages_and_the_days_stay(as_the_service().await).await;
    rotations::a_slot_of_a_job_is_run_once(as_the_service().await).await;
    rotations::the_scheduler_is_paused_and_keys_are_acknowledged(as_the_service().await).await;

    let place = as_the_service().await;
    let first = place.open_ring("atp").await;
    place.order("order", "atp", 2).await;
    place.change(ordered("ordered", 1)).await.unwrap();
    place.change(withdraw("order")).await.unwrap();
    place
        .change(Change::GrantCredential(credential(san("a"))))
        .await
        .unwrap();
    let signed = [signature(&first, "atp", "s")];
    place.store.commit_signatures(&signed).await.unwrap();
    // The second time a row is there that more is added to.
    for again in ["t", "u"] {
        assert!(place.store.index_signatures(MAX_INDEXED).await.unwrap() > 0);
        assert!(place.store.count_signatures(MAX_INDEXED).await.unwrap() > 0);
        let signed = [signature(&first, "atp", again)];
        place.store.commit_signatures(&signed).await.unwrap();
    }
    place.prepared("atp-2", "atp", 2).await;
    let second = kid("atp-2");
    place.switch("atp", Some(&first), &second).await.unwrap();
    place.retire("atp", &first).await.unwrap();
    let change = Change::UnpublishKey {
        ring: "atp".into(),
        expected_version: place.ring_version("atp").await,
        kid: first,
        at: NOW,
    };
    place.change(change).await.unwrap();
    for sql in [
        "UPDATE ceremony_line SET seq = seq",
        "DELETE FROM ceremony_line",
        "UPDATE order_use SET use_number = use_number",
        "DELETE FROM order_use",
        "UPDATE standing_order SET uses = uses",
        "DELETE FROM standing_order",
        "UPDATE key_object SET place = place",
        "UPDATE key_object SET device = device",
        "DELETE FROM key_object",
        "UPDATE signing_key SET object = object",
        "UPDATE ceremony SET nonce = nonce",
        "UPDATE trust_document SET place = place",
        "UPDATE log_key_day SET first_index = 0",
        "UPDATE log_key_block SET block = 0",
        "DELETE FROM log_key_day",
        "UPDATE log_key_hour SET hour = 0",
        "UPDATE log_hours SET since = 0",
        "DELETE FROM log_key_block",
        "INSERT INTO log_counted (id, size) VALUES (2, 0)",
        "INSERT INTO leaf_kind (word) VALUES ('rumour')",
        "INSERT INTO operation (word) VALUES ('whatever')",
        "INSERT INTO signature_purpose (word) VALUES ('whatever')",
        "UPDATE usage SET word = 'x'",
        "UPDATE rotation_policy SET reason = reason",
        "DELETE FROM external_asset",
        "UPDATE external_version SET number = number",
        "UPDATE key_type SET word = word",
        "DELETE FROM algorithm",
    ] {
        let refused = place.raw(sql).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{sql}: {refused}");
    }
}

/// A managed server that forbids the functions that say which server it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_l1_a_server_that_does_not_say_which_one_it_is_needs_a_setting() {
    for function in ["pg_control_system()", "pg_current_wal_lsn()"] {
        let place = as_the_service().await;
        let kid = place.open_ring("atp").await;
        let mut owner = place.other_connection().await;
        let asked = sqlx::query_scalar::<_, String>("SELECT current_database()::text");
        let name = asked.fetch_one(&mut owner).await.unwrap();
        let Database::Postgres { url, .. } = &place.database else {
            panic!()
        };
        let url = url
            .expose_secret()
            .replace("//chancery_service@", "//chancery@");
        assert!(url.contains(&name));
        let admin = Place::of(
            place.store.clone(),
            Database::Postgres {
                url: url.into(),
                connections: 4,
            },
        );
        let revoke = format!("REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC");
        admin.raw(&revoke).await.unwrap();
        let strict = place.replica().await;
        let refused = strict.look().await.unwrap_err();
        assert!(matches!(refused, Error::NoIdentity { .. }), "{refused}");
        let why = refused.to_string();
        assert!(why.contains("store.identity = \"index-only\""), "{why}");
        let signed = [signature(&kid, "atp", "s")];
        let refused = strict.commit_signatures(&signed).await.unwrap_err();
        assert!(matches!(refused, Error::NoIdentity { .. }), "{refused}");
        let lenient = strict.by_index_only();
        assert_eq!(lenient.look().await.unwrap().1, "");
        lenient.commit_signatures(&signed).await.unwrap();
    }
}
