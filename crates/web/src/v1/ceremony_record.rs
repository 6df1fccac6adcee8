//! `GET /v1/ceremonies/{ceremony}/record`: the record of a closed ceremony for paper.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;

use crate::problem::{self, Code, Problem};
use crate::v1::ceremony_attestations::closed;
use crate::v1::response::{NO_STORE, Named, bytes_of, no_query};
use crate::v1::state::SharedState;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Record of a closed ceremony, for paper
///
/// One page without script, made of the verified transcript and what witnesses attested; it prints on two sheets. It
/// proves nothing: `chancery ceremony record FILE --genesis SHA256` makes the same page of a transcript that you verified.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/{ceremony}/record",
    operation_id = "ceremony_record",
    tag = "publication",
    params(("ceremony" = String, Path, description = "SHA-256 of the request, in lower-case hex")),
    responses(
        (status = 200, description = "HTML", body = String, content_type = "text/html"),
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
    let printed = state.services.ceremonies.printed(&id).await?;
    // To make it a transcript is verified.
    let page = match state.printed.of(&printed.of) {
        Some(known) => known,
        None => {
            let page = Bytes::from(printed.page()?);
            state.printed.keep(printed.of, page.clone());
            page
        }
    };
    let mut response = bytes_of(page, HTML, NO_STORE);
    let policy = format!(
        "{}; frame-ancestors 'none'",
        trust::printed::content_security_policy()
    );
    let policy = HeaderValue::from_str(&policy);
    let policy = policy.map_err(|error| Problem::caused_by(Code::Internal, &error))?;
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}
