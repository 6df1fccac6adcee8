//! Finding what was written.

use super::super::*;
use super::place::Place;
use super::world::*;

pub async fn occurrence_is_the_earliest(place: Place) {
    let first = place.open_ring("atp").await;
    let size = place.store.log_size().await.unwrap();
    let mut batch: Vec<_> = ["a", "b", "a", "c"]
        .iter()
        .map(|name| signature(&first, "atp", name))
        .collect();
    batch[2].leaf.time = NOW + 9;
    place.store.commit_signatures(&batch).await.unwrap();
    let asked = [digest("b"), digest("nothing"), digest("a")];
    let mut found = place.store.occurrences(&asked).await.unwrap();
    found.sort_by_key(|occurrence| occurrence.index);
    let occurrence = |name: &str, index| Occurrence {
        sig_hash: digest(name),
        index,
        time: NOW,
        kid: first.clone(),
    };
    assert_eq!(found, [occurrence("a", size), occurrence("b", size + 1)]);
    assert_eq!(place.store.occurrences(&[]).await.unwrap(), []);
}

pub async fn leaves_are_found_by_what_they_tell(place: Place) {
    let one = place.open_ring("atp").await;
    let two = place.open_ring("oauth").await;
    let start = place.store.log_size().await.unwrap();
    let mut batch = Vec::new();
    for n in 0..10 {
        let (kid, ring) = if n % 2 == 0 {
            (&one, "atp")
        } else {
            (&two, "oauth")
        };
        let mut record = signature(kid, ring, &format!("s{n}"));
        record.leaf.time = NOW + n;
        batch.push(record);
    }
    place.store.commit_signatures(&batch).await.unwrap();
    place.change(Change::Record).await.unwrap();
    let indexes = async |filter: LeafFilter, limit| -> Vec<i64> {
        let found = place.store.leaves_of(&filter, limit).await.unwrap();
        found.iter().map(|leaf| leaf.index - start).collect()
    };
    let from = LeafFilter {
        from_index: start,
        ..LeafFilter::default()
    };
    let of_one = LeafFilter {
        kid: Some(one.clone()),
        ..from.clone()
    };
    assert_eq!(indexes(of_one.clone(), 99).await, [0, 2, 4, 6, 8]);
    assert_eq!(indexes(of_one.clone(), 2).await, [0, 2]);
    let since = LeafFilter {
        since: NOW + 3,
        until: NOW + 6,
        ..of_one.clone()
    };
    assert_eq!(indexes(since, 99).await, [4, 6]);
    let of_ring = LeafFilter {
        ring: Some("oauth".into()),
        ..from.clone()
    };
    assert_eq!(indexes(of_ring, 3).await, [1, 3, 5]);
    let acts = LeafFilter {
        acts_only: true,
        ..from.clone()
    };
    assert_eq!(indexes(acts, 99).await, [10]);
    let late = LeafFilter {
        since: NOW + 8,
        ..from
    };
    assert_eq!(indexes(late, 99).await, [8, 9]);
    let several = LeafFilter {
        ring: Some("atp".into()),
        from_index: start + 5,
        ..of_one
    };
    assert_eq!(indexes(several, 99).await, [6, 8]);
    assert_eq!(place.store.leaves(start, 2).await.unwrap().len(), 2);
    assert_eq!(place.store.leaves(start, -1).await.unwrap().len(), 0);
    assert!(place.store.leaf(start + 11).await.unwrap().is_none());
}

pub async fn signatures_are_counted_by_day(place: Place) {
    const DAY: i64 = 86_400_000;
    let one = place.open_ring("atp").await;
    let two = place.open_ring("oauth").await;
    let start = place.store.log_size().await.unwrap();
    let midnight = NOW / DAY * DAY + DAY;
    let mut batch = Vec::new();
    for (n, time) in [-2, -1, 0, 1, DAY].into_iter().enumerate() {
        for (kid, ring) in [(&one, "atp"), (&two, "oauth")] {
            let mut record = signature(kid, ring, &format!("{ring}{n}"));
            record.leaf.time = midnight + time;
            batch.push(record);
        }
    }
    place.store.commit_signatures(&batch).await.unwrap();
    let counted = place.store.signatures_by_day(&one, midnight - 1).await;
    let day = |day, signatures, indexes: [i64; 2], times: [i64; 2]| DayRow {
        day: midnight / DAY + day,
        signatures,
        first_index: start + indexes[0],
        last_index: start + indexes[1],
        first_time: midnight + times[0],
        last_time: midnight + times[1],
    };
    // The keys' births and activations are leaves with their kid, and are not counted.
    assert_eq!(
        counted.unwrap(),
        [
            day(-1, 1, [2, 2], [-1, -1]),
            day(0, 2, [4, 6], [0, 1]),
            day(1, 1, [8, 8], [DAY, DAY]),
        ]
    );
    let all = place.store.signatures_by_day(&one, 0).await.unwrap();
    assert_eq!(all.iter().map(|day| day.signatures).sum::<i64>(), 5);
    let nobody = place.store.signatures_by_day("nobody", 0).await;
    assert_eq!(nobody.unwrap(), []);
}

/// Of every subject; that none is left out is the next test.
const ALL_STATEMENTS: &[&[&str]] = &[
    acts::STATEMENTS,
    alerts::STATEMENTS,
    alerts_counted::STATEMENTS,
    archive::STATEMENTS,
    assets::STATEMENTS,
    blast_radius::STATEMENTS,
    ceremonies::STATEMENTS,
    ceremony_pages::STATEMENTS,
    ceremony_signatures::STATEMENTS,
    checkpoints::STATEMENTS,
    crate::compromise::STATEMENTS,
    clock_correction::STATEMENTS,
    credentials::STATEMENTS,
    emergency_lines::STATEMENTS,
    executions::STATEMENTS,
    idempotency::STATEMENTS,
    jobs::STATEMENTS,
    index::STATEMENTS,
    inventory::STATEMENTS,
    keys::STATEMENTS,
    leases::STATEMENTS,
    leaves::STATEMENTS,
    lines::STATEMENTS,
    log_head::STATEMENTS,
    crate::new_origin::STATEMENTS,
    notices::STATEMENTS,
    objects::STATEMENTS,
    order_fence::STATEMENTS,
    orders::STATEMENTS,
    stops::STATEMENTS,
    outbox::STATEMENTS,
    outbox_alerts::STATEMENTS,
    passkeys::STATEMENTS,
    propagation::STATEMENTS,
    recover::STATEMENTS,
    rings::STATEMENTS,
    rotation_events::STATEMENTS,
    rotation_lease::STATEMENTS,
    rotation_reports::STATEMENTS,
    rotation_steps::STATEMENTS,
    rotation_told::STATEMENTS,
    rotation_policies::STATEMENTS,
    tree::STATEMENTS,
    trust_documents::STATEMENTS,
    trust_statements::STATEMENTS,
    usage::STATEMENTS,
    versions::STATEMENTS,
];

#[test]
fn every_subject_lists_its_statements() {
    let sources = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    let files = sources.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let with = files.filter(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().any(|line| line == "statements! {")
    });
    assert_eq!(with.count(), ALL_STATEMENTS.len());
}

/// Those of both engines, and what the engine of this place writes in its own way.
pub(super) fn every_statement(place: &Place) -> Vec<&'static str> {
    use super::super::engine::{Dialect, Engine};
    let dialect = |dialect: Dialect| {
        [
            dialect.known_answers,
            dialect.occurrences,
            dialect.occurrences_in,
            dialect.occurrences_at,
            dialect.transcripts,
            dialect.signatures_of,
            dialect.fill_index,
            dialect.leaves_of_kid,
            dialect.leaves_of_order,
            dialect.emergency_leaves,
            dialect.last_emergency,
            dialect.leaves_of_ceremony,
            dialect.decisions,
            dialect.leaves_at,
            dialect.ceremonies_of,
            dialect.keys_of,
            dialect.objects,
            dialect.acts_of,
            dialect.accepted_of,
            dialect.insert_acts,
            dialect.insert_accepted,
            dialect.forget_answers,
            dialect.emergency.stop_lines,
            dialect.emergency.rotation_lines,
            dialect.emergency.stops_before,
            dialect.emergency.rotations_before,
            dialect.emergency.ends_after,
            dialect.emergency.last_before,
            dialect.has_migrations,
            dialect.take_lease,
            dialect.executions.take,
            dialect.executions.renew,
            dialect.executions.settle,
            dialect.executions.held,
            dialect.rotations.now,
            dialect.rotations.take_event,
            dialect.rotations.hold_event,
            dialect.rotations.due_events,
            dialect.rotations.begin_run,
            dialect.rotations.take_run,
            dialect.rotations.hold_run,
            dialect.assets.of,
            dialect.assets.insert,
            dialect.assets.insert_versions,
        ]
    };
    let own = match &place.store.engine {
        database::AnyEngine::Sqlite(_) => {
            let head = [sqlite::HEAD.take, sqlite::HEAD.look];
            let bulk = sqlite::bulk::LEAVES
                .all()
                .into_iter()
                .chain(sqlite::bulk::ANSWERS.all())
                .chain(head);
            dialect(sqlite::SqliteEngine::DIALECT)
                .into_iter()
                .chain(bulk)
                .collect::<Vec<_>>()
        }
        database::AnyEngine::Postgres(_) => {
            let bulk = [
                postgres::INSERT_LEAVES,
                postgres::INSERT_ANSWERS,
                postgres::ACTIVE_OF,
                postgres::HEAD.take,
                postgres::HEAD.look,
                postgres::HEAD_BY_INDEX.take,
                postgres::HEAD_BY_INDEX.look,
            ];
            dialect(postgres::PostgresEngine::DIALECT)
                .into_iter()
                .chain(bulk)
                .collect()
        }
    };
    ALL_STATEMENTS
        .iter()
        .copied()
        .flatten()
        .copied()
        .chain(own)
        .collect()
}

pub async fn every_statement_prepares(place: Place) {
    use sqlx::{Executor, SqlSafeStr};
    for sql in every_statement(&place) {
        let text = sql.into_sql_str();
        match &place.store.engine {
            database::AnyEngine::Sqlite(engine) => engine.readers.prepare(text).await.map(drop),
            database::AnyEngine::Postgres(engine) => engine.pool.prepare(text).await.map(drop),
        }
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
