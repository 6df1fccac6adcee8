//! What is handed out was verified before, by the function that its reader uses.

use trust::{Kid, verify_transcript};

use super::installation::Installation;
use super::serving::Verifying;
use crate::verification::{Claim, NoEvidence};

async fn open() -> (Installation, Kid, Verifying) {
    let all = Installation::new().await;
    all.open_ring("log").await;
    let kid = all.open_ring("records").await;
    let verifying = Verifying::over(&all).await;
    (all, kid, verifying)
}

fn about(compact: String) -> Claim {
    Claim::Jws {
        compact,
        detached_payload: None,
    }
}

#[tokio::test]
async fn an_evidence_file_verifies_offline_from_the_genesis_alone() {
    let (all, _, verifying) = open().await;
    let (compact, signed) = verifying.serving.jws("records", "payload").await;
    verifying.covered().await;
    let genesis = all.settings.pin.genesis;
    let salt = Some(signed.salt.to_vec());
    let file = verifying
        .evidence
        .of_claim(about(compact.clone()), salt)
        .await
        .unwrap();
    trust::evidence::verify(&file, genesis, None).unwrap();
    let alone = verifying.evidence.of_leaf(signed.index).await.unwrap();
    trust::evidence::verify(&alone, genesis, None).unwrap();
    assert!(alone.len() < file.len());
    // A salt that opens nothing is the caller's mistake, and there is no file.
    let refused = verifying
        .evidence
        .of_claim(about(compact), Some(vec![0; 16]))
        .await;
    assert!(
        matches!(refused, Err(NoEvidence::BadSignature(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn there_is_no_file_without_a_leaf_under_a_checkpoint() {
    let (all, _, verifying) = open().await;
    let (compact, signed) = verifying.serving.jws("records", "payload").await;
    verifying.covered().await;
    let beyond = verifying.evidence.of_leaf(signed.index + 1_000).await;
    assert!(matches!(beyond, Err(NoEvidence::NotFound)), "{beyond:?}");
    let act = verifying.evidence.of_leaf(0).await;
    assert!(matches!(act, Err(NoEvidence::NotASignature(0))), "{act:?}");
    let (head, _) = compact.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", "A".repeat(86));
    let refused = verifying.evidence.of_claim(about(forged), None).await;
    assert!(
        matches!(refused, Err(NoEvidence::BadSignature(_))),
        "{refused:?}"
    );
    all.store.close().await;
    let away = verifying.evidence.of_claim(about(compact), None).await;
    assert!(matches!(away, Err(NoEvidence::Store(_))), "{away:?}");
}

#[tokio::test]
async fn evidence_of_a_revoked_key_tells_of_its_revocation() {
    let (all, kid, verifying) = open().await;
    let (compact, _) = verifying.serving.jws("records", "payload").await;
    verifying.covered().await;
    all.closed("records", Installation::revocation(&kid)).await;
    verifying.serving.keys.refresh().await;
    verifying.covered().await;
    let file = verifying
        .evidence
        .of_claim(about(compact), None)
        .await
        .unwrap();
    trust::evidence::verify(&file, all.settings.pin.genesis, None).unwrap();
    let text = String::from_utf8(file).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(file["revocation"].is_string());
    let life = verifying.evidence.life_of(&kid).await.unwrap();
    assert_eq!(life.pending, Vec::<i64>::new());
    assert_eq!(life.life.len(), file["life"].as_array().unwrap().len());
    assert_eq!(life.log_keys.len(), 1);
}

/// A transcript that is not the one of the ceremony would be refused by its reader, so it is not handed out.
#[tokio::test]
async fn a_file_that_would_be_refused_is_not_handed_out() {
    let (all, kid, verifying) = open().await;
    let (compact, _) = verifying.serving.jws("records", "payload").await;
    verifying.covered().await;
    let sql = "UPDATE ceremony SET transcript = (SELECT c.transcript FROM ceremony c, \
         signing_key k WHERE c.id = k.ceremony AND k.ring = 'log')";
    all.tamper("ceremony", sql).await;
    let broken = verifying.evidence.of_claim(about(compact), None).await;
    assert!(matches!(broken, Err(NoEvidence::Broken(_))), "{broken:?}");
    let broken = verifying.evidence.transcript_of(&kid).await;
    assert!(matches!(broken, Err(NoEvidence::Broken(_))), "{broken:?}");
}

#[tokio::test]
async fn a_transcript_has_the_proofs_of_its_acts_as_soon_as_a_checkpoint_covers_them() {
    let (all, kid, verifying) = open().await;
    let ceremony = verifying.serving.keys.current().keys[&kid]
        .ceremony
        .to_string();
    let plain = all.service().transcript(&ceremony).await.unwrap();
    verifying.covered().await;
    let proven = verifying.evidence.transcript_of(&kid).await.unwrap();
    assert!(proven.len() > plain.len());
    verify_transcript(&proven, &all.settings.pin).unwrap();
    let stranger: Kid = format!("{}A", "b".repeat(42)).parse().unwrap();
    let unknown = verifying.evidence.transcript_of(&stranger).await;
    assert!(matches!(unknown, Err(NoEvidence::NotFound)), "{unknown:?}");
    assert!(verifying.evidence.life_of(&stranger).await.is_err());
}
