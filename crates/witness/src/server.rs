//! A witness over HTTP (c2sp.org/tlog-witness): `add-checkpoint`, and the last checkpoint of each
//! log. Nobody authenticates: what counts is the log's signature.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tower_http::timeout::TimeoutLayer;
use trust::Time;
use trust::tlog::witness::Refusal;

use super::{Error, Witness};
use trust::error_chain;

/// A request has at most 63 hashes and a checkpoint.
const MOST_BYTES: usize = 64 * 1024;

/// From the request's head to the answer, the disk included.
const LIMIT: Duration = Duration::from_secs(10);

/// From the connection to the end of the request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The listener could not be opened, or failed.
#[derive(Debug, thiserror::Error)]
#[error("the witness cannot listen on {address}")]
pub struct ServeError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

const TEXT: &str = "text/plain; charset=utf-8";
const SIZE: &str = "text/x.tlog.size";

#[derive(Clone)]
struct Shared {
    witness: Arc<Witness>,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
}

/// Serves until `shutdown` ends.
pub async fn serve(
    witness: Arc<Witness>,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
    listen: SocketAddr,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let failed = |source| ServeError {
        address: listen,
        source,
    };
    let listener = std::net::TcpListener::bind(listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let name = witness.verifier().to_string();
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener)
        .map_err(failed)?
        .handle(handle.clone());
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    tracing::info!(listen = %address, witness = name, "witnessing");
    let service = router(Shared { witness, clock }).into_make_service();
    tokio::select! {
        served = server.serve(service) => served.map_err(failed),
        () = async {
            shutdown.await;
            handle.graceful_shutdown(Some(LIMIT));
            while handle.connection_count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        } => Ok(()),
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add))
        .route("/{origin}/checkpoint", get(checkpoint))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            LIMIT,
        ))
        .with_state(shared)
}

async fn add(State(shared): State<Shared>, body: Bytes) -> Response {
    let work = move || shared.witness.add(&body, (shared.clock)());
    // Not ended by a client that goes away: what was decided is remembered or not, never half.
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(line)) => answer(StatusCode::OK, TEXT, line.to_string()),
        Ok(Err(error)) => refuse(&error),
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, String::new()),
    }
}

async fn checkpoint(State(shared): State<Shared>, Path(origin): Path<String>) -> Response {
    let work = move || shared.witness.checkpoint(&origin);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(Some(note))) => answer(StatusCode::OK, TEXT, note),
        Ok(Ok(None)) => answer(
            StatusCode::NOT_FOUND,
            TEXT,
            "no checkpoint of this log has been cosigned\n".to_owned(),
        ),
        Ok(Err(error)) => refuse(&error),
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, String::new()),
    }
}

fn refuse(error: &Error) -> Response {
    match error {
        Error::Refused(Refusal::Conflict { size }) => {
            answer(StatusCode::CONFLICT, SIZE, format!("{size}\n"))
        }
        Error::Refused(refusal) => {
            if let Refusal::Unprocessable(_) = refusal {
                // Signed by the log, so perhaps the proof that it forked.
                tracing::error!(error = error_chain(refusal), "a log is not append-only");
            }
            let status = StatusCode::from_u16(refusal.status());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            answer(status, TEXT, format!("{}\n", error_chain(refusal)))
        }
        other => {
            tracing::error!(error = error_chain(other), "no cosignature was made");
            answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, String::new())
        }
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}
