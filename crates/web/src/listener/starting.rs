//! The operations listener of a service that cannot serve yet, because something that it needs is not there: alive,
//! not ready, and it says why. The API listener is not bound before there is something to serve.

use std::net::TcpListener;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinHandle;

use crate::listener::accept::{Handle, bind, listen};
use crate::listener::error::Error;
use crate::listener::health;
use crate::listener::operations_access::OperationsAccess;
use crate::listener::server::operations_door;
use crate::listener::timed::Plain;
use crate::problem::Problem;
use crate::settings::Http;
use crate::v1::response::json;

/// How long a probe or scrape that is being answered may take when the service begins.
const HANDOVER: Duration = Duration::from_secs(1);

/// Answers on the operations listener until [`Starting::end`].
pub struct Starting {
    shared: Arc<Shared>,
    socket: TcpListener,
    handle: Handle,
    server: JoinHandle<()>,
}

struct Shared {
    standing: RwLock<Standing>,
    metrics: PrometheusHandle,
}

/// What readiness is answered with.
struct Standing {
    ready: bool,
    /// The service will be another one's to answer for.
    starting: bool,
    why: String,
}

impl Starting {
    pub fn bind(http: &Http, metrics: PrometheusHandle) -> Result<Self, Error> {
        let address = http.operations_listen;
        let (tls, token) = (http.operations_tls.as_ref(), &http.operations_token_file);
        let access = OperationsAccess::open(tls, token.as_deref())?;
        let failed = |source| Error::Listen {
            listener: "operations",
            address,
            source,
        };
        let socket = bind("operations", address)?;
        let shared = Arc::new(Shared {
            standing: RwLock::new(Standing {
                ready: false,
                starting: true,
                why: "the service is starting".to_owned(),
            }),
            metrics,
        });
        let accepting = socket.try_clone().map_err(failed)?;
        let door = operations_door();
        let (listener, handle) =
            listen("operations", address, accepting, access.tls.clone(), door)?;
        let router = access.guard(router(shared.clone()));
        let server = tokio::spawn(listener.run(move |_| Plain(router.clone())));
        Ok(Self {
            shared,
            socket,
            handle,
            server,
        })
    }

    /// What readiness answers with.
    pub fn waits_for(&self, why: String) {
        self.set(Standing {
            ready: false,
            starting: true,
            why,
        });
    }

    /// The same for a process that has started and serves nothing but this.
    pub fn is_ready(&self, ready: bool, why: String) {
        self.set(Standing {
            ready,
            starting: false,
            why,
        });
    }

    fn set(&self, standing: Standing) {
        let shared = self.shared.standing.write();
        *shared.unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// The socket, for the service: whoever connects in between is answered by it.
    pub async fn end(self) -> TcpListener {
        self.handle.close(HANDOVER);
        // What it came to is of no interest: the socket is ours.
        let _ = self.server.await;
        self.socket
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(ready))
        .route("/health/ready/{*part}", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

async fn ready(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let standing = shared.standing.read();
    let (body, ready) = {
        let standing = standing.unwrap_or_else(PoisonError::into_inner);
        let Standing {
            ready,
            starting,
            why,
        } = &*standing;
        let body = serde_json::json!({"ready": ready, "starting": starting, "why": why});
        (body, *ready)
    };
    let mut response = json(&body)?;
    if ready {
        return Ok(response);
    }
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let again = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, again);
    Ok(response)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    (text, shared.metrics.render()).into_response()
}
