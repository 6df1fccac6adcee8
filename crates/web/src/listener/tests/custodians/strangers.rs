//! Whoever is no member: what they learn, and what they cost.

use super::*;

/// A copy of a table that nothing finds any more. Whoever reads it fails.
async fn put_away(fixture: &Fixture, tables: &[&str]) {
    for table in tables {
        let sql = format!("ALTER TABLE {table} RENAME TO away_{table}");
        fixture.place.raw(&sql).await.unwrap();
    }
}

async fn put_back(fixture: &Fixture, tables: &[&str]) {
    for table in tables.iter().rev() {
        let sql = format!("ALTER TABLE away_{table} RENAME TO {table}");
        fixture.place.raw(&sql).await.unwrap();
    }
}

const PURPOSES: [Purpose; 7] = [
    Purpose::Approve,
    Purpose::Reject,
    Purpose::Cancel,
    Purpose::Accept,
    Purpose::Note,
    Purpose::Exception,
    Purpose::Witness,
];

/// What somebody sends without having read anything, in the form that is expected.
fn blind(fixture: &Fixture, who: &str, purpose: Purpose) -> Value {
    let signature = fixture.signed(who, purpose, b"whatever it may be");
    let mut body = json!({"purpose": purpose.word(), "signature": signature});
    match purpose {
        Purpose::Reject | Purpose::Cancel => body["reason"] = json!("no"),
        Purpose::Note => body["note"] = json!("seen"),
        Purpose::Exception | Purpose::Witness => body["body"] = json!("{}"),
        _ => {}
    }
    body
}

/// All of an answer that is about the ceremony.
fn told(answered: &Answered) -> (u16, String, Value) {
    let code = answered.code();
    (
        answered.status.as_u16(),
        code,
        answered.json()["detail"].clone(),
    )
}

/// The keys of members are public, so a stranger sends signatures that name them.
#[tokio::test]
async fn threat_a_stranger_learns_by_posting_whether_a_ceremony_exists() {
    let fixture = service().await;
    let open = fixture.open().await;
    fixture.wait(1);
    let ended = fixture.open().await;
    let rejected = fixture.objection("alice", Purpose::Reject, &ended, "no");
    assert_eq!(fixture.submit(&ended, rejected).await.status, 200);
    fixture.wait(1);
    let done = fixture.open().await;
    for who in ["alice", "bob"] {
        let approval = fixture.approval(who, &done).await;
        assert_eq!(fixture.submit(&done, approval).await.status, 200);
    }
    fixture.execute(&done).await;
    let none = Sha256Digest::of(b"none").to_string();
    for who in ["mallory", "erin", "alice"] {
        for purpose in PURPOSES {
            let body = blind(&fixture, who, purpose);
            let expected = told(
                &fixture
                    .refuses(&none, body.clone(), "signature_not_counted")
                    .await,
            );
            for id in [&open, &ended, &done] {
                let answered = fixture.refuses(id, body.clone(), "signature_not_counted");
                assert_eq!(told(&answered.await), expected, "{who} {purpose:?}");
            }
        }
    }
    // A member who really signed is told.
    for (id, code) in [(&none, "unknown_ceremony"), (&ended, "ceremony_state")] {
        let rejected = fixture.objection("alice", Purpose::Reject, id, "no");
        fixture.refuses(id, rejected, code).await;
        let note = fixture.note_of("dave", id, "seen");
        fixture.refuses(id, note, code).await;
    }
    let approval = fixture.approval("alice", &ended).await;
    fixture.refuses(&ended, approval, "ceremony_state").await;
}

#[tokio::test]
async fn threat_strangers_have_rosters_walked_and_votes_counted() {
    let fixture = service().await;
    let id = fixture.open().await;
    let path = format!("/v1/ceremonies/{id}/signatures");
    let request = fixture.request("records", fixture.generate()).await;
    let request = String::from_utf8(request.encode().unwrap()).unwrap();
    let refused = async |who: &str| {
        for purpose in PURPOSES {
            let body = blind(&fixture, who, purpose).to_string();
            let answered = fixture.post(&path, body).await;
            assert_eq!(
                answered.code(),
                "signature_not_counted",
                "{who} {purpose:?}"
            );
        }
        let signature = fixture.signed(who, Purpose::Propose, b"another");
        let body = json!({"request": request, "signature": signature});
        let answered = fixture.post(LIST, body.to_string()).await;
        assert_eq!(answered.code(), "request_refused", "{who}");
    };
    // With a key of nobody not one statement is asked.
    let all = [
        "trust_document",
        "ceremony_signature",
        "ceremony_line",
        "ceremony",
    ];
    put_away(&fixture, &all).await;
    refused("mallory").await;
    refused("erin").await;
    put_back(&fixture, &all).await;
    // With the name of a member's key it is the row alone.
    put_away(&fixture, &all[..3]).await;
    refused("alice").await;
    // Whose signature it is gets further.
    let genuine = fixture.objection("alice", Purpose::Reject, &id, "no");
    let answered = fixture.post(&path, genuine.to_string()).await;
    assert!(answered.status.is_server_error(), "{}", answered.status);
    put_back(&fixture, &all[..3]).await;
    assert_eq!(fixture.submit(&id, genuine).await.status, 200);
}

/// A closed ceremony says everything itself, and is made once.
#[tokio::test]
async fn threat_a_closed_ceremony_is_counted_anew_for_each_who_asks() {
    let fixture = service().await;
    let of = |ring: &str| {
        let keys = fixture.state.services.keys.current();
        keys.rings[ring].keys[0].ceremony.to_string()
    };
    let (first, second) = (of("records"), of("digests"));
    let others = ["trust_document", "ceremony_signature"];
    put_away(&fixture, &others).await;
    let answered = fixture.get(&one(&first)).await;
    assert_eq!(answered.status, 200, "{}", answered.json());
    let closed = answered.json();
    assert_eq!(closed["ceremony"]["state"], "closed");
    assert_eq!(closed["ceremony"]["standing"], "finished");
    assert_eq!(closed["ceremony"]["approved_by"], json!(["alice", "bob"]));
    assert_eq!(closed["ceremony"]["accepted_by"], json!(["alice", "bob"]));
    assert_eq!(closed["ceremony"]["acceptances_needed"], 2);
    put_away(&fixture, &["ceremony"]).await;
    let again = fixture.get(&one(&first)).await;
    assert_eq!((again.status, again.body), (answered.status, answered.body));
    let other = fixture.get(&one(&second)).await;
    assert!(other.status.is_server_error(), "{}", other.status);
}

/// A proposal that is withdrawn is no open one, but its row and its leaves stay.
#[tokio::test]
async fn threat_a_member_proposes_and_withdraws_without_end() {
    let fixture = service().await;
    let now = fixture.now().millis();
    let before = format!(
        "WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 98)
            INSERT INTO ceremony (id, operation, ring, state, nonce, request, created_at, updated_at, proposer, filed_at)
            SELECT printf('%064x', n), 'generate', 'records', 'draft', printf('%032x', n), x'7b7d', {now}, {now},
                'carol', {now} FROM series"
    );
    fixture.place.raw(&before).await.unwrap();
    let propose = async || {
        fixture.wait_millis(1);
        let request = fixture.request("records", fixture.generate()).await;
        let bytes = request.encode().unwrap();
        let body = json!({
            "request": String::from_utf8(bytes.clone()).unwrap(),
            "signature": fixture.signed("carol", Purpose::Propose, &bytes),
        });
        fixture.post(LIST, body.to_string()).await
    };
    // One of them Carol proposed herself, for the ring of digests.
    let hundredth = propose().await;
    assert_eq!(hundredth.status, 200, "{}", hundredth.json());
    let id = hundredth.json()["ceremony"].as_str().unwrap().to_owned();
    let cancelled = fixture.objection("carol", Purpose::Cancel, &id, "a mistake");
    assert_eq!(fixture.submit(&id, cancelled).await.status, 200);
    let world = fixture.world().await;
    let refused = propose().await;
    assert_eq!(refused.code(), "quota_exceeded", "{}", refused.json());
    assert_eq!(fixture.world().await, world);
    fixture.wait(24 * 60);
    assert_eq!(propose().await.status, 200);
}

/// What is on no page is not parsed, and neither is what another proposed.
#[tokio::test]
async fn a_list_reads_what_it_shows_and_one_more() {
    let fixture = service().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        fixture.wait(1);
        ids.push(fixture.open().await);
    }
    // The oldest could not be parsed.
    for sql in [
        "DROP TRIGGER ceremony_immutable".to_owned(),
        "DROP TRIGGER ceremony_proposer_immutable".to_owned(),
        format!(
            "UPDATE ceremony SET request = x'00' WHERE id = '{}'",
            ids[0]
        ),
    ] {
        fixture.place.raw(&sql).await.unwrap();
    }
    let unreadable = async |query: &str| {
        let answered = fixture.get_as(OPERATOR, &format!("{LIST}?{query}")).await;
        answered.json()["unreadable"].clone()
    };
    for query in ["state=open&limit=2", "limit=2", "ring=records&limit=2"] {
        assert_eq!(unreadable(query).await, json!([]), "{query}");
    }
    assert_eq!(unreadable("state=open").await, json!([ids[0]]));
    assert_eq!(unreadable("state=open&proposer=bob").await, json!([]));
    assert_eq!(
        unreadable("state=open&proposer=carol").await,
        json!([ids[0]])
    );
}
