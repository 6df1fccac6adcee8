//! A key custodian: a person with an SSH key and `ssh-keygen`, nothing else.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64ct::{Base64, Encoding as _};
use trust::Hash;

use super::process::done;

pub struct Custodian {
    pub id: String,
    key: PathBuf,
}

impl Custodian {
    /// With a fresh Ed25519 key, without a passphrase.
    pub fn new(directory: &Path, id: &str) -> Self {
        Self::with_key(directory, id, "ed25519")
    }

    /// With a fresh key of a kind that `ssh-keygen -t` knows.
    pub fn with_key(directory: &Path, id: &str, kind: &str) -> Self {
        let key = directory.join(id);
        let path = key.to_str().expect("UTF-8");
        done(
            "ssh-keygen",
            ["-q", "-t", kind, "-N", "", "-C", id, "-f", path],
        );
        Self {
            id: id.to_owned(),
            key,
        }
    }

    /// With an Ed25519 key whose seed is the hash of a text: it is the same every time, and protects nothing.
    pub fn of_text(directory: &Path, id: &str, words: &str) -> Self {
        let seed = Hash::Sha256.digest(words.as_bytes());
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("32 bytes");
        let public = pair.public_key().as_ref();
        let key = directory.join(id);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&key)
            .expect("a new file");
        file.write_all(openssh(&seed, public, id).as_bytes())
            .expect("written");
        let line = format!("{KIND} {} {id}\n", Base64::encode_string(&blob(public)));
        fs::write(key.with_extension("pub"), line).expect("written");
        Self {
            id: id.to_owned(),
            key,
        }
    }

    /// The same person in a copy of the directory.
    pub fn copied_to(&self, directory: &Path) -> Self {
        Self {
            id: self.id.clone(),
            key: directory.join(&self.id),
        }
    }

    /// For commands that sign themselves.
    pub fn key_file(&self) -> &Path {
        &self.key
    }

    pub fn public_key_file(&self) -> PathBuf {
        self.key.with_extension("pub")
    }

    /// `ssh-ed25519 AAAA…`
    pub fn public_key(&self) -> String {
        let text = fs::read_to_string(self.public_key_file()).expect("the public key");
        text.split(' ')
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
            .trim()
            .to_owned()
    }

    /// Signs the exact bytes of a file, as a custodian does at home, and returns the signature's file.
    pub fn sign(&self, file: &Path, namespace: &str) -> PathBuf {
        // ssh-keygen writes FILE.sig, so each custodian signs a copy of their own.
        let copy = PathBuf::from(format!("{}.{}", file.display(), self.id));
        fs::copy(file, &copy).expect("a copy of what is signed");
        let signature = PathBuf::from(format!("{}.sig", copy.display()));
        let _ = fs::remove_file(&signature);
        let words = ["-q", "-Y", "sign", "-n", namespace, "-f"].map(Path::new);
        done(
            "ssh-keygen",
            words.into_iter().chain([self.key.as_path(), &copy]),
        );
        signature
    }
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
