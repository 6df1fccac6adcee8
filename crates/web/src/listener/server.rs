//! Serving on both listeners, and the ordered stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::{Accept, NoDelayAcceptor};
use base::signals::{Hangup, Stop};
use hyper_util::rt::TokioTimer;
use tower::Service;

use crate::listener::connection::Connection;
use crate::listener::error::Error;
use crate::listener::tls::{TlsAcceptor, TlsFiles};
use crate::listener::{openapi, operations, reload, router};
use crate::middleware::peer::Peer;
use crate::services::Services;
use crate::settings::Settings;
use crate::v1::state::{ServerState, SharedState};

/// A head of a request that does not come within this time never will; it bounds what an idle
/// or hostile connection costs.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the last leaf about refused strangers may take.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// How often quiet callers are forgotten and histograms folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves until `shutdown` ends. Then it is not ready, so that nobody is sent here any more; after
/// [`Settings::drain_delay`] (none if a person stopped it) it takes no new connections, finishes the
/// requests in flight within [`Settings::shutdown_grace`] and returns.
pub async fn serve(
    services: Services,
    settings: Settings,
    shutdown: impl Future<Output = Stop> + Send,
    hangup: Hangup,
) -> Result<(), Error> {
    let state = ServerState::new(services, settings, openapi::paths());
    let settings = &state.settings;
    // Bound before anything is served: half a service is none.
    let api = bind("API", settings.listen)?;
    let operations = match &settings.operations_socket {
        None => bind("operations", settings.operations_listen)?,
        Some(socket) => socket.try_clone().map_err(|source| Error::Listen {
            listener: "operations",
            address: settings.operations_listen,
            source,
        })?,
    };
    let api_handle = Handle::new();
    let operations_handle = Handle::new();
    let files = match &settings.tls {
        None => None,
        Some(tls) => {
            let (files, expires) = TlsFiles::open(tls.clone())?;
            reload::expiry(expires);
            Some(files)
        }
    };
    let acceptor = files.as_ref().map(TlsFiles::acceptor);

    let api = run_api(&state, api, acceptor, api_handle.clone());
    let operations = run_operations(&state, operations, operations_handle.clone());
    tracing::info!(listen = %settings.listen, operations = %settings.operations_listen,
        tls = settings.tls.is_some(), "serving");
    let stop = async {
        let stop = shutdown.await;
        state.layer.stopping.store(true, Ordering::Relaxed);
        if stop == Stop::Terminate {
            tracing::info!(delay = ?settings.drain_delay, "not ready any more; shutting down");
            tokio::time::sleep(settings.drain_delay).await;
        }
        tracing::info!("shutting down; waiting for requests in flight");
        api_handle.graceful_shutdown(Some(settings.shutdown_grace));
        // Probes and scrapes see the end of it.
        while api_handle.connection_count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A client that has gone may have left work behind.
        let until = tokio::time::Instant::now() + settings.shutdown_grace;
        while state.layer.limits.in_flight() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let counted = state.layer.refusals.write_counted();
        if tokio::time::timeout(LAST_WRITE, counted).await.is_err() {
            tracing::error!(
                "refusals of unauthenticated callers were not written to the audit trail in time"
            );
        }
        operations_handle.graceful_shutdown(Some(Duration::from_secs(1)));
        std::future::pending::<()>().await
    };
    tokio::select! {
        served = async { tokio::try_join!(api, operations) } => served.map(|_| ()),
        () = stop => Ok(()),
        () = upkeep(&state) => Ok(()),
        () = reload::follow(files.as_ref(), hangup) => Ok(()),
        () = state.layer.refusals.write_each_minute() => Ok(()),
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
    state: &SharedState,
    listener: std::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    handle: Handle<SocketAddr>,
) -> Result<(), Error> {
    let connections = Connections {
        state: state.clone(),
        router: router::router(state),
    };
    let address = state.settings.listen;
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
    A: Accept<tokio::net::TcpStream, Connection, Service = Connection>
        + Clone
        + Send
        + Sync
        + 'static,
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
    state: &SharedState,
    listener: std::net::TcpListener,
    handle: Handle<SocketAddr>,
) -> Result<(), Error> {
    let address = state.settings.operations_listen;
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
        .serve(operations::router(state).into_make_service())
        .await
        .map_err(failed)
}

async fn upkeep(state: &SharedState) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        state.layer.limits.forget_quiet();
        state.services.metrics.run_upkeep();
        for (code, count) in state.layer.failures.ceased() {
            tracing::info!(code, count, "requests no longer fail");
        }
    }
}

/// Makes the service of each connection.
struct Connections {
    state: SharedState,
    router: Router,
}

impl Service<SocketAddr> for Connections {
    type Response = Connection;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Connection, std::convert::Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: SocketAddr) -> Self::Future {
        let peer = Peer {
            address: address.ip(),
            sans: Vec::new(),
        };
        std::future::ready(Ok(Connection::new(
            self.state.clone(),
            self.router.clone(),
            peer,
        )))
    }
}
