//! No statement's cost grows with history unless it is paged: of each statement the engine is asked how it would find
//! its rows. A walk along a table that grows is named here with its reason, or it is a defect.

use sqlx::{AssertSqlSafe, Row as _};

use super::super::*;
use super::place::Place;
use super::reading::every_statement;
use crate::engine::{Dialect, Engine as _};

/// Tables that grow with what was ever done.
const GROWING: &[&str] = &[
    "log_leaf",
    "log_signature_part",
    "log_key_day",
    "log_key_block",
    "log_key_hour",
    "log_checkpoint",
    "log_key_act",
    "log_key_accepted",
    "idempotency",
    "ceremony",
    "ceremony_signature",
    "ceremony_line",
    "key_object",
    "signing_key",
    "order_use",
    "standing_order",
    "emergency_stop",
    "outbox_message",
    "outbox_delivery",
    "execution",
    "rotation_event",
    "rotation_step",
    "rotation_report",
    "job_run",
    "propagation_ack",
    "external_asset",
    "external_version",
    "rotation_policy",
    // Those that are over are kept for thirty days.
    "alert",
    "compromise_report",
    "notice",
    "weekly_digest",
];

/// Indexes of what is under way, which is little at any time.
const FEW: &[&str] = &[
    "key_object_under_way",
    "ceremony_open",
    "ceremony_under_way",
    "ceremony_under_way_of_proposer",
    "signing_key_one_primary",
    "signing_key_in_use",
    // At most as many for each receiver as its setting allows.
    "outbox_delivery_due",
    "execution_held",
    "rotation_event_due",
    "rotation_event_open",
    "rotation_event_needs_people",
    "rotation_event_unpromoted",
    "rotation_event_declared",
    "job_run_open",
    // Of each rule a bounded number is open.
    "alert_open",
    "alert_news",
    "alert_told_alone",
    "alert_told_together",
    "alert_silenced",
    "alert_escalation",
    "compromise_report_open",
    "weekly_digest_untold",
];

/// Leaves and answers that the planner sees.
const ROWS: i64 = 20_000;

/// Statements that walk along a table that grows, each with the reason why it may.
const WALKS: &[(&str, &str)] = &[
    (keys::KEYS, "`log check`, at a person's word"),
    (objects::KEY_OBJECTS, "what tests ask"),
    (
        leaves::LEAVES_OF_ACTS,
        "`audit list --acts`, at a person's word, in pages",
    ),
    (
        leaves::LEAVES_OF_RING,
        "`audit list --ring`, at a person's word, in pages",
    ),
    (
        leaves::LEAVES_OF_TIME,
        "`audit list --since`, at a person's word, in pages",
    ),
    (
        leaves::LEAVES_OF_SEVERAL,
        "`audit list` with several filters, at a person's word, in pages",
    ),
];

/// One line per table that is read: how the engine finds its rows.
async fn plan(place: &Place, sql: &str) -> Vec<String> {
    match &place.store.engine {
        database::AnyEngine::Sqlite(engine) => {
            let asked = format!("EXPLAIN QUERY PLAN {sql}");
            let rows = sqlx::query(AssertSqlSafe(asked)).fetch_all(&engine.readers);
            let rows = rows.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            rows.iter().map(|row| row.get("detail")).collect()
        }
        database::AnyEngine::Postgres(_) => {
            let mut connection = place.other_connection().await;
            for text in [
                "SET enable_seqscan = off".to_owned(),
                "SET plan_cache_mode = force_generic_plan".to_owned(),
                format!("PREPARE asked AS {sql}"),
            ] {
                let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection);
                done.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            let count = (1..30)
                .take_while(|n| sql.contains(&format!("${n}")))
                .count();
            let values = match count {
                0 => String::new(),
                _ => format!("({})", vec!["NULL"; count].join(", ")),
            };
            let asked = format!("EXPLAIN EXECUTE asked {values}");
            let rows = sqlx::raw_sql(AssertSqlSafe(asked)).fetch_all(&mut connection);
            let rows = rows.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            rows.iter().map(|row| row.get::<String, _>(0)).collect()
        }
    }
}

/// Why the cost of the statement grows with a table, or nothing.
fn walk(sql: &str, plan: &[String]) -> Option<String> {
    let of_growing = |line: &str, words: &str| {
        GROWING.iter().any(|table| {
            line.split_once(words)
                .and_then(|(_, rest)| rest.split_whitespace().next())
                .is_some_and(|name| name == *table)
        })
    };
    let limited = plan.iter().any(|line| line.contains("Limit "));
    plan.iter().enumerate().find_map(|(at, line)| {
        // SQLite names an alias and not its table; the statements use none of another table's name.
        let named = [
            "SCAN known",
            "SCAN leaf",
            "SCAN placed",
            "SCAN k ",
            "SCAN o ",
            // From the first leaf of the key on.
            "(kid>",
            // The view as a whole, sorted before the first row.
            "SCAN inventory",
        ];
        // A row that is put in has no children; SQLite lists how it would look for them.
        let first = sql.contains("LIMIT 1") && !sql.contains("WHERE");
        let looks = !(first || sql.starts_with("INSERT") && sql.contains("VALUES"));
        let of_few = FEW.iter().any(|index| line.contains(index));
        let scanned = looks
            && !of_few
            && (of_growing(line, "SCAN ") || named.iter().any(|alias| line.contains(alias)));
        let sequential = of_growing(line, "Seq Scan on ");
        // Without a condition on the index all of it is read; under a limit a filter that drops most rows makes
        // it read any number of others.
        let of_index = line.contains("Index") && of_growing(line, " on ");
        let detail = || plan[at + 1..].iter().map(|line| line.trim_start());
        let has = |word: &str| {
            let mut own = detail().take_while(|line| !line.starts_with("->"));
            own.find(|line| line.starts_with(word))
        };
        let unbounded = match has("Index Cond") {
            None => !limited || has("Filter").is_some(),
            Some(range) => limited && range.contains(">=") && has("Filter").is_some(),
        };
        let unbounded = of_index && !of_few && unbounded;
        (scanned || sequential || unbounded).then(|| line.trim().to_owned())
    })
}

async fn fill(place: &Place) {
    let kid = place.open_ring("atp").await;
    let first = place.store.log_size().await.unwrap();
    let last = first + ROWS;
    let series = match &place.store.engine {
        database::AnyEngine::Sqlite(_) => format!(
            "WITH RECURSIVE series (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM series WHERE n < {last} - 1)"
        ),
        database::AnyEngine::Postgres(_) => {
            format!("WITH series (n) AS (SELECT generate_series({first}, {last} - 1))")
        }
    };
    let hash = match &place.store.engine {
        database::AnyEngine::Sqlite(_) => "printf('%064x', n)",
        database::AnyEngine::Postgres(_) => "lpad(to_hex(n), 64, '0')",
    };
    for sql in [
        format!("UPDATE log_head SET size = {last}"),
        // A tenth is signatures; of the rest most are refusals.
        format!(
            "{series} INSERT INTO log_leaf (idx, time, kind, ring, kid, sig_hash, body)
             SELECT n, n, CASE n % 10 WHEN 0 THEN 'sign' WHEN 1 THEN 'key' ELSE 'refusal' END,
                'atp', CASE n % 10 WHEN 0 THEN '{kid}' END, CASE n % 10 WHEN 0 THEN {hash} END, '{{}}'
             FROM series ORDER BY n"
        ),
        format!(
            "{series} INSERT INTO idempotency (principal, key, request_hash, response, idx, time)
             SELECT 'p' || (n % 7), CAST(n AS TEXT), 'h', 'r', n, n FROM series"
        ),
    ] {
        let done = place.raw(&sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    if let database::AnyEngine::Postgres(_) = &place.store.engine {
        // Of an empty table any index is as good as another. Triggers and references are lifted.
        let mut connection = place.other_connection().await;
        for sql in CEREMONIES.iter().copied() {
            let done = sqlx::raw_sql(sql).execute(&mut connection).await;
            done.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        place.raw("ANALYZE").await.unwrap();
    }
    // On SQLite of the filled ones alone: of a small table it would say that a walk is as good.
    for sql in ["ANALYZE log_leaf", "ANALYZE idempotency"] {
        place.raw(sql).await.unwrap();
    }
}

/// Ended ceremonies, each with its key, for the planner of PostgreSQL.
const CEREMONIES: &[&str] = &[
    "SET session_replication_role = replica",
    "INSERT INTO ceremony (id, operation, ring, state, nonce, request, transcript, created_at, updated_at, proposer)
        SELECT lpad(to_hex(n), 64, '0'), 'generate', 'atp', 'closed', lpad(to_hex(n), 32, '0'), '', '', n, n, 'ada'
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO ceremony_line SELECT lpad(to_hex(n), 64, '0'), 'ring/r' || n, n, 1, n
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO order_use SELECT lpad(to_hex(n / 100), 32, '0'), n, lpad(to_hex(n), 64, '0')
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO standing_order (id, ceremony, ring, uses, not_before, not_after, accepted_at)
        SELECT lpad(to_hex(n), 32, '0'), lpad(to_hex(n), 64, '0'), 'atp', 100, 0, 1, n
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO ceremony_signature SELECT lpad(to_hex(n / 5), 64, '0'), 'approve', '', n, n, 100000 + n
        FROM generate_series(1, 10000) AS n",
    "INSERT INTO key_object (id, kind, device, label, place, location, ring, number, ceremony, state, kid,
            created_at, updated_at)
        SELECT n, 'pkcs11', 'device', n, '', '', 'atp', 1000 + n, lpad(to_hex(n), 64, '0'), 'present',
            lpad(to_hex(n), 43, '0'), n, n
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO signing_key (kid, ring, number, state, spki, object, published_at, activate_at, retire_at,
            retired_at, archived_at, ceremony)
        SELECT lpad(to_hex(n), 43, '0'), 'atp', 1000 + n, 'archived', n::text::bytea, 'o' || n, n, n, n, n, n,
            lpad(to_hex(n), 64, '0')
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO rotation_event (id, asset, key_type, version, cause, state, slot, due, consent, requested_by,
            created_at, updated_at, ended_at, look_at)
        SELECT 'kr_' || lpad(to_hex(n), 36, '0'), 'signing/r' || n / 20, 'signing', 1 + n % 20, 'time', 'done', n, n,
            'automatic', 'chancery', n, n, n, n
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO rotation_step (event, step, attempt, place, started_at, ended_at, outcome, actor)
        SELECT 'kr_' || lpad(to_hex(n / 8), 36, '0'), 's' || n % 8, 1, 1 + n % 8, n, n, 'done', 'chancery'
        FROM generate_series(1, 10000) AS n",
    "INSERT INTO rotation_report SELECT 'kr_' || lpad(to_hex(n), 36, '0'), 'test', n, 'somebody', '{}'
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO job_run (job, slot, state, missed, lease_owner, lease_epoch, lease_until, started_at, ended_at)
        SELECT 'job' || n % 6, n, 'done', 0, 'a', 1, 0, n, n FROM generate_series(1, 2000) AS n",
    "INSERT INTO propagation_ack SELECT lpad(to_hex(n / 5), 43, '0'), 'p' || n % 5, n
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO external_asset SELECT 'external/a' || n, 'api_key', '', NULL, 'wrapped', '{}', n, 'x', n, CASE n % 10 WHEN 0 THEN NULL ELSE n END
        FROM generate_series(1, 5000) AS n",
    "INSERT INTO external_version SELECT 'external/a' || (n / 2), 1 + n % 2, 'archived', n, n, n, NULL, n, 'x'
        FROM generate_series(2, 10001) AS n",
    "INSERT INTO alert (id, name, subject, level, detail, phase, since, resolved_at, changed_at, version)
        SELECT 'al_' || lpad(to_hex(n), 32, '0'), 'expiry', 'external/a' || n, 1, '', 'resolved', n, n, n, 2
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO compromise_report (id, principal, report, asset, key_type, source, reason, received_at, day, state,
            decided_at, decided_by, decision)
        SELECT 'cr_' || lpad(to_hex(n), 32, '0'), 'p' || n / 100, n, 'external/a' || n, 'api_key', 's', 'r', n, n / 100,
            'dismissed', n, 'x', 'x'
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO notice SELECT 'no_' || lpad(to_hex(n), 32, '0'), 'i' || n, 'partners', 'notify', 'r', '{}', n, 'x'
        FROM generate_series(1, 2000) AS n",
    "INSERT INTO weekly_digest SELECT n, '[]', n, 1 FROM generate_series(1, 2000) AS n",
    "INSERT INTO rotation_policy SELECT 'api_key', 1 + n, '{}', 'x', 'x', n, n FROM generate_series(1, 2000) AS n",
    "INSERT INTO log_checkpoint SELECT n, lpad(to_hex(n), 64, '0'), n, n, lpad(to_hex(1), 43, '0'), '', ''
        FROM generate_series(1, 2000) AS n",
];

/// Rule of the settled points: a scan of a growing table that remains has no index.
pub async fn no_statement_walks_along_history(place: Place) {
    fill(&place).await;
    let mut wrong = Vec::new();
    for sql in every_statement(&place) {
        let plan = plan(&place, sql).await;
        let found = walk(sql, &plan);
        let reason = WALKS.iter().find(|(allowed, _)| *allowed == sql);
        match (found, reason) {
            (Some(found), None) => {
                wrong.push(format!("{sql}\nwalks along history: {found}\n{plan:#?}"))
            }
            // SQLite does not tell a filter from a condition.
            (None, Some(_)) if place.is_sqlite() => {}
            (None, Some(_)) => {
                wrong.push(format!("{sql}\nno longer walks along history: {plan:#?}"))
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // What the rule finds: a filter that no index serves, with and without a limit.
    for sql in [
        "SELECT idx FROM log_leaf WHERE ring = $1",
        "SELECT idx FROM log_leaf WHERE kind = 'refusal' AND body = $1 ORDER BY idx LIMIT 1",
        "DELETE FROM idempotency WHERE response = $1",
    ] {
        assert!(walk(sql, &plan(&place, sql).await).is_some(), "{sql}");
    }
    if place.is_sqlite() {
        // It compares pairs by their first column alone, so it begins with the first leaf of the key.
        let sql = asked::LEAVES_OF_KID_POSTGRES;
        assert!(walk(sql, &plan(&place, sql).await).is_some(), "{sql}");
    }
}

/// Acts on keys are found among any number of refusals.
pub async fn case_s1_refusals_are_not_read_for_acts_on_keys(place: Place) {
    fill(&place).await;
    let plan = plan(&place, leaves::LEAVES_OF_KEYS).await;
    let index = plan.iter().any(|line| line.contains("log_leaf_key_act"));
    assert!(index, "{plan:?}");
}

/// Old answers go in pages, so that no other writer waits for all of them.
pub async fn case_s4_old_answers_go_in_pages(place: Place) {
    fill(&place).await;
    let before = place.store.log_size().await.unwrap() - ROWS + 2_500;
    for expected in [1_000, 1_000, 500, 0] {
        assert_eq!(place.store.forget_answers(before).await.unwrap(), expected);
    }
    let forget = match &place.store.engine {
        database::AnyEngine::Sqlite(_) => sqlite::SqliteEngine::DIALECT,
        database::AnyEngine::Postgres(_) => postgres::PostgresEngine::DIALECT,
    };
    let Dialect { forget_answers, .. } = forget;
    let plan = plan(&place, forget_answers).await;
    assert!(
        plan.iter().any(|line| line.contains("idempotency_time")),
        "{plan:?}"
    );
}

/// Emergencies are found from the newest of each ring on, whatever else there is.
pub async fn emergencies_are_found_by_indexes_of_their_own(place: Place) {
    fill(&place).await;
    if !place.is_sqlite() {
        // Of an empty index any other is as good.
        let first = place.store.log_size().await.unwrap();
        let last = first + 6_000;
        for sql in [
            format!("UPDATE log_head SET size = {last}"),
            format!(
                "INSERT INTO log_leaf (idx, time, kind, body)
                 SELECT n, n, CASE n % 3 WHEN 0 THEN 'key' ELSE 'emergency' END,
                    CASE n % 3 WHEN 0 THEN '{{\"action\":\"revoke\",\"until\":\"x\",\"ring\":\"r'
                        WHEN 1 THEN '{{\"action\":\"stop\",\"ring\":\"r'
                        ELSE '{{\"action\":\"resume\",\"ring\":\"r' END || (n % 50) || '\"}}'
                 FROM generate_series({first}, {last} - 1) AS n"
            ),
            "ANALYZE log_leaf".to_owned(),
        ] {
            let done = place.raw(&sql).await;
            done.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }
    let asked = match &place.store.engine {
        database::AnyEngine::Sqlite(_) => sqlite::SqliteEngine::DIALECT.emergency,
        database::AnyEngine::Postgres(_) => postgres::PostgresEngine::DIALECT.emergency,
    };
    for (sql, index) in [
        (asked.stops_before, "log_leaf_stop"),
        (asked.rotations_before, "log_leaf_rotation"),
        (asked.ends_after, "log_leaf_stop_end"),
        (asked.last_before, "log_leaf_unratified"),
        (leaves::LEAVES_OF_CLONES, "log_leaf_passkey"),
        (leaves::LEAVES_OF_WITHDRAWALS, "log_leaf_withdrawal"),
        (leaves::LEAVES_OF_NOTICES, "log_leaf_notice"),
    ] {
        let plan = plan(&place, sql).await;
        let found = plan.iter().any(|line| line.contains(index));
        assert!(found, "{sql}: {plan:#?}");
    }
    if place.is_sqlite() {
        // PostgreSQL does not show how it finds what a recursion selects.
        for (sql, index) in [
            (asked.stop_lines, "log_leaf_stop"),
            (asked.rotation_lines, "log_leaf_rotation"),
        ] {
            let plan = plan(&place, sql).await;
            let found = plan.iter().any(|line| line.contains(index));
            assert!(found, "{sql}: {plan:#?}");
        }
    }
}

/// Old keys are found by when they ended, and by when they were of use.
pub async fn old_keys_are_found_by_an_index(place: Place) {
    fill(&place).await;
    for (sql, index) in [
        (archive::ENDED, "signing_key_ended"),
        (archive::ENDED_PUBLISHED, "signing_key_ended_published"),
        (archive::OF_USE, "signing_key_life"),
        (ceremonies::LATEST, "ceremony_created"),
        (ceremonies::MARKS, "ceremony_"),
        (ceremony_pages::HEADS, "ceremony_created"),
        (ceremony_pages::HEADS_OF_RING, "ceremony_of_ring"),
        (ceremony_pages::HEADS_OF_OPERATION, "ceremony_of_operation"),
        (ceremony_pages::HEADS_OF_PROPOSER, "ceremony_of_member"),
        (ceremony_pages::HEADS_OF_SUBJECT, "ceremony_line_of_subject"),
        (ceremony_pages::HEADS_OF_END, "ceremony_of_end"),
        (ceremony_pages::HEADS_PAST, "ceremony_past"),
        (ceremony_pages::HEADS_UNDER_WAY, "ceremony_under_way"),
        (ceremony_pages::UNDER_WAY, "ceremony_under_way"),
        // By the member, or by what is open, which is bounded.
        (ceremony_pages::OPEN_OF, "ceremony_under_way"),
        (ceremony_pages::FILED_SINCE, "ceremony_of_proposer"),
        (inventory::ASSET_HEADS, "external_asset_in_use"),
        (inventory::IN_USE, "external_asset_in_use"),
        (inventory::IN_USE_OF_TYPE, "external_asset_of_type_in_use"),
        (
            inventory::EXTERNAL_VERSION_REPORTED,
            "external_version_reported",
        ),
        (inventory::ROTATED_AFTER, "external_version_rotated"),
        (objects::OBJECTS_ON, "key_object_"),
        (orders::ORDERS_UNTIL, "standing_order_holds"),
        // Of what is open, by either of its indexes.
        (rotation_events::OPEN_EVENTS, "rotation_event_"),
        (rotation_events::EVENTS_BEFORE, "rotation_event_created"),
        (rotation_events::EVENTS_OF_ASSET, "rotation_event_of_asset"),
        (rotation_events::ENDED_SINCE, "rotation_event_ended"),
        (rotation_told::NEED_PEOPLE, "rotation_event_needs_people"),
        (rotation_told::LATE, "rotation_event_unpromoted"),
        (rotation_told::DECLARED, "rotation_event_declared"),
        (rotation_told::PAUSED, "rotation_event_unpromoted"),
        // Of what is open, by either of its indexes.
        (rotation_told::OPEN_BY_STATE, "rotation_event_"),
        (rotation_told::OPEN_SUMMARY, "rotation_event_"),
        (jobs::OPEN_RUNS, "job_run_open"),
        (alerts::OPEN_ALERTS, "alert_open"),
        (alerts_counted::OPEN_ALERTS_COUNTED, "alert_open"),
        // Of what is open, by either of its indexes.
        (alerts::OPEN_ALERTS_OF, "alert_open"),
        (alerts::RESOLVED_ALERTS, "alert_resolved"),
        (alerts::ALERTS_BEFORE, "alert_since"),
        (alerts::UNTOLD_ALERTS, "alert_news"),
        (alerts::UNTOLD_ENDED, "alert_news"),
        (alerts::UNTOLD_ESCALATIONS, "alert_escalation"),
        (alerts::ALERTS_ALONE, "alert_told_alone"),
        (alerts::ALERTS_TOGETHER, "alert_told_together"),
        (alerts::SILENCED_ALERTS, "alert_silenced"),
        (alerts::OLD_ALERTS, "alert_resolved"),
        (crate::compromise::REPORTS_OF_DAY, "compromise_report_day"),
        (crate::compromise::OPEN_REPORTS, "compromise_report_open"),
        // By principal or all that are open: whichever the planner takes, what is decided is not read.
        (crate::compromise::OPEN_REPORTS_OF, "compromise_report_open"),
        (
            crate::compromise::REPORTS_BEFORE,
            "compromise_report_received",
        ),
        (notices::NOTICES_BEFORE, "notice_decided"),
        (notices::UNTOLD_DIGEST, "weekly_digest_untold"),
        (outbox::DUE, "outbox_delivery_due"),
        (outbox::LATEST_DELIVERIES, "outbox_delivery_state"),
        (outbox::OLD_MESSAGES, "outbox_message_created"),
    ] {
        let plan = plan(&place, sql).await;
        let found = plan.iter().any(|line| line.contains(index));
        assert!(found, "{sql}: {plan:#?}");
    }
}
