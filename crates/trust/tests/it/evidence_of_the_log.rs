//! Evidence where something happened to the log itself: a clock that ran ahead, leaves that were
//! lost. What a ceremony says of it changes verdicts, and nothing else does.

use serde_json::json;
use trust::evidence::{Evidence, MAX_LIFE, verify};
use trust::*;

use crate::story::{ORIGIN, Story, generated, primary, revoked};
use crate::support::{NewKey, log, minute, name};

const TEN_YEARS: u64 = 60 * 24 * 3652;
const AFTER_END: &str = "INDETERMINATE [no_proof_of_existence,after_end]";
const RETIRED: &str = "VALID_RETIRED_KEY []";

/// The clock was ten years ahead when the key signed; then the key was retired.
fn ahead() -> Story {
    let mut story = primary();
    let index = story.signed;
    story.rewrite(index, |leaf| leaf["time"] = json!(minute(TEN_YEARS)));
    story
}

fn corrected(bound: u64, first: u64, last: u64) -> Story {
    let mut story = ahead();
    story.correct(160, bound, first, last).demote().retire();
    story
}

#[test]
fn a_signature_by_a_clock_ten_years_ahead_is_valid_with_the_correction() {
    let mut without = ahead();
    without.demote().retire();
    assert_eq!(without.verdict(), AFTER_END);

    let story = corrected(150, 3, 3);
    assert_eq!(story.verdict(), RETIRED);
    let found = verify(&story.file().encode().unwrap(), story.genesis(), None).unwrap();
    assert_eq!(found.verdict.existed_at, Some(minute(150)));
    let mut file = story.file();
    file.corrections.clear();
    assert_eq!(story.said(&file, None), AFTER_END, "left out of the file");

    // What witnesses say of the time is theirs, and no clock of the log.
    assert_eq!(story.witnessed(299), RETIRED);
    assert_eq!(story.witnessed(300), AFTER_END);
    // Of other leaves, or not early enough, it says nothing of this one.
    assert_eq!(corrected(150, 0, 2).verdict(), AFTER_END);
    // A bound is a latest instant: what says an earlier one keeps it.
    let mut honest = primary();
    honest.correct(160, 150, 0, 3).demote().retire();
    let found = verify(&honest.file().encode().unwrap(), honest.genesis(), None).unwrap();
    assert_eq!(found.verdict.existed_at, Some(minute(100)));
    // Of several corrections the smallest bound counts, in whatever order they were made.
    for bounds in [[150, 140], [140, 150]] {
        let mut story = ahead();
        story
            .correct(160, bounds[0], 0, 3)
            .correct(170, bounds[1], 3, 3);
        story.demote().retire();
        let found = verify(&story.file().encode().unwrap(), story.genesis(), None).unwrap();
        assert_eq!(found.verdict.existed_at, Some(minute(140)), "{bounds:?}");
    }
}

/// The bound says no more than that: the order of the log is not to be dated back by it.
#[test]
fn a_correction_dates_nothing_back_before_what_stands_before_it() {
    let mut story = Story::new();
    story.activate().revoke("superseded", None).sign();
    assert_eq!(story.verdict(), "REVOKED [key_revoked]");
    story.correct(500, 30, 4, 4);
    assert_eq!(story.verdict(), "REVOKED [key_revoked]");
    // Unless what stands before it was written by the same clock.
    let mut story = Story::new();
    story.activate().sign();
    story.rewrite(2, |act| act["time"] = json!(minute(TEN_YEARS)));
    story.demote();
    assert_eq!(story.verdict(), "life", "demoted before it was primary");
    let mut story = Story::new();
    story.activate().sign();
    story.rewrite(2, |act| act["time"] = json!(minute(TEN_YEARS)));
    story.correct(160, 90, 2, 2).demote().retire();
    assert_eq!(story.verdict(), RETIRED);
    let found = verify(&story.file().encode().unwrap(), story.genesis(), None).unwrap();
    assert_eq!(found.verdict.existed_at, Some(minute(100)));
}

#[test]
fn refused_for_a_correction() {
    let act = |member: &str, value: serde_json::Value| {
        let mut story = corrected(150, 3, 3);
        let index = story.corrections[0].0;
        story.rewrite(index, |leaf| leaf[member] = value);
        story.verdict()
    };
    assert_eq!(act("actor", json!("another")), RETIRED);
    for (member, value) in [
        ("first", json!(2)),
        ("last", json!(2)),
        ("bound", json!(minute(149))),
        ("origin", json!("seal.example/log-2")),
        ("action", json!("new-origin")),
        ("kind", json!("admin")),
        ("kind", json!("something-later")),
        ("ref", json!("0".repeat(64))),
        ("digest", json!("0".repeat(64))),
        ("comment", json!("")),
        ("actor", json!("x".repeat(1024))),
    ] {
        assert_eq!(act(member, value.clone()), "correction", "{member} {value}");
    }
    // Of leaves that come after it, or of itself.
    assert_eq!(corrected(150, 3, 4).verdict(), "correction");
    // Twice, or in another order than that of the log.
    let mut story = ahead();
    story.correct(160, 150, 0, 3).correct(170, 140, 3, 3);
    let mut file = story.file();
    file.corrections.swap(0, 1);
    assert_eq!(story.said(&file, None), "correction");
    file.corrections.swap(0, 1);
    assert_eq!(story.said(&file, None), "VALID []");
    let again = file.corrections[0].clone();
    file.corrections.insert(0, again);
    assert_eq!(story.said(&file, None), "correction");

    let with = |change: &dyn Fn(&mut Evidence)| {
        let story = corrected(150, 3, 3);
        let mut file = story.file();
        change(&mut file);
        story.said(&file, None)
    };
    let another = corrected(150, 3, 3);
    let mut garbled = with(&|file| file.corrections[0].transcript.push(' '));
    assert_eq!(garbled, "correction");
    garbled = with(&|file| file.corrections[0].transcript = file.transcript.clone());
    assert_eq!(garbled, "correction");
    garbled = with(&|file| file.corrections[0].transcript = revoked(&another.world, |_| ()).0);
    assert_eq!(garbled, "correction");
    garbled = with(&|file| file.corrections[0].proof = file.proof.clone());
    assert_eq!(garbled, "correction");
    garbled = with(&|file| file.corrections[0].leaf = file.leaf.clone());
    assert_eq!(garbled, "correction");
    garbled = with(&|file| {
        (file.corrections[0].leaf, file.corrections[0].proof) =
            (file.leaf.clone(), file.proof.clone());
    });
    assert_eq!(garbled, "correction");
}

/// Two leaves were lost: an act of no interest here, and the signature.
fn lost() -> Story {
    let mut story = primary();
    story.begin_again(160, "seal.example/log-2", 3);
    story
}

#[test]
fn a_receipt_of_a_lost_leaf_under_the_old_origin_stays_proof() {
    let mut story = lost();
    story.demote().retire();
    let file = story.with_lost(0);
    assert_eq!(story.said(&file, None), RETIRED);
    let found = verify(&file.encode().unwrap(), story.genesis(), None).unwrap();
    assert_eq!((found.index, found.origin.as_str()), (3, ORIGIN));
    assert_eq!(found.verdict.existed_at, Some(minute(100)));
    // Without the ceremony the two origins are two logs.
    let mut bare = file.clone();
    bare.origins.clear();
    assert_eq!(story.said(&bare, None), "proof");
    // What is lost comes before whatever stands at its index today: the key was revoked there.
    let mut revoked = lost();
    revoked.revoke("superseded", None);
    assert_eq!(
        revoked.said(&revoked.with_lost(0), None),
        "VALID_RETIRED_KEY [key_revoked]"
    );
    // And what stands behind a revocation in the new log is behind it.
    let mut late = primary();
    late.begin_again(160, "seal.example/log-2", 3);
    late.revoke("superseded", None).sign();
    assert_eq!(late.verdict(), "REVOKED [key_revoked]");
}

#[test]
fn what_survived_is_proven_under_either_origin() {
    let mut story = primary();
    story.begin_again(160, "seal.example/log-2", 4);
    assert_eq!(story.verdict(), "VALID []");
    story.demote().retire();
    assert_eq!(story.verdict(), RETIRED);
    assert_eq!(story.said(&story.with_lost(0), None), RETIRED);
    // With nothing lost the leaf tells one number twice.
    assert!(
        story.leaves[4].contains(r#""last":4"#),
        "{}",
        story.leaves[4]
    );
    // Over several origins too, whichever of them each proof is of.
    story.begin_again(400, "seal.example/log-3", 7);
    story.begin_again(500, "seal.example/log-4", 6);
    story.life.pop();
    assert_eq!(story.verdict(), "VALID []", "the retirement was lost");
    for number in 0..3 {
        assert_eq!(story.said(&story.with_lost(number), None), "VALID []");
    }
    let file = story.with_lost(1);
    let mut short = file.clone();
    short.origins.remove(1);
    assert_eq!(story.said(&short, None), "origin", "a gap in the line");
    let mut turned = file.clone();
    turned.origins.swap(0, 1);
    assert_eq!(story.said(&turned, None), "origin");
    let mut short = file;
    short.origins.pop();
    assert_eq!(
        story.said(&short, None),
        "origin",
        "proofs of an origin outside the line"
    );
}

#[test]
fn one_size_has_one_root_per_origin() {
    // Two origins may have two roots of one size; one origin may not.
    let mut story = primary();
    story.begin_again(160, "seal.example/log-2", 3);
    assert_eq!(story.leaves.len(), story.before[0].1.len());
    assert_eq!(story.said(&story.with_lost(0), None), "VALID []");
    let mut forked = story.before[0].1.clone();
    forked[0] = story.leaves[0].replace("start", "begin");
    let mut file = story.with_lost(0);
    file.life[0].proof = log::proof(ORIGIN, &story.log_key, &story.before[0].1, 1).to_string();
    assert_eq!(story.said(&file, None), "VALID []");
    file.life[0].proof = log::proof(ORIGIN, &story.log_key, &forked, 1).to_string();
    assert_eq!(story.said(&file, None), "proof");
}

#[test]
fn refused_for_an_origin() {
    let act = |member: &str, value: serde_json::Value| {
        let mut story = lost();
        let index = story.origins[0].0;
        story.rewrite(index, |leaf| leaf[member] = value);
        story.said(&story.with_lost(0), None)
    };
    assert_eq!(act("actor", json!("another")), "VALID []");
    for (member, value) in [
        ("first", json!(2)),
        ("last", json!(9)),
        ("origin", json!(ORIGIN)),
        ("action", json!("clock-correction")),
        ("kind", json!("admin")),
        ("ref", json!("0".repeat(64))),
        ("digest", json!("0".repeat(64))),
        ("comment", json!("")),
    ] {
        assert_eq!(act(member, value.clone()), "origin", "{member} {value}");
    }
    // Not where the new tree begins.
    let mut moved = primary();
    moved.begin_again(160, "seal.example/log-2", 3);
    let leaf = moved.leaves.pop().unwrap();
    moved.leaf(json!({"kind": "admin", "action": "start", "actor": "test", "time": minute(1)}));
    moved.leaves.push(leaf);
    moved.origins[0].0 += 1;
    assert_eq!(moved.said(&moved.with_lost(0), None), "origin");
    // The ceremony of another operation.
    let story = lost();
    let mut file = story.with_lost(0);
    file.origins[0].transcript = file.transcript.clone();
    assert_eq!(story.said(&file, None), "origin");
    let mut file = story.with_lost(0);
    file.origins[0].proof = file.proof.clone();
    assert_eq!(story.said(&file, None), "origin");
    // An act that stands in the old log was not the first of the new one.
    let mut inside = primary();
    inside.begin_again(160, "seal.example/log-2", 4);
    let (old, mut leaves) = inside.before[0].clone();
    leaves.push(inside.leaves[4].clone());
    let mut file = inside.file();
    assert_eq!(inside.said(&file, None), "VALID []");
    file.origins[0].proof = log::proof(&old, &inside.log_key, &leaves, 4).to_string();
    assert_eq!(inside.said(&file, None), "origin");
}

#[test]
fn a_correction_reaches_what_its_origin_took_over() {
    let mut story = ahead();
    story.begin_again(160, "seal.example/log-2", 4);
    story.correct(180, 150, 3, 3).demote().retire();
    assert_eq!(story.verdict(), RETIRED);
    assert_eq!(story.said(&story.with_lost(0), None), RETIRED);
    // A correction of the old origin says nothing of a leaf at the same index of the new one.
    let mut story = Story::new();
    story.activate();
    for _ in 0..2 {
        story.leaf(json!({"kind": "admin", "action": "stop", "actor": "test", "time": minute(30)}));
    }
    story.correct(160, 150, 3, 4);
    let correction = story.corrections.pop().unwrap();
    story.begin_again(180, "seal.example/log-2", 3);
    story.sign().demote().retire();
    let index = story.signed;
    assert_eq!(index, 4);
    story.rewrite(index, |leaf| leaf["time"] = json!(minute(TEN_YEARS)));
    assert_eq!(story.verdict(), AFTER_END);
    let (old, leaves) = &story.before[0];
    let mut file = story.file();
    file.corrections = vec![evidence::Certified {
        leaf: leaves[correction.0].clone(),
        proof: log::proof(old, &story.log_key, leaves, correction.0).to_string(),
        transcript: correction.1,
    }];
    assert_eq!(story.said(&file, None), AFTER_END);
}

/// A database's owner who has a new origin could log the act of an old correction once more: the
/// ceremony is as good as it was, and the indexes that it names have other leaves now.
#[test]
fn a_correction_holds_in_its_own_origin_alone() {
    let mut story = Story::new();
    story.activate();
    for _ in 0..2 {
        story.leaf(json!({"kind": "admin", "action": "stop", "actor": "test", "time": minute(30)}));
    }
    story.correct(160, 50, 3, 4);
    let (index, transcript) = story.corrections.pop().unwrap();
    let act = story.leaves[index].clone();
    story.begin_again(180, "seal.example/log-2", 3);
    story.sign().demote().retire();
    assert_eq!(story.signed, 4);
    assert_eq!(story.verdict(), RETIRED);
    story.leaves.push(act);
    story.corrections.push((story.leaves.len() - 1, transcript));
    assert_eq!(story.verdict(), "correction");
}

/// The old log ended in the checkpoint that the ceremony names, and in no other.
#[test]
fn a_checkpoint_that_the_last_one_of_its_origin_does_not_cover_is_refused() {
    let story = lost();
    let (old, leaves) = &story.before[0];
    let proven = |leaves: &[String]| {
        let mut file = story.with_lost(0);
        file.proof = log::proof(old, &story.log_key, leaves, story.signed).to_string();
        file.life.iter_mut().for_each(|act| {
            let index = leaves.iter().position(|leaf| *leaf == act.leaf).unwrap();
            act.proof = log::proof(old, &story.log_key, leaves, index).to_string();
        });
        story.said(&file, None)
    };
    assert_eq!(proven(leaves), "VALID []");
    let mut longer = leaves.clone();
    longer.push(story.leaves[0].clone());
    assert_eq!(proven(&longer), "origin");
    let mut other = leaves.clone();
    other[0] = other[0].replace("start", "begin");
    assert_eq!(proven(&other), "origin");
}

/// The custodians sign the root of what is left, so nobody puts other leaves in their places.
#[test]
fn a_new_log_that_begins_with_other_leaves_than_were_left_is_refused() {
    // An act of no interest, that stands before the retirement, gives way to a signature.
    let mut forged = primary();
    forged.leaf(json!({"kind": "admin", "action": "stop", "actor": "test", "time": minute(100)}));
    let (spare, signed) = (forged.leaves.len() - 1, forged.signed);
    forged.demote().retire();
    let size = forged.leaves.len();
    forged.begin_again(400, "seal.example/log-2", size);
    assert_eq!(forged.verdict(), RETIRED);
    forged.leaves.swap(spare, signed);
    forged.signed = spare;
    assert_eq!(forged.verdict(), "origin");
}

#[test]
fn the_last_checkpoint_of_an_origin_is_signed_by_a_key_of_the_log() {
    let mut story = primary();
    let key = std::mem::replace(&mut story.log_key, NewKey::generate());
    story.begin_again(160, "seal.example/log-2", 3);
    story.log_key = key;
    assert_eq!(story.said(&story.with_lost(0), None), "origin");
}

/// A correction is of the leaves of the tree in which it stands.
#[test]
fn a_lost_leaf_keeps_its_time_when_what_took_its_place_is_corrected() {
    let mut story = ahead();
    story.begin_again(160, "seal.example/log-2", 3);
    story.correct(180, 150, 0, 3).demote().retire();
    assert_eq!(story.said(&story.with_lost(0), None), AFTER_END);
}

/// Whoever has two trees could show each leaf in the one that suits.
#[test]
fn two_leaves_at_one_place_are_two_logs() {
    let story = primary();
    let mut file = story.file();
    let mut other = story.leaves.clone();
    other.swap(2, 3);
    other.push(story.leaves[0].clone());
    let proof = |index| log::proof(ORIGIN, &story.log_key, &other, index).to_string();
    file.life[0].proof = proof(1);
    assert_eq!(story.said(&file, None), "VALID []", "nobody saw both trees");
    file.life[1].proof = proof(3);
    assert_eq!(story.said(&file, None), "proof");
}

#[test]
fn a_file_with_too_many_acts_on_the_log_is_malformed() {
    let story = corrected(150, 3, 3);
    let mut file = story.file();
    file.corrections = vec![file.corrections[0].clone(); MAX_LIFE + 1];
    assert_eq!(story.said(&file, None), "malformed");
    let story = lost();
    let mut file = story.with_lost(0);
    file.origins = vec![file.origins[0].clone(); MAX_LIFE + 1];
    assert_eq!(story.said(&file, None), "malformed");
    let mut value: serde_json::Value =
        serde_json::from_slice(&story.file().encode().unwrap()).unwrap();
    for member in ["corrections", "origins"] {
        let mut without = value.clone();
        without.as_object_mut().unwrap().remove(member);
        let bytes = json::canonical(&without).unwrap();
        assert_eq!(
            crate::story::said(&bytes, story.genesis(), None),
            "malformed"
        );
    }
    value["origins"] = json!([{}]);
    let bytes = json::canonical(&value).unwrap();
    assert_eq!(
        crate::story::said(&bytes, story.genesis(), None),
        "malformed"
    );
}

/// What a correction or a new origin says is a ceremony's to say, of this very installation.
#[test]
fn acts_on_the_log_rest_on_custodians_of_this_genesis() {
    let mut story = ahead();
    story.world.bob = crate::support::Custodian::quick("mallory");
    story.correct(160, 150, 3, 3);
    story.demote().retire();
    assert_eq!(story.verdict(), "correction");
    let mut story = primary();
    story.world.bob = crate::support::Custodian::quick("mallory");
    story.begin_again(160, "seal.example/log-2", 3);
    assert_eq!(story.said(&story.with_lost(0), None), "origin");
    // Nor is a key of the log made up.
    let story = lost();
    let mut file = story.with_lost(0);
    let idle = generated(&story.world, "log", &NewKey::generate());
    file.log_keys.push(idle);
    assert_eq!(story.said(&file, None), "proof");
    let mut file = story.with_lost(0);
    file.service = name("another");
    assert_eq!(story.said(&file, None), "log_key");
}
