//! `GET /v1/ceremonies/{ceremony}/passkey`: what a browser needs for a member's signature by passkey.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use trust::browser::RequestOptions;
use trust::text::is_plain;
use trust::{MemberId, Purpose};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::ceremony::readable;
use crate::v1::response::{Named, json, query};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    purpose: String,
    reason: Option<String>,
    member: Option<String>,
}

/// What `PublicKeyCredential.parseRequestOptionsFromJSON()` takes (WebAuthn Level 3, PublicKeyCredentialRequestOptionsJSON).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyOptions {
    /// Base64url of SHA-256 of the bytes that `ssh-keygen` would sign.
    challenge: String,
    /// As the signed roster names it.
    rp_id: String,
    /// The passkeys that could sign.
    allow_credentials: Vec<PasskeyDescriptor>,
    /// Always `required`: without it the signature does not count.
    user_verification: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PasskeyDescriptor {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl From<RequestOptions> for PasskeyOptions {
    fn from(options: RequestOptions) -> Self {
        let allowed = options.allow_credentials.iter();
        let allowed = allowed.map(|each| PasskeyDescriptor {
            id: trust::base64url::encode(&each.id.0),
            kind: each.kind,
        });
        Self {
            allow_credentials: allowed.collect(),
            challenge: options.challenge,
            rp_id: options.rp_id,
            user_verification: options.user_verification,
        }
    }
}

/// What a browser is asked for
///
/// The page shows the request and passes this to `navigator.credentials.get()`; what it answers goes to
/// `/v1/ceremonies/{ceremony}/signatures` as `signature`. Whoever does not trust the page computes the challenge from the
/// request itself (docs/CEREMONY.md).
#[utoipa::path(
    get,
    path = "/v1/ceremonies/{ceremony}/passkey",
    operation_id = "passkey_options",
    tag = "ceremonies",
    params(
        ("ceremony" = String, Path, description = "SHA-256 of the request, in lower-case hex"),
        ("purpose" = String, Query, description = "`approve`, `accept` or `reject`"),
        ("reason" = Option<String>, Query, description = "Of a rejection, and of nothing else: 1 to 1000 characters"),
        ("member" = Option<String>, Query, description = "Whose passkeys; without it everybody's"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = PasskeyOptions),
        (status = "4XX", description = "No permission, an invalid parameter, or a roster without passkeys", body = problem::Document, content_type = "application/problem+json"),
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
    let id = readable(&state, &context, &ceremony, &headers, &uri).await?;
    let asked: Asked = query(&uri)?;
    let bad = |name: &str, expected: &str| Problem::new(Code::BadQuery, expected).about(name);
    let purpose = match asked.purpose.as_str() {
        "approve" => Purpose::Approve,
        "accept" => Purpose::Accept,
        "reject" => Purpose::Reject,
        _ => return Err(bad("purpose", "expected approve, accept or reject")),
    };
    let reason = match (purpose, asked.reason.as_deref()) {
        (Purpose::Reject, Some(reason)) if is_plain(reason, 1_000) => reason,
        (Purpose::Reject, _) => return Err(bad("reason", "expected 1 to 1000 characters")),
        (_, None) => "",
        (_, Some(_)) => return Err(bad("reason", "not allowed for this purpose")),
    };
    let member = asked.member.as_deref().map(str::parse::<MemberId>);
    let member = member.transpose();
    let member = member.map_err(|_| bad("member", "expected a member's id"))?;
    let ceremonies = &state.services.ceremonies;
    let options = ceremonies.passkey_options(&id, purpose, reason, member.as_ref());
    json(&PasskeyOptions::from(options.await?))
}
