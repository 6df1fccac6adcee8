//! `GET /v1/ceremonies/events`: what waits for a member, told whenever it is something else (server-sent events).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::ceremonies_waiting::{LOOK, WaitingAnswer, Watch, member};
use crate::v1::reader::reader;
use crate::v1::response::{NO_STORE, bytes_of, query};
use crate::v1::state::SharedState;
use crate::v1::streams::StreamPermit;

/// Something is sent at least this often, so that both ends see that the other one is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Who reads is asked again after this time: a stream outlives no read signature, and a credential by no more.
const LONGEST: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    member: Option<String>,
}

/// Events
///
/// As `/v1/ceremonies/waiting`, as a stream of events `waiting`, the first at once. It ends after five minutes and when the
/// service stops: connect again.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/events",
    operation_id = "ceremony_events",
    tag = "ceremonies",
    params(
        ("member" = Option<String>, Query, description = "A member's id"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, description = "Events `waiting`, whose data is an answer of `/v1/ceremonies/waiting`", body = String, content_type = "text/event-stream"),
        (status = "4XX", description = "No permission, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "Too many streams, or the database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = []), ("read_signature" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let who = reader(&state, &context, &headers, &uri)?;
    let asked: Query = query(&uri)?;
    let member = member(&who, asked.member)?;
    let permit = state.streams.enter(who.key())?;
    let mut watch = Watch::new(member);
    let first = watch.look(&state).await?;
    // The next one waits until this one was taken.
    let (sender, receiver) = mpsc::channel(1);
    let strangers = state.services.strangers.clone();
    strangers.spawn(tell(state, watch, first, sender, permit));
    let kind = HeaderValue::from_static("text/event-stream");
    Ok(bytes_of(Body::new(Events(receiver)), kind, NO_STORE))
}

fn event(answer: &WaitingAnswer) -> Result<Bytes, serde_json::Error> {
    let data = serde_json::to_string(answer)?;
    let version = &answer.version;
    Ok(format!("event: waiting\nid: {version}\ndata: {data}\n\n").into())
}

/// Ends with the client, with the time, with the service, or with the first thing that cannot be read. The permit is given
/// back with the work.
async fn tell(
    state: SharedState,
    mut watch: Watch,
    first: Arc<WaitingAnswer>,
    sender: mpsc::Sender<Bytes>,
    permit: StreamPermit,
) {
    let until = Instant::now() + LONGEST;
    let mut sent = Instant::now();
    let Ok(text) = event(&first) else {
        return;
    };
    if sender.send(text).await.is_err() {
        return;
    }
    let mut told = first;
    while Instant::now() < until && !state.is_stopping() {
        tokio::select! {
            () = sender.closed() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        let Ok(answer) = watch.look(&state).await else {
            break;
        };
        let text = match Arc::ptr_eq(&answer, &told) || answer.version == told.version {
            false => match event(&answer) {
                Ok(text) => text,
                Err(_) => break,
            },
            true if sent.elapsed() < HEARTBEAT => continue,
            true => Bytes::from_static(b":\n\n"),
        };
        (told, sent) = (answer, Instant::now());
        // Of a client that takes nothing there is none more.
        if sender.send_timeout(text, HEARTBEAT).await.is_err() {
            break;
        }
    }
    drop(permit);
}

struct Events(mpsc::Receiver<Bytes>);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = self.0.poll_recv(cx);
        polled.map(|text| text.map(|text| Ok(Frame::data(text))))
    }
}
