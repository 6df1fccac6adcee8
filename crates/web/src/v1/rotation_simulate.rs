//! `POST /v1/key-rotation/simulate`: what would come of the calendar.

use axum::extract::{Request, State};
use axum::response::Response;
use rotation::engine::Simulation;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

/// Simulate
///
/// Runs planner and engine over the assets, policies and orders of now, with what may go wrong: faults with their times, verifiers
/// with caches and skew, replicas with wrong clocks. The answer says what was late, what verifiers would have met that they
/// cannot check, and what collided. Nothing is written.
#[utoipa::path(
    post,
    path = "/v1/key-rotation/simulate",
    operation_id = "simulate_rotations",
    tag = "rotation",
    request_body = Object,
    responses(
        (status = 200, description = "The report", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, or a simulation that cannot begin", body = problem::Document, content_type = "application/problem+json"),
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
    let asked: Simulation = body::strict(&context, request).await?;
    json(&state.services.rotation.engine().simulate(&asked).await?)
}
