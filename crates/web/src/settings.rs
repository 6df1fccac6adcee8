//! The server's settings, as `main` takes them from the configuration.

mod section;

use std::net::{SocketAddr, TcpListener};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use section::{Http, Tls};

#[derive(Debug, Clone)]
pub struct Settings {
    /// The public and API listener.
    pub listen: SocketAddr,
    /// Metrics, health and readiness.
    pub operations_listen: SocketAddr,
    pub operations_tls: Option<Tls>,
    /// What requests to it have to carry.
    pub operations_token_file: Option<PathBuf>,
    /// A socket on that address which is bound already.
    pub operations_socket: Option<Arc<TcpListener>>,
    /// Without it the API listener speaks plain HTTP.
    pub tls: Option<Tls>,
    pub body_limit_bytes: usize,
    pub request_timeout: Duration,
    /// Per caller; none means no limit.
    pub requests_per_second: Option<NonZeroU32>,
    pub max_in_flight: usize,
    /// Of the API; none means as many as the limit of open files allows, and 8 192 at most.
    pub max_connections: Option<NonZeroUsize>,
    /// None means a quarter of all.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// Most items in one batch.
    pub batch_limit: usize,
    /// `iss` of the signed history; the public address of the service.
    pub issuer: String,
    /// The ring whose primary signs the history; without it there is none to fetch.
    pub history_ring: Option<String>,
    /// Open files that the process may have.
    pub open_files: usize,
    /// A read model that the database did not confirm for this long is not ready.
    pub snapshot_stale_after: Duration,
    /// How long it goes on serving after SIGTERM, so that load balancers see that it is not ready.
    pub drain_delay: Duration,
    /// How long requests in flight may take to finish after the signal to stop.
    pub shutdown_grace: Duration,
}

impl Settings {
    /// Takes the listeners and limits from `[http]`; the rest keeps its default until `main` sets
    /// it.
    pub fn new(http: &Http, issuer: String) -> Self {
        Self {
            listen: http.listen,
            operations_listen: http.operations_listen,
            operations_tls: http.operations_tls.clone(),
            operations_token_file: http.operations_token_file.clone(),
            operations_socket: None,
            tls: http.tls.clone(),
            body_limit_bytes: http.body_limit_bytes,
            request_timeout: Duration::from_millis(http.request_timeout_ms),
            requests_per_second: NonZeroU32::new(http.requests_per_second),
            max_in_flight: http.max_in_flight,
            max_connections: NonZeroUsize::new(http.max_connections),
            max_connections_per_address: NonZeroUsize::new(http.max_connections_per_address),
            batch_limit: http.batch_limit,
            issuer,
            history_ring: None,
            open_files: 1_024,
            snapshot_stale_after: Duration::from_secs(60),
            drain_delay: Duration::from_millis(http.drain_delay_ms),
            shutdown_grace: Duration::from_secs(30),
        }
    }
}
