//! A thousand open ceremonies in front of a hundred thousand past ones. What each answer takes is printed (`--nocapture`)
//! and judged by people: no test asserts a time.

use std::time::Instant;

use store::{CeremonyRow, CeremonySignatureRow, CeremonyState, Change, LineRow};
use trust::leaf::ActKind;
use trust::{MemberSignature, sshsig};

use super::*;
use log::Event;

const OPEN: u8 = 250;

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

impl Fixture {
    /// As the service files it; the proposals differ by their nonces.
    async fn file(&self, request: &trust::Request) {
        let bytes = request.encode().unwrap();
        let signature = self.signed("carol", Purpose::Propose, &bytes);
        let signature = MemberSignature::ssh(sshsig::normalize(&signature).unwrap());
        let id = Sha256Digest::of(&bytes);
        let lines = request.lines.iter().map(|line| LineRow {
            subject: line.subject.to_string(),
            seq: line.sequence.cast_signed(),
        });
        let change = Change::ProposeCeremony {
            lines: lines.collect(),
            proposal: Some(CeremonySignatureRow {
                ceremony: id,
                purpose: Purpose::Propose,
                body: Vec::new(),
                signature: String::from_utf8(signature.encode().unwrap()).unwrap(),
                received_at: self.now(),
            }),
            order: None,
            row: Box::new(CeremonyRow {
                id,
                operation: request.operation.word().parse().unwrap(),
                ring: request.operation.ring().cloned(),
                state: CeremonyState::Proposed,
                nonce: request.nonce,
                request: bytes,
                execution: None,
                transcript: None,
                created_at: request.created_at,
                updated_at: request.created_at,
            }),
        };
        let event = Event::new(ActKind::Ceremony, "propose", "test", self.now());
        let log = &self.state.services.log;
        log.commit(&change, &event).await.unwrap();
    }
}

#[tokio::test]
async fn a_thousand_open_and_a_hundred_thousand_past_ceremonies_are_served() {
    let fixture = service().await;
    for sql in [
        "DROP TRIGGER ceremony_begins",
        "DROP TRIGGER ceremony_changed_by_insert",
        "WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 100000)
            INSERT INTO ceremony (id, operation, ring, state, nonce, request, transcript, created_at, updated_at, proposer)
            SELECT printf('%064x', n), 'generate', 'records', 'closed', printf('%032x', n), x'7b7d', x'7b7d', n, n, 'carol'
            FROM series",
        "DROP TRIGGER ceremony_line_begins",
        "DROP TRIGGER ceremony_line_created",
        "DROP TRIGGER ceremony_line_changed_by_insert",
        "INSERT INTO ceremony_line (ceremony, subject, seq, done, created_at)
            SELECT id, 'ring/records', created_at, 0, created_at FROM ceremony WHERE request = x'7b7d'",
    ] {
        fixture.place.raw(sql).await.unwrap();
    }
    let mut request = fixture.request("records", fixture.generate()).await;
    for number in 0..OPEN {
        // Four of each nonce's first byte are a thousand.
        for part in 0..4 {
            request.nonce.0[0] = number;
            request.nonce.0[1] = part;
            fixture.file(&request).await;
        }
    }
    fixture.state.services.keys.refresh().await;
    let bytes = request.encode().unwrap();
    let id = Sha256Digest::of(&bytes).to_string();
    for path in [
        "/v1/ceremonies?state=open&limit=100",
        "/v1/ceremonies?state=open&proposer=alice",
        "/v1/ceremonies?state=past&limit=100",
        "/v1/ceremonies?ring=records&state=rejected",
        "/v1/ceremonies?subject=ring/none",
        "/v1/ceremonies?subject=ring/records&state=rejected",
        "/v1/ceremonies?proposer=bob",
        "/v1/ceremonies?proposer=carol&state=past&operation=revoke",
        "/v1/ceremonies?proposer=carol&ring=records&operation=generate&state=past",
        "/v1/ceremonies/waiting?member=alice",
        &one(&id),
    ] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            let answered = fixture.get_as(OPERATOR, path).await;
            times.push(began.elapsed());
            assert_eq!(answered.status, 200, "{path}");
        }
        let took = middle(times);
        println!("{took:?} {path}");
    }
    let propose = async {
        let mut request = request.clone();
        // Carol has more open than she may, Dave none.
        request.proposer = Some("dave".parse().unwrap());
        request.nonce.0[2] = request.nonce.0[2].wrapping_add(1);
        let bytes = request.encode().unwrap();
        let body = json!({
            "request": String::from_utf8(bytes.clone()).unwrap(),
            "signature": fixture.signed("dave", Purpose::Propose, &bytes),
        });
        let began = Instant::now();
        let answered = fixture.post(LIST, body.to_string()).await;
        assert_eq!(answered.status, 200, "{}", answered.json());
        began.elapsed()
    };
    let took = propose.await;
    println!("{took:?} proposal");
    for (what, body) in [
        ("approval", fixture.approval("alice", &id).await),
        (
            "rejection",
            fixture.objection("bob", Purpose::Reject, &id, "no"),
        ),
    ] {
        let path = format!("/v1/ceremonies/{id}/signatures");
        let began = Instant::now();
        let answered = fixture.post(&path, body.to_string()).await;
        let took = began.elapsed();
        assert_eq!(answered.status, 200, "{}", answered.json());
        println!("{took:?} {what}");
    }
    // What waits is read anew after a change, and not all of it.
    let began = Instant::now();
    let open = fixture
        .get_as(OPERATOR, "/v1/ceremonies/waiting")
        .await
        .json();
    println!("{:?} waiting after a change", began.elapsed());
    assert_eq!(open["ceremonies"].as_array().unwrap().len(), 200);
}
