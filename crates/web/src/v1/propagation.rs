//! `POST /v1/propagation/{kid}`: a verifier says that it has a key.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use trust::{Kid, Time};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledged {
    #[schema(value_type = String)]
    kid: Kid,
    principal: String,
    #[schema(value_type = String, format = DateTime)]
    at: Time,
}

/// Acknowledge a key
///
/// A new key becomes the primary when all verifiers that the configuration names (`rotation.verifiers`) have acknowledged it.
#[utoipa::path(
    post,
    path = "/v1/propagation/{kid}",
    operation_id = "acknowledge_key",
    tag = "rotation",
    params(
        ("kid" = String, Path, description = "The key's kid"),
    ),
    responses(
        (status = 200, body = Acknowledged),
        (status = "4XX", description = "No permission, or a key that is not published", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let principal = context.caller.known()?.name.to_string();
    let unknown = || Problem::new(Code::UnknownKey, "no key has this kid").about("kid");
    let kid: Kid = kid.parse().map_err(|_| unknown())?;
    // What rotates is in memory; of others nobody waits for a word.
    if !state.services.keys.current().keys.contains_key(&kid) {
        return Err(unknown());
    }
    let at = state.services.env.now();
    let store = &state.services.store;
    store.acknowledge_key(kid.as_str(), &principal, at).await?;
    json(&Acknowledged { kid, principal, at })
}
