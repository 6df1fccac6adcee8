//! Signatures by a custodian's own key, made by the custodian's own `ssh-keygen`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use keyring::ceremony::ResultSigner;
use verify::output::{Code, Failure};

/// A key file of the executor's, used by `ssh-keygen` as custodians use theirs.
#[derive(Debug)]
pub struct KeyFile(pub PathBuf);

impl ResultSigner for KeyFile {
    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, String> {
        sign(&self.0, namespace, bytes).map_err(|failure| format!("{:#}", failure.error))
    }
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
