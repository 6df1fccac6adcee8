//! Files that custodians sign.

use trust::Purpose;

use super::installation::Installation;
use crate::ceremony::{File, open_file};

#[tokio::test]
async fn a_file_says_what_it_is_and_is_not_taken_for_another() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.executed("records", Installation::generation()).await;
    let service = all.service();
    let approval = service.approval_payload(&id).await.unwrap();
    let acceptance = service.acceptance_payload(&id).await.unwrap();
    let row = all.store.ceremony(&id).await.unwrap().unwrap();
    assert!(
        matches!(open_file(&approval.bytes).unwrap(), File::Request(bytes) if bytes == row.request)
    );
    assert!(matches!(
        open_file(&acceptance.bytes).unwrap(),
        File::Statement(_)
    ));
    let objection = service
        .objection_payload(&id, Purpose::Reject, "no")
        .await
        .unwrap();
    assert!(matches!(
        open_file(&objection.bytes).unwrap(),
        File::Rejection(_)
    ));
    // The request of production in a file for another installation.
    let elsewhere = trust::dsse::pae("chancery/approve.v1/seal/staging", &row.request);
    assert!(open_file(&elsewhere).is_err());
    assert!(open_file(b"anything").is_err());
    assert!(approval.namespace != acceptance.namespace);
}
