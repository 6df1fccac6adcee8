//! Keys that are read when somebody asks for them: the same answers as if all were in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use trust::publication::plan_jwks;
use trust::verdict::Outcome;
use trust::{Kid, Time};

use super::installation::{Installation, LONG};
use super::serving::Verifying;
use crate::ceremony::Draft;
use crate::keys::{Keys, NoKey, Settings, Share};
use crate::rotation::RingChange;
use crate::verification::{Claim, NoEvidence, Question};

/// Settings with which next to nothing is in memory.
pub fn bare(all: &Installation) -> Settings {
    Settings {
        newest: 1,
        budget_bytes: 100,
        ..all.settings.clone()
    }
}

pub async fn load(all: &Installation, settings: Settings) -> Arc<Keys> {
    Keys::load(all.store.clone(), settings).await.unwrap()
}

/// A ring that rotated so many times: its keys by number, all but the last archived, the second of them revoked as well.
pub async fn with_a_past(ring: &str, keys: usize) -> (Installation, Vec<Kid>) {
    let all = Installation::new().await;
    all.open_ring("log").await;
    all.create_ring(ring).await;
    let kids = past(&all, ring, keys).await;
    (all, kids)
}

pub async fn past(all: &Installation, ring: &str, keys: usize) -> Vec<Kid> {
    let mut kids: Vec<Kid> = Vec::new();
    for number in 0..keys {
        let kid = all.next_primary(ring).await;
        if let Some(before) = kids.last() {
            all.wait(LONG);
            all.change(ring, &RingChange::Retire(before.clone())).await;
            all.wait(1);
            let kid = before.clone();
            all.closed(ring, Draft::Destroy { kid }).await;
        }
        if number == 3 {
            all.closed(ring, Installation::revocation(&kids[1])).await;
        }
        kids.push(kid);
    }
    kids
}

#[tokio::test]
async fn a_key_of_the_archive_is_the_one_that_memory_would_have() {
    let (all, kids) = with_a_past("records", 6).await;
    let whole = all.keys().await;
    let keys = load(&all, bare(&all)).await;
    let (here, there) = (keys.current(), whole.current());
    assert_eq!(there.keys.len(), kids.len() + 1);
    assert!(here.keys.len() < kids.len(), "{}", here.keys.len());
    assert_eq!(here.count(), there.keys.len() as u64);
    assert_eq!(here.rings["records"].count(), kids.len() as u64);
    for kid in &kids {
        let (one, other) = (
            keys.find(kid, Share::Stranger).await.unwrap(),
            whole.find(kid, Share::Known).await.unwrap(),
        );
        assert_eq!(one.state, other.state);
        assert_eq!((one.number, &one.ring), (other.number, &other.ring));
        assert_eq!(one.log_index, other.log_index);
        assert!(one.log_index.is_some());
        assert_eq!(one.revocation_log_index, other.revocation_log_index);
        assert_eq!(one.ceremony, other.ceremony);
    }
    assert_eq!(whole.archive_reads(), 0);
    let of_archive = kids.len() - here.rings["records"].keys.len();
    assert_eq!(keys.archive_reads(), of_archive as u64);
    // It has all of them now, until something changes.
    for kid in &kids {
        keys.find(kid, Share::Known).await.unwrap();
    }
    assert_eq!(keys.archive_reads(), of_archive as u64);
    let unknown: Kid = "A".repeat(43).parse().unwrap();
    let error = keys.find(&unknown, Share::Known).await.err().unwrap();
    assert!(matches!(error, NoKey::Unknown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_callers_for_one_archived_key_cost_one_reading() {
    let (all, kids) = with_a_past("records", 4).await;
    let keys = load(&all, bare(&all)).await;
    let kid = kids[0].clone();
    assert!(!keys.current().keys.contains_key(&kid));
    let ask = |_| {
        let (keys, kid) = (keys.clone(), kid.clone());
        tokio::spawn(async move { keys.find(&kid, Share::Stranger).await.unwrap().number })
    };
    for asked in (0..100).map(ask).collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 1);
    }
    assert_eq!(keys.archive_reads(), 1);
}

#[tokio::test]
async fn what_becomes_of_an_archived_key_is_seen_with_the_next_change() {
    let (all, kids) = with_a_past("records", 4).await;
    let keys = load(&all, bare(&all)).await;
    let before = keys.find(&kids[0], Share::Known).await.unwrap();
    assert_eq!(before.status(), "archived");
    let revoked = Installation::compromise(&kids[0], before.published_at);
    all.closed("records", revoked).await;
    keys.refresh().await;
    let after = keys.find(&kids[0], Share::Known).await.unwrap();
    assert_eq!(after.status(), "revoked");
    assert!(after.revocation_log_index.is_some());
}

/// The set, and what is left out of it, from keys that are all in memory.
fn expected(whole: &Keys, settings: &Settings, at: Option<Time>) -> (Vec<u8>, usize) {
    let snapshot = whole.current();
    let candidates: Vec<_> = snapshot.rings["records"]
        .keys
        .iter()
        .filter_map(|key| {
            Some(trust::publication::PublishedKey {
                ring: key.ring.parse().unwrap(),
                number: key.number,
                algorithm: key.algorithm,
                usage: key.usage,
                public_key: key.public.clone(),
                state: match at {
                    None => key.state.clone(),
                    Some(at) => key.state.as_of(at)?,
                },
            })
        })
        .collect();
    let set = plan_jwks(&candidates, settings.budget_bytes, true).unwrap();
    (set.document, set.left_out.len())
}

#[tokio::test]
async fn the_newest_ended_keys_are_published_as_far_as_they_fit_and_the_others_counted() {
    let (all, _) = with_a_past("records", 8).await;
    let whole = all.keys().await;
    for budget in [0, 300, 500, 900, 1_500, 10_000] {
        let settings = Settings {
            budget_bytes: budget,
            ..bare(&all)
        };
        let keys = load(&all, settings.clone()).await;
        let (document, left_out) = expected(&whole, &settings, None);
        let set = &keys.current().rings["records"].jwks;
        assert_eq!(*set.bytes, *document, "{budget}");
        assert_eq!(set.left_out, left_out, "{budget}");
        assert_eq!(keys.current().jwks.left_out, left_out, "{budget}");
    }
}

#[tokio::test]
async fn the_set_of_any_instant_is_that_of_all_keys() {
    let (all, _) = with_a_past("records", 7).await;
    let whole = all.keys().await;
    let mut instants = BTreeSet::new();
    for key in whole.current().rings["records"].keys.iter() {
        let life = key.state.life();
        let revoked = life.revocation.map(|revocation| revocation.revoked_at);
        let told = [
            life.published_at,
            life.activated_at,
            life.demoted_at,
            life.retired_at,
            life.archived_at,
            revoked,
        ];
        for at in told.into_iter().flatten() {
            instants.extend([-1, 0, 1].map(|by| at.millis() + by));
        }
    }
    assert!(instants.len() > 50);
    for budget in [500, 900, 10_000] {
        let settings = Settings {
            budget_bytes: budget,
            ..bare(&all)
        };
        let keys = load(&all, settings.clone()).await;
        for at in &instants {
            let at = Time::from_millis(*at);
            let (document, left_out) = expected(&whole, &settings, Some(at));
            for ring in [Some("records"), None] {
                let set = keys.jwks_as_of(ring, at, Share::Stranger).await;
                let set = set.unwrap().unwrap();
                assert_eq!(*set.bytes, *document, "{budget} {at} {ring:?}");
                assert_eq!(set.left_out > 0, left_out > 0, "{budget} {at} {ring:?}");
            }
        }
    }
}

#[tokio::test]
async fn pages_hold_every_key_once() {
    let (all, kids) = with_a_past("records", 5).await;
    let keys = load(&all, bare(&all)).await;
    for limit in [1, 2, 3, 100] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = keys
                .page(after.as_ref(), limit, Share::Known)
                .await
                .unwrap();
            assert!(page.refused.is_empty());
            seen.extend(page.keys.iter().map(|key| key.kid.clone()));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen.len(), kids.len() + 1);
        assert_eq!(seen[1..], kids[..], "{limit}");
    }
    // And in the order of their acceptance, with the database's index of it and without.
    for more in [true, false] {
        for limit in [1, 2, 3, 10] {
            let (mut seen, mut from, mut place) = (Vec::new(), 0, 0);
            while let Some(page) = keys
                .accepted_page(from, limit, Share::Stranger)
                .await
                .unwrap()
            {
                assert_eq!(page.place, place);
                place += limit;
                seen.extend(page.keys.iter().map(|key| key.kid.clone()));
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
            assert_eq!(seen[1..], kids[..], "{limit}");
        }
        let last = keys.find(kids.last().unwrap(), Share::Known).await.unwrap();
        let beyond = last.log_index.unwrap() + 1;
        assert!(
            keys.accepted_page(beyond, 2, Share::Known)
                .await
                .unwrap()
                .is_none()
        );
        if more {
            while all.store.index_acts(2).await.unwrap() {}
            assert!(all.store.acted().await.unwrap().accepted > 0);
        }
    }
}

#[tokio::test]
async fn signatures_by_archived_keys_are_judged_and_their_evidence_holds() {
    let all = Installation::new().await;
    all.open_ring("log").await;
    let first = all.open_ring("records").await;
    let verifying = Verifying::over(&all).await;
    let (compact, signed) = verifying.serving.jws("records", "payload").await;
    all.next_primary("records").await;
    all.wait(LONG);
    let retire = RingChange::Retire(first.clone());
    all.change("records", &retire).await;
    let kid = first.clone();
    all.closed("records", Draft::Destroy { kid }).await;
    past(&all, "records", 3).await;
    let mut all = all;
    all.settings = bare(&all);
    let verifying = Verifying::over(&all).await;
    assert!(!verifying.serving.keys.current().keys.contains_key(&first));
    verifying.covered().await;
    let question = || Question {
        claim: Claim::Jws {
            compact: compact.clone(),
            detached_payload: None,
        },
        timestamp: None,
        at: None,
    };
    let answers = verifying
        .verification
        .verify_batch(vec![question(), question()])
        .await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(
            answer.verdict.outcome,
            Outcome::ValidRetiredKey,
            "{answer:?}"
        );
        assert_eq!(answer.kid.as_ref(), Some(&first));
        assert_eq!(answer.index, Some(signed.index));
    }
    assert_eq!(verifying.serving.keys.archive_reads(), 1);
    let claim = question().claim;
    verifying.evidence.of_claim(claim, None).await.unwrap();
    verifying.evidence.of_leaf(signed.index).await.unwrap();
    assert_eq!(
        verifying.evidence.life_of(&first).await.unwrap().life.len(),
        5
    );
    verifying.evidence.transcript_of(&first).await.unwrap();
    // An act that the index does not have would not be in the file.
    while all.store.index_acts(1_000).await.unwrap() {}
    let gone = format!(
        "DELETE FROM log_key_act WHERE subject = '{first}' AND idx = (SELECT MAX(idx) FROM log_key_act WHERE subject = '{first}')"
    );
    all.tamper("log_key_act", &gone).await;
    let fresh = Verifying::over(&all).await;
    let error = fresh.evidence.of_leaf(signed.index).await.unwrap_err();
    assert!(matches!(error, NoEvidence::Broken(_)), "{error:?}");
    assert!(error.to_string().contains("log check"), "{error}");
}
