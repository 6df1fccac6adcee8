//! A recovery over HTTP: enrolled while the custodians can sign, announced, vetoed or in effect after its delay.

use serde_json::{Value, json};
use trust::format::V1;
use trust::recovery::{RecoveryMember, RecoveryRoster, VetoBody};
use trust::{MemberKey, Purpose, Sha256Digest, Threshold, Trusted};

use super::roster::{STATEMENTS, member};
use super::service;
use crate::testing::{Answered, Fixture};

/// Hours from the announcement on.
pub const DELAY: i64 = 72;

impl Fixture {
    /// Rita and Rob may recover.
    pub async fn enrol(&self) {
        let next = self.trusted(|trusted| RecoveryRoster {
            v: V1,
            service: trusted.service().clone(),
            environment: trusted.environment().clone(),
            version: 1,
            previous: Some(trusted.head()),
            members: ["rita", "rob"].map(entitled).into(),
            threshold: Threshold::FLOOR,
            delay_seconds: DELAY as u64 * 3_600,
        });
        let body = next.encode().unwrap();
        let filed = self.file_statement("recovery-roster", &body, "alice").await;
        assert_eq!(filed.status, 200, "{}", filed.json());
        for who in ["bob", "rita", "rob"] {
            let signed = self.agree(Purpose::RecoveryRoster, &body, who).await;
            assert_eq!(signed.status, 200, "{}", signed.json());
        }
        assert!(self.trusted(|trusted| trusted.recovery().is_some()));
    }

    /// Everybody but Alice is lost: Frank and Grace take over.
    pub fn recovered(&self) -> Vec<u8> {
        self.next_roster(|roster| {
            let lost = roster.members.iter_mut();
            lost.filter(|member| member.id.as_str() != "alice")
                .for_each(|member| member.active = false);
            roster.members.push(member("frank", "frank"));
            roster.members.push(member("grace", "grace"));
        })
    }

    /// With all its signatures, which announces it.
    pub async fn announced(&self) -> Vec<u8> {
        let body = self.recovered();
        let filed = self.file_statement("recovery", &body, "rita").await;
        assert_eq!(filed.status, 200, "{}", filed.json());
        for who in ["frank", "grace"] {
            let open = self.agree(Purpose::Recover, &body, who).await.json();
            assert_eq!(open["state"], "open", "{open}");
        }
        let announced = self.agree(Purpose::Recover, &body, "rob").await.json();
        assert_eq!(announced["state"], "announced", "{announced}");
        body
    }

    pub async fn veto(&self, body: &[u8], who: &str) -> Answered {
        let veto = VetoBody {
            document_digest: Sha256Digest::of(body),
            reason: "I am here".to_owned(),
            roster: self.trusted(Trusted::roster_ref),
            v: V1,
        };
        let signature = self.signed(who, Purpose::Veto, &veto.encode().unwrap());
        let sent = json!({"purpose": "veto", "reason": "I am here", "signature": signature});
        self.about(body, &sent).await
    }

    /// One look at what waits, as the service has twice a minute.
    pub async fn keep(&self) {
        let evidence = &self.state.services.evidence;
        self.ceremonies().keep(evidence).await.unwrap();
        self.state.services.keys.refresh().await;
    }

    async fn state_of_statement(&self, body: &[u8]) -> Value {
        let path = format!("{STATEMENTS}/{}", Sha256Digest::of(body));
        let read = self.get_as(crate::testing::OPERATOR, &path).await.json();
        read["statement"].clone()
    }
}

pub fn entitled(who: &str) -> RecoveryMember {
    RecoveryMember {
        id: who.parse().unwrap(),
        name: who.to_owned(),
        keys: vec![MemberKey::Ssh {
            public: testkit::custodians::public(who),
        }],
    }
}

#[tokio::test]
async fn a_lost_roster_is_recovered_after_its_delay_and_both_are_shown_by_the_log() {
    let fixture = service().await;
    fixture.publish_log().await;
    fixture.enrol().await;
    let body = fixture.announced().await;
    let version = || fixture.trusted(|trusted| trusted.roster().version);

    // Used early: nothing happens before the delay has passed.
    fixture.wait(DELAY * 60 - 1);
    fixture.keep().await;
    fixture.publish_log().await;
    fixture.keep().await;
    assert_eq!(
        (version(), &fixture.state_of_statement(&body).await["state"]),
        (1, &json!("announced"))
    );
    fixture.wait(2);
    fixture.keep().await;
    // The leaf alone is not enough: a checkpoint has to cover it.
    assert_eq!(version(), 1);
    fixture.publish_log().await;
    fixture.keep().await;
    assert_eq!(version(), 2);
    assert_eq!(
        fixture.state_of_statement(&body).await["state"],
        "effective"
    );
    assert_eq!(fixture.read_as("frank", super::LIST).await.status, 200);
    assert_eq!(
        fixture.read_as("bob", super::LIST).await.code(),
        "invalid_credentials"
    );

    // The chain verifies from the genesis alone, and keys of before are what they were.
    let chain = fixture.get("/v1/trust").await;
    let chains: trust::Chains = trust::json::require_canonical(&chain.body).unwrap();
    trust::chain::walk(&chains, fixture.custodians.pin()).unwrap();
    assert!(fixture.state.services.keys.refused().is_empty());
    // Whoever recovered decides nothing else, and the new roster goes on.
    let body = fixture.next_roster(|roster| roster.members.push(member("heidi", "heidi")));
    let refused = fixture.file_statement("roster", &body, "rita").await;
    assert_eq!(refused.code(), "signature_not_counted");
    for (who, filed) in [("frank", true), ("grace", false), ("heidi", false)] {
        let answered = match filed {
            true => fixture.file_statement("roster", &body, who).await,
            false => fixture.agree(Purpose::Roster, &body, who).await,
        };
        assert_eq!(answered.status, 200, "{}", answered.json());
    }
    assert_eq!(version(), 3);
}

#[tokio::test]
async fn a_recovery_is_vetoed_by_any_member_and_by_nobody_else() {
    let fixture = service().await;
    fixture.publish_log().await;
    fixture.enrol().await;
    let body = fixture.announced().await;
    for who in ["erin", "rita", "frank", "mallory"] {
        let refused = fixture.veto(&body, who).await;
        assert_eq!(refused.code(), "signature_not_counted", "{who}");
    }
    // Dave is an operator, and a member.
    let vetoed = fixture.veto(&body, "dave").await.json();
    assert_eq!(vetoed["state"], "rejected", "{vetoed}");
    // Whoever holds the recovery against the log finds the leaf by what it says.
    let leaves = fixture.leaves("roster").await;
    let mut leaves = leaves.iter();
    let leaf = leaves.find(|leaf| leaf["action"] == trust::recovery::VETO);
    let leaf = leaf.expect("a leaf");
    assert_eq!(leaf["ref"], Sha256Digest::of(&body).to_string());
    assert_eq!(leaf["actor"], "member:dave");
    fixture.wait(DELAY * 60 + 1);
    fixture.keep().await;
    fixture.publish_log().await;
    fixture.keep().await;
    assert_eq!(fixture.trusted(|trusted| trusted.roster().version), 1);
    assert_eq!(fixture.veto(&body, "alice").await.code(), "ceremony_state");
}

#[tokio::test]
async fn a_recovery_is_opened_by_whoever_may_recover_and_void_when_the_roster_changed() {
    let fixture = service().await;
    fixture.publish_log().await;
    let body = fixture.recovered();
    let refused = fixture.file_statement("recovery", &body, "rita").await;
    assert_eq!(refused.code(), "request_refused", "{}", refused.json());
    fixture.enrol().await;
    let body = fixture.recovered();
    for who in ["alice", "frank", "mallory"] {
        let refused = fixture.file_statement("recovery", &body, who).await;
        assert_eq!(refused.code(), "signature_not_counted", "{who}");
    }
    let body = fixture.announced().await;
    // The custodians are not lost: they go on, and the recovery is void.
    let other = fixture.next_roster(|roster| roster.members.push(member("heidi", "heidi")));
    fixture.file_statement("roster", &other, "alice").await;
    for who in ["bob", "heidi"] {
        fixture.agree(Purpose::Roster, &other, who).await;
    }
    assert_eq!(fixture.state_of_statement(&body).await["state"], "void");
    fixture.wait(DELAY * 60 + 1);
    fixture.keep().await;
    assert_eq!(fixture.trusted(|trusted| trusted.roster().version), 2);
}

/// One row that somebody has to mend, and behind it one that ends by itself.
#[tokio::test]
async fn a_recovery_that_cannot_be_read_keeps_no_other_statement_from_ending() {
    let fixture = service().await;
    fixture.publish_log().await;
    fixture.enrol().await;
    let recovery = fixture.announced().await;
    fixture.wait(1);
    let late = fixture.next_roster(|roster| roster.members.push(member("heidi", "heidi")));
    let filed = fixture.file_statement("roster", &late, "alice").await;
    assert_eq!(filed.status, 200, "{}", filed.json());
    let id = Sha256Digest::of(&recovery);
    for sql in [
        "DROP TRIGGER trust_statement_immutable".to_owned(),
        format!("UPDATE trust_statement SET announced = 1000000 WHERE id = '{id}'"),
    ] {
        fixture.place.raw(&sql).await.unwrap();
    }
    fixture.wait(15 * 24 * 60);
    let evidence = &fixture.state.services.evidence;
    let failed = fixture.ceremonies().keep(evidence).await.unwrap_err();
    let told = trust::error_chain(&failed);
    assert!(told.contains(&id.to_string()), "{told}");
    assert!(told.contains("announcement is missing"), "{told}");
    let state = fixture.state_of_statement(&late).await;
    assert_eq!(state["state"], "expired", "{state}");
    assert_eq!(
        fixture.state_of_statement(&recovery).await["state"],
        "announced"
    );
}
