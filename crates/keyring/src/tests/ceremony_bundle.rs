//! A ceremony that is held on a file.

use testkit::custodians::new_origin;
use trust::Operation;

use super::installation::Installation;
use crate::ceremony::{Bundle, CeremonyService, Draft, SigningPayload};

/// Approved and accepted.
async fn finished(all: &Installation) -> Bundle {
    let Operation::NewOrigin(order) = new_origin("log", "log-2", 5, 9) else {
        panic!("a new origin")
    };
    let mut proposal = all.proposal("records", Draft::NewOrigin(Box::new(order)));
    proposal.ring = None;
    let who = proposal.proposer.to_string();
    let service = all.service();
    let snapshot = all.snapshot().await;
    let request = service.draft_request(proposal, &snapshot).await.unwrap();
    let mut bundle = service.bundle(&request).await.unwrap();
    let add = |bundle: &mut Bundle, who: &str, payload: &SigningPayload| {
        let signature = (all.custodians).signature(who, &payload.namespace, &payload.bytes);
        bundle.add(&signature, &all.settings.pin, all.now())
    };
    let payload = CeremonyService::proposal_payload(&request).unwrap();
    add(&mut bundle, &who, &payload).unwrap();
    for who in ["alice", "bob"] {
        let payload = bundle.approval_payload().unwrap();
        add(&mut bundle, who, &payload).unwrap();
    }
    for who in ["alice", "bob"] {
        let payload = bundle.acceptance_payload().unwrap();
        add(&mut bundle, who, &payload).unwrap();
    }
    bundle
}

#[tokio::test]
async fn case_l2_a_new_origin_is_not_begun_after_its_time() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let bundle = finished(&all).await;
    let _due = all.service().permit_origin(&bundle).await.unwrap();
    all.wait(119);
    let _due = all.service().permit_origin(&bundle).await.unwrap();
    all.wait(2);
    let late = all.service().permit_origin(&bundle).await;
    let why = late.err().expect("it is too late").to_string();
    assert!(why.contains("was to be carried out by"), "{why}");
}
