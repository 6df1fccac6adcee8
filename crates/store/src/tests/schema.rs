//! Migrations.

use super::super::*;
use super::place::Place;

pub async fn migrations_that_changed_are_refused(place: Place) {
    assert_eq!(place.store.migrate().await.unwrap(), 0);
    place.store.schema().await.unwrap().check().unwrap();
    place.store.ping().await.unwrap();
    place
        .raw("UPDATE _sqlx_migrations SET checksum = description::bytea WHERE version = 1")
        .await
        .or(place
            .raw("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1")
            .await)
        .unwrap();
    let refused = place.store.migrate().await;
    assert!(
        matches!(refused, Err(Error::Migration { .. })),
        "{refused:?}"
    );
}

/// A replica of an older program, after a newer one has migrated.
pub async fn case_c8_a_newer_schema_says_so(place: Place) {
    place
        .raw("UPDATE _sqlx_migrations SET version = 99 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)")
        .await
        .unwrap();
    let schema = place.store.schema().await.unwrap();
    assert_eq!(schema.applied, 99);
    let error = schema.check().unwrap_err();
    assert!(matches!(error, Error::Schema { applied: 99, .. }));
    assert!(!error.may_pass());
    assert!(error.to_string().contains("run that version"), "{error}");
    let older = crate::Schema {
        applied: 1,
        ..schema
    };
    let error = older.check().unwrap_err();
    assert!(error.may_pass());
    assert!(error.to_string().contains("`chancery migrate`"), "{error}");
    assert!(matches!(
        place.store.migrate().await,
        Err(Error::Migration { .. })
    ));
}

#[test]
fn both_engines_have_the_same_migrations() {
    let of = |migrator: &sqlx::migrate::Migrator| -> Vec<(i64, String)> {
        migrator
            .iter()
            .map(|one| (one.version, one.description.to_string()))
            .collect()
    };
    assert_eq!(of(&migrate::SQLITE), of(&migrate::POSTGRES));
}

pub async fn replicas_migrate_at_once(database: Database) {
    let stores = [
        Store::found(&database).await.unwrap(),
        Store::found(&database).await.unwrap(),
        Store::found(&database).await.unwrap(),
    ];
    assert_eq!(stores[0].schema().await.unwrap().applied, 0);
    let [one, two, three] = &stores;
    let done = tokio::join!(one.migrate(), two.migrate(), three.migrate());
    for done in [done.0, done.1, done.2] {
        done.unwrap();
    }
    stores[0].schema().await.unwrap().check().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_migrate_at_once_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    replicas_migrate_at_once(Database::Sqlite {
        path: directory.path().join("chancery.db"),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_migrate_at_once_on_postgres() {
    let url = super::server::fresh_database().await.into();
    replicas_migrate_at_once(Database::Postgres {
        url,
        connections: 2,
    })
    .await;
}
