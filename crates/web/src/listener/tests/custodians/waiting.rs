//! What waits for a member besides ceremonies: rosters, policies, suspensions and recoveries.

use serde_json::{Value, json};
use trust::{MemberKey, MemberSignature, Purpose, Sha256Digest, Threshold, sshsig};

use super::recovery::DELAY;
use super::service;
use crate::testing::{Fixture, OPERATOR};

const WAITING: &str = "/v1/ceremonies/waiting";

impl Fixture {
    /// Kind and what is asked of a member, the newest first.
    async fn asked_of(&self, who: &str) -> Vec<(String, String)> {
        let answer = self.read_as(who, WAITING).await.json();
        let all = answer["statements"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
        all.map(|one| (text(&one["kind"]), text(&one["asked"])))
            .collect()
    }

    /// What is asked, and of whom, of everybody.
    async fn all_asked(&self) -> Vec<(Value, Value)> {
        let answer = self.get_as(OPERATOR, WAITING).await.json();
        let all = answer["statements"].as_array().unwrap().iter();
        all.map(|one| (one["asked"].clone(), one["waiting_for"].clone()))
            .collect()
    }
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let all = all.iter();
    all.map(|(kind, asked)| ((*kind).to_owned(), (*asked).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_roster_waits_for_old_and_new_and_for_each_new_key() {
    let fixture = service().await;
    let body = fixture.without_carol();
    fixture.file_statement("roster", &body, "alice").await;
    let answer = fixture.read_as("bob", WAITING).await.json();
    let one = &answer["statements"][0];
    assert_eq!(one["statement"], Sha256Digest::of(&body).to_string());
    let filed = fixture.now().millis();
    let until: trust::Time = one["until"].as_str().unwrap().parse().unwrap();
    assert!(until.millis() > filed + 13 * 24 * 3_600_000, "{one}");
    assert_eq!(
        fixture.all_asked().await,
        [
            (json!("sign"), json!(["bob", "carol"])),
            (json!("acknowledge"), json!(["frank"])),
        ]
    );
    let sign = pairs(&[("roster", "sign")]);
    assert_eq!(fixture.asked_of("bob").await, sign);
    assert_eq!(fixture.asked_of("carol").await, sign);
    for who in ["alice", "dave"] {
        assert_eq!(fixture.asked_of(who).await, [], "{who}");
    }

    // Told at once, as with ceremonies; and then enough have signed, but for the new key.
    let known = answer["version"].as_str().unwrap();
    let path = format!("{WAITING}?known={known}&wait=60");
    let waits = fixture.read_as("bob", &path);
    let signs = fixture.agree(Purpose::Roster, &body, "bob");
    let (told, _) = tokio::join!(waits, signs);
    assert_eq!(told.json()["statements"], json!([]));
    assert_eq!(fixture.asked_of("carol").await, []);
    let left = (json!("acknowledge"), json!(["frank"]));
    assert_eq!(fixture.all_asked().await, [left]);
    fixture.agree(Purpose::Roster, &body, "frank").await;
    assert_eq!(fixture.all_asked().await, []);
}

#[tokio::test]
async fn a_member_with_another_key_signs_with_the_old_one_and_acknowledges_with_the_new_one() {
    let fixture = service().await;
    let body = fixture.next_roster(|roster| {
        let members = roster.members.iter_mut();
        for bob in members.filter(|member| member.id.as_str() == "bob") {
            bob.keys = vec![MemberKey::Ssh {
                public: testkit::custodians::public("bob-2"),
            }];
        }
    });
    fixture.file_statement("roster", &body, "alice").await;
    let both = pairs(&[("roster", "sign"), ("roster", "acknowledge")]);
    assert_eq!(fixture.asked_of("bob").await, both);
    fixture.agree(Purpose::Roster, &body, "bob").await;
    // The old key counts for nothing in the next roster.
    assert_eq!(
        fixture.asked_of("bob").await,
        pairs(&[("roster", "acknowledge")])
    );
    let done = fixture.agree(Purpose::Roster, &body, "bob-2").await.json();
    assert_eq!(done["state"], "effective", "{done}");
    assert_eq!(fixture.all_asked().await, []);
}

#[tokio::test]
async fn policies_and_suspensions_wait_for_whoever_is_missing() {
    let fixture = service().await;
    let body = fixture.next_policy(|policy| {
        policy
            .thresholds
            .set("policy", Threshold::try_from(3).unwrap());
    });
    fixture.file_statement("policy", &body, "alice").await;
    let sign = pairs(&[("policy", "sign")]);
    assert_eq!(fixture.asked_of("bob").await, sign);
    fixture.agree(Purpose::Policy, &body, "bob").await;
    assert_eq!(fixture.asked_of("bob").await, []);
    assert_eq!(fixture.asked_of("carol").await, sign);

    // Of a suspension that somebody else began: of the member, and of a second one.
    let suspension = fixture.suspension_of("bob");
    fixture
        .file_statement("suspension", &suspension, "alice")
        .await;
    let suspend = pairs(&[("suspension", "sign")]);
    assert_eq!(fixture.asked_of("bob").await, suspend);
    assert_eq!(
        fixture.asked_of("carol").await,
        pairs(&[("suspension", "sign"), ("policy", "sign")])
    );
    for who in ["alice", "dave"] {
        assert_eq!(fixture.asked_of(who).await, [], "{who}");
    }
    let id = fixture.open().await;
    fixture.agree(Purpose::Suspend, &suspension, "carol").await;
    // Whoever is suspended is asked for nothing, and what counted does not count any more.
    let all = fixture.get_as(OPERATOR, WAITING).await.json();
    assert_eq!(all["ceremonies"][0]["ceremony"], json!(id));
    assert_eq!(all["ceremonies"][0]["waiting_for"], json!(["alice"]));
    let missing = (json!("sign"), json!(["carol"]));
    assert_eq!(fixture.all_asked().await, [missing]);

    // Nobody signs after its end.
    fixture.wait(14 * 24 * 60 + 1);
    assert_eq!(fixture.asked_of("carol").await, []);
}

#[tokio::test]
async fn a_recovery_is_shown_to_every_member_who_may_veto_it() {
    let fixture = service().await;
    fixture.publish_log().await;
    fixture.enrol().await;
    let body = fixture.recovered();
    fixture.file_statement("recovery", &body, "rita").await;
    // It waits for the recovery roster and the next one; whoever is against it need not wait.
    let open = fixture.all_asked().await;
    assert_eq!(open[0].0, "sign");
    assert_eq!(open[1], (json!("acknowledge"), json!(["frank", "grace"])));
    assert_eq!(open[2].0, "veto");
    for (purpose, who) in [("frank", "frank"), ("grace", "grace"), ("rob", "rob")] {
        let signed = fixture.agree(Purpose::Recover, &body, who).await;
        assert_eq!(signed.status, 200, "{purpose}");
    }
    let announced = fixture.now();
    let veto = pairs(&[("recovery", "veto")]);
    for who in ["alice", "bob", "carol", "dave"] {
        assert_eq!(fixture.asked_of(who).await, veto, "{who}");
    }
    let answer = fixture.get_as(OPERATOR, WAITING).await.json();
    let one = &answer["statements"][0];
    assert_eq!(one["state"], "announced");
    let everybody = json!(["alice", "bob", "carol", "dave", "wendy", "adam"]);
    assert_eq!(one["waiting_for"], everybody);
    let until: trust::Time = one["until"].as_str().unwrap().parse().unwrap();
    assert!(until.millis() - announced.millis() <= DELAY * 3_600_000);
    assert!(until.millis() - announced.millis() > (DELAY - 1) * 3_600_000);
    // As long as it is not in effect, it can be vetoed.
    fixture.wait(DELAY * 60 + 1);
    assert_eq!(fixture.asked_of("dave").await, veto);
    assert_eq!(fixture.veto(&body, "dave").await.status, 200);
    assert_eq!(fixture.all_asked().await, []);
}

/// A superuser adds a signature that Bob made of something else, so that nobody asks him.
#[tokio::test]
async fn threat_a_signature_in_the_database_takes_a_statement_off_a_list() {
    let fixture = service().await;
    let body = fixture.without_carol();
    fixture.file_statement("roster", &body, "alice").await;
    let made = fixture.signed("bob", Purpose::Policy, &body);
    let made = MemberSignature::ssh(sshsig::normalize(&made).unwrap());
    let made = String::from_utf8(made.encode().unwrap()).unwrap();
    let sql = format!(
        "INSERT INTO trust_statement_signature (statement, purpose, body, signature, received_at, idx)
         VALUES ('{}', 'roster', x'', '{made}', 0, 1000000)",
        Sha256Digest::of(&body)
    );
    fixture.place.raw(&sql).await.unwrap();
    assert_eq!(fixture.asked_of("bob").await, pairs(&[("roster", "sign")]));
}

/// Whatever else goes on, signatures that were counted once are not counted again.
#[tokio::test]
async fn a_statement_is_counted_when_it_changes_and_not_with_each_ceremony() {
    let fixture = service().await;
    let body = fixture.without_carol();
    fixture.file_statement("roster", &body, "alice").await;
    let sign = pairs(&[("roster", "sign")]);
    assert_eq!(fixture.asked_of("bob").await, sign);
    // Nobody could count it now, and nobody does.
    for sql in [
        "DROP TRIGGER trust_statement_immutable",
        "DROP TRIGGER trust_statement_changed_by_update",
        "UPDATE trust_statement SET body = x'00'",
    ] {
        fixture.place.raw(sql).await.unwrap();
    }
    let id = fixture.open().await;
    let answer = fixture.read_as("bob", WAITING).await.json();
    assert_eq!(answer["ceremonies"][0]["ceremony"], json!(id));
    assert_eq!(fixture.asked_of("bob").await, sign);
    assert_eq!(answer["more"], false);
}
