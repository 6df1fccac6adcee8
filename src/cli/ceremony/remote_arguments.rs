//! Where a service is, of which a custodian has nothing but the address.

use std::path::{Path, PathBuf};

use clap::Args;
use trust::Sha256Digest;

use verify::client::{Client, Connect};
use verify::output::Failure;

/// How the service is reached, instead of the database.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    /// Base URL of the service: everything is read and submitted there, without access to the database.
    #[arg(long, requires = "genesis")]
    pub url: Option<String>,
    /// The pinned digest of the genesis, as it was read aloud.
    #[arg(long, requires = "url")]
    pub genesis: Option<Sha256Digest>,
    #[command(flatten)]
    pub(super) connect: Connect,
}

/// The same for what only reads: who reads shows it by a signature.
#[derive(Debug, Clone, Args)]
pub struct RemoteReader {
    #[command(flatten)]
    pub remote: Remote,
    /// Your SSH key, with which the request is signed; with `--url`.
    #[arg(long, requires = "url")]
    key: Option<PathBuf>,
}

impl Remote {
    /// Whether this is not about the database of this machine.
    pub fn is_given(&self) -> Result<bool, Failure> {
        if self.url.is_none() {
            self.connect.not_used("with --url only")?;
        }
        Ok(self.url.is_some())
    }

    pub fn client(&self) -> Result<Client, Failure> {
        let url = self.url.as_deref().unwrap_or_default();
        Client::new(url, &self.connect, None)
    }
}

impl RemoteReader {
    pub fn key(&self) -> Result<&Path, Failure> {
        let key = self.key.as_deref();
        key.ok_or_else(|| Failure::usage("--url requires --key: who reads signs the request"))
    }
}
