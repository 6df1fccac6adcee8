//! Rosters and suspensions where two sign at once, where documents are missing, and where a deadline passes.

use std::sync::Arc;

use log::{Event, Log};
use store::{CeremonySignatureRow, Change, DocumentKind, StatementKind, StatementState};
use trust::approval::ObjectionBody;
use trust::bytes16::Nonce;
use trust::format::V1;
use trust::leaf::ActKind;
use trust::suspension::SuspensionBody;
use trust::{
    Member, MemberKey, MemberSignature, Namespace, Purpose, Role, Sha256Digest, Trusted, dsse,
};

use super::installation::Installation;
use crate::ceremony::{Decision, Error};
use crate::keys::Keys;

impl Installation {
    pub async fn trusted(&self) -> Arc<Trusted> {
        self.service().roster_and_policy().await.unwrap()
    }

    /// The next roster, to which a custodian comes.
    pub async fn roster_with(&self, who: &str) -> Vec<u8> {
        let trusted = self.trusted().await;
        let mut roster = trusted.roster().clone();
        roster.version += 1;
        roster.previous = Some(trusted.head());
        roster.members.push(Member {
            id: who.parse().unwrap(),
            name: who.to_owned(),
            roles: vec![Role::Custodian],
            keys: vec![MemberKey::Ssh {
                public: testkit::custodians::public(who),
            }],
            active: true,
        });
        trust::json::canonical(&roster).unwrap()
    }

    pub async fn suspension_of(&self, who: &str) -> Vec<u8> {
        let body = SuspensionBody {
            member: who.parse().unwrap(),
            nonce: Nonce([7; 16]),
            reason: "the key was stolen".to_owned(),
            roster: self.trusted().await.roster_ref(),
            v: V1,
        };
        body.encode().unwrap()
    }

    pub fn signed(&self, who: &str, purpose: Purpose, body: &[u8]) -> String {
        let pin = self.custodians.pin();
        let namespace = Namespace::new(purpose, &pin.service, &pin.environment).to_string();
        let message = dsse::pae(&namespace, body);
        self.custodians.signature(who, &namespace, &message)
    }

    /// Filed with the first signature; its id.
    pub async fn file(&self, kind: StatementKind, body: &[u8], who: &str) -> String {
        let signature = self.signed(who, kind.purpose(), body);
        let service = self.service();
        let filed = service.open_statement(kind, body.to_vec(), &signature);
        filed.await.unwrap().statement.to_string()
    }

    pub async fn agree(&self, kind: StatementKind, body: &[u8], who: &str) -> &'static str {
        let id = Sha256Digest::of(body).to_string();
        let signature = self.signed(who, kind.purpose(), body);
        let signed = self.service().sign_statement(&id, &signature).await;
        signed.unwrap().state
    }

    /// The roster to which a custodian comes holds.
    pub async fn install_roster_with(&self, who: &str) {
        let body = self.roster_with(who).await;
        self.file(StatementKind::Roster, &body, "alice").await;
        self.agree(StatementKind::Roster, &body, "bob").await;
        let state = self.agree(StatementKind::Roster, &body, who).await;
        assert_eq!(state, "effective");
    }

    /// Kept and logged, and whoever took it died before anything followed from it.
    async fn keep_only(&self, purpose: Purpose, id: &str, body: Vec<u8>, signature: String) {
        let signature = trust::sshsig::normalize(&signature).unwrap();
        let signature = MemberSignature::ssh(signature);
        let row = CeremonySignatureRow {
            ceremony: id.parse().unwrap(),
            purpose,
            body,
            signature: String::from_utf8(signature.encode().unwrap()).unwrap(),
            received_at: self.now(),
        };
        let event = Event {
            digest: Some(Sha256Digest::of(row.signature.as_bytes())),
            reference: Some(id),
            ..Event::new(ActKind::Roster, "sign", "test", self.now())
        };
        let log = Log::new(self.store.clone());
        let change = Change::SignStatement(row);
        log.commit(&change, &event).await.unwrap();
    }

    /// A roster that has its last signature and is not installed yet.
    async fn complete_roster(&self) -> String {
        let body = self.roster_with("frank").await;
        let id = self.file(StatementKind::Roster, &body, "alice").await;
        self.agree(StatementKind::Roster, &body, "bob").await;
        let last = self.signed("frank", Purpose::Roster, &body);
        self.keep_only(Purpose::Roster, &id, Vec::new(), last).await;
        id
    }

    pub async fn ceremony_is(&self, id: &str) -> String {
        self.service().report(id).await.unwrap().state
    }

    async fn state_of(&self, id: &str) -> StatementState {
        self.store.statement(id).await.unwrap().unwrap().state
    }
}

/// As it was decided before the other came: refused, and nothing is installed.
async fn overtaken(all: &Installation, id: &str, decided: Decision) {
    let refused = all.service().put_into_effect(decided).await.unwrap_err();
    let conflict = matches!(&refused, Error::Store(error) if error.is_conflict());
    assert!(conflict, "{refused:?}");
    assert_eq!(all.state_of(id).await, StatementState::Open);
    assert_eq!(all.trusted().await.roster().version, 1);
}

#[tokio::test]
async fn threat_a_rejection_races_the_last_signature() {
    let all = Installation::new().await;
    let id = all.complete_roster().await;
    let service = all.service();
    let decided = service.decide_statement(&id).await.unwrap().unwrap();
    assert!(matches!(decided, Decision::Install(_)));
    let body = ObjectionBody {
        v: V1,
        request_digest: id.parse().unwrap(),
        reason: "no".to_owned(),
    };
    let body = body.encode().unwrap();
    let signature = all.signed("carol", Purpose::Reject, &body);
    all.keep_only(Purpose::Reject, &id, body, signature).await;
    overtaken(&all, &id, decided).await;
    // Whoever looks again sees it.
    let again = service.decide_statement(&id).await.unwrap().unwrap();
    service.put_into_effect(again).await.unwrap();
    assert_eq!(all.state_of(&id).await, StatementState::Rejected);
}

/// A rejection by nobody who counts, as one who is suspended, keeps nothing as it is.
#[tokio::test]
async fn a_rejection_that_does_not_count_is_looked_at_and_passed_over() {
    let all = Installation::new().await;
    let id = all.complete_roster().await;
    let body = ObjectionBody {
        v: V1,
        request_digest: id.parse().unwrap(),
        reason: "no".to_owned(),
    };
    let body = body.encode().unwrap();
    let signature = all.signed("mallory", Purpose::Reject, &body);
    all.keep_only(Purpose::Reject, &id, body, signature).await;
    let service = all.service();
    let decided = service.decide_statement(&id).await.unwrap().unwrap();
    service.put_into_effect(decided).await.unwrap();
    assert_eq!(all.state_of(&id).await, StatementState::Effective);
}

#[tokio::test]
async fn threat_a_suspension_races_the_last_signature() {
    let all = Installation::new().await;
    let id = all.complete_roster().await;
    let service = all.service();
    let decided = service.decide_statement(&id).await.unwrap().unwrap();
    let body = all.suspension_of("bob").await;
    let suspension = all.file(StatementKind::Suspension, &body, "bob").await;
    assert_eq!(all.state_of(&suspension).await, StatementState::Effective);
    overtaken(&all, &id, decided).await;
    // One of the two signatures is worth nothing any more.
    assert!(service.decide_statement(&id).await.unwrap().is_none());
    let body = service.statement_body(&id).await.unwrap().1;
    let state = all.agree(StatementKind::Roster, &body, "carol").await;
    assert_eq!(state, "effective");
}

/// A superuser takes the newest roster out, and a replica starts on what is left.
#[tokio::test]
async fn threat_a_replica_starts_on_a_roster_that_was_rolled_back() {
    let all = Installation::new().await;
    all.install_roster_with("frank").await;
    all.install_roster_with("grace").await;
    let service = all.service();
    let chain = service.chains().await.unwrap().unwrap();
    let starts = async || Keys::load(all.store.clone(), all.settings.clone()).await;
    assert!(starts().await.is_ok());
    let take_out = async |place: i64| {
        for sql in [
            "DROP TRIGGER IF EXISTS trust_document_no_delete".to_owned(),
            format!("DELETE FROM trust_document WHERE place >= {place}"),
        ] {
            all.place.raw(&sql).await.unwrap();
        }
    };
    // The newest one, both, and all there is.
    for place in [2, 1, 0] {
        take_out(place).await;
        let refused = starts().await.err().expect("refused");
        let text = trust::error_chain(&refused);
        assert!(text.contains("does not have"), "{place}: {text}");
        // What puts leaves back reads the keys all the same.
        let recovering = Keys::load_for_recovery(all.store.clone(), all.settings.clone());
        assert!(recovering.await.is_ok(), "{place}");
        let count = service.restore_documents(&chain).await.unwrap();
        assert_eq!(count, 3 - place as usize);
        assert!(starts().await.is_ok(), "{place}");
        assert_eq!(all.trusted().await.roster().version, 3);
    }
    // Nothing is missing; and what the log does not tell of does not come in.
    assert_eq!(service.restore_documents(&chain).await.unwrap(), 0);
    let other = Installation::new().await;
    let refused = other.service().restore_documents(&chain).await;
    assert!(matches!(refused, Err(Error::Unfit(_))), "{refused:?}");
    // Nor does another document in the place of one that it does tell of.
    for who in ["frank", "mallory"] {
        other.install_roster_with(who).await;
    }
    let forged = other.service().chains().await.unwrap().unwrap();
    take_out(2).await;
    let refused = service.restore_documents(&forged).await;
    assert!(matches!(refused, Err(Error::Unfit(_))), "{refused:?}");
    assert_eq!(service.restore_documents(&chain).await.unwrap(), 1);
    // Where there was nothing but the genesis.
    let founded = Installation::new().await;
    for sql in [
        "DROP TRIGGER trust_document_no_delete",
        "DELETE FROM trust_document",
    ] {
        founded.place.raw(sql).await.unwrap();
    }
    let keys = Keys::load(founded.store.clone(), founded.settings.clone());
    assert!(keys.await.is_err());

    // Those who left put another one in the place of the newest: the log knows of the one before it.
    take_out(2).await;
    all.install_roster_with("mallory").await;
    assert_eq!(all.trusted().await.roster().version, 3);
    let refused = starts().await.err().expect("refused");
    assert!(trust::error_chain(&refused).contains("does not have"));
    let refused = service.restore_documents(&chain).await;
    assert!(matches!(refused, Err(Error::Unfit(_))), "{refused:?}");
}

/// Copies of the chain are as good wherever they are from, also a transcript.
#[tokio::test]
async fn lost_documents_come_back_from_a_transcript() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    all.install_roster_with("frank").await;
    let id = all.closed("records", Installation::generation()).await;
    let transcript = all.service().transcript(&id).await.unwrap();
    for sql in [
        "DROP TRIGGER trust_document_no_delete",
        "DELETE FROM trust_document WHERE place = 1",
    ] {
        all.place.raw(sql).await.unwrap();
    }
    let service = all.service();
    assert_eq!(service.restore_documents(&transcript).await.unwrap(), 1);
    let rows = all.store.documents().await.unwrap();
    assert_eq!(rows[1].kind, DocumentKind::Roster);
    assert_eq!(all.snapshot().await.refused, []);
}

/// Nobody may accept it any more, so nobody is asked; its place in the line and its private half are named.
#[tokio::test]
async fn a_key_of_a_former_roster_that_nobody_accepted_in_time_expires() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    all.create_ring("others").await;
    let id = all.executed("records", Installation::generation()).await;
    all.accept(&id, "alice").await.unwrap();
    all.install_roster_with("frank").await;
    // Under the present roster what was carried out waits however long it takes.
    let present = all.executed("others", Installation::generation()).await;
    all.wait(120);
    let service = all.service();
    assert_eq!(service.expire().await.unwrap(), 0, "its last moment");
    all.wait(1);
    let (one, other) = tokio::join!(service.expire(), service.expire());
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    assert_eq!(service.expire().await.unwrap(), 0);
    assert_eq!(all.ceremony_is(&id).await, "expired");
    assert_eq!(all.ceremony_is(&present).await, "executed");
    assert!(all.accept(&id, "bob").await.is_err());
    assert_eq!(
        all.state().await,
        "generate expired, generate executed | present, present | - | pair, pair"
    );

    // A person destroys the private half, and then it is recorded.
    let named = all.reconcile().await;
    assert!(
        matches!(&named[..], [only] if only.contains("never be published")),
        "{named:?}"
    );
    assert_eq!(all.reconcile().await, named);
    let objects = all.store.key_objects().await.unwrap().all().unwrap();
    let object = objects.iter().find(|row| row.ceremony.to_string() == id);
    let trust::Place::Pkcs11(place) = &object.unwrap().place else {
        panic!("{objects:?}");
    };
    all.token.remove(place.cka_id.0);
    let recorded = all.reconcile().await;
    assert!(
        matches!(&recorded[..], [only] if only.ends_with("recorded as destroyed")),
        "{recorded:?}"
    );
    assert_eq!(all.reconcile().await, [""; 0]);
    assert_eq!(all.ceremony_is(&id).await, "expired");

    // The next key of the ring follows what was before it.
    all.next_primary("records").await;
    assert_eq!(all.snapshot().await.refused, []);
}

/// Another ceremony was carried out on top of it and names it: its place is not given back, so it stays.
#[tokio::test]
async fn a_key_of_a_former_roster_whose_successor_was_accepted_stays_executed() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let first = all.executed("records", Installation::generation()).await;
    all.closed("records", Installation::generation()).await;
    all.install_roster_with("frank").await;
    all.wait(121);
    assert_eq!(all.service().expire().await.unwrap(), 0);
    assert_eq!(all.ceremony_is(&first).await, "executed");
}
