use std::time::Duration;

use trust::tally::Standing;
use trust::{Operation, Purpose, Time};

use super::installation::{Installation, LONG};
use crate::ceremony::{CeremonyService, Draft, Error, Kind};

#[tokio::test]
async fn a_request_names_what_is_there_and_is_filed_once() {
    let (all, first) = Installation::open("records").await;
    let input = all.proposal("records", Installation::generation());
    let snapshot = all.snapshot().await;
    let request = all.service().draft_request(input, &snapshot).await.unwrap();
    let Operation::Generate(order) = &request.operation else {
        panic!("{request:?}")
    };
    assert_eq!(
        (order.number, order.predecessor.as_ref()),
        (2, Some(&first))
    );
    assert_eq!(request.lines[0].sequence, 2);
    assert!(request.lines[0].previous.is_some());
    assert_eq!(
        all.state().await,
        "generate closed | present | records/1 primary | pair"
    );

    let payload = CeremonyService::proposal_payload(&request).unwrap();
    let signature = all
        .custodians
        .signature("carol", &payload.namespace, &payload.bytes);
    let bytes = request.encode().unwrap();
    all.service()
        .propose(bytes.clone(), &signature)
        .await
        .unwrap();
    let proposed = "generate closed, generate proposed | present | records/1 primary | pair";
    assert_eq!(all.state().await, proposed);
    assert_eq!(all.last_act().await, "ceremony propose: a test");

    let again = all.service().propose(bytes, &signature).await.unwrap_err();
    assert!(
        matches!(&again, Error::Store(error) if error.is_conflict()),
        "{again:?}"
    );
    assert_eq!(again.kind(), Kind::Refused);
    assert_eq!(all.state().await, proposed);
}

#[tokio::test]
async fn nobody_proposes_in_the_name_of_another() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let input = all.proposal("records", Installation::generation());
    let snapshot = all.snapshot().await;
    let request = all.service().draft_request(input, &snapshot).await.unwrap();
    let payload = CeremonyService::proposal_payload(&request).unwrap();
    for who in ["alice", "erin", "a stranger"] {
        let signature =
            all.custodians
                .signature(&who.replace(' ', "-"), &payload.namespace, &payload.bytes);
        let bytes = request.encode().unwrap();
        let refused = all.service().propose(bytes, &signature).await.unwrap_err();
        assert!(
            matches!(refused, Error::NotApproved(Standing::Refused(_))),
            "{who}: {refused:?}"
        );
        assert_eq!(
            all.last_act().await,
            "refusal propose: the proposal is not signed by the proposer"
        );
    }
    // The right person for another purpose.
    let signature = all.custodians.signature(
        "carol",
        &request.namespace(Purpose::Approve).to_string(),
        &payload.bytes,
    );
    assert!(
        all.service()
            .propose(request.encode().unwrap(), &signature)
            .await
            .is_err()
    );
    assert_eq!(all.state().await, "- | - | - | -");
}

#[tokio::test]
async fn who_may_not_propose_gets_no_request() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    for who in ["erin", "mallory"] {
        let mut input = all.proposal("records", Installation::generation());
        input.proposer = who.parse().unwrap();
        let refused = all.try_propose(input).await.unwrap_err();
        let expected = format!("the proposer {who} is not an active member of the roster");
        assert_eq!(refused.to_string(), expected);
    }
    // An operator is no custodian and may propose.
    let mut input = all.proposal("records", Installation::generation());
    input.proposer = "dave".parse().unwrap();
    all.try_propose(input).await.unwrap();
    assert_eq!(all.state().await, "generate proposed | - | - | -");
}

#[tokio::test]
async fn what_no_quorum_could_approve_is_not_proposed() {
    let (all, kid) = Installation::open("records").await;
    let before = all.state().await;
    let mut late = all.proposal("records", Installation::generation());
    late.approve_by = Time::from_millis(all.now().millis() - 1);
    let mut reversed = all.proposal("records", Installation::generation());
    reversed.execute_by = Time::from_millis(reversed.approve_by.millis() - 1);
    let stranger = format!("{}A", "b".repeat(42)).parse().unwrap();
    let tomorrow = all.now() + Duration::from_secs(86_400);
    let refused = [
        (late, "is not before"),
        (reversed, "is not before"),
        (
            all.proposal("nothing", Installation::generation()),
            "unknown ring nothing",
        ),
        (
            all.proposal("records", Draft::Destroy { kid: kid.clone() }),
            "is primary, expected retired or revoked",
        ),
        (
            all.proposal("records", Draft::Destroy { kid: stranger }),
            "has no key",
        ),
        (
            all.proposal("records", Installation::compromise(&kid, tomorrow)),
            "is not before",
        ),
    ];
    for (input, expected) in refused {
        let why = all.try_propose(input).await.unwrap_err();
        assert_eq!(why.kind(), Kind::Refused);
        assert!(why.to_string().contains(expected), "{why}");
    }
    assert_eq!(all.state().await, before);
}

#[tokio::test]
async fn a_revoked_key_is_revoked_again_only_for_something_worse() {
    let (all, kid) = Installation::open("records").await;
    all.closed("records", Installation::revocation(&kid)).await;
    let same = all.proposal("records", Installation::revocation(&kid));
    let why = all.try_propose(same).await.unwrap_err().to_string();
    assert!(
        why.contains("only a more severe revocation is allowed"),
        "{why}"
    );
    let since = all.now();
    all.wait(1);
    all.closed("records", Installation::compromise(&kid, since))
        .await;
    assert_eq!(
        all.state().await,
        "generate closed, revoke closed, revoke closed | present | records/1 revoked | pair"
    );
    let key = all.snapshot().await.keys[&kid].state.life();
    assert_eq!(key.revocation.unwrap().compromised_since, Some(since));
}

#[tokio::test]
async fn the_number_of_a_birth_that_failed_is_not_given_again() {
    let (all, _) = Installation::open("records").await;
    all.token.fail_generation(testkit::token::Fault::Before);
    let id = all.approved("records", Installation::generation()).await;
    all.execute(&id).await.unwrap_err();
    all.wait(3);
    all.reconcile().await;
    all.standby("records").await;
    assert_eq!(
        all.state().await,
        "generate closed, generate failed, generate closed | present, abandoned, present | \
         records/1 primary, records/3 prepared | pair, pair"
    );
}

#[tokio::test]
async fn of_two_requests_for_one_place_in_a_line_the_first_that_is_carried_out_has_it() {
    let (all, _) = Installation::open("records").await;
    let first = all.approved("records", Installation::generation()).await;
    all.wait(1);
    let second = all.approved("records", Installation::generation()).await;
    all.execute(&first).await.unwrap();
    let overtaken = all.execute(&second).await.unwrap_err();
    assert!(
        matches!(&overtaken, Error::NotApproved(Standing::Refused(_))),
        "{overtaken:?}"
    );
    assert_eq!(
        all.state().await,
        "generate closed, generate executed, generate approved | present, present | \
         records/1 primary | pair, pair"
    );
    assert!(all.last_act().await.starts_with("refusal execute: "));
}

#[tokio::test]
async fn a_request_that_waited_too_long_is_not_filed() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let input = all.proposal("records", Installation::generation());
    let snapshot = all.snapshot().await;
    let request = all.service().draft_request(input, &snapshot).await.unwrap();
    let payload = CeremonyService::proposal_payload(&request).unwrap();
    let signature = all
        .custodians
        .signature("carol", &payload.namespace, &payload.bytes);
    all.wait(LONG);
    let refused = all
        .service()
        .propose(request.encode().unwrap(), &signature)
        .await;
    assert!(
        matches!(refused, Err(Error::NotApproved(Standing::Expired { .. }))),
        "{refused:?}"
    );
    assert_eq!(all.state().await, "- | - | - | -");
}
