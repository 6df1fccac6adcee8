//! Custodians whose keys are the same every time.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64ct::{Base64, Encoding as _};
pub use testkit::custodian::Custodian;
use trust::Hash;

/// With a fresh key of a kind that `ssh-keygen -t` knows.
pub fn with_key(directory: &Path, id: &str, kind: &str) -> Custodian {
    Custodian::new(directory, id, kind).unwrap_or_else(|e| panic!("{e:#}"))
}

/// With an Ed25519 key whose seed is the hash of a text: it is the same every time, and protects nothing.
pub fn of_text(directory: &Path, id: &str, words: &str) -> Custodian {
    let seed = Hash::Sha256.digest(words.as_bytes());
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("32 bytes");
    let public = pair.public_key().as_ref();
    let new = Custodian::at(directory, id);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new.key_file())
        .expect("a new file");
    file.write_all(openssh(&seed, public, id).as_bytes())
        .expect("written");
    let line = format!("{KIND} {} {id}\n", Base64::encode_string(&blob(public)));
    fs::write(new.public_key_file(), line).expect("written");
    new
}

const KIND: &str = "ssh-ed25519";

/// RFC 4251 section 5: a string.
fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
    [&length[..], bytes].concat()
}

fn blob(public: &[u8]) -> Vec<u8> {
    [string(KIND.as_bytes()), string(public)].concat()
}

/// A private key as `ssh-keygen` keeps it, without a passphrase (openssh's PROTOCOL.key).
fn openssh(seed: &[u8], public: &[u8], comment: &str) -> String {
    let both = string(&[seed, public].concat());
    // Two equal numbers, by which it is seen that a passphrase was right.
    let mut private = [
        &[0; 8],
        &blob(public)[..],
        &both,
        &string(comment.as_bytes()),
    ]
    .concat();
    let padding = (8 - private.len() % 8) % 8;
    private.extend((1..=8).take(padding));
    let none = string(b"none");
    let one = 1u32.to_be_bytes();
    let all = [
        b"openssh-key-v1\0",
        &none[..],
        &none,
        &string(b""),
        &one,
        &string(&blob(public)),
        &string(&private),
    ]
    .concat();
    let text = Base64::encode_string(&all);
    let lines: Vec<&str> = (0..text.len())
        .step_by(70)
        .map(|at| &text[at..text.len().min(at + 70)])
        .collect();
    let line = |word: &str| format!("-----{word} OPENSSH PRIVATE KEY-----\n");
    format!("{}{}\n{}", line("BEGIN"), lines.join("\n"), line("END"))
}
