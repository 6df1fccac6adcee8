//! Custodians over HTTP, with nothing but their keys: ceremonies from the proposal to the end, and whoever tries to have
//! their way without a quorum.

mod anew;
mod drafts;
mod faults;
mod orders;
mod reach;
mod recovery;
mod roster;
mod strangers;
mod threats;
mod waiting;
mod witnesses;

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use keyring::ceremony::{CeremonyService, SigningPayload};
use keyring::rotation::RingChange;
use serde_json::{Value, json};
use testkit::custodians::Custodians;
use trust::note::NoteBody;
use trust::{Namespace, Purpose, Sha256Digest, Time, dsse, read};

use crate::testing::{Answered, Fixture, OPERATOR, SIGNER};

const LIST: &str = "/v1/ceremonies";

/// With room for the longest bodies and for a slow machine.
async fn service() -> Fixture {
    let mut settings = crate::testing::settings();
    settings.body_limit_bytes = 1 << 20;
    settings.request_timeout = Duration::from_secs(60);
    Fixture::with(settings).await
}

fn one(id: &str) -> String {
    format!("/v1/ceremonies/{id}")
}

impl Fixture {
    fn namespace(&self, purpose: Purpose) -> String {
        let pin = self.custodians.pin();
        Namespace::new(purpose, &pin.service, &pin.environment).to_string()
    }

    /// What a member signs to read a path at an instant.
    fn read_headers(&self, who: &str, path: &str, time: Time) -> [(&'static str, String); 2] {
        let pin = self.custodians.pin();
        let namespace = read::read_namespace(&pin.service, &pin.environment);
        let bytes = read::read_message(&namespace, path, time).unwrap();
        let payload = SigningPayload {
            namespace: namespace.to_string(),
            bytes,
        };
        let signature = self.sign_as(who, &payload);
        [
            ("chancery-time", time.to_string()),
            (
                "chancery-signature",
                trust::base64url::encode(signature.as_bytes()),
            ),
        ]
    }

    async fn get_by(&self, path: &str, headers: [(&'static str, String); 2]) -> Answered {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Read by a member, at an instant of its own.
    async fn read_as(&self, who: &str, path: &str) -> Answered {
        self.wait_millis(1);
        let headers = self.read_headers(who, path, self.now());
        self.get_by(path, headers).await
    }

    async fn submit(&self, id: &str, body: Value) -> Answered {
        let answered = self
            .post(&format!("/v1/ceremonies/{id}/signatures"), body.to_string())
            .await;
        self.state.services.keys.refresh().await;
        answered
    }

    /// Over a message under a purpose.
    fn signed(&self, who: &str, purpose: Purpose, body: &[u8]) -> String {
        let namespace = self.namespace(purpose);
        let bytes = dsse::pae(&namespace, body);
        self.sign_as(who, &SigningPayload { namespace, bytes })
    }

    async fn approval(&self, who: &str, id: &str) -> Value {
        let request = self.ceremonies().request(id).await.unwrap().0;
        json!({"purpose": "approve", "signature": self.signed(who, Purpose::Approve, &request)})
    }

    async fn acceptance(&self, who: &str, id: &str) -> Value {
        let statement = self.ceremonies().statement(id).await.unwrap();
        json!({"purpose": "accept", "signature": self.signed(who, Purpose::Accept, &statement)})
    }

    fn objection(&self, who: &str, purpose: Purpose, id: &str, reason: &str) -> Value {
        let digest: Sha256Digest = id.parse().unwrap();
        let body = trust::approval::ObjectionBody {
            v: trust::format::V1,
            request_digest: digest,
            reason: reason.to_owned(),
        };
        let signature = self.signed(who, purpose, &body.encode().unwrap());
        json!({"purpose": purpose.word(), "signature": signature, "reason": reason})
    }

    fn note_of(&self, who: &str, id: &str, note: &str) -> Value {
        let body = NoteBody {
            note: note.to_owned(),
            request_digest: id.parse().unwrap(),
            v: trust::format::V1,
        };
        let signature = self.signed(who, Purpose::Note, &body.encode().unwrap());
        json!({"purpose": "note", "signature": signature, "note": note})
    }

    async fn open(&self) -> String {
        self.propose("records", self.generate()).await
    }

    async fn state_of(&self, id: &str) -> String {
        let row = self.store.ceremony(id).await.unwrap().unwrap();
        row.state.to_string()
    }

    /// Everything that could have been changed.
    async fn world(&self) -> (i64, i64) {
        let size = self.store.log_size().await.unwrap();
        (size, self.store.version().await.unwrap())
    }

    /// Refused with this code, and nothing was changed.
    async fn refuses(&self, id: &str, body: Value, code: &str) -> Answered {
        let before = self.world().await;
        let answered = self.submit(id, body).await;
        assert_eq!(answered.code(), code, "{}", answered.json());
        assert_eq!(self.world().await, before, "{code} changed something");
        answered
    }
}

#[tokio::test]
async fn a_ceremony_is_held_over_http_with_nothing_but_keys() {
    let fixture = service().await;
    let request = fixture.request("records", fixture.generate()).await;
    let bytes = request.encode().unwrap();
    let payload = CeremonyService::proposal_payload(&request).unwrap();
    let body = json!({
        "request": String::from_utf8(bytes.clone()).unwrap(),
        "signature": fixture.sign_as("carol", &payload),
    });
    let proposed = fixture.post(LIST, body.to_string()).await;
    assert_eq!(proposed.status, 200, "{}", proposed.json());
    let id = proposed.json()["ceremony"].as_str().unwrap().to_owned();
    assert_eq!(id, Sha256Digest::of(&bytes).to_string());

    // The exact bytes, for members alone.
    let read = fixture
        .read_as("alice", &format!("{}/request", one(&id)))
        .await;
    assert_eq!(read.body, bytes);
    let whole = fixture.read_as("alice", &one(&id)).await.json();
    assert_eq!(whole["request"].as_str().unwrap().as_bytes(), bytes);
    assert_eq!(whole["ceremony"]["state"], "proposed");

    let noted = fixture
        .submit(&id, fixture.note_of("wendy", &id, "the safe was locked"))
        .await;
    assert_eq!(noted.status, 200, "{}", noted.json());
    for (who, standing) in [
        ("alice", "waiting for 1 more approval(s)"),
        ("bob", "approved"),
    ] {
        let answered = fixture.submit(&id, fixture.approval(who, &id).await).await;
        assert_eq!(answered.json()["standing"], standing);
    }
    fixture.execute(&id).await;
    let statement = fixture
        .read_as("bob", &format!("{}/statement", one(&id)))
        .await;
    let expected = fixture.ceremonies().statement(&id).await.unwrap();
    assert_eq!(statement.body, expected);
    for who in ["alice", "bob"] {
        let answered = fixture
            .submit(&id, fixture.acceptance(who, &id).await)
            .await;
        assert_eq!(answered.status, 200, "{}", answered.json());
    }
    // Closed, it is public, and the key is published.
    let closed = fixture.get(&one(&id)).await.json();
    assert_eq!(closed["ceremony"]["state"], "closed");
    assert_eq!(closed["ceremony"]["accepted_by"], json!(["alice", "bob"]));
    let transcript = closed["transcript"].as_str().unwrap();
    assert!(transcript.contains("the safe was locked"));
    trust::verify_transcript(transcript.as_bytes(), fixture.custodians.pin()).unwrap();
    let kid = closed["ceremony"]["kids"][0].as_str().unwrap();
    let set = fixture.get("/v1/rings/records/jwks.json").await.json();
    assert!(set.to_string().contains(kid));
    fixture.wait(crate::testing::LONG);
    fixture.change("records", &RingChange::Rotate).await;
}

#[tokio::test]
async fn a_list_is_filtered_and_read_page_by_page() {
    let fixture = service().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        fixture.wait(1);
        ids.push(fixture.open().await);
    }
    let rejected = fixture.objection("alice", Purpose::Reject, &ids[0], "no");
    assert_eq!(fixture.submit(&ids[0], rejected).await.status, 200);
    let listed = |answer: &Value| {
        let all = answer["ceremonies"].as_array().unwrap().iter();
        let ids = all.map(|one| one["ceremony"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("state=open", vec![&ids[2], &ids[1]]),
        ("state=rejected", vec![&ids[0]]),
        ("state=open&ring=digests", vec![]),
        (
            "state=open&ring=records&operation=generate&proposer=carol",
            vec![&ids[2], &ids[1]],
        ),
        ("state=open&subject=ring/records", vec![&ids[2], &ids[1]]),
        ("proposer=bob", vec![]),
    ] {
        let answer = fixture
            .get_as(OPERATOR, &format!("{LIST}?{query}"))
            .await
            .json();
        assert_eq!(
            listed(&answer).iter().collect::<Vec<_>>(),
            expected,
            "{query}"
        );
    }
    // Every one once.
    let mut path = format!("{LIST}?limit=2");
    let mut seen = Vec::new();
    loop {
        let page = fixture.get_as(OPERATOR, &path).await.json();
        seen.extend(listed(&page));
        match page["next"].as_str() {
            Some(next) => path = format!("{LIST}?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[..3], [ids[2].clone(), ids[1].clone(), ids[0].clone()]);
    for query in [
        "limit=0",
        "limit=101",
        "after=x",
        "state=none",
        "ring=%00",
        "page=1",
    ] {
        let answered = fixture.get_as(OPERATOR, &format!("{LIST}?{query}")).await;
        assert_eq!(answered.code(), "bad_query", "{query}");
    }
}

/// One that was rejected lies behind more past ones than a page looks at.
#[tokio::test]
async fn a_filter_that_little_fits_reads_no_history() {
    let fixture = service().await;
    let id = fixture.open().await;
    let rejected = fixture.objection("alice", Purpose::Reject, &id, "no");
    assert_eq!(fixture.submit(&id, rejected).await.status, 200);
    let after = fixture.now().millis();
    for sql in [
        "DROP TRIGGER ceremony_begins".to_owned(),
        format!(
            "WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
            INSERT INTO ceremony (id, operation, ring, state, nonce, request, transcript, created_at, updated_at, proposer)
            SELECT printf('%064x', n), 'generate', 'records', 'closed', printf('%032x', n), x'7b7d', x'7b7d',
                {after} + n, {after} + n, 'carol' FROM series"
        ),
    ] {
        fixture.place.raw(&sql).await.unwrap();
    }
    for (query, found) in [
        ("state=rejected", true),
        ("state=rejected&ring=records", true),
        ("state=rejected&proposer=carol&ring=records", true),
        ("state=rejected&subject=ring/records", true),
        (
            "state=past&subject=ring/records&proposer=carol&limit=1",
            true,
        ),
        ("state=rejected&operation=generate", true),
        ("state=rejected&ring=digests", false),
        ("state=cancelled", false),
        ("state=past&operation=revoke", false),
        ("operation=revoke&ring=records", false),
        ("proposer=bob&ring=records&state=past", false),
        ("subject=ring/none", false),
        ("subject=ring/none&state=past", false),
        ("ring=none&operation=generate", false),
    ] {
        let page = fixture.get_as(OPERATOR, &format!("{LIST}?{query}")).await;
        let page = page.json();
        let all = page["ceremonies"].as_array().unwrap();
        let first = all.first().map(|one| one["ceremony"].as_str().unwrap());
        assert_eq!(first, found.then_some(id.as_str()), "{query}: {page}");
        if !query.contains("limit") {
            assert!(page["next"].is_null(), "{query}: {page}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_was_asked_for_names_its_member() {
    let fixture = service().await;
    let id = fixture.open().await;
    for (body, code, member) in [
        (json!({"purpose": "approve"}), "bad_member", ""),
        (
            json!({"purpose": "execute", "signature": "x"}),
            "bad_member",
            "purpose",
        ),
        (
            json!({"purpose": "reject", "signature": "x"}),
            "bad_member",
            "reason",
        ),
        (
            json!({"purpose": "approve", "signature": "x", "reason": "y"}),
            "bad_member",
            "reason",
        ),
        (
            json!({"purpose": "note", "signature": "x"}),
            "bad_member",
            "note",
        ),
        (
            json!({"purpose": "accept", "signature": "x", "note": "y"}),
            "bad_member",
            "note",
        ),
    ] {
        let answered = fixture.refuses(&id, body.clone(), code).await;
        if !member.is_empty() {
            assert_eq!(answered.member(), member, "{body}");
        }
    }
    let none = Sha256Digest::of(b"none").to_string();
    let approve = fixture.approval("alice", &id).await;
    for id in ["x", &id.to_uppercase()] {
        fixture
            .refuses(id, approve.clone(), "unknown_ceremony")
            .await;
    }
    fixture
        .refuses(&none, approve, "signature_not_counted")
        .await;
    for request in ["", "{}", "{\"v\":1}", "[1]", "{\"v\":1,\"v\":1}"] {
        let body = json!({"request": request, "signature": "x"}).to_string();
        let answered = fixture.post(LIST, body).await;
        assert_eq!(answered.status, 400);
        assert!(
            answered.member().starts_with("request"),
            "{}",
            answered.json()
        );
    }
}

#[tokio::test]
async fn what_waits_for_a_member_is_told_at_once_and_when_it_changes() {
    let fixture = service().await;
    let id = fixture.open().await;
    let waits = |answer: &Value| answer["ceremonies"].as_array().unwrap().len();
    let path = "/v1/ceremonies/waiting";
    let alice = fixture.read_as("alice", path).await.json();
    assert_eq!(waits(&alice), 1);
    assert_eq!(alice["ceremonies"][0]["ceremony"], id);
    assert_eq!(alice["ceremonies"][0]["asked"], "approve");
    assert_eq!(
        alice["ceremonies"][0]["waiting_for"],
        json!(["alice", "bob"])
    );
    assert_eq!(waits(&fixture.read_as("carol", path).await.json()), 0);
    assert_eq!(waits(&fixture.read_as("dave", path).await.json()), 0);
    let all = fixture.get_as(OPERATOR, path).await.json();
    assert_eq!(waits(&all), 1);
    let of_bob = fixture
        .get_as(OPERATOR, &format!("{path}?member=bob"))
        .await
        .json();
    assert_eq!(waits(&of_bob), 1);

    // Somebody waits for something else; it comes with the approval.
    let known = alice["version"].as_str().unwrap();
    let path = format!("{path}?known={known}&wait=60");
    let asked = fixture.read_as("alice", &path);
    let approved = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let approval = fixture.approval("alice", &id).await;
        assert_eq!(fixture.submit(&id, approval).await.status, 200);
    };
    let (answered, ()) = tokio::join!(asked, approved);
    assert_eq!(waits(&answered.json()), 0, "{}", answered.json());
    assert_eq!(fixture.state.streams.under_way(), 0);
    for query in ["wait=61", "wait=x", "member=", "limit=1"] {
        let answered = fixture
            .get_as(OPERATOR, &format!("/v1/ceremonies/waiting?{query}"))
            .await;
        assert_eq!(answered.code(), "bad_query", "{query}");
    }
}

#[tokio::test]
async fn events_are_bounded_hold_a_permit_and_end_when_the_service_stops() {
    use std::sync::atomic::Ordering;
    use tower::ServiceExt as _;

    let fixture = service().await;
    let open = || async {
        fixture.wait_millis(1);
        let path = "/v1/ceremonies/events";
        let headers = fixture.read_headers("alice", path, fixture.now());
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::empty()).unwrap();
        fixture.connection().oneshot(request).await.unwrap()
    };
    let mut streams = Vec::new();
    for _ in 0..crate::v1::streams::OF_READER {
        let response = open().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        streams.push(response.into_body());
    }
    assert_eq!(open().await.status(), 503);
    let count = || fixture.state.streams.under_way();
    assert_eq!(count(), crate::v1::streams::OF_READER);
    // A client that goes away gives its permit back.
    streams.pop();
    while count() == crate::v1::streams::OF_READER {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What is new is told.
    let id = fixture.open().await;
    let stream = streams.pop().unwrap();
    let told = tokio::spawn(axum::body::to_bytes(stream, usize::MAX));
    tokio::time::sleep(Duration::from_secs(3)).await;
    fixture.state.layer.stopping.store(true, Ordering::Relaxed);
    let text = tokio::time::timeout(Duration::from_secs(10), told).await;
    let text = String::from_utf8(text.unwrap().unwrap().unwrap().to_vec()).unwrap();
    assert_eq!(text.matches("event: waiting").count(), 2, "{text}");
    assert!(text.contains(&id));
    drop(streams);
    while count() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn rosters_and_policies_are_public_and_walk_from_the_pinned_genesis() {
    let fixture = service().await;
    let answered = fixture.get("/v1/trust").await;
    let chains: trust::Chains = trust::json::require_canonical(&answered.body).unwrap();
    trust::chain::walk(&chains, fixture.custodians.pin()).unwrap();
    assert_eq!(answered.header("access-control-allow-origin"), "*");
}

/// `ssh-keygen` asks for a provider of security keys, so the signatures are made here as PROTOCOL.u2f says.
#[tokio::test]
async fn a_security_key_reads_and_signs_over_http_if_it_is_touched() {
    let custodians = Custodians::with_a_security_key("production");
    let mut settings = crate::testing::settings();
    settings.request_timeout = Duration::from_secs(60);
    settings.body_limit_bytes = 1 << 20;
    let fixture = Fixture::of(custodians, settings, <_>::default(), <_>::default()).await;
    let id = fixture.open().await;
    let read = fixture.read_as("alice", &one(&id)).await;
    assert_eq!(read.status, 200, "{}", read.json());
    let request = fixture.ceremonies().request(&id).await.unwrap().0;
    let namespace = fixture.namespace(Purpose::Approve);
    let bytes = dsse::pae(&namespace, &request);
    let signature = fixture.custodians.untouched("alice", &namespace, &bytes);
    let untouched = json!({"purpose": "approve", "signature": signature});
    let refused = fixture.refuses(&id, untouched, "signature_not_counted");
    let refused = refused.await.json()["detail"].to_string();
    assert!(refused.contains("touched"), "{refused}");
    for who in ["alice", "bob"] {
        let approval = fixture.approval(who, &id).await;
        assert_eq!(fixture.submit(&id, approval).await.status, 200);
    }
    fixture.execute(&id).await;
    for who in ["alice", "bob"] {
        let accepted = fixture.acceptance(who, &id).await;
        assert_eq!(fixture.submit(&id, accepted).await.status, 200);
    }
    assert_eq!(fixture.state_of(&id).await, "closed");
}
