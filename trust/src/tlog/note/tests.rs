use super::*;

#[test]
fn the_example_of_the_specification() {
    // c2sp.org/signed-note, section Example.
    let vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let signed = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let key: VerifierKey = vkey.parse().unwrap();
    assert_eq!(key.to_string(), vkey);
    let note = Note::parse(signed.as_bytes()).unwrap();
    assert_eq!(note.to_string(), signed);
    let [signature] = &note.by(&key).collect::<Vec<_>>()[..] else {
        panic!("one")
    };
    key.check(note.text.as_bytes(), &signature.bytes).unwrap();
}
