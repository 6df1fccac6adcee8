//! What a key is used for, and the two spellings of one ECDSA signature, in evidence files.

use trust::evidence::{Covers, verify};
use trust::*;

use crate::story::{Story, jws, primary, revoked};

const WRONG: &str = "INVALID [wrong_usage]";

fn pae() -> Vec<u8> {
    dsse::pae("application/vnd.example", b"a record")
}

fn digest() -> Vec<u8> {
    Sha256Digest::of(b"a record").as_bytes().to_vec()
}

fn signed(usage: Usage, covers: Covers, input: Vec<u8>) -> Story {
    let mut story = Story::of(usage);
    story.activate().sign_as(covers, input);
    story
}

#[test]
fn a_key_signs_only_what_its_usage_allows() {
    for usage in [
        Usage::Structured,
        Usage::Raw,
        Usage::Sealed,
        Usage::Certificates,
    ] {
        for (covers, input) in [
            (Covers::Jws, jws("a record")),
            (Covers::Dsse, pae()),
            (Covers::Message, b"a record".to_vec()),
            (Covers::Digest, digest()),
        ] {
            let fits = match usage {
                Usage::Structured => matches!(covers, Covers::Jws | Covers::Dsse),
                Usage::Raw => matches!(covers, Covers::Message | Covers::Digest),
                _ => false,
            };
            let mut story = signed(usage, covers, input);
            let expected = if fits { "VALID []" } else { WRONG };
            assert_eq!(story.verdict(), expected, "{usage} {covers:?}");
            let found = verify(&story.file().encode().unwrap(), story.genesis(), None).unwrap();
            assert_eq!(found.usage, usage);
            // Whatever became of the key.
            story.revoke("superseded", None);
            let expected = match fits {
                true => "VALID_RETIRED_KEY [key_revoked]",
                false => WRONG,
            };
            assert_eq!(story.verdict(), expected, "{usage} {covers:?}");
        }
    }
}

/// Whoever has a digest signed could make any structure of it.
#[test]
fn a_jws_by_a_raw_key_is_of_the_wrong_usage() {
    let input = jws("a record");
    let digest = Sha256Digest::of(&input).as_bytes().to_vec();
    let story = signed(Usage::Raw, Covers::Digest, digest);
    assert_eq!(story.verdict(), "VALID []", "as what it was asked for");
    let mut file = story.file();
    let subject = file.subject.as_mut().unwrap();
    (subject.covers, subject.input, subject.salt) = (Covers::Jws, Base64Url(input), None);
    assert_eq!(story.said(&file, None), WRONG);
    // And a structure is not to be passed off as bytes.
    let story = primary();
    let mut file = story.file();
    file.subject.as_mut().unwrap().covers = Covers::Message;
    assert_eq!(story.said(&file, None), WRONG);
    // What does not check is nothing, of whatever usage.
    file.subject.as_mut().unwrap().salt = None;
    file.subject.as_mut().unwrap().input = Base64Url(b"another".to_vec());
    assert_eq!(story.said(&file, None), "INVALID [bad_signature]");
}

#[test]
fn an_input_is_what_covers_says_or_the_file_is_refused() {
    let with = |covers: Covers, input: Vec<u8>| signed(Usage::Structured, covers, input).verdict();
    assert_eq!(with(Covers::Dsse, pae()), "VALID []");
    assert_eq!(with(Covers::Dsse, jws("a record")), "subject");
    assert_eq!(with(Covers::Dsse, b"DSSEv1".to_vec()), "subject");
    let header = base64url::encode(br#"{"alg":"ES256"}"#);
    for (input, good) in [
        (format!("{header}.cGF5bG9hZA"), true),
        (format!("{header}."), true),
        (header.clone(), false),
        (format!(".{header}"), false),
        (format!("{}.cGF5bG9hZA", base64url::encode(b"[]")), false),
        (
            format!("{}.cGF5bG9hZA", base64url::encode(b"not json")),
            false,
        ),
        (format!("{header}=.cGF5bG9hZA"), false),
        ("DSSEv1 4 type 4 body".to_owned(), false),
    ] {
        let expected = if good { "VALID []" } else { "subject" };
        assert_eq!(
            with(Covers::Jws, input.clone().into_bytes()),
            expected,
            "{input}"
        );
    }
}

/// The order of P-256 (SEC 2, section 2.4.2).
const N: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

/// `(r, n - s)`, which anybody can make of `(r, s)`.
fn twin(signature: &[u8]) -> Vec<u8> {
    let n = hex::decode(N).unwrap();
    let mut twin = signature.to_vec();
    let mut borrow = 0_i16;
    for at in (0..32).rev() {
        let difference = i16::from(n[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        twin[32 + at] = difference.rem_euclid(256) as u8;
    }
    twin
}

#[test]
fn a_twin_signature_is_the_same_to_the_log_and_evidence_holds_for_it() {
    let mut seen = [false; 2];
    for number in 0..40_u8 {
        let story = signed(Usage::Structured, Covers::Jws, jws(&number.to_string()));
        let mut file = story.file();
        let subject = file.subject.as_mut().unwrap();
        let other = twin(&subject.signature.0);
        assert_ne!(other, subject.signature.0);
        assert_eq!(twin(&other), subject.signature.0);
        let canonical = signature::canonical(KeySpec::P256, &subject.signature.0);
        assert_eq!(signature::canonical(KeySpec::P256, &other), canonical);
        assert!(canonical == other || canonical == subject.signature.0);
        assert!(canonical[32] < 0x80, "the lower s");
        seen[usize::from(canonical == other)] = true;
        subject.signature = Base64Url(other);
        assert_eq!(story.said(&file, None), "VALID []");
        // Of another message it is no signature, and the log never heard of it.
        let mut file = story.file();
        let subject = file.subject.as_mut().unwrap();
        subject.signature = Base64Url(twin(&story.key.sign(&subject.input.0)));
        assert_eq!(story.said(&file, None), "subject");
        if seen == [true; 2] {
            return;
        }
    }
    panic!("both halves of s come up in forty signatures");
}

/// The log names the last ceremony, and a severity once told is not taken back.
#[test]
fn a_revocation_is_made_more_severe_and_never_less() {
    let mut story = primary();
    story.revoke("superseded", None);
    assert_eq!(story.verdict(), "VALID_RETIRED_KEY [key_revoked]");
    let first = story.leaves.len() - 1;
    story.revoke("compromised", Some(101));
    assert_eq!(story.verdict(), "VALID_RETIRED_KEY [key_compromised]");
    story.revoke("compromised", Some(100));
    assert_eq!(story.verdict(), "REVOKED [key_compromised]");
    for (reason, since) in [
        ("superseded", None),
        ("unspecified", None),
        ("compromised", Some(100)),
        ("compromised", Some(300)),
    ] {
        let mut lowered = primary();
        lowered
            .revoke("compromised", Some(100))
            .revoke(reason, since);
        assert_eq!(lowered.verdict(), "life", "{reason} {since:?}");
    }
    let mut same = primary();
    same.revoke("superseded", None).revoke("unspecified", None);
    assert_eq!(same.verdict(), "life");
    // What was signed after a revocation stays so, though the compromise began later still.
    let mut later = Story::new();
    later.activate().revoke("superseded", None).sign();
    assert_eq!(later.verdict(), "REVOKED [key_revoked]");
    later.revoke("compromised", Some(403));
    assert_eq!(later.verdict(), "REVOKED [key_compromised]");
    // Destroyed in between, it is still revoked, and can still turn out worse.
    let mut destroyed = primary();
    destroyed.revoke("superseded", None);
    let more = serde_json::json!({"kid": destroyed.kid()});
    destroyed
        .act(410, "archive", more.clone())
        .revoke("compromised", Some(100));
    assert_eq!(destroyed.verdict(), "REVOKED [key_compromised]");
    destroyed.act(420, "archive", more);
    assert_eq!(destroyed.verdict(), "life", "destroyed twice");

    // The transcript is that of the last act.
    let kid = story.kid();
    let order = |order: &mut Revoke, since: Option<u64>| {
        order.kid = kid.clone();
        if let Some(since) = since {
            order.reason = request::RevocationReason::Compromised;
            order.compromised_since = Some(crate::support::minute(since));
        }
    };
    story.world.clock = 402;
    let (superseded, of_superseded) = revoked(&story.world, |each| order(each, None));
    let (compromised, of_compromised) = revoked(&story.world, |each| order(each, Some(100)));
    let last = story.leaves.len() - 1;
    story.rewrite(first, |act| act["ref"] = serde_json::json!(of_superseded));
    story.rewrite(last, |act| act["ref"] = serde_json::json!(of_compromised));
    story.revocation = Some(compromised);
    assert_eq!(story.verdict(), "REVOKED [key_compromised]");
    story.revocation = Some(superseded);
    assert_eq!(story.verdict(), "revocation");
}
