//! What a batch asks of the log.

use store::Occurrence;

use super::installation::{Installation, LONG};
use super::serving::Verifying;
use crate::verification::existence::Once;

/// A batch that has one signature a thousand times asks the database as often as for one.
#[tokio::test]
async fn case_s13_a_signature_is_looked_up_once_for_a_batch() {
    let all = Installation::new().await;
    all.open_ring("log").await;
    let kid = all.open_ring("records").await;
    all.wait(LONG);
    let verifying = Verifying::over(&all).await;
    let mut entries = Vec::new();
    for payload in ["one", "two"] {
        let (_, signed) = verifying.serving.jws("records", payload).await;
        entries.push(Occurrence {
            sig_hash: String::new(),
            index: signed.index,
            time: signed.time.millis(),
            kid: kid.to_string(),
        });
    }
    verifying.covered().await;
    let mut once = Once::default();
    let mut remarks = Vec::new();
    let keys = verifying.serving.keys.clone();
    let of = (&verifying.proofs, &*keys, &all.store);
    let first = once.logged(of, &kid, &entries[0], &mut remarks).await;
    let first = first.unwrap().unwrap();
    all.store.close().await;
    for _ in 0..1_000 {
        let again = once.logged(of, &kid, &entries[0], &mut remarks).await;
        let again = again.unwrap().unwrap();
        assert_eq!(
            (again.index, again.existence),
            (first.index, first.existence)
        );
    }
    let other = once.logged(of, &kid, &entries[1], &mut remarks).await;
    assert!(other.is_err(), "nobody asked for it");
}
