//! Passkeys where signatures come in: enrolment, counters, and what does not count.

use store::StatementKind;
use testkit::passkey::{RP_ID, SoftPasskey, relying_party};
use trust::{MemberKey, Purpose, Roster, Sha256Digest, dsse};

use super::installation::Installation;
use super::standing_orders::{RING, input, make};
use crate::ceremony::{CeremonyService, Draft, Error, Report, SigningPayload};

impl Installation {
    /// The next roster, changed.
    async fn roster_changed(&self, change: impl FnOnce(&mut Roster)) -> Vec<u8> {
        let trusted = self.trusted().await;
        let mut roster = trusted.roster().clone();
        roster.version += 1;
        roster.previous = Some(trusted.head());
        change(&mut roster);
        trust::json::canonical(&roster).unwrap()
    }

    fn roster_message(&self, body: &[u8]) -> Vec<u8> {
        let pin = self.custodians.pin();
        let namespace = trust::Namespace::new(Purpose::Roster, &pin.service, &pin.environment);
        dsse::pae(&namespace.to_string(), body)
    }

    /// Alice and Bob have passkeys.
    async fn with_passkeys(&self) -> [SoftPasskey; 2] {
        let passkeys = ["alice", "bob"].map(SoftPasskey::new);
        let keys = passkeys.each_ref().map(SoftPasskey::member_key);
        let change = |roster: &mut Roster| {
            roster.passkeys = Some(relying_party());
            for (member, key) in roster.members.iter_mut().zip(keys) {
                member.keys.push(key);
            }
        };
        let body = self.roster_changed(change).await;
        let id = self.file(StatementKind::Roster, &body, "alice").await;
        self.agree(StatementKind::Roster, &body, "bob").await;
        let (service, message) = (self.service(), self.roster_message(&body));
        let mut state = "open";
        for passkey in &passkeys {
            assert_eq!(state, "open");
            let signature = passkey.sign(&message);
            let signed = service.sign_statement_by_passkey(&id, &signature, passkey.attestation());
            state = signed.await.unwrap().state;
        }
        assert_eq!(state, "effective");
        passkeys
    }

    async fn approve_with(&self, id: &str, signature: &str) -> Result<Report, Error> {
        self.service().approve(id, signature).await
    }

    async fn approval_of(&self, id: &str) -> SigningPayload {
        self.service().approval_payload(id).await.unwrap()
    }
}

/// The second key of a ring, proposed by Carol; and passkeys of Alice and Bob.
async fn rotating() -> (Installation, [SoftPasskey; 2], String) {
    let (all, _) = Installation::open("records").await;
    let passkeys = all.with_passkeys().await;
    let id = all.propose("records", Installation::generation()).await;
    (all, passkeys, id)
}

fn why(refused: Error) -> String {
    match refused {
        Error::DoesNotCount(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_is_approved_and_accepted_by_an_ssh_key_and_a_passkey() {
    let (all, [_, bob], id) = rotating().await;
    let payload = all.approval_of(&id).await;
    let report = all
        .approve_with(&id, &bob.sign(&payload.bytes))
        .await
        .unwrap();
    assert_eq!(report.standing, "waiting for 1 more approval(s)");
    assert_eq!(report.approved_by, ["bob"]);
    let report = all.approve(&id, "alice").await.unwrap();
    assert_eq!(report.state, "approved");
    all.execute(&id).await.unwrap();
    let service = all.service();
    let payload = service.acceptance_payload(&id).await.unwrap();
    // As a browser hands it out.
    let answer = bob.browser_json(&payload.bytes).to_string();
    let report = service.accept(&id, &answer).await.unwrap();
    assert_eq!(report.standing, "waiting for 1 more acceptance(s)");
    let report = all.accept(&id, "alice").await.unwrap();
    assert_eq!(report.state, "closed");
    let bytes = service.transcript(&id).await.unwrap();
    let verified = trust::verify_transcript(&bytes, all.custodians.pin()).unwrap();
    assert_eq!(verified.approved_by().len(), 2);
}

#[tokio::test]
async fn what_a_browser_needs_is_in_the_roster_and_the_request() {
    let (all, _, id) = rotating().await;
    let service = all.service();
    let member = "bob".parse().unwrap();
    let options = service.passkey_options(&id, Purpose::Approve, "", Some(&member));
    let options = options.await.unwrap();
    let payload = all.approval_of(&id).await;
    let challenge = trust::base64url::encode(Sha256Digest::of(&payload.bytes).as_bytes());
    assert_eq!(
        (options.challenge, options.rp_id.as_str()),
        (challenge, RP_ID)
    );
    assert_eq!(options.allow_credentials.len(), 1);
    for (purpose, text) in [(Purpose::Propose, ""), (Purpose::Note, "a note")] {
        let refused = service.passkey_options(&id, purpose, text, None).await;
        why(refused.unwrap_err());
    }
    let reject = service.passkey_options(&id, Purpose::Reject, "no", None);
    let reject = reject.await.unwrap();
    assert_eq!(reject.allow_credentials.len(), 2);
    let payload = service
        .objection_payload(&id, Purpose::Reject, "no")
        .await
        .unwrap();
    let challenge = trust::base64url::encode(Sha256Digest::of(&payload.bytes).as_bytes());
    assert_eq!(reject.challenge, challenge);
}

#[tokio::test]
async fn threat_cloned_counter() {
    let (all, [alice, bob], id) = rotating().await;
    let message = all.approval_of(&id).await.bytes;
    // The copy signs first, with the counter that it was copied with and one more.
    all.approve_with(&id, &bob.sign_at(&message, 2))
        .await
        .unwrap();
    let other = all.propose("records", Installation::generation()).await;
    let second = all.approval_of(&other).await.bytes;
    for count in [2, 1, 0] {
        let refused = all.approve_with(&other, &bob.sign_at(&second, count)).await;
        let why = why(refused.unwrap_err());
        assert!(
            why.contains("the passkey's signature counter did not rise"),
            "{why}"
        );
        let told = format!("refusal cloned-passkey: approve: {why}");
        assert_eq!(all.last_act().await, told);
    }
    let signatures = all.store.ceremony_signatures(&other).await.unwrap();
    assert!(signatures.iter().all(|row| row.purpose == Purpose::Propose));
    // Nobody else's counter is touched by it.
    all.approve_with(&other, &alice.sign(&second))
        .await
        .unwrap();
    all.approve_with(&other, &bob.sign_at(&second, 3))
        .await
        .unwrap();
}

/// Over HTTP, where a refusal is no leaf otherwise.
#[tokio::test]
async fn threat_a_copied_passkey_is_in_the_log_once_a_minute_however_often_it_is_refused() {
    let (all, [_, bob], id) = rotating().await;
    let message = all.approval_of(&id).await.bytes;
    all.approve_with(&id, &bob.sign_at(&message, 5))
        .await
        .unwrap();
    let other = all.propose("records", Installation::generation()).await;
    let message = all.approval_of(&other).await.bytes;
    let anybody = CeremonyService::for_anybody(all.store.clone(), all.env.clone(), &all.settings);
    let size = all.store.log_size().await.unwrap();
    for _ in 0..3 {
        let refused = anybody.approve(&other, &bob.sign_at(&message, 4)).await;
        why(refused.unwrap_err());
    }
    assert_eq!(all.store.log_size().await.unwrap(), size + 1);
    let of_bob = r#""actor":"custodian:bob","count":1,"#;
    let leaf = all.store.leaf(size).await.unwrap().unwrap();
    assert!(leaf.body.contains(of_bob), "{}", leaf.body);
    assert!(leaf.body.contains(&format!(r#""ref":"{other}""#)));
    // What came meanwhile is written by whoever looks again and again.
    let keeping = CeremonyService::for_anybody(all.store.clone(), all.env.clone(), &all.settings)
        .keeping_refusals_of(&anybody);
    keeping.write_clones().await;
    assert_eq!(all.store.log_size().await.unwrap(), size + 1);
    all.wait(1);
    keeping.write_clones().await;
    keeping.write_clones().await;
    assert_eq!(all.store.log_size().await.unwrap(), size + 2);
    let leaf = all.store.leaf(size + 1).await.unwrap().unwrap();
    assert!(leaf.body.contains(r#""count":2,"#), "{}", leaf.body);
    assert_eq!(leaf.kind, "refusal");
}

#[tokio::test]
async fn threat_replayed_assertion() {
    let (all, [_, bob], id) = rotating().await;
    let message = all.approval_of(&id).await.bytes;
    let signature = bob.sign(&message);
    all.approve_with(&id, &signature).await.unwrap();
    let again = all.approve_with(&id, &signature).await.unwrap_err();
    assert_eq!(why(again), "the member was already counted");
    // In another ceremony, and for another purpose, its challenge is none.
    let other = all.propose("records", Installation::generation()).await;
    let challenge = "the challenge is not the SHA-256 of the bytes to be signed";
    let elsewhere = all.approve_with(&other, &signature).await.unwrap_err();
    assert_eq!(why(elsewhere), challenge);
    let service = all.service();
    let rejects = service.reject(&other, "no", &signature).await.unwrap_err();
    why(rejects);
    all.approve(&id, "alice").await.unwrap();
    all.execute(&id).await.unwrap();
    let accepts = service.accept(&id, &signature).await.unwrap_err();
    assert_eq!(why(accepts), challenge);
}

#[tokio::test]
async fn threat_all_approvals_by_passkey() {
    let (all, [alice, bob], id) = rotating().await;
    let message = all.approval_of(&id).await.bytes;
    for passkey in [&alice, &bob] {
        let report = all
            .approve_with(&id, &passkey.sign(&message))
            .await
            .unwrap();
        assert_eq!(
            (report.state.as_str(), report.standing.as_str()),
            ("proposed", "waiting for 1 more approval(s)")
        );
    }
    all.execute(&id).await.unwrap_err();
    // Either of them signs by the other key too.
    let report = all.approve(&id, "bob").await.unwrap();
    assert_eq!(
        (report.state.as_str(), report.approved_by.len()),
        ("approved", 2)
    );
}

#[tokio::test]
async fn the_first_key_of_a_ring_takes_no_passkey_and_a_rejection_does() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let [_, bob] = all.with_passkeys().await;
    let id = all.propose("records", Installation::generation()).await;
    let message = all.approval_of(&id).await.bytes;
    let refused = all
        .approve_with(&id, &bob.sign(&message))
        .await
        .unwrap_err();
    assert_eq!(why(refused), "signatures of passkeys do not count here");
    let service = all.service();
    let payload = service
        .objection_payload(&id, Purpose::Reject, "no")
        .await
        .unwrap();
    let report = service
        .reject(&id, "no", &bob.sign(&payload.bytes))
        .await
        .unwrap();
    assert_eq!(report.standing, "rejected by bob: no");
}

#[tokio::test]
async fn threat_credential_of_a_removed_member() {
    let (all, [alice, bob], _) = rotating().await;
    let leave = |roster: &mut Roster| {
        for member in &mut roster.members {
            member.active &= member.id.as_str() != "bob";
        }
        roster.members[0]
            .keys
            .retain(|key| !MemberKey::is_passkey(key));
    };
    let body = all.roster_changed(leave).await;
    all.file(StatementKind::Roster, &body, "alice").await;
    let state = all.agree(StatementKind::Roster, &body, "carol").await;
    assert_eq!(state, "effective");
    let id = all.propose("records", Installation::generation()).await;
    let message = all.approval_of(&id).await.bytes;
    let refused = all
        .approve_with(&id, &bob.sign(&message))
        .await
        .unwrap_err();
    assert_eq!(why(refused), "the member is no longer active");
    let refused = all
        .approve_with(&id, &alice.sign(&message))
        .await
        .unwrap_err();
    assert_eq!(why(refused), "the key belongs to no roster member");
}

#[tokio::test]
async fn a_passkey_is_enrolled_with_its_attestation_which_is_kept() {
    let all = Installation::new().await;
    let passkey = SoftPasskey::new("alice");
    let key = passkey.member_key();
    let change = |roster: &mut Roster| {
        roster.passkeys = Some(relying_party());
        roster.members[0].keys.push(key);
    };
    let body = all.roster_changed(change).await;
    let id = all.file(StatementKind::Roster, &body, "alice").await;
    let (service, message) = (all.service(), all.roster_message(&body));
    let options = service.enrolment_options(&id, None).await.unwrap();
    let challenge = trust::base64url::encode(Sha256Digest::of(&message).as_bytes());
    assert_eq!(
        (options.challenge, options.allow_credentials.len()),
        (challenge, 1)
    );
    let signature = passkey.sign(&message);
    let missing = service.sign_statement(&id, &signature).await.unwrap_err();
    assert!(
        missing.to_string().contains("comes with the attestation"),
        "{missing}"
    );
    let by = async |attestation: Vec<u8>| {
        let signed = service.sign_statement_by_passkey(&id, &signature, attestation);
        signed.await
    };
    let other = by(SoftPasskey::new("alice").attestation())
        .await
        .unwrap_err();
    assert!(
        other.to_string().contains("of another credential"),
        "{other}"
    );
    let broken = by(b"none".to_vec()).await.unwrap_err();
    assert!(broken.to_string().contains("the attestation"), "{broken}");
    assert!(service.passkey_attestations(&id).await.unwrap().is_empty());
    let ssh = all.signed("bob", Purpose::Roster, &body);
    let with_ssh = service.sign_statement_by_passkey(&id, &ssh, passkey.attestation());
    assert!(with_ssh.await.is_err());

    let report = by(passkey.attestation()).await.unwrap();
    // It proves the key, and is nobody's vote.
    assert_eq!(
        (report.state, report.signed_by.len(), report.unproven.len()),
        ("open", 1, 0)
    );
    let kept = service.passkey_attestations(&id).await.unwrap();
    assert_eq!((kept.len(), kept[0].format.as_str()), (1, "none"));
    assert_eq!(kept[0].attestation.0, passkey.attestation());
    assert_eq!(kept[0].aaguid, "07".repeat(16));
    let state = all.agree(StatementKind::Roster, &body, "bob").await;
    assert_eq!(state, "effective");
}

#[tokio::test]
async fn threat_a_roster_change_approved_by_passkey() {
    let (all, [alice, bob], _) = rotating().await;
    let change = |roster: &mut Roster| roster.members[3].active = false;
    let body = all.roster_changed(change).await;
    let message = all.roster_message(&body);
    let service = all.service();
    let signature = alice.sign(&message);
    let opened = service.open_statement(StatementKind::Roster, body.clone(), &signature);
    let refused = why(opened.await.unwrap_err());
    assert_eq!(refused, "signatures of passkeys do not count here");
    let id = all.file(StatementKind::Roster, &body, "alice").await;
    for attestation in [None, Some(bob.attestation())] {
        let signature = bob.sign(&message);
        let signed = match attestation {
            None => service.sign_statement(&id, &signature).await,
            Some(it) => service.sign_statement_by_passkey(&id, &signature, it).await,
        };
        let refused = why(signed.unwrap_err());
        assert_eq!(refused, "signatures of passkeys do not count here");
    }
    let report = service.statement_report(&id).await.unwrap();
    assert_eq!((report.state, report.signed_by.len()), ("open", 1));
}

/// Whoever signed by another key has left; that the other two are enough is not said of it.
#[tokio::test]
async fn an_order_that_only_passkeys_keep_is_paused_and_says_why() {
    let all = Installation::with_executors(&[RING]).await;
    for ring in ["log", RING] {
        Box::pin(all.open_ring(ring)).await;
    }
    let passkeys = all.with_passkeys().await;
    all.install_roster_with("frank").await;
    let draft = Draft::Order(Box::new(input(&all)));
    let ceremony = all.propose(RING, draft).await;
    let message = all.approval_of(&ceremony).await.bytes;
    for passkey in &passkeys {
        let signature = passkey.sign(&message);
        all.approve_with(&ceremony, &signature).await.unwrap();
    }
    all.approve(&ceremony, "frank").await.unwrap();
    all.execute(&ceremony).await.unwrap();
    for who in ["alice", "bob"] {
        all.accept(&ceremony, who).await.unwrap();
    }
    let orders = || async {
        let (orders, _) = all.service().orders((i64::MAX, ""), 10).await.unwrap();
        orders.into_iter().next().unwrap()
    };
    let order = orders().await;
    assert_eq!((order.state, order.still_active.len()), ("active", 3));
    let body = all.suspension_of("frank").await;
    all.file(StatementKind::Suspension, &body, "frank").await;
    let paused = orders().await;
    assert_eq!((paused.state, paused.still_active.len()), ("paused", 2));
    let why =
        "all approvers who are active signed by passkey; one has to have signed by another key";
    assert_eq!(paused.standing, why);
    let refused = make(&all, &order.order).await.unwrap_err().to_string();
    let why = "all its approvers who are active signed by passkey";
    assert!(refused.contains(why), "{refused}");
}
