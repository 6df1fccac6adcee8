use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::*;
use crate::tlog::tests::{Signer, mutations};

/// c2sp.org/tlog-checkpoint.
const TEXT: &str =
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

#[test]
fn the_example_of_the_specification() {
    let checkpoint = Checkpoint::parse(TEXT).unwrap();
    assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size, 20_852_163);
    assert_eq!(
        checkpoint.root.to_string(),
        "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    );
    assert_eq!(checkpoint.body(), TEXT);
}

#[test]
fn texts_that_are_no_checkpoints() {
    for text in [
        String::new(),
        "\n".to_owned(),
        TEXT.trim_end().to_owned(),
        format!("{TEXT}\n"),
        format!("{TEXT}extension\n"),
        format!("\n{TEXT}"),
        TEXT.replace("example.com/behind-the-sofa", ""),
        TEXT.replace("20852163", "020852163"),
        TEXT.replace("20852163", ""),
        TEXT.replace("20852163", "+20852163"),
        TEXT.replace("20852163", "20852163 "),
        TEXT.replace("20852163", "9223372036854775808"),
        TEXT.replace("CsUY", ""),
        TEXT.replace("q2I=", "q2J="),
        TEXT.replace("q2I=", "q2I"),
        TEXT.replace("sofa", "so\tfa"),
        TEXT.replace('\n', "\r\n"),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(NotACheckpoint), "{text:?}");
    }
    let largest = TEXT.replace("20852163", "9223372036854775807");
    assert_eq!(Checkpoint::parse(&largest).unwrap().size, i64::MAX as u64);
}

#[test]
fn no_byte_of_a_signed_checkpoint_can_be_changed() {
    let root = Sha256Digest::of(b"root");
    for log in [Signer::log("example.com/log"), Signer::ecdsa_log("log")] {
        let keys = [log.key.clone()];
        let note = log.checkpoint(20_852_163, root);
        let expected = Checkpoint {
            origin: log.key.name().to_owned(),
            size: 20_852_163,
            root,
        };
        assert_eq!(open(&note, &keys), Ok(expected));
        for changed in mutations(note.to_string().as_bytes()) {
            if let Ok(note) = Note::parse(&changed) {
                assert!(open(&note, &keys).is_err(), "{note}");
            }
        }
    }
}

#[test]
fn only_the_log_itself_makes_a_checkpoint() {
    let root = Sha256Digest::of(b"root");
    let (log, other) = (Signer::log("log"), Signer::log("other"));
    let (ecdsa, witness) = (Signer::ecdsa_log("log"), Signer::witness("log"));
    let keys = [&log, &other, &ecdsa, &witness].map(|signer| signer.key.clone());
    let note = log.checkpoint(1, root);
    let signed = |lines: Vec<NoteSignature>, keys: &[VerifierKey]| {
        let note = Note {
            text: note.text.clone(),
            signatures: lines,
        };
        open(&note, keys).map(|checkpoint| checkpoint.size)
    };
    let text = note.text.as_str();
    assert_eq!(signed(vec![log.sign(text)], &keys), Ok(1));
    assert_eq!(signed(vec![ecdsa.sign(text)], &keys), Ok(1));
    assert_eq!(signed(vec![other.sign(text), log.sign(text)], &keys), Ok(1));
    // A key of another log, a witness under the log's name, nobody, somebody unknown.
    assert_eq!(
        signed(vec![other.sign(text)], &keys),
        Err(NoteError::Unsigned)
    );
    assert_eq!(
        signed(vec![witness.cosign(text, 7)], &keys),
        Err(NoteError::Unsigned)
    );
    assert_eq!(signed(vec![], &keys), Err(NoteError::Unsigned));
    assert_eq!(
        signed(vec![log.sign(text)], &keys[1..]),
        Err(NoteError::Unsigned)
    );
    // Unknown signatures are ignored, under any name or id.
    let stranger = NoteSignature {
        name: log.key.name().to_owned(),
        id: log.key.id() ^ 1,
        bytes: vec![0],
    };
    let namesake = NoteSignature {
        name: "namesake".to_owned(),
        ..log.sign("something else\n")
    };
    assert_eq!(
        signed(vec![stranger, namesake, log.sign(text)], &keys),
        Ok(1)
    );
    // A known key that did not sign this refuses everything, also beside a good signature.
    for (bad, name) in [
        (log.sign("something else\n"), "log"),
        (other.sign("something else\n"), "other"),
        (ecdsa.sign("something else\n"), "log"),
        (witness.cosign("something else\n", 7), "log"),
        (
            NoteSignature {
                bytes: vec![0],
                ..log.sign(text)
            },
            "log",
        ),
    ] {
        for lines in [vec![log.sign(text), bad.clone()], vec![bad, log.sign(text)]] {
            assert_eq!(
                signed(lines, &keys),
                Err(NoteError::BadSignature(name.to_owned()))
            );
        }
    }
    let strange = Note {
        text: "text\n".to_owned(),
        signatures: vec![log.sign("text\n")],
    };
    assert_eq!(open(&strange, &keys), Err(NoteError::NotACheckpoint));
}

#[test]
fn ecdsa_lines_are_der_over_sha256() {
    let log = Signer::ecdsa_log("log");
    let note = log.checkpoint(1, Sha256Digest::of(b"root"));
    let spki = log.key.public().to_spki_der();
    // The point is what the SubjectPublicKeyInfo ends in.
    let point = &spki[spki.len() - 65..];
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(note.text.as_bytes(), &note.signatures[0].bytes)
        .unwrap();
}

#[test]
fn signatures_that_make_no_line() {
    let (log, ecdsa, witness) = (
        Signer::log("a"),
        Signer::ecdsa_log("b"),
        Signer::witness("c"),
    );
    for length in [0, 63, 65, 72] {
        let error = Err(SignatureLineError::Length(length));
        assert_eq!(signature_line(&log.key, &vec![1; length]), error);
        assert_eq!(signature_line(&ecdsa.key, &vec![1; length]), error);
    }
    let error = Err(SignatureLineError::NotALogKey);
    assert_eq!(signature_line(&witness.key, &[1; 64]), error);
}
