//! Counters of passkeys, and what came with their registration.

use super::super::*;
use super::place::Place;
use super::statements::{open, signature};
use super::world::*;
use trust::{Base64Url, MemberSignature, Purpose};

/// An assertion by a credential whose authenticator says so; nothing here verifies it.
fn assertion(credential: u8, count: u32, signature: u8) -> String {
    let mut data = vec![0; 33];
    data.extend(count.to_be_bytes());
    let signature = MemberSignature::Webauthn {
        authenticator_data: Base64Url(data),
        client_data: Base64Url(Vec::new()),
        credential_id: Base64Url(vec![credential; 16]),
        signature: Base64Url(vec![signature]),
    };
    String::from_utf8(signature.encode().unwrap()).unwrap()
}

fn is_clone(done: Result<i64, Error>) -> bool {
    let what = Subject::PasskeyCounter;
    matches!(done, Err(Error::Already { what: found, .. }) if found == what)
}

pub async fn threat_cloned_counter(place: Place) {
    place.ring("atp").await;
    place.change(birth("a", 1, "atp")).await.unwrap();
    let mut number = 0;
    let mut says = |credential: u8, count: u32| {
        number += 1;
        sign("a", "approve", &assertion(credential, count, number))
    };
    // The first one tells where it stands; from then on it rises.
    place.change(says(1, 7)).await.unwrap();
    place.change(says(1, 9)).await.unwrap();
    let size = place.store.log_size().await.unwrap();
    for count in [9, 8, 0] {
        assert!(is_clone(place.change(says(1, count)).await), "{count}");
    }
    // Nothing of it was written.
    assert_eq!(place.store.log_size().await.unwrap(), size);
    place.change(says(1, 10)).await.unwrap();
    // Another credential has a counter of its own, and one that does not count stays at zero.
    for _ in 0..2 {
        place.change(says(2, 0)).await.unwrap();
    }
    place.change(says(2, 1)).await.unwrap();
    assert!(is_clone(place.change(says(2, 0)).await));
    // Other signatures have none.
    place.change(sign("a", "approve", "armored")).await.unwrap();
    place
        .refuses("UPDATE passkey_counter SET sign_count = 0")
        .await;
    place.refuses("DELETE FROM passkey_counter").await;
    if place.is_sqlite() {
        let back = "REPLACE INTO passkey_counter SELECT credential, 9 FROM passkey_counter WHERE sign_count = 10";
        place.refuses(back).await;
    }
}

pub async fn an_attestation_comes_with_the_signature_and_stays(place: Place) {
    let id = open(&place, "roster", StatementKind::Roster).await;
    let attestation = PasskeyAttestationRow {
        credential: trust::base64url::encode(&[1; 16]),
        attestation: b"attestation".to_vec(),
    };
    let by_passkey = |count: u32| Change::SignStatementByPasskey {
        signature: signature("roster", Purpose::Roster, &assertion(1, count, 1)),
        attestation: attestation.clone(),
    };
    place.change(by_passkey(3)).await.unwrap();
    let kept = [attestation.clone()];
    assert_eq!(place.store.passkey_attestations(&id).await.unwrap(), kept);
    // The counter goes on from there, and the same one does not come twice.
    assert!(is_clone(place.change(by_passkey(3)).await));
    assert!(place.change(by_passkey(4)).await.is_err());
    assert_eq!(place.store.passkey_attestations(&id).await.unwrap(), kept);
    place.refuses("DELETE FROM passkey_attestation").await;
    place
        .refuses("UPDATE passkey_attestation SET credential = credential")
        .await;
    if place.is_sqlite() {
        place
            .refuses("REPLACE INTO passkey_attestation SELECT statement, credential, X'00' FROM passkey_attestation")
            .await;
    }
}
