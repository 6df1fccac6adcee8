//! `GET /v1/ceremonies/{ceremony}/attestations`: what witnesses attested of a closed ceremony.

use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use trust::Sha256Digest;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{NO_STORE, Named, bytes_of, no_query};
use crate::v1::state::SharedState;

/// Attestations of a closed ceremony
///
/// What witnesses signed about its transcript. They count towards nothing; `chancery ceremony verify FILE --genesis SHA256
/// --attestations FILE` checks them without this service.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/{ceremony}/attestations",
    operation_id = "ceremony_attestations",
    tag = "publication",
    params(("ceremony" = String, Path, description = "SHA-256 of the request, in lower-case hex")),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = 404, description = "No closed ceremony with this id", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(ceremony): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let id = closed(&state, &ceremony).await?;
    let attestations = state.services.ceremonies.attestations(&id).await?;
    let bytes = attestations.encode();
    let bytes = bytes.map_err(|error| Problem::caused_by(Code::Internal, &error))?;
    let json = HeaderValue::from_static("application/json");
    // Another may come.
    Ok(bytes_of(bytes, json, NO_STORE))
}

/// The id of a closed ceremony; nobody learns here whether there is one that is open.
pub async fn closed(state: &SharedState, ceremony: &str) -> Result<String, Problem> {
    let unknown = |why: &str| Problem::new(Code::UnknownCeremony, why).about("ceremony");
    let named: Sha256Digest = ceremony
        .parse()
        .map_err(|_| unknown("expected a SHA-256 digest in lower-case hex"))?;
    let id = named.to_string();
    match state.services.ceremonies.is_closed(&id).await? {
        true => Ok(id),
        false => Err(unknown("no closed ceremony with this request")),
    }
}
