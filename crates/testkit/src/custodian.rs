//! A key custodian of an installation: a person with an SSH key and `ssh-keygen`, nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::done;

#[derive(Debug, Clone)]
pub struct Custodian {
    pub id: String,
    key: PathBuf,
}

impl Custodian {
    /// With a fresh key of a kind that `ssh-keygen -t` knows, without a passphrase.
    pub fn new(directory: &Path, id: &str, kind: &str) -> Result<Self> {
        let new = Self::at(directory, id);
        let mut ssh_keygen = Command::new("ssh-keygen");
        ssh_keygen.args(["-q", "-t", kind, "-N", "", "-C", id, "-f"]);
        done(ssh_keygen.arg(&new.key))?;
        Ok(new)
    }

    /// Whose key is in the directory already.
    pub fn at(directory: &Path, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            key: directory.join(id),
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
    pub fn public_key(&self) -> Result<String> {
        let text = fs::read_to_string(self.public_key_file()).context("the public key")?;
        let words: Vec<&str> = text.split_whitespace().take(2).collect();
        Ok(words.join(" "))
    }

    /// Signs the exact bytes of a file, as a custodian does at home, and returns the signature's file.
    pub fn sign(&self, file: &Path, namespace: &str) -> Result<PathBuf> {
        // ssh-keygen writes FILE.sig, so each custodian signs a copy of their own.
        let copy = PathBuf::from(format!("{}.{}", file.display(), self.id));
        fs::copy(file, &copy).with_context(|| format!("copying {}", file.display()))?;
        let signature = PathBuf::from(format!("{}.sig", copy.display()));
        let _ = fs::remove_file(&signature);
        let mut ssh_keygen = Command::new("ssh-keygen");
        ssh_keygen.args(["-q", "-Y", "sign", "-n", namespace, "-f"]);
        done(ssh_keygen.arg(&self.key).arg(&copy))?;
        Ok(signature)
    }
}
