//! Two listeners: the API, plain or over TLS, and the operations on loopback.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::{Accept, NoDelayAcceptor};
use hyper_util::rt::TokioTimer;
use tower::Service;

use super::front::{Front, Peer};
use super::tls::TlsAcceptor;
use super::{App, Edge, Settings, Shared, operations, router, tls};

/// A head of a request that does not come within this time never will; it bounds what an idle
/// or hostile connection costs.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How often quiet callers are forgotten and histograms folded.
const UPKEEP: Duration = Duration::from_secs(5);

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
    #[error("the certificate and the private key do not match")]
    Tls(#[source] rustls::Error),
    #[error("the client authorities in {path} cannot be used")]
    ClientAuthorities {
        path: PathBuf,
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
}

/// Serves until `shutdown` ends, then takes no new connections, finishes the requests in flight
/// within [`Settings::shutdown_grace`] and returns.
pub async fn serve(
    app: App,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let edge = Edge::new(app, settings);
    let settings = &edge.settings;
    // Bound before anything is served: half a service is none.
    let api = bind("API", settings.listen)?;
    let operations = bind("operations", settings.operations_listen)?;
    let api_handle = Handle::new();
    let operations_handle = Handle::new();
    let acceptor = settings.tls.as_ref().map(tls::acceptor).transpose()?;

    let api = run_api(&edge, api, acceptor, api_handle.clone());
    let operations = run_operations(&edge, operations, operations_handle.clone());
    tracing::info!(listen = %settings.listen, operations = %settings.operations_listen,
        tls = settings.tls.is_some(), "serving");
    let stop = async {
        shutdown.await;
        tracing::info!("shutting down; waiting for requests in flight");
        api_handle.graceful_shutdown(Some(settings.shutdown_grace));
        // Probes and scrapes see the end of it.
        while api_handle.connection_count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        operations_handle.graceful_shutdown(Some(Duration::from_secs(1)));
        std::future::pending::<()>().await
    };
    tokio::select! {
        served = async { tokio::try_join!(api, operations) } => served.map(|_| ()),
        () = stop => Ok(()),
        () = upkeep(&edge) => Ok(()),
    }
}

pub(super) fn bind(
    listener: &'static str,
    address: SocketAddr,
) -> Result<std::net::TcpListener, Error> {
    let failed = |source| Error::Listen {
        listener,
        address,
        source,
    };
    let socket = std::net::TcpListener::bind(address).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}

async fn run_api(
    edge: &Shared,
    listener: std::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    handle: Handle<SocketAddr>,
) -> Result<(), Error> {
    let connections = Connections {
        edge: edge.clone(),
        router: router::router(edge),
    };
    let address = edge.settings.listen;
    match acceptor {
        None => {
            run(
                "API",
                address,
                listener,
                NoDelayAcceptor,
                handle,
                connections,
            )
            .await
        }
        Some(acceptor) => run("API", address, listener, acceptor, handle, connections).await,
    }
}

async fn run<A>(
    name: &'static str,
    address: SocketAddr,
    listener: std::net::TcpListener,
    acceptor: A,
    handle: Handle<SocketAddr>,
    connections: Connections,
) -> Result<(), Error>
where
    A: Accept<tokio::net::TcpStream, Front, Service = Front> + Clone + Send + Sync + 'static,
    A::Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
    A::Future: Send,
{
    let failed = |source| Error::Listen {
        listener: name,
        address,
        source,
    };
    let mut server = axum_server::from_tcp(listener)
        .map_err(failed)?
        .acceptor(acceptor)
        .handle(handle);
    let builder = server.http_builder();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIMEOUT)
        .max_concurrent_streams(256);
    server.serve(connections).await.map_err(failed)
}

async fn run_operations(
    edge: &Shared,
    listener: std::net::TcpListener,
    handle: Handle<SocketAddr>,
) -> Result<(), Error> {
    let address = edge.settings.operations_listen;
    let failed = |source| Error::Listen {
        listener: "operations",
        address,
        source,
    };
    let mut server = axum_server::from_tcp(listener)
        .map_err(failed)?
        .handle(handle);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    server
        .serve(operations::router(edge).into_make_service())
        .await
        .map_err(failed)
}

async fn upkeep(edge: &Shared) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        edge.limits.forget_quiet();
        edge.app.figures.run_upkeep();
    }
}

/// Makes the service of each connection.
struct Connections {
    edge: Shared,
    router: Router,
}

impl Service<SocketAddr> for Connections {
    type Response = Front;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Front, std::convert::Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: SocketAddr) -> Self::Future {
        let peer = Peer {
            address: address.ip(),
            sans: Vec::new(),
        };
        std::future::ready(Ok(Front::new(self.edge.clone(), self.router.clone(), peer)))
    }
}

/// A future on the heap, for acceptors.
pub type Accepting<S> = Pin<Box<dyn Future<Output = io::Result<(S, Front)>> + Send>>;
