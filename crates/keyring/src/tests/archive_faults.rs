//! Keys that are read when somebody asks for them: strangers, damage, and databases that do not answer.

use std::sync::Arc;
use std::time::Instant;

use trust::Kid;
use trust::verdict::Outcome;

use super::archive::{bare, load, with_a_past};
use super::serving::Verifying;
use crate::keys::{NoKey, Settings, Share};
use crate::verification::{Claim, Covered, Error, Question};

fn about(kid: &Kid) -> Question {
    Question {
        claim: Claim::Raw {
            kid: kid.to_string(),
            covered: Covered::Digest(vec![7; 32]),
            signature: vec![1; 64],
            der: false,
        },
        timestamp: None,
        at: None,
    }
}

/// A cache that holds two keys, and strangers who ask for all of them.
#[tokio::test]
async fn a_cache_full_of_keys_asked_for_by_strangers_leaves_what_signing_needs() {
    let (all, kids) = with_a_past("records", 8).await;
    let settings = Settings {
        archive_bytes: 5_000,
        ..bare(&all)
    };
    let mut all = all;
    all.settings = settings;
    let verifying = Verifying::over(&all).await;
    let keys = &verifying.serving.keys;
    let primary = kids.last().unwrap();
    let before = keys.current().keys[primary].clone();
    let cold = kids.len() - keys.current().rings["records"].keys.len();
    // They drive each other out, and nothing else.
    let mut rounds = 0;
    while keys.archive_reads() < 3 * cold as u64 {
        for kid in &kids {
            keys.find(kid, Share::Stranger).await.unwrap();
        }
        rounds += 1;
        assert!(rounds < 10_000, "everything is kept");
    }
    let after = keys.current().keys[primary].clone();
    assert!(Arc::ptr_eq(&before, &after));
    let reads = keys.archive_reads();
    let (compact, _) = verifying.serving.jws("records", "payload").await;
    let question = Question {
        claim: Claim::Jws {
            compact,
            detached_payload: None,
        },
        timestamp: None,
        at: None,
    };
    let answer = verifying.verification.verify(question).await.unwrap();
    assert_eq!(answer.verdict.outcome, Outcome::Valid);
    assert_eq!(
        keys.archive_reads(),
        reads,
        "a key that signs was read from the archive"
    );
}

#[tokio::test]
async fn an_archived_transcript_that_does_not_tally_is_refused_and_named_and_others_are_not() {
    let (all, kids) = with_a_past("records", 6).await;
    let row = all
        .store
        .key(kids[0].as_str())
        .await
        .unwrap()
        .read
        .remove(0);
    let sql = format!(
        "UPDATE ceremony SET transcript = CAST(replace(CAST(transcript AS TEXT), 'alice', 'alicf') AS BLOB) WHERE id = '{}'",
        row.ceremony
    );
    all.tamper("ceremony", &sql).await;
    let other = all
        .store
        .key(kids[2].as_str())
        .await
        .unwrap()
        .read
        .remove(0);
    let sql = format!(
        "UPDATE signing_key SET activate_at = activate_at + 1 WHERE kid = '{}'",
        other.kid
    );
    all.tamper("signing_key", &sql).await;

    let mut all = all;
    all.settings = bare(&all);
    let verifying = Verifying::over(&all).await;
    let keys = &verifying.serving.keys;
    assert!(
        keys.current().refused.is_empty(),
        "a start tallies the archive"
    );
    assert!(keys.refused().is_empty());
    for share in [Share::Stranger, Share::Known, Share::Stranger] {
        let refused = keys.find(&kids[0], share).await.err().unwrap();
        assert!(matches!(&refused, NoKey::Refused(_)), "{refused:?}");
        let refused = keys.find(&kids[2], share).await.err().unwrap();
        assert!(refused.to_string().contains("activation"), "{refused:?}");
    }
    // It was read once for each of the two kinds of callers at most.
    assert!(keys.archive_reads() <= 4, "{}", keys.archive_reads());
    let named = keys.refused();
    let named: Vec<&str> = named.iter().map(|key| key.kid.as_str()).collect();
    let mut expected = [kids[0].as_str(), kids[2].as_str()];
    expected.sort_unstable();
    assert_eq!(named, expected);
    for kid in [&kids[1], &kids[3], &kids[4], &kids[5]] {
        keys.find(kid, Share::Stranger).await.unwrap();
    }
    // No verdict rests on it, and a page has it among the refused.
    let answer = verifying
        .verification
        .verify(about(&kids[0]))
        .await
        .unwrap();
    assert_eq!(answer.verdict.outcome, Outcome::Invalid);
    assert!(answer.ring.is_none());
    let page = keys.page(None, 100, Share::Known).await.unwrap();
    assert_eq!(page.refused.len(), 2);
    assert_eq!(page.keys.len(), kids.len() + 1 - 2);
    // Nor does it come into a set of the past.
    let at = row.published_at;
    let set = keys.jwks_as_of(Some("records"), at, Share::Stranger).await;
    assert!(set.unwrap().unwrap().is_empty);
}

/// A kid that no key has.
fn nobodys(who: u32, number: u32) -> Kid {
    let digest = trust::Sha256Digest::of(format!("{who} {number}").as_bytes());
    let kid = trust::base64url::encode(digest.as_bytes());
    kid.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_look_ups_of_unknown_kids_cost_the_same_and_leave_nothing_behind() {
    const EACH: u32 = 12_500;
    let (all, kids) = with_a_past("records", 3).await;
    let keys = load(&all, bare(&all)).await;
    keys.find(&kids[0], Share::Known).await.unwrap();
    let reads = keys.archive_reads();
    let began = Instant::now();
    let asking = (0..8_u32).map(|who| {
        let keys = keys.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                let kid = nobodys(who, number);
                let error = keys.find(&kid, Share::Stranger).await.err().unwrap();
                assert!(matches!(error, NoKey::Unknown), "{error:?}");
            }
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
    println!("100 000 look-ups in {:?}", began.elapsed());
    // None of a batch is read by itself.
    assert_eq!(keys.archive_reads(), reads + 8 * u64::from(EACH));
    assert!(keys.refused().is_empty());
    // What was kept before is kept.
    keys.find(&kids[0], Share::Known).await.unwrap();
    assert_eq!(keys.archive_reads(), reads + 8 * u64::from(EACH));
}

/// Whether there is such a key is not known, so nothing is said.
#[tokio::test]
async fn a_database_that_does_not_answer_makes_no_key_unknown() {
    let (all, kids) = with_a_past("records", 4).await;
    let mut all = all;
    all.settings = bare(&all);
    let verifying = Verifying::over(&all).await;
    let broken = "ALTER TABLE signing_key RENAME TO away";
    all.place.raw(broken).await.unwrap();
    for kid in [&kids[0], &"A".repeat(43).parse().unwrap()] {
        let error = verifying
            .serving
            .keys
            .find(kid, Share::Stranger)
            .await
            .err()
            .unwrap();
        assert!(error.may_pass(), "{error:?}");
        let answer = verifying.verification.verify(about(kid)).await;
        assert!(matches!(answer, Err(Error::Key(_))), "{answer:?}");
    }
    all.place
        .raw("ALTER TABLE away RENAME TO signing_key")
        .await
        .unwrap();
    verifying
        .serving
        .keys
        .find(&kids[0], Share::Stranger)
        .await
        .unwrap();
}

/// What was not tallied is neither believed nor refused.
#[tokio::test]
async fn no_key_is_refused_because_the_service_stops() {
    let (all, kids) = with_a_past("records", 4).await;
    let keys = load(&all, bare(&all)).await;
    keys.cpu().stop();
    for share in [Share::Known, Share::Stranger] {
        let error = keys.find(&kids[0], share).await.err().unwrap();
        assert!(error.may_pass(), "{error:?}");
        assert!(keys.page(None, 100, share).await.is_err());
    }
    assert!(keys.refused().is_empty(), "{:?}", keys.refused());
}

/// It may lack the revocation of just this key (case L2).
#[tokio::test]
async fn no_key_is_read_from_a_database_that_is_older_than_the_keys_in_use() {
    let (all, kids) = with_a_past("records", 4).await;
    let keys = load(&all, bare(&all)).await;
    all.place.raw("DROP TRIGGER log_head_grows").await.unwrap();
    all.place
        .raw("UPDATE log_head SET version = version - 1")
        .await
        .unwrap();
    let error = keys.find(&kids[0], Share::Known).await.err().unwrap();
    assert!(matches!(error, NoKey::Older), "{error:?}");
    // The primary is in memory.
    keys.find(kids.last().unwrap(), Share::Known).await.unwrap();
}

/// A key whose revocation was published, in a database that does not know of it.
#[tokio::test]
async fn a_key_that_is_withheld_is_not_read_from_the_archive() {
    let (all, kids) = with_a_past("records", 4).await;
    let keys = load(&all, bare(&all)).await;
    keys.find(&kids[0], Share::Known).await.unwrap();
    keys.withhold(Arc::new([kids[0].clone()].into())).await;
    let error = keys.find(&kids[0], Share::Known).await.err().unwrap();
    assert!(error.to_string().contains("revocation"), "{error}");
    let page = keys.page(None, 100, Share::Known).await.unwrap();
    assert_eq!(page.refused.len(), 1);
}

/// What a database lacks when the service begins is known by what was published: other keys are read. What it loses
/// while the service runs is not.
#[tokio::test]
async fn keys_are_read_from_a_database_that_was_behind_at_the_start_and_not_from_one_that_fell_behind()
 {
    let (all, kids) = with_a_past("records", 4).await;
    let running = load(&all, bare(&all)).await;
    running.withhold(Arc::default()).await;
    running.find(&kids[1], Share::Stranger).await.unwrap();
    all.store.lacks_leaves("the database is older than the log");
    let error = running.find(&kids[0], Share::Known).await.err().unwrap();
    assert!(matches!(error, NoKey::Older), "{error:?}");
    let begun = load(&all, bare(&all)).await;
    begun.withhold(Arc::new([kids[1].clone()].into())).await;
    begun.find(&kids[0], Share::Known).await.unwrap();
    assert!(begun.find(&kids[1], Share::Known).await.is_err());
}

/// A row that cannot be read does not hide those behind it, and is not named any more when it is repaired.
#[tokio::test]
async fn pages_go_on_behind_a_row_that_cannot_be_read() {
    let (all, kids) = with_a_past("records", 5).await;
    let aside = format!(
        "CREATE TABLE aside AS SELECT retire_at FROM signing_key WHERE kid = '{}'",
        kids[1]
    );
    all.place.raw(&aside).await.unwrap();
    let retire_at = |what: &str| {
        format!(
            "UPDATE signing_key SET retire_at = {what} WHERE kid = '{}'",
            kids[1]
        )
    };
    all.tamper("signing_key", &retire_at("-1")).await;
    let keys = load(&all, bare(&all)).await;
    for limit in [1, 2, 3] {
        let (mut read, mut refused, mut after) = (0, Vec::new(), None);
        loop {
            let page = keys
                .page(after.as_ref(), limit, Share::Known)
                .await
                .unwrap();
            read += page.keys.len();
            refused.extend(page.refused.into_iter().map(|key| key.kid));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(read, kids.len());
        assert_eq!(refused, [kids[1].to_string()], "{limit}");
    }
    assert!(keys.refused().iter().any(|key| key.kid == kids[1].as_str()));
    all.tamper("signing_key", &retire_at("(SELECT retire_at FROM aside)"))
        .await;
    let page = keys.page(None, 100, Share::Known).await.unwrap();
    assert!(page.refused.is_empty());
    assert!(keys.refused().is_empty(), "{:?}", keys.refused());
}

/// Many kids of one request: only those of keys are read one by one.
#[tokio::test]
async fn many_unknown_kids_are_looked_up_together() {
    let (all, kids) = with_a_past("records", 4).await;
    let keys = load(&all, bare(&all)).await;
    let unknown = (0..300_u32).map(|number| format!("{number:0>43}").parse::<Kid>());
    let asked = unknown.filter_map(Result::ok).chain([kids[0].clone()]);
    let snapshot = keys.current();
    let found = keys.find_others(&snapshot, asked, Share::Stranger).await;
    assert_eq!(found.unwrap().len(), 1);
    assert_eq!(keys.archive_reads(), 1);
}

/// Reading writes nothing, so whoever is cut off in the midst of it, as by kill -9, leaves the key as it was: for those
/// who wait for the same reading, and for a process that begins anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_is_cut_off_anywhere_leaves_nothing_behind() {
    let (all, kids) = with_a_past("records", 4).await;
    let before = all.state().await;
    let mut finished = false;
    for micros in (0..).map(|step| step * 150) {
        let keys = load(&all, bare(&all)).await;
        let limit = std::time::Duration::from_micros(micros);
        let cut = keys.find(&kids[0], Share::Stranger);
        let waiting = {
            let (keys, kid) = (keys.clone(), kids[0].clone());
            tokio::spawn(
                async move { keys.find(&kid, Share::Stranger).await.map(|key| key.number) },
            )
        };
        finished = tokio::time::timeout(limit, cut).await.is_ok() && micros > 0;
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        assert_eq!(keys.find(&kids[0], Share::Known).await.unwrap().number, 1);
        assert!(keys.refused().is_empty());
        if finished {
            break;
        }
    }
    assert!(finished);
    assert_eq!(all.state().await, before);
    let fresh = load(&all, bare(&all)).await;
    assert_eq!(fresh.find(&kids[0], Share::Known).await.unwrap().number, 1);
}
