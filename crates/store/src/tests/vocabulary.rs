//! Words that grow are rows: what has none is refused, and a row is all that a new word takes.

use super::super::*;
use super::conflicts::conflicts;
use super::place::Place;
use super::world::*;

async fn admit(place: &Place, vocabulary: &str, word: &str) {
    let sql = format!("INSERT INTO {vocabulary} (word) VALUES ('{word}')");
    assert_eq!(place.raw(&sql).await.unwrap(), 1);
}

async fn learnt(place: &Place, vocabulary: &str, word: &str, change: Change, refused: Subject) {
    conflicts(place, change.clone(), refused).await;
    admit(place, vocabulary, word).await;
    place.change(change).await.unwrap();
}

pub async fn unknown_word_is_refused_until_it_has_a_row(place: Place) {
    let first = place.open_ring("atp").await;
    let unknown = Subject::Constraint;
    // This program writes no others; the schema would take them.
    for vocabulary in ["algorithm", "key_spec", "usage"] {
        let words = ["algorithm", "key_spec", "usage"].map(|column| match column == vocabulary {
            true => "'new'",
            false => column,
        });
        let [algorithm, key_spec, usage] = words;
        let sql = format!(
            "INSERT INTO ring (name, algorithm, key_spec, usage, created_at, version)
             SELECT 'new-{vocabulary}', {algorithm}, {key_spec}, {usage}, 0, 1 FROM ring
             WHERE name = 'atp'"
        )
        .replace("new-key_spec", "new-key-spec");
        place.refuses(&sql).await;
        admit(&place, vocabulary, "new").await;
        assert_eq!(place.raw(&sql).await.unwrap(), 1);
    }
    // And whoever reads them leaves out these rows alone.
    let rings = place.store.rings().await.unwrap();
    assert_eq!(rings.read.len(), 1);
    let why: Vec<&str> = rings.unreadable.iter().map(|row| &*row.why).collect();
    let expected = [
        r#"ring.algorithm is "new""#,
        r#"ring.key_spec is "new""#,
        r#"ring.usage is "new""#,
    ];
    assert_eq!(why, expected);
    let grant = "INSERT INTO credential (kind, value, principal, roles, created_at)
         VALUES ('new', 'value', 'somebody', '[]', 0)";
    place.refuses(grant).await;
    admit(&place, "credential_kind", "new").await;
    assert_eq!(place.raw(grant).await.unwrap(), 1);
    let credentials = place.store.credentials().await.unwrap();
    let expected = UnreadableRow {
        table: "credential",
        key: "new value".to_owned(),
        why: r#"credential.kind is "new""#.to_owned(),
    };
    assert_eq!(credentials.unreadable, [expected]);

    let lines = [line("log/new", 1)];
    let new = propose(ceremony("new", "new", None), &lines);
    learnt(&place, "operation", "new", new, unknown).await;

    place.approved_on("stop", "revoke", "atp", "atp-1").await;
    let stop = place.revoke("stop", "atp", &first, "new", None).await;
    learnt(&place, "revocation_reason", "new", stop, unknown).await;

    place.approved("birth", "atp").await;
    let elsewhere = KeyObjectRow {
        kind: "new".parse().unwrap(),
        ..object("birth", "atp", 2)
    };
    let birth = intend(elsewhere);
    learnt(&place, "location_kind", "new", birth, Subject::KeyObject).await;

    // The program knows the purposes of signatures that it takes; the schema does too.
    let sql = format!(
        "INSERT INTO ceremony_signature (ceremony, purpose, body, signature, received_at, idx)
         SELECT id, 'new', request, 's', 0, 1000 FROM ceremony WHERE id = '{}'",
        digest("birth")
    );
    place.refuses(&sql).await;
    admit(&place, "signature_purpose", "new").await;
    assert_eq!(place.raw(&sql).await.unwrap(), 1);

    let document = |number: u8, kind: &str| {
        format!(
            "INSERT INTO trust_document (place, kind, version, body)
             SELECT {number}, '{kind}', 1, request FROM ceremony WHERE id = '{}'",
            digest("birth")
        )
    };
    assert_eq!(place.raw(&document(0, "genesis")).await.unwrap(), 1);
    place.refuses(&document(1, "new")).await;
    admit(&place, "document_kind", "new").await;
    assert_eq!(place.raw(&document(1, "new")).await.unwrap(), 1);

    let new = async || place.store.commit(&Change::Record, &leaf("new")).await;
    let refused = new().await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    let size = place.store.log_size().await.unwrap();
    admit(&place, "leaf_kind", "new").await;
    assert_eq!(new().await.unwrap(), size);
    // A batch by a hand, one word of which is unknown.
    place
        .refuses(
            "INSERT INTO log_leaf (idx, time, kind, body)
                SELECT size, 0, 'new', '{}' FROM log_head
                UNION ALL SELECT size + 1, 0, 'rumour', '{}' FROM log_head",
        )
        .await;
}
