use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the service does not listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the {listener} listener on {address} failed")]
    Listen {
        listener: &'static str,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} does not hold {expected} in PEM")]
    Pem {
        path: PathBuf,
        expected: &'static str,
    },
    #[error("{path} does not hold an access token: at least {shortest} printable ASCII characters")]
    Token { path: PathBuf, shortest: usize },
    #[error("the certificate and the private key do not match")]
    Tls(#[source] rustls::Error),
    #[error("the client authorities in {path} cannot be used")]
    ClientAuthorities {
        path: PathBuf,
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
}

impl Error {
    /// The configuration or one of its files cannot be used, whatever else is there.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Listen { .. })
    }
}
