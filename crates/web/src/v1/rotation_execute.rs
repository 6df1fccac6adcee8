//! `POST /v1/key-rotation/execute`: goes on with rotations now.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

const BATCH: i64 = 100;
const MOST: i64 = 1_000;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecuteRotation {
    /// One rotation, `kr_…`; without it those that are due.
    event_id: Option<String>,
    /// At most so many: 1 to 1000; default 100.
    batch_size: Option<i64>,
}

/// Execute rotations
///
/// Goes on with one rotation as far as it goes now, or with those that are due, at most `batch_size`. A rotation that has to
/// wait for a time, an approval or propagation waits all the same.
#[utoipa::path(
    post,
    path = "/v1/key-rotation/execute",
    operation_id = "execute_rotation",
    tag = "rotation",
    request_body = ExecuteRotation,
    responses(
        (status = 200, description = "What came of it", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, an unknown rotation, or an invalid member", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: ExecuteRotation = body::strict(&context, request).await?;
    let batch = asked.batch_size.unwrap_or(BATCH);
    if !(1..=MOST).contains(&batch) {
        return Err(Problem::member("batch_size", "expected 1 to 1000"));
    }
    let engine = state.services.rotation.engine();
    match asked.event_id {
        Some(id) => {
            engine.run(&id).await?;
            json(&engine.report(&id).await?)
        }
        None => json(&engine.look(batch).await?),
    }
}
