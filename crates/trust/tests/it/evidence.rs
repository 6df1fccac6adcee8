//! Evidence files of a log that the test holds the key of: what its thief could write, and what comes of it.

use serde_json::{Value, json};
use trust::evidence::{Covers, MAX_LIFE, Subject, verify};
use trust::request::RevocationReason;
use trust::tlog::proof::TlogProof;
use trust::*;

use crate::story::{RING, Story, generated, jws, other, primary, revoked, said};
use crate::support::{NewKey, minute, name};

#[test]
fn every_row_of_the_verdicts() {
    const NEVER: &str = "INDETERMINATE [never_active]";
    const UNPROVEN: &str = "INDETERMINATE [no_proof_of_existence]";
    assert_eq!(Story::new().sign().verdict(), NEVER);
    assert_eq!(
        Story::new().sign().revoke("compromised", None).verdict(),
        NEVER
    );
    assert_eq!(primary().verdict(), "VALID []");
    assert_eq!(primary().demote().verdict(), "VALID []");
    let mut back = primary();
    let more = json!({"kid": back.kid(), "previous_kid": other()});
    back.demote().act(210, "roll-back", more);
    assert_eq!(back.verdict(), "VALID []");

    let mut retired = primary();
    retired.demote().retire();
    assert_eq!(retired.verdict(), "VALID_RETIRED_KEY []");
    assert_eq!(retired.witnessed(299), "VALID_RETIRED_KEY []");
    assert_eq!(
        retired.witnessed(300),
        "INDETERMINATE [no_proof_of_existence,after_end]"
    );
    let (_, nobody) = retired.cosigned(300);
    assert_eq!(retired.said(&retired.file(), Some(&nobody)), UNPROVEN);
    let more = json!({"kid": retired.kid()});
    retired.act(310, "archive", more);
    assert_eq!(retired.verdict(), "VALID_RETIRED_KEY []");

    let mut story = primary();
    story.revoke("superseded", None);
    assert_eq!(story.verdict(), "VALID_RETIRED_KEY [key_revoked]");
    assert_eq!(story.witnessed(401), "VALID_RETIRED_KEY [key_revoked]");
    assert_eq!(story.witnessed(402), "REVOKED [key_revoked]");
    let unproven = "INDETERMINATE [key_revoked,no_proof_of_existence]";
    assert_eq!(story.said(&story.file(), Some(&nobody)), unproven);
    let more = json!({"kid": story.kid()});
    story.act(410, "archive", more);
    assert_eq!(
        story.verdict(),
        "VALID_RETIRED_KEY [key_revoked]",
        "destroyed"
    );

    let mut story = primary();
    story.demote().retire().revoke("superseded", None);
    assert_eq!(story.witnessed(299), "VALID_RETIRED_KEY [key_revoked]");
    let after = "INDETERMINATE [key_revoked,no_proof_of_existence,after_end]";
    assert_eq!(story.witnessed(300), after);
    assert_eq!(story.witnessed(402), "REVOKED [key_revoked]");

    // Behind the retirement in the log, in the very same millisecond, and before the revocation.
    let mut story = Story::new();
    story.activate().demote().retire().sign();
    assert_eq!(
        story.verdict(),
        "INDETERMINATE [no_proof_of_existence,after_end]"
    );
    story.revoke("superseded", None);
    let revoked = *story.life.last().unwrap();
    let next = minute(300) + std::time::Duration::from_millis(1);
    story.rewrite(revoked, |leaf| leaf["time"] = json!(next));
    assert_eq!(story.verdict(), after);

    for (since, verdict) in [
        (Some(101), "VALID_RETIRED_KEY [key_compromised]"),
        (Some(100), "REVOKED [key_compromised]"),
        (None, "REVOKED [key_compromised]"),
    ] {
        let mut story = primary();
        story.revoke("compromised", since);
        assert_eq!(story.verdict(), verdict, "{since:?}");
    }

    let mut bad = primary();
    let nonsense = vec![1; 64];
    let index = bad.signed;
    bad.rewrite(index, |leaf| {
        leaf["sig_hash"] = json!(Sha256Digest::of(&nonsense))
    });
    bad.subject.as_mut().unwrap().signature = Base64Url(nonsense);
    assert_eq!(bad.verdict(), "INVALID [bad_signature]");
    bad.subject = None;
    assert_eq!(
        bad.verdict(),
        "VALID []",
        "of a hash, which the log says was signed"
    );
}

#[test]
fn the_order_of_the_log_is_not_dated_back() {
    let mut late = Story::new();
    late.activate().revoke("superseded", None).sign();
    assert_eq!(late.verdict(), "REVOKED [key_revoked]");
    assert_eq!(late.witnessed(110), "REVOKED [key_revoked]");
    let mut late = Story::new();
    late.activate().revoke("compromised", Some(400)).sign();
    assert_eq!(late.verdict(), "REVOKED [key_compromised]");
    let found = verify(&late.file().encode().unwrap(), late.genesis(), None).unwrap();
    assert_eq!(found.verdict.existed_at, Some(minute(402)));

    let mut early = Story::new();
    early.sign().activate();
    assert_eq!(early.verdict(), "INDETERMINATE [never_active]");
    early.revoke("superseded", None);
    assert_eq!(early.verdict(), "INDETERMINATE [never_active]");
}

#[test]
fn refused_as_malformed() {
    let story = primary();
    let bytes = story.file().encode().unwrap();
    let whole: Value = serde_json::from_slice(&bytes).unwrap();
    for (member, value) in [
        ("v", json!(2)),
        ("type", json!("evidence")),
        ("comment", json!("")),
        ("revocation", Value::Null),
        ("service", json!("Seal")),
        ("life", json!({})),
    ] {
        let mut changed = whole.clone();
        changed[member] = value;
        let bytes = json::canonical(&changed).unwrap();
        assert_eq!(said(&bytes, story.genesis(), None), "malformed", "{member}");
    }
    for bytes in [&b""[..], b"{}", &[&bytes[..], b"\n"].concat(), &bytes[1..]] {
        assert_eq!(said(bytes, story.genesis(), None), "malformed");
    }
    let mut file = story.file();
    file.life = vec![file.life[0].clone(); MAX_LIFE + 1];
    assert_eq!(story.said(&file, None), "malformed");
}

#[test]
fn refused_for_a_transcript() {
    let story = primary();
    let log_key = |keys: Vec<&String>| {
        let mut file = story.file();
        file.log_keys = keys.into_iter().cloned().collect();
        story.said(&file, None)
    };
    assert_eq!(log_key(vec![&story.birth]), "log_key");
    assert_eq!(log_key(vec![&story.log_birth; 2]), "log_key");
    assert_eq!(log_key(vec![&"{}".to_owned()]), "log_key");
    let bytes = story.file().encode().unwrap();
    assert_eq!(said(&bytes, Sha256Digest::of(b"another"), None), "log_key");
    let transcript = |transcript: String| {
        let mut file = story.file();
        file.transcript = transcript;
        story.said(&file, None)
    };
    assert_eq!(transcript("{}".to_owned()), "transcript");
    assert_eq!(transcript(story.log_birth.clone()), "transcript");
    assert_eq!(transcript(revoked(&story.world, |_| ()).0), "transcript");
    let mut file = story.file();
    file.environment = name("staging");
    assert_eq!(story.said(&file, None), "log_key");
}

#[test]
fn refused_for_a_proof() {
    let story = primary();
    let with = |change: &dyn Fn(&mut TlogProof)| {
        let mut proof = story.proof(story.signed);
        change(&mut proof);
        let mut file = story.file();
        file.proof = proof.to_string();
        story.said(&file, None)
    };
    assert_eq!(with(&|_| ()), "VALID []");
    assert_eq!(with(&|proof| proof.extra = Some(vec![1])), "proof");
    assert_eq!(with(&|proof| proof.index -= 1), "proof");
    assert_eq!(with(&|proof| _ = proof.hashes.pop()), "proof");
    assert_eq!(with(&|proof| proof.checkpoint.signatures.clear()), "proof");
    assert_eq!(
        with(&|proof| proof.checkpoint.text.push_str("more\n")),
        "proof"
    );
    let mut fork = primary();
    fork.log_key = NewKey::generate();
    let strangers = fork.proof(fork.signed).checkpoint.signatures[0].clone();
    assert_eq!(
        with(&|proof| proof.checkpoint.signatures.push(strangers.clone())),
        "VALID []"
    );
    assert_eq!(
        with(&|proof| proof.checkpoint.signatures = vec![strangers.clone()]),
        "proof"
    );

    let mut file = story.file();
    let unused = generated(&story.world, "log", &NewKey::generate());
    file.log_keys.push(unused);
    assert_eq!(
        story.said(&file, None),
        "proof",
        "a key that signed nothing"
    );
    file.log_keys.clear();
    assert_eq!(story.said(&file, None), "proof");

    // Two roots of one size; two of two sizes are nobody's business here.
    let mut fork = primary();
    let file = fork.file();
    fork.rewrite(0, |leaf| leaf["actor"] = json!("another"));
    let mut forked = fork.file();
    forked.life = file.life.clone();
    assert_eq!(fork.said(&forked, None), "proof");

    // A line in the name of a witness that does not check.
    let (mut file, policy) = story.cosigned(110);
    assert_eq!(story.said(&file, Some(&policy)), "VALID []");
    let mut proof = TlogProof::parse(file.proof.as_bytes()).unwrap();
    proof.checkpoint.signatures[1].bytes[20] ^= 1;
    file.proof = proof.to_string();
    assert_eq!(story.said(&file, Some(&policy)), "proof");
    assert_eq!(story.said(&file, None), "VALID []");
}

#[test]
fn refused_for_the_leaf() {
    for (member, value) in [
        ("kid", json!(other())),
        ("ring", json!("another")),
        ("alg", json!("ES384")),
        ("v", json!(2)),
        ("kind", json!("key")),
        ("digest", json!("0".repeat(64))),
        ("actor", json!("x".repeat(1024))),
        ("actor", Value::Null),
        ("time", json!("2026-11-22T09:00:00Z")),
    ] {
        let mut story = primary();
        let index = story.signed;
        story.rewrite(index, |leaf| leaf[member] = value.clone());
        assert_eq!(story.verdict(), "leaf", "{member} {value}");
    }
}

#[test]
fn refused_for_the_life() {
    let refused = |what: &str, story: &Story| assert_eq!(story.verdict(), "life", "{what}");
    let cases: [(&str, &dyn Fn(&mut Story)); 20] = [
        ("no act", &|s| s.life.clear()),
        ("no acceptance", &|s| _ = s.life.remove(0)),
        ("twice", &|s| s.life.push(s.life[1])),
        ("another order", &|s| s.life.swap(0, 1)),
        ("rotate when primary", &|s| {
            _ = s.act(30, "rotate", json!({"kid": s.kid()}))
        }),
        ("roll-back when primary", &|s| {
            _ = s.act(30, "roll-back", json!({"kid": s.kid()}))
        }),
        ("retire when primary", &|s| _ = s.retire()),
        ("archive when primary", &|s| {
            _ = s.act(30, "archive", json!({"kid": s.kid()}))
        }),
        ("demoted twice", &|s| _ = s.demote().demote()),
        ("retired twice", &|s| _ = s.demote().retire().retire()),
        ("revoked twice", &|s| {
            _ = s.revoke("superseded", None).revoke("superseded", None)
        }),
        ("retired after revocation", &|s| {
            _ = s.demote().revoke("superseded", None).retire()
        }),
        ("a reason", &|s| _ = s.revoke("because", None)),
        ("since, superseded", &|s| {
            _ = s.revoke("superseded", Some(100))
        }),
        ("since, rotated", &|s| {
            _ = s
                .demote()
                .rewrite(4, |act| act["compromised_since"] = json!(minute(1)))
        }),
        ("two keys", &|s| {
            _ = s
                .demote()
                .rewrite(4, |act| act["kid"] = act["previous_kid"].clone())
        }),
        ("another ring", &|s| {
            _ = s.demote().rewrite(4, |act| act["ring"] = json!("another"))
        }),
        ("too long", &|s| {
            _ = s
                .demote()
                .rewrite(4, |act| act["actor"] = json!("x".repeat(1024)))
        }),
        ("backwards", &|s| {
            _ = s.demote().rewrite(4, |act| act["time"] = json!(minute(19)))
        }),
        ("before its birth", &|s| {
            _ = s.rewrite(1, |act| act["time"] = json!(minute(9)))
        }),
    ];
    for (what, change) in cases {
        let mut story = primary();
        change(&mut story);
        refused(what, &story);
    }
    // Another key was revoked and this one takes over: what the act says of that one counts.
    for (more, verdict) in [
        (
            json!({"previous_kid": other(), "reason": "superseded"}),
            "VALID []",
        ),
        (json!({"reason": "superseded"}), "life"),
        (json!({"previous_kid": other()}), "life"),
        (
            json!({"previous_kid": other(), "reason": "superseded", "compromised_since": minute(1)}),
            "life",
        ),
    ] {
        let mut story = Story::new();
        let mut act = more.clone();
        act["kid"] = json!(story.kid());
        story.act(20, "revoke", act).sign();
        assert_eq!(story.verdict(), verdict, "{more}");
    }
    let mut story = primary();
    story.birth = generated(&story.world, RING, &story.key);
    refused("another transcript", &story);
}

#[test]
fn refused_for_the_revocation_or_the_subject() {
    let mut story = primary();
    story.revoke("superseded", None);
    let (kid, index) = (story.kid(), story.leaves.len() - 1);
    let (transcript, digest) = revoked(&story.world, |order| order.kid = kid.clone());
    story.rewrite(index, |act| act["ref"] = json!(digest));
    story.revocation = Some(transcript);
    assert_eq!(story.verdict(), "VALID_RETIRED_KEY [key_revoked]");
    let changes: [&dyn Fn(&mut Revoke); 4] = [
        &|_| (),
        &|order| (order.kid, order.reason) = (kid.clone(), RevocationReason::Unspecified),
        &|order| (order.kid, order.ring) = (kid.clone(), name("another")),
        &|order| (order.kid, order.number) = (kid.clone(), 2),
    ];
    for change in changes {
        story.revocation = Some(revoked(&story.world, change).0);
        assert_eq!(story.verdict(), "revocation");
    }
    // The act names the ceremony, and the ceremony another number than the key's.
    let mut other = primary();
    other.revoke("superseded", None);
    let (kid, index) = (other.kid(), other.leaves.len() - 1);
    let numbered = |order: &mut Revoke| (order.kid, order.number) = (kid, 2);
    let (transcript, digest) = revoked(&other.world, numbered);
    other.rewrite(index, |act| act["ref"] = json!(digest));
    other.revocation = Some(transcript);
    assert_eq!(other.verdict(), "revocation");
    story.revocation = Some(story.birth.clone());
    assert_eq!(story.verdict(), "revocation");
    let mut alive = primary();
    alive.revocation = Some(revoked(&alive.world, |_| ()).0);
    assert_eq!(alive.verdict(), "revocation");

    // Times that run backwards are found before either.
    let mut back = primary();
    back.demote().retire();
    let last = back.leaves.len() - 1;
    back.rewrite(last, |act| act["time"] = json!(minute(150)));
    back.subject.as_mut().unwrap().signature = Base64Url(vec![1; 64]);
    assert_eq!(back.verdict(), "life");

    let story = primary();
    let with = |change: &dyn Fn(&mut Subject)| {
        let mut file = story.file();
        change(file.subject.as_mut().unwrap());
        story.said(&file, None)
    };
    let another = Base64Url(story.key.sign(&jws("a record")));
    assert_eq!(
        with(&|subject| subject.signature = another.clone()),
        "subject"
    );
    assert_eq!(
        with(&|subject| subject.salt = Some(Base64Url(vec![1]))),
        "subject"
    );
    assert_eq!(
        with(&|subject| subject.input = Base64Url(vec![1])),
        "subject"
    );
    assert_eq!(with(&|subject| subject.salt = None), "VALID []");
    let unsalted = |subject: &mut Subject| {
        (subject.salt, subject.input) = (None, Base64Url(jws("another")));
    };
    assert_eq!(with(&unsalted), "INVALID [bad_signature]");
    assert_eq!(
        with(&|subject| subject.covers = Covers::Digest),
        "INVALID [bad_signature]"
    );
}

/// A stride that is a prime, so that nothing of a fixed length is always missed. Every byte: STRIDE=1.
#[test]
fn no_byte_that_changes_makes_anything_better() {
    let stride = std::env::var("STRIDE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(23);
    let mut story = primary();
    story.demote().retire();
    let bytes = story.file().encode().unwrap();
    for at in (0..bytes.len()).step_by(stride) {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 7);
        let refused = verify(&bad, story.genesis(), None);
        assert!(refused.is_err(), "byte {at}: {refused:?}");
    }
    // Of a witness's line every byte counts for whoever asks for that witness.
    let (file, policy) = story.cosigned(200);
    assert_eq!(story.said(&file, Some(&policy)), "VALID_RETIRED_KEY []");
    let bytes = file.encode().unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    let start = text.find("\u{2014} witness.example").unwrap();
    for at in start..start + 120 {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let said = said(&bad, story.genesis(), Some(&policy));
        let worse = [
            "malformed",
            "proof",
            "INDETERMINATE [no_proof_of_existence]",
        ];
        assert!(worse.contains(&said.as_str()), "byte {at}: {said}");
    }
}
