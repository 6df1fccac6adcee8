//! Serving on both listeners, and the ordered stop.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::signals::{Hangup, Stop};

use crate::listener::accept::{bind, listen};
use crate::listener::connection::Connection;
use crate::listener::door::Door;
use crate::listener::error::Error;
use crate::listener::operations_access::OperationsAccess;
use crate::listener::timed::Plain;
use crate::listener::tls::TlsFiles;
use crate::listener::{openapi, operations, reload, router};
use crate::services::Services;
use crate::settings::Settings;
use crate::v1::state::{ServerState, SharedState};

/// Descriptors that connections of the API never take: for the operations listener, the database,
/// the token's processes and files.
const KEPT: usize = 200;

/// Connections of the operations listener.
const OPERATIONS: usize = 64;

/// More connections than this are only taken where they are asked for.
const MOST: usize = 8_192;

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
    let files = match &settings.tls {
        None => None,
        Some(tls) => {
            let (files, expires) = TlsFiles::open(tls.clone())?;
            reload::expiry(expires);
            Some(Arc::new(files))
        }
    };
    let (tls, token) = (&settings.operations_tls, &settings.operations_token_file);
    let access = OperationsAccess::open(tls.as_ref(), token.as_deref())?;
    // Bound before anything is served: half a service is none.
    let (address, socket) = (settings.listen, bind("API", settings.listen)?);
    let door = door(settings, settings.open_files);
    let (api, api_handle) = listen("API", address, socket, files.clone(), door)?;
    let address = settings.operations_listen;
    let socket = match &settings.operations_socket {
        None => bind("operations", address)?,
        Some(socket) => socket.try_clone().map_err(|source| Error::Listen {
            listener: "operations",
            address,
            source,
        })?,
    };
    let door = operations_door();
    let (operations, operations_handle) =
        listen("operations", address, socket, access.tls.clone(), door)?;

    let (shared, routes) = (state.clone(), router::router(&state));
    let api = api.run(move |peer| Connection::new(shared.clone(), routes.clone(), peer));
    let routes = access.guard(operations::router(&state));
    let operations = operations.run(move |_| Plain(routes.clone()));
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
        api_handle.close(settings.shutdown_grace);
        // Probes and scrapes see the end of it.
        api_handle.empty().await;
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
        operations_handle.close(Duration::from_secs(1));
        std::future::pending::<()>().await
    };
    tokio::select! {
        _ = async { tokio::join!(api, operations) } => Ok(()),
        () = stop => Ok(()),
        () = upkeep(&state) => Ok(()),
        () = reload::follow(files.as_deref(), access.tls.as_deref(), hangup) => Ok(()),
        () = state.layer.refusals.write_each_minute() => Ok(()),
    }
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

/// Of the operations listener: of those who probe and scrape.
pub(super) fn operations_door() -> Arc<Door> {
    Door::new("operations", OPERATIONS, OPERATIONS / 2)
}

/// As many connections of the API as are configured, and not more than the limit of open files
/// leaves.
fn door(settings: &Settings, files: usize) -> Arc<Door> {
    let left = files.saturating_sub(KEPT).max(files / 2).max(1);
    let asked = settings.max_connections;
    let most = asked.map_or(MOST, usize::from).min(left);
    if asked.is_some_and(|asked| usize::from(asked) > most) {
        tracing::warn!(
            most,
            "the limit of open files ({files}) allows fewer connections than http.max_connections; \
             raise it (LimitNOFILE, ulimit -n)"
        );
    }
    let of_one = settings.max_connections_per_address;
    let of_one = of_one.map_or(most.div_ceil(4), usize::from);
    Door::new("API", most, of_one)
}
