//! The service as a whole: genesis, history, reports.

use store::{CeremonySignatureRow, Change};
use testkit::custodians;

use super::installation::Installation;
use crate::ceremony::{Error, Kind};

#[tokio::test]
async fn without_a_genesis_there_is_no_ceremony() {
    let all = Installation::without_genesis().await;
    all.create_ring("records").await;
    let input = all.proposal("records", Installation::generation());
    let refused = all.try_propose(input).await.unwrap_err();
    assert!(matches!(refused, Error::NoGenesis), "{refused:?}");
}

#[tokio::test]
async fn only_the_pinned_genesis_is_installed_and_only_once() {
    let all = Installation::without_genesis().await;
    let stranger = custodians::Custodians::with_others("staging").genesis();
    let refused = all.service().install_genesis(&stranger).await.unwrap_err();
    assert!(matches!(refused, Error::Chain(_)), "{refused:?}");
    let mut loose = all.custodians.genesis();
    loose.push(b' ');
    assert!(all.service().install_genesis(&loose).await.is_err());
    assert!(all.store.documents().await.unwrap().is_empty());
    let genesis = all.custodians.genesis();
    let installed = all.service().install_genesis(&genesis).await.unwrap();
    assert_eq!(installed, all.settings.pin.genesis);
    let again = all.service().install_genesis(&genesis).await.unwrap_err();
    assert!(
        matches!(&again, Error::Store(error) if error.is_conflict()),
        "{again:?}"
    );
    assert_eq!(all.store.documents().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_ceremony_that_is_not_there_is_named() {
    let all = Installation::new().await;
    let unknown = "0".repeat(64);
    let refused = all.service().report(&unknown).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Unknown(id) if *id == unknown),
        "{refused:?}"
    );
    assert_eq!(refused.kind(), Kind::Refused);
}

#[tokio::test]
async fn a_request_is_shown_with_the_one_before_it_in_its_line() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let first = all.propose("records", Installation::generation()).await;
    let (request, before) = all.service().request(&first).await.unwrap();
    assert_eq!(trust::Sha256Digest::of(&request).to_string(), first);
    assert_eq!(before, None);
    for who in ["alice", "bob"] {
        all.approve(&first, who).await.unwrap();
    }
    all.execute(&first).await.unwrap();
    let (_, itself) = all.service().request(&first).await.unwrap();
    assert_eq!(itself, None);
    let second = all.propose("records", Installation::generation()).await;
    let (_, before) = all.service().request(&second).await.unwrap();
    assert_eq!(before, Some(request));
}

#[tokio::test]
async fn a_report_tells_what_did_not_count_and_why() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.propose("records", Installation::generation()).await;
    all.approve(&id, "alice").await.unwrap();
    // Kept past the service: it is counted again, and does not count.
    let payload = all.service().approval_payload(&id).await.unwrap();
    let signature = all
        .custodians
        .signature("erin", &payload.namespace, &payload.bytes);
    let signature = trust::sshsig::normalize(&signature).unwrap();
    let signature = trust::MemberSignature::ssh(signature).encode().unwrap();
    let event = log::Event {
        digest: Some(trust::Sha256Digest::of(&signature)),
        ..log::Event::new(trust::leaf::ActKind::Ceremony, "approve", "test", all.now())
    };
    let row = CeremonySignatureRow {
        ceremony: id.parse().unwrap(),
        purpose: trust::Purpose::Approve,
        body: Vec::new(),
        signature: String::from_utf8(signature).unwrap(),
        received_at: all.now(),
    };
    let log = log::Log::new(all.store.clone());
    log.commit(&Change::AddCeremonySignature(row), &event)
        .await
        .unwrap();
    assert_eq!(all.state().await, "generate proposed | - | - | -");
    let report = all.service().report(&id).await.unwrap();
    assert_eq!(report.lines[0].sequence, 1);
    assert_eq!(
        (report.operation, report.ring.as_deref()),
        ("generate", Some("records"))
    );
    assert_eq!(report.proposer.as_deref(), Some("carol"));
    assert_eq!(
        (report.approvals_needed, report.acceptances_needed),
        (Some(2), None)
    );
    let text = report.to_string();
    assert!(
        text.contains("state        proposed: waiting for 1 more approval(s)"),
        "{text}"
    );
    assert!(text.contains("approved by  alice\n"), "{text}");
    assert!(
        text.contains("not counted  erin: the member is no longer active"),
        "{text}"
    );
    all.wait(61);
    let report = all.service().report(&id).await.unwrap();
    assert!(
        report.standing.starts_with("approve_by was "),
        "{}",
        report.standing
    );
}
