use trust::Purpose;
use trust::tally::Standing;

use super::installation::{Installation, LONG};
use crate::ceremony::{Error, Kind};

const PROPOSED: &str = "generate proposed | - | - | -";
const APPROVED: &str = "generate approved | - | - | -";

async fn proposed() -> (Installation, String) {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.propose("records", Installation::generation()).await;
    (all, id)
}

async fn approvals(all: &Installation, id: &str) -> usize {
    let signatures = all.store.ceremony_signatures(id).await.unwrap();
    signatures
        .iter()
        .filter(|row| row.purpose == trust::Purpose::Approve)
        .count()
}

#[tokio::test]
async fn only_active_custodians_count_each_once_and_never_the_proposer() {
    let (all, id) = proposed().await;
    for (who, why) in [
        ("erin", "the member is no longer active"),
        ("carol", "the proposer's approval does not count"),
        ("dave", "the member is not a custodian"),
        ("mallory", "the key belongs to no roster member"),
    ] {
        let refused = all.approve(&id, who).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("this signature does not count: {why}")
        );
        assert_eq!(refused.kind(), Kind::Refused);
        assert_eq!(all.last_act().await, format!("refusal approve: {why}"));
        assert_eq!(approvals(&all, &id).await, 0);
        assert_eq!(all.state().await, PROPOSED);
    }
    let report = all.approve(&id, "alice").await.unwrap();
    assert_eq!(report.standing, "waiting for 1 more approval(s)");
    assert_eq!(report.approved_by, ["alice"]);
    let twice = all.approve(&id, "alice").await.unwrap_err().to_string();
    assert_eq!(
        twice,
        "this signature does not count: the member was already counted"
    );
    assert_eq!(approvals(&all, &id).await, 1);
    assert_eq!(all.state().await, PROPOSED);
    // One is not enough, whatever was refused.
    let early = all.execute(&id).await.unwrap_err();
    let waiting = Standing::Waiting { missing: 1 };
    assert!(
        matches!(&early, Error::NotApproved(standing) if *standing == waiting),
        "{early:?}"
    );
    assert_eq!(all.state().await, PROPOSED);

    let report = all.approve(&id, "bob").await.unwrap();
    assert_eq!(
        (report.state.as_str(), report.standing.as_str()),
        ("approved", "approved")
    );
    assert_eq!(all.state().await, APPROVED);
    assert_eq!(all.last_act().await, "ceremony approved: -");
}

#[tokio::test]
async fn a_signature_for_something_else_does_not_count() {
    let (all, id) = proposed().await;
    let other = all.propose("records", Installation::generation()).await;
    let service = all.service();
    let payload = service.approval_payload(&id).await.unwrap();
    let elsewhere = service.approval_payload(&other).await.unwrap();
    let sign = |namespace: &str, bytes: &[u8]| all.custodians.signature("alice", namespace, bytes);
    let accept = payload.namespace.replace("approve", "accept");
    let staging = payload.namespace.replace("production", "staging");
    assert!(accept != payload.namespace && staging != payload.namespace);
    for signature in [
        sign(&elsewhere.namespace, &elsewhere.bytes),
        sign(&accept, &payload.bytes),
        sign(&staging, &payload.bytes),
        "no signature at all".to_owned(),
    ] {
        let refused = service.approve(&id, &signature).await.unwrap_err();
        assert!(matches!(refused, Error::DoesNotCount(_)), "{refused:?}");
    }
    assert_eq!(approvals(&all, &id).await, 0);
}

#[tokio::test]
async fn one_rejection_blocks_for_good() {
    for approved in [false, true] {
        let (all, id) = proposed().await;
        if approved {
            all.approve(&id, "alice").await.unwrap();
            all.approve(&id, "bob").await.unwrap();
        }
        let report = all.object(&id, Purpose::Reject, "bob").await.unwrap();
        assert_eq!(report.standing, "rejected by bob: no");
        let rejected = "generate rejected | - | - | -";
        assert_eq!(all.state().await, rejected);
        for who in ["alice", "bob"] {
            let late = all.approve(&id, who).await.unwrap_err();
            assert!(
                matches!(&late, Error::State { found, .. } if found == "rejected"),
                "{late:?}"
            );
        }
        let refused = all.execute(&id).await.unwrap_err();
        assert!(matches!(refused, Error::State { .. }), "{refused:?}");
        assert_eq!(all.state().await, rejected);
    }
}

/// The row is nobody's permission: somebody who sets it back is told by the signatures.
#[tokio::test]
async fn a_rejection_blocks_though_the_row_says_approved() {
    let (all, id) = proposed().await;
    all.approve(&id, "alice").await.unwrap();
    all.approve(&id, "bob").await.unwrap();
    all.object(&id, Purpose::Reject, "bob").await.unwrap();
    all.tamper("ceremony", "UPDATE ceremony SET state = 'approved'")
        .await;
    let refused = all.execute(&id).await.unwrap_err();
    assert!(
        matches!(refused, Error::NotApproved(Standing::Rejected { .. })),
        "{refused:?}"
    );
    assert_eq!(all.last_act().await, "refusal execute: rejected by bob: no");
    assert_eq!(all.state().await, APPROVED);
}

#[tokio::test]
async fn who_may_not_object_does_not_block() {
    let (all, id) = proposed().await;
    for who in ["erin", "dave", "mallory"] {
        let refused = all.object(&id, Purpose::Reject, who).await.unwrap_err();
        assert!(
            matches!(refused, Error::DoesNotCount(_)),
            "{who}: {refused:?}"
        );
        assert!(all.last_act().await.starts_with("refusal reject: "));
    }
    for who in ["alice", "dave", "mallory"] {
        let refused = all.object(&id, Purpose::Cancel, who).await.unwrap_err();
        assert!(
            matches!(refused, Error::DoesNotCount(_)),
            "{who}: {refused:?}"
        );
        assert!(all.last_act().await.starts_with("refusal cancel: "));
    }
    all.approve(&id, "alice").await.unwrap();
    all.approve(&id, "bob").await.unwrap();
    assert_eq!(all.state().await, APPROVED);
}

#[tokio::test]
async fn the_proposer_withdraws_what_was_proposed() {
    let (all, id) = proposed().await;
    let report = all.object(&id, Purpose::Cancel, "carol").await.unwrap();
    assert_eq!(report.standing, "cancelled by carol: no");
    assert_eq!(all.state().await, "generate cancelled | - | - | -");
    assert!(all.approve(&id, "alice").await.is_err());
}

#[tokio::test]
async fn deadlines_hold_for_approvals_and_for_the_execution() {
    let (all, id) = proposed().await;
    all.approve(&id, "alice").await.unwrap();
    all.approve(&id, "bob").await.unwrap();
    all.wait(1);
    let other = all.propose("records", Installation::generation()).await;
    all.wait(61);
    let late = all.approve(&other, "alice").await.unwrap_err();
    assert!(
        matches!(late, Error::NotApproved(Standing::Expired { .. })),
        "{late:?}"
    );
    assert_eq!(approvals(&all, &other).await, 0);
    // Approved in time, it may still be carried out; and after its deadline not any more.
    all.wait(LONG);
    let late = all.execute(&id).await.unwrap_err();
    assert!(
        matches!(
            late,
            Error::NotApproved(Standing::Expired {
                deadline: "execute_by",
                ..
            })
        ),
        "{late:?}"
    );
    assert_eq!(
        all.state().await,
        "generate approved, generate proposed | - | - | -"
    );
}

#[tokio::test]
async fn a_vote_that_the_database_did_not_take_is_given_again() {
    let (all, id) = proposed().await;
    all.break_at("INSERT ON ceremony_signature", "NEW.purpose = 'approve'")
        .await;
    let failed = all.approve(&id, "alice").await.unwrap_err();
    assert!(matches!(failed, Error::Store(_)), "{failed:?}");
    assert_eq!(approvals(&all, &id).await, 0);
    all.repair().await;
    assert_eq!(all.state().await, PROPOSED);
    all.approve(&id, "alice").await.unwrap();
    assert_eq!(approvals(&all, &id).await, 1);
}

/// The quorum is complete and the row does not say so: a crash came between the two.
#[tokio::test]
async fn the_last_approval_counts_though_the_row_did_not_move() {
    let (all, id) = proposed().await;
    all.approve(&id, "alice").await.unwrap();
    all.break_at("UPDATE ON ceremony", "NEW.state = 'approved'")
        .await;
    all.approve(&id, "bob").await.unwrap_err();
    all.repair().await;
    assert_eq!(all.state().await, PROPOSED);
    assert_eq!(approvals(&all, &id).await, 2);
    // The answer was lost, so it is given again: it finishes what was begun, and is not kept twice.
    let again = all.approve(&id, "bob").await.unwrap();
    assert_eq!(again.state, "approved");
    assert_eq!(approvals(&all, &id).await, 2);
    let once_more = all.approve(&id, "bob").await.unwrap_err();
    assert!(matches!(once_more, Error::DoesNotCount(_)), "{once_more:?}");
    all.execute(&id).await.unwrap();
    assert_eq!(all.state().await, "generate executed | present | - | pair");
}

#[tokio::test]
async fn a_rejection_that_was_kept_blocks_though_the_row_did_not_move() {
    let (all, id) = proposed().await;
    all.approve(&id, "alice").await.unwrap();
    all.approve(&id, "bob").await.unwrap();
    all.break_at("UPDATE ON ceremony", "NEW.state = 'rejected'")
        .await;
    all.object(&id, Purpose::Reject, "bob").await.unwrap_err();
    all.repair().await;
    let refused = all.execute(&id).await.unwrap_err();
    assert!(
        matches!(refused, Error::NotApproved(Standing::Rejected { .. })),
        "{refused:?}"
    );
    assert_eq!(all.state().await, APPROVED);
}
