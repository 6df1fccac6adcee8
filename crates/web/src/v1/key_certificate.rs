//! `GET /v1/keys/{kid}/certificate`: says that there is none yet.

use axum::extract::State;
use axum::response::Response;

use crate::problem::{self, Code, Problem};
use crate::v1::key::find;
use crate::v1::response::Named;
use crate::v1::state::SharedState;

/// The certificate of a key
///
/// Certificates are not supported yet: a kid is the key's own thumbprint and needs no certification
/// authority. The transcript at `…/transcript` shows who accepted the key.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/certificate",
    operation_id = "key_certificate",
    tag = "publication",
    params(("kid" = String, Path)),
    responses(
        (status = 404, description = "Unknown key, or it has no certificate", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(kid): Named,
) -> Result<Response, Problem> {
    find(&state, &kid).await?;
    Err(Problem::new(
        Code::NoCertificate,
        "no certificate was issued for this key; its transcript is at /v1/keys/{kid}/transcript",
    ))
}
