//! What members sign about whom to trust, where two do so at once.

use super::super::*;
use super::conflicts::conflicts;
use super::place::Place;
use super::world::*;
use trust::{Purpose, Sha256Digest, Time};

fn statement(name: &str, kind: StatementKind, follows: Sha256Digest) -> StatementRow {
    StatementRow {
        id: Sha256Digest::of(name.as_bytes()),
        kind,
        state: StatementState::Open,
        follows,
        opened_by: "alice".to_owned(),
        body: name.as_bytes().to_vec(),
        created_at: Time::from_millis(NOW),
        closes_at: Time::from_millis(NOW + 1_000),
        updated_at: Time::from_millis(NOW),
        announced: None,
        effect: None,
    }
}

pub fn signature(name: &str, purpose: Purpose, who: &str) -> CeremonySignatureRow {
    CeremonySignatureRow {
        ceremony: Sha256Digest::of(name.as_bytes()),
        purpose,
        body: Vec::new(),
        signature: who.to_owned(),
        received_at: Time::from_millis(NOW),
    }
}

pub async fn open(place: &Place, name: &str, kind: StatementKind) -> String {
    let row = Box::new(statement(name, kind, Sha256Digest::of(b"roster")));
    let signature = signature(name, kind.purpose(), "alice");
    let change = Change::OpenStatement { row, signature };
    place.change(change).await.unwrap();
    Sha256Digest::of(name.as_bytes()).to_string()
}

fn document(at: i64, kind: DocumentKind, version: i64) -> DocumentRow {
    DocumentRow {
        place: at,
        kind,
        version,
        body: vec![1],
        index: None,
    }
}

async fn genesis(place: &Place) {
    let genesis = document(0, DocumentKind::Genesis, 1);
    let change = Change::InstallDocuments(vec![genesis]);
    place.change(change).await.unwrap();
}

async fn state(place: &Place, id: &str) -> StatementState {
    place.store.statement(id).await.unwrap().unwrap().state
}

fn install(id: &str, decided: DecidedBy) -> Change {
    Change::InstallDocument {
        statement: id.to_owned(),
        document: document(1, DocumentKind::Roster, 2),
        decided,
        at: NOW,
    }
}

/// The last signature is counted, a rejection is committed, and the roster is installed: in this order.
pub async fn threat_a_rejection_races_the_last_signature(place: Place) {
    genesis(&place).await;
    let id = open(&place, "roster 2", StatementKind::Roster).await;
    let other = open(&place, "other", StatementKind::Policy).await;
    let replica = place.replica().await;
    let decided = replica.decided_by().await.unwrap();
    // Of another statement: that is none of this one's.
    let of_other = signature("other", Purpose::Reject, "carol");
    let sign = Change::SignStatement(of_other);
    place.change(sign).await.unwrap();
    let rejection = signature("roster 2", Purpose::Reject, "carol");
    let sign = Change::SignStatement(rejection);
    place.change(sign).await.unwrap();
    conflicts(&place, install(&id, decided), Subject::Statement).await;
    assert_eq!(state(&place, &id).await, StatementState::Open);
    assert_eq!(place.store.documents().await.unwrap().len(), 1);
    // Whoever has read it, and found that it is nobody's who counts, goes on.
    let decided = replica.decided_by().await.unwrap();
    place.change(install(&id, decided)).await.unwrap();
    assert_eq!(state(&place, &id).await, StatementState::Effective);
    assert_eq!(state(&place, &other).await, StatementState::Void);
    assert_eq!(place.store.documents().await.unwrap().len(), 2);
}

/// The same of a suspension, by which a signature would not be counted.
pub async fn threat_a_suspension_races_the_last_signature(place: Place) {
    genesis(&place).await;
    let id = open(&place, "roster 2", StatementKind::Roster).await;
    let suspension = open(&place, "alice", StatementKind::Suspension).await;
    let replica = place.replica().await;
    let decided = replica.decided_by().await.unwrap();
    let effective = Change::EndStatement {
        id: suspension,
        to: StatementState::Effective,
        at: NOW,
    };
    place.change(effective).await.unwrap();
    conflicts(&place, install(&id, decided), Subject::Statement).await;
    assert_eq!(state(&place, &id).await, StatementState::Open);
    let decided = replica.decided_by().await.unwrap();
    place.change(install(&id, decided)).await.unwrap();
}

/// A recovery took effect, and a veto is committed before its roster is installed.
pub async fn threat_a_veto_races_the_installation(place: Place) {
    genesis(&place).await;
    let id = open(&place, "recovered", StatementKind::Recovery).await;
    for change in [
        Change::AnnounceRecovery {
            id: id.clone(),
            at: NOW,
        },
        Change::EffectRecovery {
            id: id.clone(),
            at: NOW,
        },
    ] {
        place.change(change).await.unwrap();
    }
    let decided = place.store.decided_by().await.unwrap();
    let veto = signature("recovered", Purpose::Veto, "carol");
    place.change(Change::SignStatement(veto)).await.unwrap();
    conflicts(&place, install(&id, decided), Subject::Statement).await;
    assert_eq!(state(&place, &id).await, StatementState::Announced);
}

/// Of two statements that are complete at once, and of one that is installed twice at once, one is installed.
pub async fn one_of_two_documents_is_installed(place: Place) {
    genesis(&place).await;
    let one = open(&place, "one", StatementKind::Roster).await;
    let two = open(&place, "two", StatementKind::Roster).await;
    let decided = place.store.decided_by().await.unwrap();
    let replica = place.replica().await;
    let leaf = leaf("roster");
    let changes = [&one, &two, &one].map(|id| install(id, decided));
    let done = tokio::join!(
        place.store.commit(&changes[0], &leaf),
        replica.commit(&changes[1], &leaf),
        replica.commit(&changes[2], &leaf),
    );
    let done = [done.0, done.1, done.2];
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
    assert_eq!(place.store.documents().await.unwrap().len(), 2);
    let mut states = [state(&place, &one).await, state(&place, &two).await];
    states.sort_by_key(|state| state.as_str());
    assert_eq!(states, [StatementState::Effective, StatementState::Void]);
}

/// What the database lost comes back with its leaf, and voids what it voided.
pub async fn lost_documents_come_back_with_their_leaves(place: Place) {
    genesis(&place).await;
    let installed = Leaf {
        body: r#"{"action":"install-roster","kind":"roster","v":1}"#.to_owned(),
        ..leaf("roster")
    };
    let other = Leaf {
        body: r#"{"action":"propose","kind":"roster","ref":"{\"action\":\"install-\"","v":1}"#
            .to_owned(),
        ..leaf("roster")
    };
    place.ring("atp").await;
    place.change(birth("before", 1, "atp")).await.unwrap();
    let lost = open(&place, "lost", StatementKind::Roster).await;
    let early = open(&place, "early", StatementKind::Suspension).await;
    let mut indexes = Vec::new();
    for leaf in [&installed, &other, &installed] {
        indexes.push(place.store.commit(&Change::Record, leaf).await.unwrap());
    }
    place.change(birth("after", 1, "atp")).await.unwrap();
    let told = place.store.installations().await.unwrap();
    let told: Vec<_> = told.iter().map(|leaf| leaf.index).collect();
    assert_eq!(told, [indexes[0], indexes[2]]);
    let late = open(&place, "late", StatementKind::Roster).await;
    let restored = |at: i64, statement: &str, index: i64| RestoredDocument {
        row: document(at, DocumentKind::Roster, at + 1),
        statement: statement.to_owned(),
        index,
    };
    let restore =
        |documents: Vec<RestoredDocument>| Change::RestoreDocuments { documents, at: NOW };
    let gap = restore(vec![restored(2, &lost, indexes[2])]);
    conflicts(&place, gap, Subject::Document).await;
    let both = restore(vec![
        restored(1, &lost, indexes[0]),
        restored(2, "", indexes[2]),
    ]);
    place.change(both).await.unwrap();
    let rows = place.store.documents().await.unwrap();
    let found: Vec<_> = rows.iter().map(|row| row.index).collect();
    assert_eq!(found[1..], [Some(indexes[0]), Some(indexes[2])]);
    assert_eq!(state(&place, &lost).await, StatementState::Effective);
    // What was open when they were installed is void; what came after it is not.
    assert_eq!(state(&place, &early).await, StatementState::Void);
    assert_eq!(state(&place, &late).await, StatementState::Open);
    let ceremonies = ["before", "after"].map(|name| place.ceremony(name));
    let [before, after] = ceremonies;
    assert_eq!(before.await.state, CeremonyState::Cancelled);
    assert_eq!(after.await.state, CeremonyState::Proposed);
}
