//! Signatures by a custodian's own key, made by the custodian's own `ssh-keygen`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use verify::output::{Code, Failure};

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
