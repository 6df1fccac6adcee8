//! What became of statements about whom to trust, compared with the log: each row with the leaves about it, and the other
//! way round. A superuser edits the tables.

use store::StatementKind;

use super::installation::Installation;
use super::log_check::Checked;

const TABLES: [&str; 2] = ["trust_statement", "trust_statement_signature"];

impl Checked {
    async fn hand(&self, sql: &str) {
        let place = &self.all.place;
        for table in TABLES {
            for guard in [
                "immutable",
                "no_update",
                "no_delete",
                "no_replace",
                "begins",
            ] {
                let sql = format!("DROP TRIGGER IF EXISTS {table}_{guard}");
                place.raw(&sql).await.unwrap();
            }
        }
        assert!(place.raw(sql).await.unwrap() > 0, "{sql}");
    }

    async fn finds(&self, sql: &str, back: &str, expected: &[&str]) {
        self.hand(sql).await;
        let mut codes = self.codes(true).await;
        codes.dedup();
        assert_eq!(codes, expected, "{sql}");
        self.hand(back).await;
        self.clean(true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_superuser_suspends_or_lifts_a_suspension() {
    let checked = Checked::new().await;
    let all = &checked.all;
    let open = all.suspension_of("bob").await;
    let open = all.file(StatementKind::Suspension, &open, "alice").await;
    let own = all.suspension_of("carol").await;
    let own = all.file(StatementKind::Suspension, &own, "carol").await;
    checked.grow(10).await;
    checked.clean(true).await;

    let state = |id: &str, state: &str| {
        format!("UPDATE trust_statement SET state = '{state}' WHERE id = '{id}'")
    };
    // In the database, and not in the log.
    let (unlogged, missing) = (&["suspension_unlogged"][..], &["suspension_missing"][..]);
    checked
        .finds(&state(&open, "effective"), &state(&open, "open"), unlogged)
        .await;
    // In the log, and not in the database any more: void, of another roster, of somebody else, or gone.
    for other in ["void", "rejected", "open"] {
        checked
            .finds(&state(&own, other), &state(&own, "effective"), missing)
            .await;
    }
    let set = |from: &str, to: &str| {
        format!("UPDATE trust_statement SET {to} WHERE id = '{own}' AND {from}")
    };
    let aside = "ALTER TABLE trust_statement ADD COLUMN aside TEXT";
    all.place.raw(aside).await.unwrap();
    checked
        .finds(
            &set("1", "aside = follows, follows = id"),
            &set("1", "follows = aside"),
            missing,
        )
        .await;
    let replaced = |from: &str, to: &str| {
        let of = format!("CAST(replace(CAST(body AS TEXT), '{from}', '{to}') AS BLOB)");
        set("1", &format!("body = {of}"))
    };
    checked
        .finds(
            &replaced("carol", "carom"),
            &replaced("carom", "carol"),
            missing,
        )
        .await;
    for (table, of) in [
        ("trust_statement_signature", "statement"),
        ("trust_statement", "id"),
    ] {
        let sql =
            format!("CREATE TABLE aside_{table} AS SELECT * FROM {table} WHERE {of} = '{own}'");
        all.place.raw(&sql).await.unwrap();
        checked
            .hand(&format!("DELETE FROM {table} WHERE {of} = '{own}'"))
            .await;
    }
    let codes = checked.codes(true).await;
    assert!(codes.contains(&"suspension_missing"), "{codes:?}");
    assert!(codes.contains(&"statement_missing"), "{codes:?}");
    for table in ["trust_statement", "trust_statement_signature"] {
        checked
            .hand(&format!("INSERT INTO {table} SELECT * FROM aside_{table}"))
            .await;
    }
    checked.clean(true).await;
}

/// Each end that a statement or a ceremony has by itself is told by the log, and none of them is a finding.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_statements_and_late_ceremonies_is_what_the_log_tells() {
    let checked = Checked::new().await;
    let all = &checked.all;
    let late = all.propose("records", Installation::generation()).await;
    let executed = all.executed("records", Installation::generation()).await;
    let body = all.roster_with("grace").await;
    let void = all.file(StatementKind::Roster, &body, "alice").await;
    let body = all.suspension_of("bob").await;
    let suspension = all.file(StatementKind::Suspension, &body, "alice").await;
    all.install_roster_with("frank").await;
    all.wait(200);
    let service = all.service();
    assert_eq!(service.expire().await.unwrap(), 1);
    let body = all.roster_with("heidi").await;
    let open = all.file(StatementKind::Roster, &body, "alice").await;
    let other = all.propose("records", Installation::generation()).await;
    all.wait(200);
    assert_eq!(service.expire().await.unwrap(), 1);
    for (id, state) in [
        (&late, "cancelled"),
        (&executed, "expired"),
        (&other, "expired"),
    ] {
        assert_eq!(all.ceremony_is(id).await, state);
    }
    for (id, state) in [(&void, "void"), (&suspension, "void"), (&open, "open")] {
        let row = all.store.statement(id).await.unwrap().unwrap();
        assert_eq!(row.state.as_str(), state);
    }
    checked.grow(10).await;
    checked.clean(true).await;
    let end = |state: &str, id: &str| {
        format!("UPDATE trust_statement SET state = '{state}' WHERE id = '{id}'")
    };
    for (id, is, other) in [(&void, "void", "open"), (&open, "open", "expired")] {
        checked
            .finds(&end(other, id), &end(is, id), &["statement_state"])
            .await;
    }
}
