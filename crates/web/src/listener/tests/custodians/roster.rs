//! The next roster, the next policy and suspensions over HTTP, and whoever tries to have one without a quorum.

use axum::http::StatusCode;
use serde_json::{Value, json};
use trust::bytes16::Nonce;
use trust::format::V1;
use trust::suspension::SuspensionBody;
use trust::{
    Member, MemberKey, Policy, Purpose, Role, Roster, Sha256Digest, Threshold, Trusted,
    verify_transcript,
};

use super::service;
use crate::testing::{Answered, Fixture};

pub const STATEMENTS: &str = "/v1/trust/statements";

pub fn member(id: &str, key: &str) -> Member {
    Member {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        roles: vec![Role::Custodian],
        keys: vec![MemberKey::Ssh {
            public: testkit::custodians::public(key),
        }],
        active: true,
    }
}

impl Fixture {
    pub fn trusted<T>(&self, of: impl Fn(&Trusted) -> T) -> T {
        of(self.state.services.keys.current().trusted().unwrap())
    }

    /// The next roster, changed.
    pub fn next_roster(&self, change: impl Fn(&mut Roster)) -> Vec<u8> {
        self.trusted(|trusted| {
            let mut roster = trusted.roster().clone();
            roster.version += 1;
            roster.previous = Some(trusted.head());
            change(&mut roster);
            trust::json::canonical(&roster).unwrap()
        })
    }

    pub fn next_policy(&self, change: impl Fn(&mut Policy)) -> Vec<u8> {
        self.trusted(|trusted| {
            let mut policy = trusted.policy().clone();
            policy.version += 1;
            policy.previous = Some(trusted.head());
            change(&mut policy);
            trust::json::canonical(&policy).unwrap()
        })
    }

    /// Carol leaves, and Frank comes.
    pub fn without_carol(&self) -> Vec<u8> {
        self.next_roster(|roster| {
            let carol = roster.members.iter_mut();
            carol
                .filter(|member| member.id.as_str() == "carol")
                .for_each(|carol| carol.active = false);
            roster.members.push(member("frank", "frank"));
        })
    }

    pub fn suspension_of(&self, who: &str) -> Vec<u8> {
        let body = SuspensionBody {
            member: who.parse().unwrap(),
            nonce: Nonce([7; 16]),
            reason: "the key was stolen".to_owned(),
            roster: self.trusted(Trusted::roster_ref),
            v: V1,
        };
        body.encode().unwrap()
    }

    pub async fn file_statement(&self, kind: &str, body: &[u8], who: &str) -> Answered {
        let purpose = match kind {
            "roster" => Purpose::Roster,
            "policy" => Purpose::Policy,
            "recovery-roster" => Purpose::RecoveryRoster,
            "recovery" => Purpose::Recover,
            _ => Purpose::Suspend,
        };
        let sent = json!({
            "kind": kind, "body": String::from_utf8(body.to_vec()).unwrap(),
            "signature": self.signed(who, purpose, body),
        });
        let answered = self.post(STATEMENTS, sent.to_string()).await;
        self.state.services.keys.refresh().await;
        answered
    }

    pub async fn agree(&self, purpose: Purpose, body: &[u8], who: &str) -> Answered {
        let sent = json!({"purpose": "sign", "signature": self.signed(who, purpose, body)});
        self.about(body, &sent).await
    }

    pub async fn about(&self, body: &[u8], sent: &Value) -> Answered {
        let path = format!("{STATEMENTS}/{}/signatures", Sha256Digest::of(body));
        let answered = self.post(&path, sent.to_string()).await;
        self.state.services.keys.refresh().await;
        answered
    }

    /// The roster without Carol holds.
    pub async fn replace_carol(&self) {
        let body = self.without_carol();
        assert_eq!(
            self.file_statement("roster", &body, "alice").await.status,
            200
        );
        for who in ["bob", "frank"] {
            let answered = self.agree(Purpose::Roster, &body, who).await;
            assert_eq!(answered.status, 200, "{}", answered.json());
        }
        assert_eq!(self.trusted(|trusted| trusted.roster().version), 2);
    }

    pub async fn suspend(&self, who: &str) {
        let body = self.suspension_of(who);
        let answered = self.file_statement("suspension", &body, who).await;
        assert_eq!(answered.json()["state"], "effective", "{}", answered.json());
    }

    /// Refused, and nothing was changed.
    async fn refuses_statement(&self, kind: &str, body: &[u8], who: &str, code: &str) -> Answered {
        let before = self.world().await;
        let answered = self.file_statement(kind, body, who).await;
        assert_eq!(answered.code(), code, "{}", answered.json());
        assert_eq!(self.world().await, before, "{code} changed something");
        answered
    }
}

#[tokio::test]
async fn a_lost_custodian_is_replaced_by_old_and_new_and_replicas_follow_without_restart() {
    let fixture = service().await;
    let before = fixture.get("/v1/keys/history").await.status;
    let open = fixture.open().await;
    let body = fixture.without_carol();
    let id = Sha256Digest::of(&body);
    let filed = fixture
        .file_statement("roster", &body, "alice")
        .await
        .json();
    assert_eq!(filed["statement"], id.to_string());
    assert_eq!(
        (
            &filed["signed_by"],
            &filed["signed_by_new"],
            &filed["needed"]
        ),
        (&json!(["alice"]), &json!(["alice"]), &json!(2))
    );
    assert!(
        filed["unproven"][0]
            .as_str()
            .unwrap()
            .starts_with("frank: ")
    );

    // Enough of both, and still nobody has shown that Frank has his key.
    let signed = fixture.agree(Purpose::Roster, &body, "bob").await.json();
    assert_eq!(signed["state"], "open", "{signed}");
    let read = fixture.read_as("bob", &format!("{STATEMENTS}/{id}")).await;
    assert_eq!(read.json()["body"].as_str().unwrap().as_bytes(), body);
    let signed = fixture.agree(Purpose::Roster, &body, "frank").await.json();
    assert_eq!(signed["state"], "effective", "{signed}");
    assert_eq!(fixture.trusted(|trusted| trusted.roster().version), 2);

    // Whoever left reads and proposes nothing, whoever came does; what was open is void.
    assert_eq!(
        fixture.read_as("carol", super::LIST).await.code(),
        "invalid_credentials"
    );
    assert_eq!(fixture.read_as("frank", super::LIST).await.status, 200);
    assert_eq!(fixture.state_of(&open).await, "cancelled");
    let voided = fixture.read_as("frank", &super::one(&open)).await.json();
    let standing = voided["ceremony"]["standing"].as_str().unwrap();
    assert!(standing.contains("names roster 1"), "{standing}");

    // Keys of the former roster are what they were, and their transcripts verify.
    assert_eq!(fixture.get("/v1/keys/history").await.status, before);
    let set = fixture.get("/v1/rings/records/jwks.json").await.json();
    let kid = set["keys"][0]["kid"].as_str().unwrap().to_owned();
    let transcript = fixture.get(&format!("/v1/keys/{kid}/transcript")).await;
    verify_transcript(&transcript.body, fixture.custodians.pin()).unwrap();
    assert!(fixture.state.services.keys.refused().is_empty());
    let chain = fixture.get("/v1/trust").await;
    let chains: trust::Chains = trust::json::require_canonical(&chain.body).unwrap();
    assert_eq!(chains.changes.len(), 1);
    trust::chain::walk(&chains, fixture.custodians.pin()).unwrap();
}

#[tokio::test]
async fn a_policy_changes_with_the_old_and_the_new_threshold() {
    let fixture = service().await;
    let body = fixture.next_policy(|policy| {
        policy
            .thresholds
            .set("policy", Threshold::try_from(3).unwrap());
    });
    assert_eq!(
        fixture
            .file_statement("policy", &body, "alice")
            .await
            .status,
        200
    );
    let two = fixture.agree(Purpose::Policy, &body, "bob").await.json();
    assert_eq!((&two["state"], &two["needed"]), (&json!("open"), &json!(3)));
    let three = fixture.agree(Purpose::Policy, &body, "carol").await.json();
    assert_eq!(three["state"], "effective");
    // From now on two do not lower it again.
    let body = fixture.next_policy(|policy| {
        policy.thresholds.set("policy", Threshold::FLOOR);
    });
    fixture.file_statement("policy", &body, "alice").await;
    let two = fixture.agree(Purpose::Policy, &body, "bob").await.json();
    assert_eq!(two["state"], "open", "{two}");
}

#[tokio::test]
async fn a_member_suspends_themselves_at_once_and_the_key_is_worth_nothing() {
    let fixture = service().await;
    let id = fixture.open().await;
    let approved = fixture
        .submit(&id, fixture.approval("bob", &id).await)
        .await;
    assert_eq!(approved.status, 200);
    fixture.suspend("bob").await;

    // What counted does not count any more, and nothing new is taken.
    let read = fixture.read_as("alice", &super::one(&id)).await.json();
    assert_eq!(read["ceremony"]["approved_by"], json!([]));
    assert_eq!(
        fixture.read_as("bob", super::LIST).await.code(),
        "invalid_credentials"
    );
    let other = fixture.objection("bob", Purpose::Reject, &id, "no");
    let body = fixture.without_carol();
    fixture
        .refuses_statement("roster", &body, "bob", "signature_not_counted")
        .await;
    assert_eq!(
        fixture
            .file_statement("roster", &body, "alice")
            .await
            .status,
        200
    );
    let refused = fixture.agree(Purpose::Roster, &body, "bob").await;
    assert_eq!(refused.code(), "signature_not_counted");
    // A thief cannot keep the roster as it is.
    let objection = trust::approval::ObjectionBody {
        v: V1,
        request_digest: Sha256Digest::of(&body),
        reason: "no".to_owned(),
    };
    let signature = fixture.signed("bob", Purpose::Reject, &objection.encode().unwrap());
    let sent = json!({"purpose": "reject", "reason": "no", "signature": signature});
    assert_eq!(
        fixture.about(&body, &sent).await.code(),
        "signature_not_counted"
    );
    // A suspended custodian's rejection of a ceremony still blocks it (ADR 18).
    assert_eq!(fixture.submit(&id, other).await.status, 200);
}

#[tokio::test]
async fn suspension_by_somebody_else_needs_two_custodians() {
    let fixture = service().await;
    let body = fixture.suspension_of("bob");
    for who in ["mallory", "erin", "dave"] {
        fixture
            .refuses_statement("suspension", &body, who, "signature_not_counted")
            .await;
    }
    let one = fixture
        .file_statement("suspension", &body, "alice")
        .await
        .json();
    assert_eq!(one["state"], "open");
    let id = fixture.open().await;
    assert_eq!(
        fixture
            .submit(&id, fixture.approval("bob", &id).await)
            .await
            .status,
        200
    );
    let again = fixture.agree(Purpose::Suspend, &body, "alice").await;
    assert_eq!(again.code(), "signature_not_counted");
    let two = fixture.agree(Purpose::Suspend, &body, "carol").await.json();
    assert_eq!(two["state"], "effective", "{two}");
    let refused = fixture
        .submit(&id, fixture.approval("bob", &id).await)
        .await;
    assert_eq!(refused.code(), "signature_not_counted");
    // Once suspended, one suspends nobody else.
    let body = fixture.suspension_of("alice");
    fixture
        .refuses_statement("suspension", &body, "bob", "signature_not_counted")
        .await;
}

#[tokio::test]
async fn a_generation_that_was_executed_is_accepted_under_its_requests_roster() {
    let fixture = service().await;
    let id = fixture.open().await;
    for who in ["alice", "bob"] {
        fixture.submit(&id, fixture.approval(who, &id).await).await;
    }
    fixture.execute(&id).await;
    fixture.replace_carol().await;
    assert_eq!(fixture.state_of(&id).await, "executed");
    // Whoever left accepts nothing, and whoever came was not asked.
    for who in ["carol", "frank"] {
        fixture
            .refuses(
                &id,
                fixture.acceptance(who, &id).await,
                "signature_not_counted",
            )
            .await;
    }
    for who in ["alice", "bob"] {
        let accepted = fixture
            .submit(&id, fixture.acceptance(who, &id).await)
            .await;
        assert_eq!(accepted.status, 200, "{}", accepted.json());
    }
    assert_eq!(fixture.state_of(&id).await, "closed");
    assert!(fixture.state.services.keys.refused().is_empty());
}

#[tokio::test]
async fn a_generation_is_not_accepted_under_a_former_roster_after_its_deadline() {
    let fixture = service().await;
    let id = fixture.open().await;
    for who in ["alice", "bob"] {
        fixture.submit(&id, fixture.approval(who, &id).await).await;
    }
    fixture.execute(&id).await;
    fixture
        .submit(&id, fixture.acceptance("alice", &id).await)
        .await;
    fixture.replace_carol().await;
    fixture.wait(7 * 24 * 60);
    let late = fixture
        .submit(&id, fixture.acceptance("bob", &id).await)
        .await;
    assert_eq!(late.code(), "ceremony_expired", "{}", late.json());
    let expired = fixture.state.services.ceremonies.expire().await;
    assert_eq!(expired.unwrap(), 1);
    assert_eq!(fixture.state_of(&id).await, "expired");
}

#[tokio::test]
async fn roster_rolled_back_or_cut_off_or_from_elsewhere_is_not_filed() {
    let fixture = service().await;
    let old = fixture.without_carol();
    let wrong = |change: fn(&mut Roster)| fixture.next_roster(change);
    for body in [
        wrong(|roster| roster.version += 1),
        wrong(|roster| roster.version -= 1),
        wrong(|roster| roster.previous = None),
        wrong(|roster| roster.environment = "staging".parse().unwrap()),
        wrong(|roster| roster.members.truncate(3)),
        wrong(|roster| roster.members.push(member("mallory", "alice"))),
        wrong(|roster| {
            roster
                .members
                .iter_mut()
                .for_each(|member| member.active = false)
        }),
    ] {
        fixture
            .refuses_statement("roster", &body, "alice", "request_refused")
            .await;
    }
    // Not canonical, unknown members, and a roster that is said to be a policy.
    let mut spaced = old.clone();
    spaced.push(b' ');
    for (kind, body) in [("roster", &spaced[..]), ("policy", &old), ("roster", b"{}")] {
        let answered = fixture.file_statement(kind, body, "alice").await;
        assert_eq!(
            answered.status,
            StatusCode::BAD_REQUEST,
            "{}",
            answered.json()
        );
    }
    fixture.replace_carol().await;
    // The one before is not installed a second time, nor is one that follows what it followed.
    let again = fixture.file_statement("roster", &old, "alice").await;
    assert_eq!(again.code(), "ceremony_state", "{}", again.json());
}

#[tokio::test]
async fn of_two_rosters_that_follow_the_same_one_the_second_is_void() {
    let fixture = service().await;
    let other = fixture.next_roster(|roster| roster.members.push(member("grace", "grace")));
    assert_eq!(
        fixture.file_statement("roster", &other, "bob").await.status,
        200
    );
    fixture.replace_carol().await;
    let void = fixture.agree(Purpose::Roster, &other, "alice").await;
    assert_eq!(void.code(), "ceremony_state");
    let path = format!("{STATEMENTS}/{}", Sha256Digest::of(&other));
    let read = fixture.read_as("bob", &path).await;
    assert_eq!(read.json()["statement"]["state"], "void");
}

#[tokio::test]
async fn a_rejected_roster_stays_rejected_and_a_late_one_expires() {
    let fixture = service().await;
    let body = fixture.without_carol();
    fixture.file_statement("roster", &body, "alice").await;
    let id = Sha256Digest::of(&body).to_string();
    let rejection = fixture.objection("carol", Purpose::Reject, &id, "I stay");
    let rejected = fixture.about(&body, &rejection).await.json();
    assert_eq!(rejected["state"], "rejected", "{rejected}");
    assert_eq!(
        fixture.agree(Purpose::Roster, &body, "bob").await.code(),
        "ceremony_state"
    );

    let body = fixture.next_roster(|roster| roster.members.push(member("grace", "grace")));
    fixture.file_statement("roster", &body, "alice").await;
    fixture.wait(15 * 24 * 60);
    assert_eq!(
        fixture.agree(Purpose::Roster, &body, "bob").await.code(),
        "ceremony_state"
    );
}

#[tokio::test]
async fn a_member_has_five_statements_open_and_a_stranger_none() {
    let fixture = service().await;
    for number in 0..5 {
        let body = fixture.next_roster(|roster| {
            roster
                .members
                .push(member(&format!("new{number}"), &format!("new{number}")));
        });
        assert_eq!(
            fixture
                .file_statement("roster", &body, "alice")
                .await
                .status,
            200
        );
    }
    let body = fixture.without_carol();
    fixture
        .refuses_statement("roster", &body, "alice", "quota_exceeded")
        .await;
    // A key that only the next roster has opens nothing.
    fixture
        .refuses_statement("roster", &body, "frank", "signature_not_counted")
        .await;
    fixture
        .refuses_statement("roster", &body, "mallory", "signature_not_counted")
        .await;
    assert_eq!(
        fixture.file_statement("roster", &body, "bob").await.status,
        200
    );
}
