use super::*;
use crate::jwk::{Curve, PublicKey};
use crate::tlog::tests::{Signer, mutations};

/// c2sp.org/signed-note, section Example.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SIGNED: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn signed_by(note: &Note, key: &VerifierKey) -> bool {
    let mut lines = note.by(key).peekable();
    lines.peek().is_some() && lines.all(|line| key.check(note.text.as_bytes(), &line.bytes).is_ok())
}

#[test]
fn the_example_of_the_specification() {
    let key: VerifierKey = VKEY.parse().unwrap();
    assert_eq!(key.to_string(), VKEY);
    assert_eq!((key.name(), key.id()), ("example.com/foo", 0x530d_903a));
    assert_eq!(key.kind(), SignatureType::Ed25519);
    let note = Note::parse(SIGNED.as_bytes()).unwrap();
    assert_eq!(note.to_string(), SIGNED);
    assert_eq!(note.text, "This is an example message.\n");
    assert!(signed_by(&note, &key));
}

#[test]
fn no_byte_of_a_note_can_be_changed() {
    let key: VerifierKey = VKEY.parse().unwrap();
    for changed in mutations(SIGNED.as_bytes()) {
        if let Ok(note) = Note::parse(&changed) {
            assert_eq!(note.to_string().as_bytes(), changed, "one spelling");
            assert!(!signed_by(&note, &key), "{note}");
        }
    }
}

#[test]
fn no_byte_of_a_key_can_be_changed_unnoticed() {
    for key in [
        VKEY.parse().unwrap(),
        Signer::ecdsa_log("log").key,
        Signer::witness("witness").key,
    ] {
        let vkey = key.to_string();
        for changed in mutations(vkey.as_bytes()) {
            let read = String::from_utf8(changed).map(|text| text.parse::<VerifierKey>());
            // The id of an ECDSA key does not cover its name; the signature line bears it.
            let read = read.ok().and_then(Result::ok);
            if let Some(read) = read.filter(|read| read.name() == key.name()) {
                panic!("{read} for {vkey}");
            }
        }
    }
}

#[test]
fn empty_lines_belong_to_the_text() {
    let line = SIGNED.split("\n\n").nth(1).unwrap();
    for text in ["\n", "\n\n", "a\n\n\nb\n", "a\n\n"] {
        let whole = format!("{text}\n{line}");
        let note = Note::parse(whole.as_bytes()).unwrap();
        assert_eq!((note.text.as_str(), note.signatures.len()), (text, 1));
        assert_eq!(note.to_string(), whole);
    }
}

#[test]
fn notes_that_are_none() {
    let line = SIGNED.split("\n\n").nth(1).unwrap();
    let lines = |count| format!("text\n\n{}", line.repeat(count));
    assert_eq!(
        Note::parse(lines(64).as_bytes()).unwrap().signatures.len(),
        64
    );
    let errors = [
        (lines(65), NoteError::TooManySignatures),
        (lines(0), NoteError::Form),
        (String::new(), NoteError::Form),
        ("text\n".to_owned(), NoteError::Form),
        (format!("text\n{line}"), NoteError::Form),
        (format!("\n{line}"), NoteError::Form),
        (lines(1).trim_end().to_owned(), NoteError::Form),
        (lines(1) + "\n", NoteError::Form),
        (lines(2) + " \n", NoteError::SignatureLine(3)),
        (format!("text\n\nmore\n{line}"), NoteError::SignatureLine(1)),
        (
            lines(1).replace('\u{2014}', "-"),
            NoteError::SignatureLine(1),
        ),
        (
            lines(1).replace("\u{2014} ", "\u{2014}"),
            NoteError::SignatureLine(1),
        ),
        (
            lines(1).replace("foo U", "foo  U"),
            NoteError::SignatureLine(1),
        ),
        (
            lines(1).replace("foo", "f\u{a0}o"),
            NoteError::SignatureLine(1),
        ),
        (lines(1).replace("foo", "f+o"), NoteError::SignatureLine(1)),
        (
            lines(1).replace("example.com/foo", ""),
            NoteError::SignatureLine(1),
        ),
        (
            lines(1).replace("M=\n", "N=\n"),
            NoteError::SignatureLine(1),
        ),
        (lines(1).replace("M=\n", "M\n"), NoteError::SignatureLine(1)),
        (
            "text\n\n\u{2014} name Uw2QOg==\n".to_owned(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} name Uw2Q\n".to_owned(),
            NoteError::SignatureLine(1),
        ),
        ("te\txt".to_owned() + &lines(1), NoteError::Characters),
        ("te\rxt".to_owned() + &lines(1), NoteError::Characters),
        ("te\0xt".to_owned() + &lines(1), NoteError::Characters),
        ("x".repeat(MAX_LEN) + &lines(1), NoteError::TooLong),
    ];
    for (text, error) in errors {
        assert_eq!(Note::parse(text.as_bytes()), Err(error), "{text:.60}");
    }
    let mut bytes = lines(1).into_bytes();
    bytes[0] = 0xff;
    assert_eq!(Note::parse(&bytes), Err(NoteError::Characters));
    assert!(Note::parse(("x\u{7f}é\u{2028}".to_owned() + &lines(1)).as_bytes()).is_ok());
}

#[test]
fn sixteen_post_quantum_signatures_fit() {
    let note = Note {
        text: "text\n".to_owned(),
        signatures: (0..16)
            .map(|id| NoteSignature {
                name: "witness.example/with/a/long/name".to_owned(),
                id,
                bytes: vec![7; 8 + 4627],
            })
            .collect(),
    };
    assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
}

#[test]
fn signature_lines_alone() {
    let line = SIGNED.split("\n\n").nth(1).unwrap();
    let lines = NoteSignature::parse_lines(line.repeat(2).as_bytes()).unwrap();
    assert_eq!(
        lines[0],
        Note::parse(SIGNED.as_bytes()).unwrap().signatures[0]
    );
    assert_eq!(lines, [lines[0].clone(), lines[0].clone()]);
    assert_eq!(lines[0].to_string(), line);
    for text in [
        "",
        "\n",
        &line.replace('\u{2014}', ""),
        &format!("{line}\n"),
    ] {
        assert!(
            NoteSignature::parse_lines(text.as_bytes()).is_err(),
            "{text:?}"
        );
    }
}

#[test]
fn ids_as_the_specification_computes_them() {
    // Ed25519 and cosignatures: SHA-256(name || 0x0A || type || key); ECDSA: SHA-256(SPKI in DER).
    let of = |bytes: &[&[u8]]| crate::Sha256Digest::of(&bytes.concat()).to_string()[..8].to_owned();
    let log = Signer::log("log.example");
    let spki = log.key.public().to_spki_der();
    let expected = of(&[b"log.example\n\x01", &spki[spki.len() - 32..]]);
    assert_eq!(format!("{:08x}", log.key.id()), expected);
    let witness = Signer::witness("witness.example");
    let spki = witness.key.public().to_spki_der();
    let expected = of(&[b"witness.example\n\x04", &spki[spki.len() - 32..]]);
    assert_eq!(format!("{:08x}", witness.key.id()), expected);
    let ecdsa = Signer::ecdsa_log("log.example");
    let expected = of(&[&ecdsa.key.public().to_spki_der()]);
    assert_eq!(format!("{:08x}", ecdsa.key.id()), expected);
}

#[test]
fn keys_that_are_none() {
    let (name, rest) = VKEY.split_once('+').unwrap();
    let (id, key) = rest.split_once('+').unwrap();
    let material = unbase64(key).unwrap();
    let vkey = |kind: u8, key: &[u8]| format!("{name}+{id}+{}", base64(&[&[kind], key].concat()));
    for text in [
        String::new(),
        name.to_owned(),
        format!("{name}+{id}"),
        format!("{name}+{id}+"),
        format!("{name}+{id}+{}", key.trim_end_matches('k')),
        format!("{name}+{}+{key}", id.to_uppercase()),
        format!("{name}+0{id}+{key}"),
        format!("{name}+530d903b+{key}"),
        format!("x{name}+{id}+{key}"),
        format!("x {name}+{id}+{key}"),
        format!("+{id}+{key}"),
        format!("{VKEY} "),
        format!("{VKEY}\n"),
        vkey(1, &material[2..]),
        vkey(2, &material[1..]),
        vkey(3, &material[1..]),
        vkey(4, &material[1..]),
        vkey(5, &material[1..]),
        vkey(6, &material[1..]),
        vkey(0xff, &material[1..]),
    ] {
        assert!(text.parse::<VerifierKey>().is_err(), "{text}");
    }
    let good = PublicKey::ed25519(&material[1..]).unwrap();
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", "a\u{1}b", "\u{2003}"] {
        assert!(matches!(
            VerifierKey::for_log(name, &good),
            Err(KeyError::Name(_))
        ));
    }
    let off_the_curve = PublicKey::ec(Curve::P256, &[1; 32], &[1; 32]).unwrap();
    assert!(matches!(
        VerifierKey::for_log("log", &off_the_curve),
        Err(KeyError::Unusable(_))
    ));
    let p384 = PublicKey::ec(Curve::P384, &[1; 48], &[1; 48]).unwrap();
    assert!(matches!(
        VerifierKey::for_log("log", &p384),
        Err(KeyError::Shape(_))
    ));
    // An SPKI of another kind of key does not become one of ECDSA.
    let text = vkey(2, &good.to_spki_der());
    assert!(matches!(
        text.parse::<VerifierKey>(),
        Err(KeyError::Shape(_))
    ));
}
