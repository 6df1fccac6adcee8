//! `GET /v1/ceremonies/{ceremony}/statement`: the very bytes that are accepted.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::ceremony::readable;
use crate::v1::response::{NO_STORE, Named, bytes_of, no_query};
use crate::v1::state::SharedState;

/// What was done
///
/// The statement that custodians accept, from the execution on. What they sign is the DSSE pre-authentication encoding of
/// these bytes under the namespace of acceptances (docs/CEREMONY.md).
#[utoipa::path(
    get,
    path = "/v1/ceremonies/{ceremony}/statement",
    operation_id = "ceremony_statement",
    tag = "ceremonies",
    params(
        ("ceremony" = String, Path, description = "SHA-256 of the request, in lower-case hex"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = 404, description = "Unknown ceremony", body = problem::Document, content_type = "application/problem+json"),
        (status = "4XX", description = "No permission", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security((), ("access_token" = []), ("mtls" = []), ("read_signature" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(ceremony): Named,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let id = readable(&state, &context, &ceremony, &headers, &uri).await?;
    let statement = state.services.ceremonies.statement(&id).await?;
    let json = HeaderValue::from_static("application/json");
    Ok(bytes_of(statement, json, NO_STORE))
}
