//! The version of a subject rises with its changes and with no others.

use super::super::*;
use super::place::Place;
use super::world::*;

/// Which subjects have changed since; the version of everything has risen exactly then.
async fn changed(place: &Place, before: &mut Versions) -> Vec<&'static str> {
    let now = place.store.versions().await.unwrap();
    assert_eq!(now.all, place.store.version().await.unwrap());
    let subjects = [
        ("keys", before.keys, now.keys),
        ("trust", before.trust, now.trust),
        ("credentials", before.credentials, now.credentials),
        ("ceremonies", before.ceremonies, now.ceremonies),
        ("log", before.log, now.log),
    ];
    let size = place.store.log_size().await.unwrap();
    let risen = subjects.into_iter().filter(|(subject, before, now)| {
        assert!(before <= now && *now <= size, "{subject}");
        before < now
    });
    let risen: Vec<_> = risen.map(|(subject, ..)| subject).collect();
    assert_eq!(now.all > before.all, !risen.is_empty());
    *before = now;
    risen
}

pub async fn change_bumps_its_subject_alone(place: Place) {
    let mut seen = place.store.versions().await.unwrap();
    let store = &place.store;
    place
        .change(Change::CreateRing(ring("other")))
        .await
        .unwrap();
    assert_eq!(changed(&place, &mut seen).await, ["keys"]);
    let grant = Change::GrantCredential(credential(san("a")));
    place.change(grant).await.unwrap();
    assert_eq!(changed(&place, &mut seen).await, ["credentials"]);
    let withdraw = Change::WithdrawCredential {
        name: san("a"),
        at: NOW,
    };
    place.change(withdraw).await.unwrap();
    assert_eq!(changed(&place, &mut seen).await, ["credentials"]);
    let genesis = DocumentRow {
        place: 0,
        kind: DocumentKind::Genesis,
        version: 1,
        body: b"genesis".to_vec(),
        index: None,
    };
    let install = Change::InstallDocuments(vec![genesis]);
    place.change(install).await.unwrap();
    assert_eq!(changed(&place, &mut seen).await, ["trust"]);
    place.order("order", "other", 2).await;
    assert_eq!(changed(&place, &mut seen).await, ["ceremonies"]);
    place.change(ordered("ordered", 1)).await.unwrap();
    assert_eq!(changed(&place, &mut seen).await, ["ceremonies"]);

    // Whose ceremonies came with it.
    let kid = place.open_ring("atp").await;
    assert_eq!(changed(&place, &mut seen).await, ["keys", "ceremonies"]);

    // What is no change of any subject.
    let signed = [signature(&kid, "atp", "s")];
    store.commit_signatures(&signed).await.unwrap();
    store
        .commit(&Change::Record, &leaf("refusal"))
        .await
        .unwrap();
    assert!(
        store
            .lease("jobs", "a", std::time::Duration::from_secs(1))
            .await
            .unwrap()
    );
    assert!(store.index_signatures(MAX_INDEXED).await.unwrap() > 0);
    assert!(store.count_signatures(MAX_INDEXED).await.unwrap() > 0);
    store.forget_answers(NOW + 1).await.unwrap();
    assert!(changed(&place, &mut seen).await.is_empty());

    // Nor is one that was refused.
    let again = place.change(Change::CreateRing(ring("other"))).await;
    assert!(again.is_err());
    assert!(changed(&place, &mut seen).await.is_empty());
}

pub async fn versions_only_grow(place: Place) {
    place.change(Change::CreateRing(ring("atp"))).await.unwrap();
    place
        .refuses("UPDATE version SET value = 0 WHERE subject = 'keys'")
        .await;
    place.refuses("DELETE FROM version").await;
    place
        .refuses("UPDATE version SET subject = 'other' WHERE subject = 'keys'")
        .await;
}
