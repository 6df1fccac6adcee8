//! Who signs what is made under a standing order.

use std::fmt;

use trust::sshkey::SshKey;

/// The executor's own key, with which it signs results.
pub trait ResultSigner: Send + Sync {
    /// The public half, by which orders name it, or why it is not known.
    fn public_key(&self) -> Result<SshKey, String>;

    /// An armored SSH signature over these bytes in this namespace, or why there is none.
    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, String>;
}

impl fmt::Debug for dyn ResultSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResultSigner")
    }
}
