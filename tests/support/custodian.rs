//! A key custodian: a person with an SSH key and `ssh-keygen`, nothing else.

use std::fs;
use std::path::{Path, PathBuf};

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
