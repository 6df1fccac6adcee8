//! Signatures by a custodian's own key, made by the custodian's own `ssh-keygen`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use keyring::ceremony::ResultSigner;
use trust::sshkey::SshKey;
use verify::output::{Code, Failure};

/// A key file of the executor's, used by `ssh-keygen` as custodians use theirs.
#[derive(Debug)]
pub struct KeyFile(pub PathBuf);

impl ResultSigner for KeyFile {
    fn public_key(&self) -> Result<SshKey, String> {
        public(&self.0)
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, String> {
        sign(&self.0, namespace, bytes).map_err(|failure| format!("{:#}", failure.error))
    }
}

/// The public half of a key file: of the file itself, of the one beside it, or as `ssh-keygen` derives it.
fn public(key: &Path) -> Result<SshKey, String> {
    let mut beside = key.as_os_str().to_owned();
    beside.push(".pub");
    for file in [key, Path::new(&beside)] {
        let text = std::fs::read_to_string(file).ok();
        if let Some(key) = text.and_then(|text| SshKey::from_pub_file(&text).ok()) {
            return Ok(key);
        }
    }
    let derived = Command::new("ssh-keygen")
        .args(["-y", "-f"])
        .arg(key)
        .output();
    let derived = derived.map_err(|error| format!("cannot run ssh-keygen: {error}"))?;
    let text = String::from_utf8_lossy(&derived.stdout);
    SshKey::from_pub_file(&text).map_err(|_| format!("{} has no public key", key.display()))
}

/// Has `ssh-keygen -Y sign` sign the bytes. `key` is a private key file, or a public key file
/// whose private half an agent or a hardware key holds; a passphrase, a touch or a PIN is asked
/// for by ssh-keygen itself.
pub fn sign(key: &Path, namespace: &str, message: &[u8]) -> Result<String, Failure> {
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run ssh-keygen (Debian package: openssh-client)")
        .map_err(Failure::unavailable)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(message)?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(Failure::new(
            Code::Failed,
            anyhow::anyhow!("ssh-keygen failed to sign with {}", key.display()),
        ));
    }
    String::from_utf8(output.stdout)
        .context("the signature from ssh-keygen is not UTF-8")
        .map_err(Failure::from)
}
