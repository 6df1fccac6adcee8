//! Whoever tries to have their way without a quorum.

use super::*;

#[tokio::test]
async fn threat_a_read_signature_is_replayed_used_for_another_path_or_late() {
    let fixture = service().await;
    let id = fixture.open().await;
    let (path, now) = (one(&id), fixture.now());
    let headers = fixture.read_headers("alice", &path, now);
    assert_eq!(fixture.get_by(&path, headers.clone()).await.status, 200);
    for (what, path, headers) in [
        ("replayed", path.clone(), headers.clone()),
        (
            "another path",
            LIST.to_owned(),
            fixture.read_headers("alice", &path, now),
        ),
        (
            "another query",
            format!("{LIST}?limit=2"),
            fixture.read_headers("alice", LIST, now),
        ),
        (
            "late",
            path.clone(),
            fixture.read_headers(
                "alice",
                &path,
                Time::from_millis(now.millis() - read::VALID_MILLIS - 1),
            ),
        ),
        (
            "early",
            path.clone(),
            fixture.read_headers(
                "alice",
                &path,
                Time::from_millis(now.millis() + read::AHEAD_MILLIS + 1),
            ),
        ),
        (
            "nobody's",
            path.clone(),
            fixture.read_headers("mallory", &path, now),
        ),
        (
            "a former member's",
            path.clone(),
            fixture.read_headers("erin", &path, now),
        ),
    ] {
        let answered = fixture.get_by(&path, headers).await;
        assert_eq!(answered.code(), "invalid_credentials", "{what}");
    }
    // For another purpose, and at another instant than the one that was signed.
    let request = fixture.ceremonies().request(&id).await.unwrap().0;
    let approval = fixture.signed("alice", Purpose::Approve, &request);
    let [time, (name, _)] = fixture.read_headers("alice", &path, now);
    let approval = trust::base64url::encode(approval.as_bytes());
    let answered = fixture.get_by(&path, [time, (name, approval)]).await;
    assert_eq!(answered.code(), "invalid_credentials");
    let [(name, _), signature] = fixture.read_headers("bob", &path, now);
    let other = Time::from_millis(now.millis() + 1).to_string();
    let answered = fixture.get_by(&path, [(name, other), signature]).await;
    assert_eq!(answered.code(), "invalid_credentials");
    // All of them were counted.
    assert_eq!(fixture.strangers_refused().await["count"], 9);
    // At the end of its time it still holds.
    let last = Time::from_millis(now.millis() - read::VALID_MILLIS);
    let answered = fixture
        .get_by(&path, fixture.read_headers("bob", &path, last))
        .await;
    assert_eq!(answered.status, 200);
}

#[tokio::test]
async fn threat_whether_an_open_ceremony_exists_is_learned_by_nobody_else() {
    let fixture = service().await;
    let id = fixture.open().await;
    let none = Sha256Digest::of(b"none").to_string();
    for part in ["", "/request", "/statement"] {
        for id in [id.as_str(), &none, "x"] {
            let path = format!("{}{part}", one(id));
            assert_eq!(fixture.get(&path).await.code(), "unauthenticated", "{path}");
            let answered = fixture.get_as(SIGNER, &path).await;
            assert_eq!(answered.code(), "forbidden", "{path}");
        }
        let answered = fixture
            .get_as(OPERATOR, &format!("{}{part}", one(&none)))
            .await;
        assert_eq!(answered.code(), "unknown_ceremony");
    }
    assert_eq!(
        fixture
            .get_as(OPERATOR, &format!("{}/statement", one(&id)))
            .await
            .code(),
        "ceremony_state"
    );
    assert_eq!(
        fixture.get("/v1/ceremonies/waiting").await.code(),
        "unauthenticated"
    );
    assert_eq!(
        fixture.get("/v1/ceremonies/events").await.code(),
        "unauthenticated"
    );
}

#[tokio::test]
async fn threat_a_header_of_a_read_signature_is_malformed() {
    let fixture = service().await;
    let [time, signature] = fixture.read_headers("alice", LIST, fixture.now());
    for (headers, member) in [
        (
            [time.clone(), ("chancery-signature", "!".to_owned())],
            "chancery-signature",
        ),
        (
            [time.clone(), ("chancery-signature", "AAAA".to_owned())],
            "chancery-signature",
        ),
        (
            [time.clone(), ("chancery-signature", "A".repeat(9_000))],
            "chancery-signature",
        ),
        (
            [("chancery-time", "now".to_owned()), signature.clone()],
            "chancery-time",
        ),
        ([time.clone(), time.clone()], "chancery-time"),
        ([("x", String::new()), time.clone()], "chancery-signature"),
        ([("x", String::new()), signature], "chancery-time"),
    ] {
        let answered = fixture.get_by(LIST, headers).await;
        assert_eq!(answered.code(), "bad_header");
        assert_eq!(answered.member(), member);
    }
}

#[tokio::test]
async fn threat_a_proposal_in_anothers_name_or_for_elsewhere_is_filed() {
    let fixture = service().await;
    let good = fixture.request("records", fixture.generate()).await;
    let propose = |request: &trust::Request, who: &str, purpose| {
        let bytes = request.encode().unwrap();
        let body = json!({
            "request": String::from_utf8(bytes.clone()).unwrap(),
            "signature": fixture.signed(who, purpose, &bytes),
        });
        fixture.post(LIST, body.to_string())
    };
    let mut elsewhere = good.clone();
    elsewhere.environment = "staging".parse().unwrap();
    let mut stranger = good.clone();
    stranger.proposer = Some("mallory".parse().unwrap());
    let mut late = good.clone();
    late.created_at = Time::from_millis(fixture.now().millis() - 7_200_001);
    late.approve_by = Time::from_millis(fixture.now().millis() - 7_200_000);
    late.execute_by = Time::from_millis(fixture.now().millis() - 1);
    let mut hidden = good.clone();
    hidden.reason = "safe\u{202e}".to_owned();
    let mut again = good.clone();
    again.lines[0].sequence += 1;
    let mut rolled_back = good.clone();
    rolled_back.roster.version += 1;
    let before = fixture.world().await;
    for (request, who, purpose, code) in [
        (&good, "alice", Purpose::Propose, "request_refused"),
        (&good, "carol", Purpose::Approve, "request_refused"),
        (&elsewhere, "carol", Purpose::Propose, "request_refused"),
        (&stranger, "mallory", Purpose::Propose, "request_refused"),
        (&late, "carol", Purpose::Propose, "request_refused"),
        (&hidden, "carol", Purpose::Propose, "request_refused"),
        (&again, "carol", Purpose::Propose, "request_refused"),
        (&rolled_back, "carol", Purpose::Propose, "request_refused"),
    ] {
        let answered = propose(request, who, purpose).await;
        let expected = answered.code() == code || answered.code() == "ceremony_expired";
        assert!(expected, "{}", answered.json());
    }
    assert_eq!(fixture.world().await, before);
    assert_eq!(propose(&good, "carol", Purpose::Propose).await.status, 200);
    // A replay.
    let before = fixture.world().await;
    assert_eq!(
        propose(&good, "carol", Purpose::Propose).await.code(),
        "ceremony_state"
    );
    assert_eq!(fixture.world().await, before);
}

#[tokio::test]
async fn threat_a_signature_of_another_kind_person_or_ceremony_is_counted() {
    let fixture = service().await;
    let id = fixture.open().await;
    fixture.wait(1);
    let other = fixture.open().await;
    let refused = "signature_not_counted";
    let approve = |signature: String| json!({"purpose": "approve", "signature": signature});
    let request = fixture.ceremonies().request(&id).await.unwrap().0;
    for (what, signature) in [
        (
            "the proposer's own",
            fixture.signed("carol", Purpose::Approve, &request),
        ),
        (
            "an operator's",
            fixture.signed("dave", Purpose::Approve, &request),
        ),
        (
            "a former member's",
            fixture.signed("erin", Purpose::Approve, &request),
        ),
        (
            "a stranger's",
            fixture.signed("mallory", Purpose::Approve, &request),
        ),
        (
            "of another purpose",
            fixture.signed("alice", Purpose::Accept, &request),
        ),
        ("over another request", {
            let other = fixture.ceremonies().request(&other).await.unwrap().0;
            fixture.signed("alice", Purpose::Approve, &other)
        }),
        ("of another environment", {
            let namespace = "chancery/approve.v1@seal/staging".to_owned();
            let bytes = dsse::pae(&namespace, &request);
            fixture.sign_as("alice", &SigningPayload { namespace, bytes })
        }),
        ("no signature", "-----BEGIN SSH SIGNATURE-----".to_owned()),
        ("empty", String::new()),
    ] {
        let answered = fixture.refuses(&id, approve(signature), refused).await;
        assert_eq!(answered.member(), "signature", "{what}");
    }
    let approval = fixture.approval("alice", &id).await;
    assert_eq!(fixture.submit(&id, approval.clone()).await.status, 200);
    // The same one again, and the same person again.
    fixture.refuses(&id, approval, refused).await;
    let cancelled = fixture.objection("alice", Purpose::Cancel, &id, "mine now");
    fixture.refuses(&id, cancelled, refused).await;
    let rejected = fixture.objection("dave", Purpose::Reject, &id, "no");
    fixture.refuses(&id, rejected, refused).await;
    // A rejection of another ceremony.
    let rejected = fixture.objection("bob", Purpose::Reject, &other, "no");
    fixture.refuses(&id, rejected, refused).await;
    // Nothing was executed yet.
    let accepted =
        json!({"purpose": "accept", "signature": fixture.signed("bob", Purpose::Accept, &request)});
    fixture.refuses(&id, accepted, refused).await;
    // Anybody can be refused without end: it is one leaf.
    assert!(fixture.leaves("refusal").await.is_empty());
    assert_eq!(fixture.strangers_refused().await["count"], 14);
}

#[tokio::test]
async fn threat_approvals_are_short_of_the_quorum_and_a_key_is_accepted_that_nobody_approved() {
    let fixture = service().await;
    let id = fixture.open().await;
    assert_eq!(
        fixture
            .submit(&id, fixture.approval("alice", &id).await)
            .await
            .status,
        200
    );
    let executor = fixture.token.executor();
    let snapshot = fixture.state.services.keys.current();
    let ceremonies = fixture.ceremonies();
    let executed = ceremonies.execute(&id, Some(&executor), &snapshot).await;
    assert!(executed.is_err());
    assert_eq!(fixture.state_of(&id).await, "proposed");
    // What stands in the row does not help: approvals fabricated in the database by its superuser are none.
    let raised = format!("UPDATE ceremony SET state = 'approved' WHERE id = '{id}'");
    fixture.place.raw(&raised).await.unwrap();
    let executed = ceremonies.execute(&id, Some(&executor), &snapshot).await;
    assert!(executed.is_err());
    let shown = fixture.get_as(OPERATOR, &one(&id)).await.json();
    assert_eq!(
        shown["ceremony"]["standing"],
        "waiting for 1 more approval(s)"
    );
}

#[tokio::test]
async fn threat_the_request_is_changed_after_it_was_proposed() {
    let fixture = service().await;
    let id = fixture.open().await;
    let approval = fixture.approval("alice", &id).await;
    for sql in [
        "DROP TRIGGER ceremony_immutable".to_owned(),
        format!(
            "UPDATE ceremony SET request = CAST(replace(CAST(request AS TEXT), 'a test', 'a jest') AS BLOB) WHERE id = '{id}'"
        ),
    ] {
        fixture.place.raw(&sql).await.unwrap();
    }
    // It is no signature over what stands there, and a rejection is over the id.
    fixture
        .refuses(&id, approval, "signature_not_counted")
        .await;
    let rejected = fixture.objection("alice", Purpose::Reject, &id, "no");
    fixture.refuses(&id, rejected, "request_refused").await;
    assert_eq!(
        fixture.get_as(OPERATOR, &one(&id)).await.code(),
        "request_refused"
    );
    let listed = fixture.get_as(OPERATOR, LIST).await.json();
    assert_eq!(listed["unreadable"], json!([id]));
}

#[tokio::test]
async fn threat_the_key_is_swapped_between_execution_and_acceptance() {
    let fixture = service().await;
    let id = fixture.open().await;
    for who in ["alice", "bob"] {
        fixture.submit(&id, fixture.approval(who, &id).await).await;
    }
    fixture.execute(&id).await;
    let good = fixture.acceptance("alice", &id).await;
    // An acceptance of one statement is none of another.
    let mut other = fixture.ceremonies().statement(&id).await.unwrap();
    let last = other.len() - 1;
    other[last] = b' ';
    let signature = fixture.signed("alice", Purpose::Accept, &other);
    let wrong = json!({"purpose": "accept", "signature": signature});
    fixture.refuses(&id, wrong, "signature_not_counted").await;
    let by_proposer = fixture.acceptance("carol", &id).await;
    fixture
        .refuses(&id, by_proposer, "signature_not_counted")
        .await;
    assert_eq!(fixture.submit(&id, good.clone()).await.status, 200);
    fixture.refuses(&id, good, "signature_not_counted").await;
    assert_eq!(fixture.state_of(&id).await, "executed");
}

#[tokio::test]
async fn threat_an_approval_races_a_rejection_and_one_that_is_late_counts() {
    let fixture = service().await;
    let id = fixture.open().await;
    let approvals = [
        fixture.approval("alice", &id).await,
        fixture.approval("bob", &id).await,
    ];
    let rejection = fixture.objection("alice", Purpose::Reject, &id, "not now");
    let [first, second] = approvals;
    let (a, b, c) = tokio::join!(
        fixture.submit(&id, first),
        fixture.submit(&id, second),
        fixture.submit(&id, rejection)
    );
    for answered in [a, b] {
        let refused = answered.status != 200;
        assert!(
            !refused || answered.code() == "ceremony_state",
            "{}",
            answered.json()
        );
    }
    // Whichever order: either the rejection came before the end, or it was told to come again.
    if c.status == 200 {
        assert_eq!(fixture.state_of(&id).await, "rejected");
    } else {
        assert_eq!(c.code(), "ceremony_state");
        let again = fixture.objection("alice", Purpose::Reject, &id, "not now");
        let again = fixture.submit(&id, again).await;
        assert!(again.status == 200 || again.code() == "ceremony_state");
    }
    let executor = fixture.token.executor();
    let snapshot = fixture.state.services.keys.current();
    let ceremonies = fixture.ceremonies();
    assert!(
        ceremonies
            .execute(&id, Some(&executor), &snapshot)
            .await
            .is_err()
    );

    // The deadline: one millisecond decides.
    let id = fixture.open().await;
    let approval = fixture.approval("alice", &id).await;
    let late = fixture.approval("bob", &id).await;
    fixture.wait(60);
    assert_eq!(fixture.submit(&id, approval).await.status, 200);
    fixture.wait_millis(1);
    fixture.refuses(&id, late, "ceremony_expired").await;
    // It is ended, once.
    let ceremonies = &fixture.state.services.ceremonies;
    let (one, other) = tokio::join!(ceremonies.expire(), ceremonies.expire());
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    assert_eq!(ceremonies.expire().await.unwrap(), 0);
    assert_eq!(fixture.state_of(&id).await, "expired");
}

/// What was carried out in time waits for its acceptances, however late they are.
#[tokio::test]
async fn an_executed_ceremony_does_not_expire() {
    let fixture = service().await;
    let id = fixture.open().await;
    for who in ["alice", "bob"] {
        let approval = fixture.approval(who, &id).await;
        assert_eq!(fixture.submit(&id, approval).await.status, 200);
    }
    let executor = fixture.token.executor();
    let snapshot = fixture.state.services.keys.current();
    let ceremonies = fixture.ceremonies();
    let executed = ceremonies.execute(&id, Some(&executor), &snapshot).await;
    executed.unwrap();
    fixture.wait(1_000_000);
    let expired = fixture.state.services.ceremonies.expire().await;
    assert_eq!(expired.unwrap(), 0);
    assert_eq!(fixture.state_of(&id).await, "executed");
}

/// Each line of a request is a look-up, so lines that the operation does not have are not looked up.
#[tokio::test]
async fn threat_a_request_has_as_many_lines_as_fit_into_a_body() {
    let fixture = service().await;
    let id = fixture.open().await;
    let request = fixture.ceremonies().request(&id).await.unwrap().0;
    let mut request = trust::Request::decode(&request).unwrap();
    let line = request.lines[0].clone();
    request.lines = vec![line; 200];
    let bytes = request.encode().unwrap();
    let body = json!({
        "request": String::from_utf8(bytes.clone()).unwrap(),
        "signature": fixture.signed("carol", Purpose::Propose, &bytes),
    });
    let before = fixture.world().await;
    let answered = fixture.post(LIST, body.to_string()).await;
    assert_eq!(answered.code(), "request_refused");
    assert_eq!(fixture.world().await, before);
}

#[tokio::test]
async fn threat_a_text_hides_something_or_is_too_long() {
    let fixture = service().await;
    let id = fixture.open().await;
    let long = "a".repeat(1_001);
    for text in ["", "fine\u{202e}", "a\u{1b}[2J", "a\nb", &long] {
        let note = fixture.note_of("alice", &id, text);
        let answered = fixture.refuses(&id, note, "bad_member").await;
        assert_eq!(answered.member(), "note");
        let rejection = fixture.objection("alice", Purpose::Reject, &id, text);
        let answered = fixture.refuses(&id, rejection, "bad_member").await;
        assert_eq!(answered.member(), "reason");
    }
    let foreign = fixture.note_of("mallory", &id, "I was here");
    fixture.refuses(&id, foreign, "signature_not_counted").await;
    let mut changed = fixture.note_of("alice", &id, "all is well");
    changed["note"] = json!("nothing is well");
    fixture.refuses(&id, changed, "signature_not_counted").await;
    // Nobody takes the room of the others.
    let operator = fixture.note_of("dave", &id, "I operate");
    fixture
        .refuses(&id, operator, "signature_not_counted")
        .await;
    for who in ["alice", "bob", "carol", "wendy"] {
        for number in 0..5 {
            let note = fixture.note_of(who, &id, &format!("note {number}"));
            assert_eq!(fixture.submit(&id, note).await.status, 200);
        }
        let note = fixture.note_of(who, &id, "one too many");
        let answered = fixture.refuses(&id, note, "quota_exceeded").await;
        assert_eq!(answered.member(), "note");
    }
    // The longest that is allowed is the longest that can be kept.
    fixture.wait(1);
    let id = fixture.open().await;
    let longest = "\u{10348}".repeat(1_000);
    let rejection = fixture.objection("alice", Purpose::Reject, &id, &longest);
    assert_eq!(fixture.submit(&id, rejection).await.status, 200);
}

#[tokio::test]
async fn threat_a_member_floods_with_proposals_and_a_body_is_too_large() {
    let fixture = service().await;
    let mut last = None;
    for number in 0..=20 {
        fixture.wait_millis(1);
        let request = fixture.request("records", fixture.generate()).await;
        let bytes = request.encode().unwrap();
        let body = json!({
            "request": String::from_utf8(bytes.clone()).unwrap(),
            "signature": fixture.signed("carol", Purpose::Propose, &bytes),
        });
        let answered = fixture.post(LIST, body.to_string()).await;
        match number {
            20 => assert_eq!(answered.code(), "quota_exceeded"),
            _ => {
                assert_eq!(answered.status, 200, "{}", answered.json());
                last = Some(answered.json()["ceremony"].as_str().unwrap().to_owned());
            }
        }
    }
    // One that is withdrawn makes room.
    let id = last.unwrap();
    let cancelled = fixture.objection("carol", Purpose::Cancel, &id, "a mistake");
    assert_eq!(fixture.submit(&id, cancelled).await.status, 200);
    let request = fixture.request("records", fixture.generate()).await;
    let bytes = request.encode().unwrap();
    let body = json!({
        "request": String::from_utf8(bytes.clone()).unwrap(),
        "signature": fixture.signed("carol", Purpose::Propose, &bytes),
    });
    assert_eq!(fixture.post(LIST, body.to_string()).await.status, 200);

    let before = fixture.world().await;
    let large = json!({"request": "a".repeat(64 << 10), "signature": ""}).to_string();
    assert_eq!(fixture.post(LIST, large).await.code(), "body_too_large");
    let large = json!({"purpose": "approve", "signature": "a".repeat(64 << 10)});
    assert_eq!(fixture.submit(&id, large).await.code(), "body_too_large");
    assert_eq!(fixture.world().await, before);
}
