use super::*;
use crate::digest::Sha256Digest;
use crate::tlog::tests::{Signer, mutations};

const TEXT: &str =
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

#[test]
fn the_message_of_the_specification() {
    // c2sp.org/tlog-cosignature, section Ed25519 signed message.
    let expected = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(message(TEXT, 1_679_315_147), expected.as_bytes());
}

#[test]
fn the_line_of_the_specification() {
    // The example at the beginning of c2sp.org/tlog-cosignature: 4 bytes of id, 8 of time, 64.
    let line = "\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let lines = NoteSignature::parse_lines(line.as_bytes()).unwrap();
    let (seconds, signature) = lines[0].bytes.split_first_chunk::<8>().unwrap();
    assert_eq!(u64::from_be_bytes(*seconds), 1_679_315_147);
    assert_eq!((lines[0].id, signature.len()), (0x8d66_cf3f, 64));
}

fn cosigned(signatures: Vec<NoteSignature>) -> Note {
    Note {
        text: TEXT.to_owned(),
        signatures,
    }
}

#[test]
fn the_earliest_of_a_witness_counts() {
    let (witness, other) = (Signer::witness("w"), Signer::witness("w"));
    let at = |seconds| witness.cosign(TEXT, seconds);
    let seen = |lines| verify(&cosigned(lines), &witness.key);
    assert_eq!(seen(vec![]), None);
    assert_eq!(
        seen(vec![other.cosign(TEXT, 5)]),
        None,
        "another key of that name"
    );
    assert_eq!(
        seen(vec![at(9), at(5), at(7)]),
        Some(Ok(Cosigned { seconds: 5 }))
    );
    let bad = witness.cosign("something else\n", 3);
    let refused = Some(Err(CosignatureError::BadSignature));
    assert_eq!(seen(vec![at(9), bad.clone()]), refused);
    assert_eq!(seen(vec![bad, at(9)]), refused);
    assert_eq!(at(5).bytes.len(), 72);
    assert_eq!(Cosigned { seconds: 5 }.at().millis(), 5999);
    assert_eq!(
        Cosigned { seconds: LATEST }.at(),
        Time::from_millis(i64::MAX)
    );
}

#[test]
fn a_time_cannot_be_changed_nor_left_out() {
    let witness = Signer::witness("w");
    let line = witness.cosign(TEXT, 1_679_315_147);
    for bytes in mutations(&line.bytes) {
        let note = cosigned(vec![NoteSignature {
            bytes,
            ..line.clone()
        }]);
        assert!(verify(&note, &witness.key).unwrap().is_err());
    }
    // A signature of the same key over the bare text is no cosignature.
    let bare = [&5u64.to_be_bytes()[..], &witness.raw(TEXT.as_bytes())].concat();
    let note = cosigned(vec![NoteSignature {
        bytes: bare,
        ..line.clone()
    }]);
    assert_eq!(
        verify(&note, &witness.key),
        Some(Err(CosignatureError::BadSignature))
    );
    for seconds in [0, LATEST + 1, u64::MAX] {
        let signature = witness.raw(&message(TEXT, seconds));
        let error = CosignatureError::Time(seconds);
        assert_eq!(build(&witness.key, seconds, &signature), Err(error));
        let bytes = [&seconds.to_be_bytes()[..], &signature].concat();
        let note = cosigned(vec![NoteSignature {
            bytes,
            ..line.clone()
        }]);
        assert_eq!(verify(&note, &witness.key), Some(Err(error)));
    }
    assert_eq!(
        build(&witness.key, 5, &[0; 63]),
        Err(CosignatureError::Form)
    );
}

#[test]
fn a_log_does_not_cosign() {
    let log = Signer::log("log");
    let note = log.checkpoint(1, Sha256Digest::of(b"root"));
    assert_eq!(
        verify(&note, &log.key),
        Some(Err(CosignatureError::NotACosigner))
    );
    assert_eq!(
        build(&log.key, 5, &[0; 64]),
        Err(CosignatureError::NotACosigner)
    );
}
